"""Quantiles by counting are those of sorting, whatever the numbers and their layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genellm_dagster.expression import quantiles
from genellm_dagster.expression.quantiles import finite_quantiles, row_quantiles

SHARES = (0.0, 0.25, 0.5, 0.75, 0.99, 1.0)
# Bounded so that the difference of two of them is a float32 number still.
any_number = st.one_of(
    st.floats(-(2.0**120), 2.0**120, width=32, allow_subnormal=True),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 7.5, np.nan, np.inf, -np.inf]),
)
tables = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 6)), elements=any_number
)


def assert_same(found: list[float], expected: np.ndarray, size: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * size)


@settings(max_examples=200, deadline=None)
@given(tables, st.sampled_from([3, 1 << 18]))
def test_quantiles_are_those_of_all_finite_numbers(numbers, part):
    before = numbers.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "_PART", part)
        count, found = finite_quantiles(numbers, SHARES)
        assert (count, found) == finite_quantiles(numbers[::-1].T, SHARES)
    np.testing.assert_array_equal(numbers, before)
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    assert count == finite.size
    if count == 0:
        assert found == []
    else:
        assert_same(found, np.quantile(finite, SHARES), float(np.abs(finite).max()))


@settings(max_examples=50, deadline=None)
@given(tables)
def test_float64_gives_what_float32_gives(numbers):
    count, found = finite_quantiles(numbers.astype(np.float64), SHARES)
    assert count == finite_quantiles(numbers, SHARES)[0]
    size = np.abs(numbers[np.isfinite(numbers)]).max(initial=0)
    assert_same(found, np.array(finite_quantiles(numbers, SHARES)[1]), float(size))


@settings(max_examples=100, deadline=None)
@given(tables, st.integers(1, 4), st.integers(1, 5))
def test_quantiles_of_rows_leave_out_what_is_missing(numbers, at_least, block):
    found = row_quantiles(numbers, SHARES, at_least=at_least, block=block)
    finite = [row[np.isfinite(row)].astype(np.float64) for row in numbers]
    kept = [row for row in finite if len(row) >= at_least]
    assert found.shape == (len(kept), len(SHARES))
    for row, expected in zip(found, kept, strict=True):
        assert_same(list(row), np.quantile(expected, SHARES), float(np.abs(expected).max()))
