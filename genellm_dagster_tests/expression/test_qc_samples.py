"""What is measured on each sample: against plain definitions, and what an outlier of it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.expression import qc_samples
from genellm_dagster.expression.qc import quality_control
from genellm_dagster.expression.qc_options import QcOptions
from genellm_dagster.expression.qc_samples import (
    measured_samples,
    outlier_flags,
    robust_pca_distances,
)
from genellm_dagster_tests.expression.tables import factor_table, sheet_of


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 500), gaps=st.floats(0, 0.7), levels=st.sampled_from([3, 20, 10_000]))
def test_measures_equal_their_plain_definitions_with_ties_and_gaps(seed, gaps, levels):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, (40, 6)).astype(np.float32)
    values[rng.random(values.shape) < gaps] = np.nan
    table = pd.DataFrame(values, columns=[f"GSM{i}" for i in range(6)])
    found = measured_samples(table, QcOptions())
    np.testing.assert_allclose(found["missing_share"], table.isna().mean(), atol=1e-12)
    np.testing.assert_allclose(found["median_log2"], table.median(), rtol=1e-6)
    spread = table.astype(float).quantile(0.75) - table.astype(float).quantile(0.25)
    np.testing.assert_allclose(found["iqr_log2"], spread, rtol=1e-6)
    for name, end in (("floor_share", table.min()), ("ceiling_share", table.max())):
        n = (table == end).sum()
        expected = (n / table.notna().sum()).where(n > 1, 0.0).where(table.notna().any())
        np.testing.assert_allclose(found[name], expected)
    ranks = table.rank()
    each = ranks.corr(min_periods=3).to_numpy(copy=True)
    np.fill_diagonal(each, np.nan)
    for at, value in enumerate(found["correlation"]):
        others = each[at][np.isfinite(each[at])]
        expected = np.median(others) if len(others) else np.nan
        assert value == pytest.approx(expected, abs=1e-4, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 300), st.permutations(range(14)))
def test_a_sample_is_measured_alone_and_order_changes_nothing(seed, order):
    table = factor_table(50, 14, seed)
    own = ["missing_share", "median_log2", "iqr_log2", "floor_share", "ceiling_share"]
    together = measured_samples(table, QcOptions())
    alone = measured_samples(table[["GSM1005"]], QcOptions())
    pd.testing.assert_series_equal(alone.loc["GSM1005", own], together.loc["GSM1005", own])
    turned = measured_samples(table.iloc[::-1, list(order)], QcOptions())
    pd.testing.assert_frame_equal(turned.loc[together.index], together, atol=1e-5)


def test_an_array_of_noise_lies_off_the_components_of_many_though_its_scores_are_small():
    table = factor_table(600, 120, 2)
    rng = np.random.default_rng(0)
    table["GSM1007"] = rng.permutation(table["GSM1007"].to_numpy())
    _, residual = robust_pca_distances(table, 3)
    assert np.argmax(residual) == 7
    assert residual[7] > 3 * np.median(residual)
    found = quality_control(table, sheet_of(table), QcOptions(pca_components=3))
    row = found.samples.set_index("gsm").loc["GSM1007"]
    assert not row["kept"]
    assert qc_samples.APART_FROM_COMPONENTS in row["reasons"]
    assert found.summary["samples_kept"] == 119


def test_few_gaps_leave_the_components_standing_and_count_for_nothing():
    table = factor_table(300, 20, 5)
    whole, whole_left = robust_pca_distances(table, 3)
    rng = np.random.default_rng(1)
    gappy = table.mask(rng.random(table.shape) < 0.01)
    # Hardly a gene is complete in twenty samples of which each lacks one gene in a hundred.
    distance, left = robust_pca_distances(gappy, 3)
    np.testing.assert_allclose(distance, whole, rtol=0.2, atol=0.1)
    np.testing.assert_allclose(left, whole_left, rtol=0.05)
    assert np.isnan(robust_pca_distances(table.mask(rng.random(table.shape) < 0.5), 3)[0]).all()


def measured(n: int = 20, **odd: float) -> pd.DataFrame:
    """A cohort without outliers, but for the last sample's ``odd`` values."""
    wobble = np.linspace(-1, 1, n) * 0.01
    frame = pd.DataFrame(
        {
            "missing_share": 0.0,
            "median_log2": 7 + wobble,
            "iqr_log2": 3 + wobble,
            "floor_share": 0.05 + wobble / 10,
            "ceiling_share": 0.0,
            "correlation": 0.85 + wobble / 10,
            "pca_distance": 1 + wobble,
            "pca_residual": 0.5 + wobble / 10,
        },
        index=pd.Index([f"GSM{i}" for i in range(n)], name="gsm"),
    )
    for name, value in odd.items():
        frame.loc[f"GSM{n - 1}", name] = value
    return frame


@pytest.mark.parametrize(
    ("odd", "votes", "remarks"),
    [
        ({}, 0, set()),
        ({"median_log2": 12.0}, 1, {qc_samples.MEDIAN_APART}),
        ({"iqr_log2": 1.0}, 1, {qc_samples.SPREAD_APART}),
        # Intensity has one vote, however many of its measures speak.
        (
            {"median_log2": 2.0, "iqr_log2": 6.0},
            1,
            {qc_samples.MEDIAN_APART, qc_samples.SPREAD_APART},
        ),
        # So have both distances of the components.
        (
            {"pca_distance": 20.0, "pca_residual": 2.0},
            1,
            {qc_samples.APART_IN_COMPONENTS, qc_samples.APART_FROM_COMPONENTS},
        ),
        (
            {"correlation": 0.2, "iqr_log2": 6.0},
            2,
            {qc_samples.CORRELATES_LITTLE, qc_samples.SPREAD_APART},
        ),
        # Undetected genes are a remark: they lower correlation and spread by themselves.
        ({"floor_share": 0.6}, 0, {qc_samples.MUCH_AT_FLOOR}),
        # Many deviations off, and yet not far: all are much alike.
        ({"median_log2": 7.3, "iqr_log2": 3.5, "floor_share": 0.1, "pca_residual": 0.6}, 0, set()),
        ({"correlation": 0.95, "pca_distance": 0.1, "pca_residual": 0.1}, 0, set()),
        ({"median_log2": np.nan, "iqr_log2": np.nan, "correlation": np.nan}, 0, set()),
        ({"pca_distance": np.nan, "pca_residual": np.nan}, 0, set()),
    ],
)
def test_measures_vote_by_what_they_measure(odd, votes, remarks):
    flags, counted, may_leave = outlier_flags(measured(**odd), 20_000, QcOptions())
    assert {str(name) for name in flags if flags[name].iloc[-1]} == remarks
    assert counted[-1] == votes
    assert not flags.iloc[:-1].any().any()
    assert may_leave


def test_few_samples_have_no_outliers_and_a_panel_leaves_none_out():
    few, votes, may_leave = outlier_flags(measured(7, median_log2=1.0), 20_000, QcOptions())
    assert not few.any().any()
    assert votes.sum() == 0
    assert not may_leave
    _, votes, may_leave = outlier_flags(measured(20, median_log2=1.0), 60, QcOptions())
    assert votes[-1] == 1
    assert not may_leave


def test_saturation_is_remarked_and_leaves_on_request():
    table = factor_table(500, 20, 1)
    table["GSM1003"] = table["GSM1003"].clip(upper=table["GSM1003"].quantile(0.9))
    found = quality_control(table, sheet_of(table))
    row = found.samples.set_index("gsm").loc["GSM1003"]
    assert row["kept"]
    assert row["ceiling_share"] == pytest.approx(0.1)
    assert "10.0% of its values are its highest" in row["reasons"]
    assert found.summary["saturation"]["samples"] == 1
    assert found.summary["saturation"]["ceiling_share_max"] == pytest.approx(0.1)
    asked = quality_control(table, sheet_of(table), QcOptions(saturation="leave_out"))
    assert "GSM1003" not in asked.table
    assert asked.summary["saturation"]["samples"] == 1
