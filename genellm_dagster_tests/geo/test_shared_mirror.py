"""Real series and platform tables, where a mirror of them lies beside the repository."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.geo.catalog import search_series
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.matrix import read_series_matrix
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.platform import read_platform_table
from genellm_dagster.geo.series import fetch_series, read_series
from genellm_dagster.geo.supplementary import read_supplementary
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.study import Study
from genellm_dagster_tests.geo.files_of_geo import matrix_path

MIRROR = Path(__file__).resolve().parents[2].parent / "shared" / "geo"
pytestmark = pytest.mark.skipif(
    not MIRROR.is_dir(), reason="no mirror of real series in ../shared/geo"
)
# accession: platform, id_type, rows, samples, one characteristic and how often its values come
SERIES = {
    "GSE65682": ("GPL13667", "symbol", 105, 234, "disease state", {"Sepsis": 192, "healthy": 42}),
    "GSE185263": ("GPL16791", "symbol", 53, 392, "disease state", {"sepsis": 348, "healthy": 44}),
    "GSE154918": ("GPL20301", "symbol", 52, 78, "disease state", {"Healthy": 39, "Sepsis": 39}),
    "GSE54514": ("GPL6947", "symbol", 74, 71, "disease state", {"Control": 36, "Sepsis": 35}),
    "GSE22098": ("GPL6947", "symbol", 353, 274, "illness", {"Staph": 40, "Strep": 12}),
    "GSE66099": ("GPL570", "symbol", 108, 199, "outcome", {"survivor": 171, "nonsurvivor": 28}),
    "GSE8121": ("GPL570", "symbol", 74, 60, "time", {"Day1": 30, "Day3": 30}),
    "GSE19439": ("GPL6947", "probe", 25_399, 42, "tb status", {"PTB": 13, "LTBI": 17}),
    "GSE41055": ("GPL5175", "probe", 14_654, 27, "tb status", {"PTB": 9, "Latent": 9}),
    "GSE101705": ("GPL18573", "symbol", 18_700, 44, "tb status", {"PTB": 28, "LTBI": 16}),
    "GSE107991": ("GPL20301", "entrez", 23_897, 54, "tb status", {"PTB": 21, "Latent": 33}),
}


@pytest.mark.parametrize("accession", SERIES)
def test_a_real_series_reads_as_an_independent_reader_reads_it(
    accession: str, tmp_path: Path, options: Callable[..., GeoOptions]
) -> None:
    platform, id_type, rows, n_samples, field, counts = SERIES[accession]
    cohort = Cohort.model_validate(
        {
            "accession": accession,
            "platform": platform,
            "id_type": id_type,
            "sample": {"label": []},
        }
    )
    manifest = fetch_series(GeoClient(MIRROR.as_uri(), options()), cohort, tmp_path)
    data = read_series(tmp_path, manifest)
    assert data.values.shape == (rows, n_samples)
    assert data.samples["gsm"].tolist() == data.values.columns.tolist()
    assert data.without_values == ()
    told = data.samples[f"characteristics: {field}"].value_counts()
    assert {value: told[value] for value in counts} == counts
    if id_type == "entrez":
        counts_file = next(file for file in manifest.files if file.role == "counts")
        expected = pd.read_csv(tmp_path / counts_file.name, sep="\t", index_col=0)
    else:
        text = gzip.decompress((MIRROR / matrix_path(accession)).read_bytes()).decode()
        table = text.split("!series_matrix_table_begin\n")[1].split("!series_matrix_table_end")[0]
        expected = pd.read_csv(io.StringIO(table), sep="\t", index_col=0)
    assert data.values.index.tolist() == expected.index.astype(str).tolist()
    assert data.values.columns.tolist() == expected.columns.tolist()
    np.testing.assert_allclose(data.values.to_numpy(), expected.to_numpy(), rtol=1e-6)
    if id_type == "symbol":
        assert data.id_table is None
    else:
        assert data.id_table is not None
        assert set(data.values.index) <= set(data.id_table["id"])


@pytest.mark.parametrize("accession", sorted(set(SERIES) - {"GSE107991"}))
def test_a_real_series_reads_the_same_as_a_submitters_table_by_title(
    accession: str, tmp_path: Path
) -> None:
    matrix = read_series_matrix(MIRROR / matrix_path(accession))
    assert matrix.values is not None
    values = matrix.values.iloc[:200]
    path = tmp_path / f"{accession}_norm.csv.gz"
    titles = dict(zip(matrix.samples["gsm"], matrix.samples["title"], strict=True))
    values.rename(columns=titles).to_csv(path, sep=";", decimal=",")
    table = read_supplementary(path, matrix.samples, SERIES[accession][1])  # type: ignore[arg-type]
    assert table.report.matched_by == {"title": len(values.columns)}
    assert table.values.columns.tolist() == values.columns.tolist()
    assert table.values.index.tolist() == values.index.tolist()
    np.testing.assert_allclose(table.values.to_numpy(), values.to_numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("platform", "rows", "probe", "symbol"),
    [
        ("GPL570", 45_782, "1007_s_at", "DDR1///MIR4640"),
        ("GPL10558", 47_323, "ILMN_1736007", "A1BG"),
        ("GPL5175", 22_011, "2315554", "TTLL10///MIR200A///MIR200B///MIR429"),
        ("GPL6947", 48_803, "ILMN_1343295", "GAPDH"),
    ],
)
def test_a_real_platform_table_names_the_genes_of_its_probes(
    platform: str, rows: int, probe: str, symbol: str
) -> None:
    path = next(MIRROR.glob(f"platforms/*/{platform}/annot/{platform}.annot.gz"))
    table = read_platform_table(path)
    assert len(table) == rows
    assert table.set_index("id").loc[probe, "symbol"] == symbol


def test_every_real_series_is_in_the_catalogue(options: Callable[..., GeoOptions]) -> None:
    study = Study.model_construct(name="all", search="")
    found = search_series(GeoClient(str(MIRROR), options()), study).set_index("accession")
    assert set(SERIES) <= set(found.index)
    for accession, (platform, _, _, n_samples, _, _) in SERIES.items():
        row = found.loc[accession]
        assert (row["platforms"], row["samples"], row["status"]) == (platform, n_samples, "found")
