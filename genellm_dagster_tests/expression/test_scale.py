"""The scale of a table is recognised, and brought to log2 sample by sample."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.scale import detect_scale, log2_of
from genellm_dagster_tests.expression.tables import factor_table


def frame(values: object) -> pd.DataFrame:
    array = np.asarray(values, dtype=float)
    return pd.DataFrame(array, columns=[f"GSM{i}" for i in range(array.shape[1])])


def to_log2(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Apply the way to log2 sample by sample, as the collapse of probes does."""
    function = log2_of(table, kind) or (lambda sample: sample)
    columns = {gsm: function(table[gsm].to_numpy()) for gsm in table.columns}
    return pd.DataFrame(columns, index=table.index)


def test_log2_intensities_are_log2():
    assert detect_scale(factor_table(300, 12, 1)).kind == "log2"


def test_exponentiated_intensities_are_linear():
    scale = detect_scale(2 ** factor_table(300, 12, 1))
    assert scale.kind == "linear"
    assert "99th percentile" in scale.reason


def test_ratios_about_one_are_linear_by_their_quartiles():
    rng = np.random.default_rng(3)
    assert detect_scale(frame(2 ** rng.normal(0.3, 0.6, (500, 10)))).kind == "linear"


def test_a_wide_range_is_linear():
    rng = np.random.default_rng(3)
    assert detect_scale(frame(2 ** rng.normal(2, 1.2, (5000, 10)))).kind == "linear"


def test_a_few_negative_log2_values_are_legitimate():
    table = factor_table(300, 12, 1)
    table.iloc[:10] = -0.81
    assert detect_scale(table).kind == "log2"


def test_median_centred_values_are_recognised():
    table = factor_table(300, 12, 1)
    assert detect_scale(table.sub(table.median(axis=1), axis=0)).kind == "centred"


def test_log_cpm_with_a_middle_near_zero_is_not_centred():
    rng = np.random.default_rng(0)
    levels = rng.normal(0, 4, size=(500, 1))
    assert detect_scale(frame(levels + rng.normal(0, 0.4, size=(500, 12)))).kind == "log2"


def test_the_quantiles_are_recorded():
    quantiles = detect_scale(frame([[1.0, 2.0], [3.0, np.nan]])).quantiles
    assert quantiles["q0"] == 1.0
    assert quantiles["q50"] == 2.0
    assert quantiles["q100"] == 3.0


def test_a_table_without_numbers_is_refused():
    with pytest.raises(ExpressionError, match="holds no number"):
        detect_scale(frame([[np.nan, np.nan]]))


def test_counts_become_log2_cpm_by_the_formula_of_voom():
    counts = frame([[10, 0], [90, 4]])
    expected = np.log2((10 + 0.5) / 101 * 1e6)
    assert to_log2(counts, "counts").iat[0, 0] == pytest.approx(expected)


def test_negative_counts_are_refused_with_the_sample():
    with pytest.raises(ExpressionError, match="GSM1"):
        to_log2(frame([[1, -1]]), "counts")


def test_a_sample_without_reads_has_no_values():
    assert to_log2(frame([[0, 1], [0, 3]]), "counts")["GSM0"].isna().all()


def test_zeros_and_negatives_are_raised_to_the_samples_own_floor():
    result = to_log2(frame([[0.0, 0.0], [-5.0, 2.0], [4.0, 8.0], [8.0, 1024.0]]), "linear")
    assert result["GSM0"].tolist() == [2.0, 2.0, 2.0, 3.0]
    assert result["GSM1"].tolist() == [1.0, 1.0, 3.0, 10.0]


def test_a_sample_without_a_positive_value_has_no_values():
    result = to_log2(frame([[0.0, 2.0], [-1.0, 4.0]]), "linear")
    assert result["GSM0"].isna().all()
    assert result["GSM1"].tolist() == [1.0, 2.0]


def test_an_unknown_scale_is_refused():
    with pytest.raises(ExpressionError, match="ln"):
        to_log2(frame([[1.0]]), "ln")


values_with_gaps = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 12), st.integers(1, 5)),
    elements=st.one_of(st.just(np.nan), st.floats(0, 1e6, width=32)),
)


@settings(max_examples=60, deadline=None)
@given(values_with_gaps, st.sampled_from(["linear", "counts", "log2", "centred"]))
def test_missing_stays_missing_and_each_sample_is_computed_alone(values, kind):
    table = frame(values)
    whole = to_log2(table, kind)
    assert whole.isna().to_numpy()[np.isnan(values)].all()
    for gsm in table.columns:
        pd.testing.assert_frame_equal(to_log2(table[[gsm]], kind), whole[[gsm]])


@settings(max_examples=60, deadline=None)
@given(values_with_gaps, st.sampled_from(["linear", "counts", "log2"]), st.sampled_from("CF"))
def test_float32_gives_what_float64_gives_but_for_its_rounding(values, kind, layout):
    wide = frame(values)
    narrow = pd.DataFrame(
        np.array(values, dtype=np.float32, order=layout), columns=wide.columns, copy=False
    )
    pd.testing.assert_frame_equal(
        to_log2(narrow, kind).astype(np.float64), to_log2(wide, kind), check_exact=True
    )
    if np.isfinite(values).any():
        found, expected = detect_scale(narrow), detect_scale(wide)
        assert (found.kind, found.reason) == (expected.kind, expected.reason)
        assert found.quantiles == pytest.approx(expected.quantiles, rel=1e-12)


def test_infinite_values_are_no_part_of_the_scale():
    table = factor_table(300, 12, 1)
    expected = detect_scale(table)
    table.loc["one"], table.loc["other"] = np.inf, -np.inf
    assert detect_scale(table) == expected
