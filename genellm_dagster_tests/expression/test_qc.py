"""QC: samples and genes leave for reasons that stay visible; panels are not held against people."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.options import QcOptions
from genellm_dagster.expression.qc import quality_control
from genellm_dagster.expression.tables import correlations
from genellm_dagster_tests.expression.tables import factor_table, sheet_of


def row_of(samples: pd.DataFrame, gsm: str) -> pd.Series:
    return samples.set_index("gsm").loc[gsm]


def test_good_samples_all_stay():
    table = factor_table(600, 20, 1)
    result = quality_control(table, sheet_of(table, case=[0, 1] * 10))
    assert result.table.shape == table.shape
    assert (result.summary["cases"], result.summary["controls"]) == (10, 10)
    json.dumps(result.summary, allow_nan=False)


def test_a_sample_with_many_gaps_leaves_with_its_reason():
    table = factor_table(600, 20, 1)
    table.iloc[:300, 4] = np.nan
    result = quality_control(table, sheet_of(table))
    row = row_of(result.samples, "GSM1004")
    assert not row["kept"]
    assert row["reasons"].startswith("50% of its genes missing")
    assert "GSM1004" not in result.table
    assert len(result.samples) == 20


def test_an_array_of_noise_leaves_a_whole_transcriptome():
    table = factor_table(800, 30, 1)
    table["GSM1007"] = np.random.default_rng(0).normal(3, 2, 800).astype(np.float32)
    result = quality_control(table, sheet_of(table))
    row = row_of(result.samples, "GSM1007")
    assert not row["kept"]
    assert "correlates little" in row["reasons"]
    assert "principal components" in row["reasons"]
    assert result.samples["kept"].sum() == 29


def test_on_a_panel_outliers_are_remarked_but_stay():
    table = factor_table(50, 30, 1)
    table["GSM1007"] = np.random.default_rng(0).normal(3, 2, 50).astype(np.float32)
    result = quality_control(table, sheet_of(table))
    row = row_of(result.samples, "GSM1007")
    assert row["kept"]
    assert row["reasons"]
    assert result.summary["outliers_can_be_left_out"] is False


@pytest.mark.parametrize(("genes", "samples"), [(50, 10), (1, 1), (2, 2), (5, 3), (30, 1)])
def test_tiny_tables_are_judged_without_failing(genes, samples):
    table = factor_table(genes, samples, 1)
    result = quality_control(table, sheet_of(table))
    assert result.table.shape == (genes, samples)
    json.dumps(result.summary, allow_nan=False)


def test_a_constant_gene_is_remarked_and_stays_unless_asked():
    table = factor_table(50, 10, 1)
    table.iloc[3] = 2.5
    kept = quality_control(table, sheet_of(table))
    assert kept.genes["reason"].iloc[3] == "one value in all samples"
    assert kept.summary["genes_constant"] == 1
    assert len(kept.table) == 50
    dropped = quality_control(table, sheet_of(table), QcOptions(drop_constant_genes=True))
    assert len(dropped.table) == 49


def test_a_gene_that_is_mostly_missing_leaves():
    table = factor_table(50, 10, 1)
    table.iloc[3, :6] = np.nan
    result = quality_control(table, sheet_of(table))
    assert table.index[3] not in result.table.index
    assert not result.genes["kept"].iloc[3]
    assert len(result.genes) == 50


def test_unused_samples_take_no_part_and_absent_ones_are_listed():
    table = factor_table(50, 10, 1)
    sheet = sheet_of(table)
    sheet.loc[0, "used"] = False
    sheet.loc[10] = {"gsm": "GSM9", "subject": "GSM9", "used": True}
    result = quality_control(table, sheet)
    assert "GSM1000" not in set(result.samples["gsm"])
    row = row_of(result.samples, "GSM9")
    assert not row["kept"]
    assert row["reasons"] == "no expression values"


def test_no_sample_with_values_is_refused():
    table = factor_table(50, 4, 1)
    with pytest.raises(ExpressionError, match="None of the 1 samples"):
        quality_control(table, pd.DataFrame({"gsm": ["GSM9"]}))


def test_qc_that_leaves_nobody_is_refused():
    table = factor_table(50, 4, 1)
    table.iloc[:40] = np.nan
    with pytest.raises(ExpressionError, match="none of 4 samples"):
        quality_control(table, sheet_of(table))


def test_a_second_application_changes_nothing():
    table = factor_table(800, 30, 1)
    table["GSM1007"] = np.random.default_rng(0).normal(3, 2, 800).astype(np.float32)
    table.iloc[3, :20] = np.nan
    once = quality_control(table, sheet_of(table)).table
    pd.testing.assert_frame_equal(quality_control(once, sheet_of(once)).table, once)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.floats(0, 0.5))
def test_order_of_samples_and_genes_changes_nothing_but_order(random, gaps):
    table = factor_table(60, 12, 3)
    hidden = np.random.default_rng(random.randrange(1000)).random(table.shape) < gaps
    table = table.mask(hidden)
    table.iloc[:, 0] = factor_table(60, 1, 4).iloc[:, 0]
    sheet = sheet_of(table)
    expected = quality_control(table, sheet)
    genes = list(table.index)
    random.shuffle(genes)
    order = list(range(12))
    random.shuffle(order)
    got = quality_control(table.loc[genes], sheet.iloc[order])
    pd.testing.assert_frame_equal(
        got.table.loc[expected.table.index, expected.table.columns], expected.table
    )
    pd.testing.assert_frame_equal(
        got.samples.sort_values("gsm", ignore_index=True),
        expected.samples.sort_values("gsm", ignore_index=True),
        atol=1e-4,
    )
    # Nothing missing has become a number.
    assert expected.table.isna().equals(
        table.loc[expected.table.index, expected.table.columns].isna()
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 0.6))
def test_correlations_equal_pandas_pairwise_complete_ones(seed, gaps):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(15, 5))
    values[rng.random(values.shape) < gaps] = np.nan
    expected = pd.DataFrame(values).corr(min_periods=3).to_numpy()
    np.testing.assert_allclose(correlations(values, values), expected, atol=1e-9)
