"""Real values where the mirror of GEO lies beside the repository: the traps they hold."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pandas as pd
import pytest

from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.qc import quality_control
from genellm_dagster_tests.expression.tables import cohort, sheet_of

MIRROR = Path(__file__).parents[3] / "shared" / "geo" / "series"

pytestmark = pytest.mark.skipif(
    not MIRROR.is_dir(), reason="no ../shared/geo beside the repository"
)


def values_of(series: str) -> pd.DataFrame:
    path = next(MIRROR.glob(f"*/{series}/matrix/{series}_series_matrix.txt.gz"))
    text = gzip.decompress(path.read_bytes()).decode()
    table = text.split("!series_matrix_table_begin\n")[1].split("!series_matrix_table_end")[0]
    values = pd.read_csv(io.StringIO(table), sep="\t", index_col=0)
    return values.set_axis(values.index.astype(str), axis=0)


@pytest.mark.parametrize(
    ("series", "scale"),
    [
        ("GSE65682", "log2"), ("GSE185263", "log2"), ("GSE154918", "log2"), ("GSE54514", "log2"),
        ("GSE22098", "log2"), ("GSE66099", "log2"), ("GSE8121", "linear"), ("GSE101705", "linear"),
    ],
)  # fmt: skip
def test_the_scale_is_recognised_and_the_panel_keeps_its_samples(series, scale):
    values = values_of(series)
    result = build_expression(values, None, cohort(accession=series), "array")
    assert result.report["scale"]["kind"] == scale
    assert result.report["ids"]["mapped"] >= 0.95 * len(values)
    qc = quality_control(result.table, sheet_of(result.table))
    assert qc.samples["kept"].mean() > 0.95


def test_a_name_of_its_time_is_found_under_its_symbol_of_today():
    table = build_expression(values_of("GSE54514"), None, cohort(), "array").table
    assert "CXCL8" in table.index
    assert "IL8" not in table.index
