"""The real studies beside the repository curate to the counts of their readme."""

from __future__ import annotations

from pathlib import Path

import pytest

from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import load_study
from genellm_dagster.studies.plan import samples_by_stratum

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"

EXPECTED = {
    "sepsis_real": {
        "pediatric": {"GSE22098": (91, 52)},
        "adult": {
            "GSE65682": (234, 192),
            "GSE185263": (392, 348),
            "GSE154918": (78, 39),
            "GSE54514": (71, 35),
        },
    },
    "tb_real": {
        "pediatric": {"GSE41055": (27, 9)},
        "adult": {"GSE19439": (42, 13), "GSE101705": (44, 28), "GSE107991": (54, 21)},
    },
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_real_study_curates_to_the_known_counts(name: str) -> None:
    if not (SHARED / "geo").is_dir():
        pytest.skip("the folder shared/geo with real series is not beside the repository")
    matrix = pytest.importorskip("genellm_dagster.geo.matrix", reason="the GEO reader is missing")
    study = load_study(SHARED / "studies" / f"{name}.yaml", data_dir=ROOT / "data")
    sheets = {}
    for cohort in study.cohorts:
        (path,) = (SHARED / "geo" / "series").glob(f"*/{cohort}/matrix/*.gz")
        series = matrix.read_series_matrix(path)
        sheets[cohort] = build_sample_sheet(series.samples, study.cohort(cohort), study)
    plan = samples_by_stratum(sheets, study)
    for stratum, cells in EXPECTED[name].items():
        frame = plan.samples(stratum)
        found = frame.groupby("cohort")["case"].agg(["size", "sum"]).itertuples()
        assert {row[0]: (row[1], row[2]) for row in found} == cells
    if name == "sepsis_real":
        (out,) = plan.left_out
        assert (out.cohort, out.stratum, out.n, out.cases) == ("GSE22098", "adult", 42, 0)
