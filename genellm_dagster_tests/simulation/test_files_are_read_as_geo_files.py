"""The readers of real GEO files read the simulated ones, and find the study in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.expression.scale import detect_scale
from genellm_dagster.expression.symbols import approve_symbols
from genellm_dagster.geo.matrix import read_series_matrix
from genellm_dagster.geo.platform import read_platform_table
from genellm_dagster.simulation.geo_files import annotation_path, matrix_path
from genellm_dagster.simulation.options import CohortPlan
from genellm_dagster.simulation.study import SimulatedStudy, written_ages
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import load_study
from genellm_dagster_tests.simulation.conftest import SMALL

ACCESSIONS = [plan.accession for plan in SMALL.cohorts]


@pytest.mark.parametrize("accession", ACCESSIONS)
def test_every_sample_of_the_truth_is_decided_as_it_was_planned(
    small_study: SimulatedStudy, accession: str, tmp_path: Path
) -> None:
    study = load_study(small_study.study_file, data_dir=tmp_path)
    cohort = study.cohort_files[accession]
    matrix = read_series_matrix(matrix_path(small_study.geo_root, accession))
    sheet = build_sample_sheet(matrix.samples, cohort, study).set_index("gsm")
    truth = small_study.truth["cohorts"][accession]

    assert list(sheet.index) == list(truth["people"])
    assert set(sheet.index[sheet["label"].isna()]) == set(truth["unlabelled"])
    assert set(sheet.index[sheet["label"] == "noninfectious_inflammation"]) == set(truth["outside"])
    unused = {*truth["unlabelled"], *truth["outside"], *truth["later_time_points"]}
    if cohort.default_stratum is None:
        unused |= set(truth["age_not_recorded"])
    assert set(sheet.index[~sheet["used"]]) == unused
    used = sheet[sheet["used"]]
    assert set(used["stratum"]) == {truth["stratum"]}
    assert [bool(case) for case in used["case"]] == [truth["people"][g]["case"] for g in used.index]
    assert list(used["sex"]) == [truth["people"][gsm]["sex"] for gsm in used.index]
    assert list(used["subject"]) == [truth["people"][gsm]["subject"] for gsm in used.index]
    assert cohort.expected_labels == sheet["label"].value_counts().to_dict()


def test_ages_are_the_true_ones_in_years_whatever_unit_the_file_uses(
    small_study: SimulatedStudy, tmp_path: Path
) -> None:
    study = load_study(small_study.study_file, data_dir=tmp_path)
    fields = {}
    for accession in ACCESSIONS:
        cohort = study.cohort_files[accession]
        samples = read_series_matrix(matrix_path(small_study.geo_root, accession)).samples
        sheet = build_sample_sheet(samples, cohort, study).set_index("gsm")
        truth = small_study.truth["cohorts"][accession]
        known = [gsm for gsm in sheet.index if gsm not in truth["age_not_recorded"]]
        fields[accession] = cohort.sample.age.unit if cohort.sample.age else None
        true = np.array([truth["people"][gsm]["age_years"] for gsm in known])
        # Ages are written as completed units, adults' in whole years.
        assert np.all(np.abs(sheet.loc[known, "age_years"] - true) <= 1.0)
        assert sheet.loc[truth["age_not_recorded"], "age_years"].isna().all()
    assert list(fields.values()) == ["years", "months", "years", "years", None]


def test_a_child_of_nearly_18_is_still_written_as_a_child() -> None:
    people = pd.DataFrame({"age_years": [17.99, 0.04, 5.0], "age_recorded": [True, True, False]})
    assert written_ages(SMALL.cohorts[0], people) == ["17.9", "0.0", "NA"]
    assert written_ages(SMALL.cohorts[1], people) == ["215", "0", "NA"]


@pytest.mark.parametrize("plan", SMALL.cohorts, ids=ACCESSIONS)
def test_values_are_on_the_planned_scale(small_study: SimulatedStudy, plan: CohortPlan) -> None:
    matrix = read_series_matrix(matrix_path(small_study.geo_root, plan.accession))
    assert matrix.values is not None
    assert detect_scale(matrix.values).kind == plan.scale


@pytest.mark.parametrize("plan", [p for p in SMALL.cohorts if p.ids != "symbol"], ids=str)
def test_probes_are_explained_by_the_platform_table(
    small_study: SimulatedStudy, plan: CohortPlan
) -> None:
    matrix = read_series_matrix(matrix_path(small_study.geo_root, plan.accession))
    table = read_platform_table(annotation_path(small_study.geo_root, plan.platform))
    assert matrix.values is not None
    assert set(matrix.values.index) == set(table["id"])
    single = table[table["symbol"].notna() & ~table["symbol"].fillna("").str.contains("///")]
    single = single[single["symbol"] != ""]
    per_gene = single["symbol"].value_counts()
    assert per_gene.max() == 3
    assert {"FAM214A", "FAIM3"} <= set(per_gene.index)  # Old symbols, as in old platforms.
    approved, _ = approve_symbols(single["symbol"])
    assert approved.notna().all()
    absent = small_study.truth["cohorts"][plan.accession]["absent_genes"]
    assert not set(approved) & set(absent)


@pytest.mark.parametrize("accession", ACCESSIONS)
def test_every_file_says_that_it_is_simulated(small_study: SimulatedStudy, accession: str) -> None:
    matrix = read_series_matrix(matrix_path(small_study.geo_root, accession))
    assert all("SIMULATED" in matrix.series[key][0] for key in ("title", "summary"))
    assert set(matrix.samples["description"]) == {"SIMULATED"}


def test_the_study_says_that_it_is_simulated(small_study: SimulatedStudy, tmp_path: Path) -> None:
    study = load_study(small_study.study_file, data_dir=tmp_path)
    assert study.simulated
    assert study.name == "demo"
    assert "SIMULATED" in small_study.study_file.read_text().splitlines()[0]
