"""QC: samples and genes leave for reasons that stay visible; panels are not held against people."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.qc import quality_control
from genellm_dagster.expression.qc_options import QcOptions
from genellm_dagster.expression.tables import correlations
from genellm_dagster_tests.expression.tables import factor_table, sheet_of, two_sexes


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
    table.iloc[3] = table.to_numpy().min() - 1
    kept = quality_control(table, sheet_of(table))
    assert kept.genes["reason"].iloc[3] == "one value in all samples"
    assert kept.summary["genes_suspicious"] == 0
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


def test_a_sample_of_one_value_has_measured_nothing_and_leaves():
    table = factor_table(60, 12, 1)
    table.iloc[:, 2] = 7.0
    table.iloc[:55, 3] = 3.0
    found = quality_control(table, sheet_of(table))
    assert row_of(found.samples, "GSM1002")["reasons"].startswith("100% of its values are one")
    assert not row_of(found.samples, "GSM1002")["kept"]
    assert not row_of(found.samples, "GSM1003")["kept"]
    assert found.summary["samples_kept"] == 10


def test_a_sample_of_another_age_leaves_the_stratum_and_bounds_are_half_open():
    table = factor_table(60, 12, 1)
    ages = [17.9, 18.0, 64.9, 65.0, None] + [40.0] * 7
    sheet = sheet_of(table, age_years=ages)
    found = quality_control(table, sheet, bounds=(18, 65))
    assert set(found.samples.loc[~found.samples["kept"], "gsm"]) == {"GSM1000", "GSM1003"}
    assert "its age 17.9 years lies outside the" in row_of(found.samples, "GSM1000")["reasons"]
    ages_told = found.summary["ages"]
    assert (ages_told["outside"], ages_told["known"], ages_told["unknown"]) == (2, 11, 1)
    assert any("age outside" in warning for warning in found.summary["warnings"])
    remarked = quality_control(table, sheet, QcOptions(age_outside="remark"), bounds=(18, 65))
    assert remarked.samples["kept"].all()
    assert remarked.samples["reasons"].str.contains("its age").sum() == 2
    assert not quality_control(table, sheet).samples["reasons"].str.contains("its age").any()
    json.dumps(quality_control(table, sheet, bounds=(18, np.inf)).summary, allow_nan=False)


@pytest.mark.parametrize("change", ["spread", "median"])
def test_an_array_of_another_intensity_is_told_by_its_median_and_by_its_spread(change):
    table = factor_table(600, 20, 1)
    middle = table["GSM1004"].median()
    table["GSM1004"] = (
        middle + 2.5 * (table["GSM1004"] - middle)
        if change == "spread"
        else table["GSM1004"] + np.float32(6)
    )
    row = row_of(quality_control(table, sheet_of(table)).samples, "GSM1004")
    assert f"its {change} lies apart" in row["reasons"]


def test_no_sample_with_values_is_refused():
    table = factor_table(50, 4, 1)
    with pytest.raises(ExpressionError, match="None of the 1 samples"):
        quality_control(table, pd.DataFrame({"gsm": ["GSM9"]}))


def test_values_beyond_single_precision_are_refused_and_the_largest_within_are_judged():
    table = factor_table(50, 10, 1).astype(np.float64)
    table.iloc[3, 3] = 3e38
    table.iloc[4, 4] = 1e-42
    judged = quality_control(table, sheet_of(table))
    assert judged.table.shape == (50, 10)
    json.dumps(judged.summary, allow_nan=False)
    table.iloc[3, 3] = 1e39
    with pytest.raises(ExpressionError, match="infinite"):
        quality_control(table, sheet_of(table))


def test_qc_that_leaves_nobody_is_refused():
    table = factor_table(50, 4, 1)
    table.iloc[:40] = np.nan
    with pytest.raises(ExpressionError, match="none of 4 samples"):
        quality_control(table, sheet_of(table))


def flawed_table(seed: int, noise: int, gaps: float, empty: int) -> tuple[pd.DataFrame, list[str]]:
    """Both sexes, arrays more or less of noise, which hide each other, gaps, one mostly empty."""
    table, sexes = two_sexes(900, 24, seed)
    rng = np.random.default_rng(seed)
    weight = np.linspace(1, 0.3, noise)
    table.iloc[:, :noise] = (
        (1 - weight) * table.iloc[:, :noise] + weight * rng.normal(5, 4, (len(table), noise))
    ).astype(np.float32)
    # Some genes are missing in about half of the samples.
    share = np.where(rng.random((len(table), 1)) < gaps, 0.5, 0.02)
    table = table.mask(rng.random(table.shape) < share)
    table.iloc[:empty, -1] = np.nan
    return table, sexes


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 200),
    noise=st.integers(0, 9),
    gaps=st.floats(0, 0.4),
    empty=st.integers(0, 400),
    swapped=st.integers(0, 3),
)
def test_a_second_application_changes_nothing(seed, noise, gaps, empty, swapped):
    table, sexes = flawed_table(seed, noise, gaps, empty)
    recorded = ["male"] * swapped + sexes[swapped:]
    sheet = sheet_of(table, sex=recorded, age_years=[17.0] + [40.0] * 23)
    options = QcOptions(sex_mismatch="leave_out", max_sample_missing=0.4)
    try:
        once = quality_control(table, sheet, options, bounds=(18, None))
    except ExpressionError:
        return
    rows = sheet[sheet["gsm"].isin(once.table.columns)]
    twice = quality_control(once.table, rows, options, bounds=(18, None))
    pd.testing.assert_frame_equal(twice.table, once.table)
    kept = once.samples[once.samples["kept"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(twice.samples, kept, check_exact=False)
    kept = once.genes[once.genes["kept"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(twice.genes, kept, check_exact=False)


def test_who_leaves_can_make_another_leave_and_both_keep_their_reason():
    table = factor_table(600, 20, 1)
    # These genes are missing in most, so they go, and with them most of what the sample has.
    table.iloc[:240, 1:] = np.nan
    table.iloc[240:500, 0] = np.nan
    options = QcOptions(max_sample_missing=0.45)
    found = quality_control(table, sheet_of(table), options)
    assert found.summary["rounds"] == 3
    assert row_of(found.samples, "GSM1000")["reasons"] == "72% of its genes missing"
    assert (found.genes["reason"] != "").sum() == 240
    assert found.table.shape == (360, 19)
    once = quality_control(table, sheet_of(table), options.model_copy(update={"max_rounds": 1}))
    assert "GSM1000" in once.table
    assert any("rounds" in warning for warning in once.summary["warnings"])


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
