"""Probes become genes as a plain loop would make them, in any layout and order."""

from __future__ import annotations

import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genellm_dagster.expression import collapse as module
from genellm_dagster.expression.collapse import collapse

PLAIN = {"median": statistics.median, "mean": statistics.fmean}


def plain(values: pd.DataFrame, genes: np.ndarray, method: str) -> pd.DataFrame:
    """The same by a loop over genes and samples."""
    rows = {}
    for gene in sorted(set(genes)):
        probes = values.to_numpy(dtype=np.float64)[genes == gene]
        known = [[value for value in column if value == value] for column in probes.T]
        if any(known):
            rows[gene] = [PLAIN[method](cells) if cells else np.nan for cells in known]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=values.columns)
    return table.rename_axis("gene").astype(np.float32)


def frame(numbers: np.ndarray, layout: str = "F") -> pd.DataFrame:
    return pd.DataFrame(
        np.array(numbers, order=layout),
        index=[f"p{i}" for i in range(len(numbers))],
        columns=[f"GSM{i}" for i in range(numbers.shape[1])],
        copy=False,
    )


log2_values = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 24), st.integers(1, 6)),
    elements=st.one_of(st.floats(-4, 20, width=32), st.just(np.nan)),
)


@st.composite
def probes_of_genes(draw):
    numbers = draw(log2_values)
    names = draw(st.lists(st.sampled_from("ABCDE"), min_size=len(numbers), max_size=len(numbers)))
    return numbers, np.array(names, dtype=object)


@settings(max_examples=150, deadline=None)
@given(probes_of_genes(), st.sampled_from(["median", "mean"]), st.sampled_from([4, 1 << 21]))
def test_probes_are_merged_as_a_loop_would_merge_them(given_probes, method, block_bytes):
    numbers, genes = given_probes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_BYTES", block_bytes)
        table, counts = collapse(frame(numbers), genes, method)
    if counts["genes"] == 0:
        assert np.isnan(numbers).all()
        return
    expected = plain(frame(numbers), genes, method)
    pd.testing.assert_frame_equal(table, expected, rtol=1e-6, atol=1e-6)
    assert counts["probes"] == len(numbers)
    assert counts["without_values"] == int(np.isnan(numbers).all(axis=1).sum())


@settings(max_examples=100, deadline=None)
@given(probes_of_genes(), st.sampled_from(["median", "mean"]), st.randoms(use_true_random=False))
def test_the_order_of_probes_and_the_layout_do_not_even_change_the_rounding(
    given_probes, method, random
):
    numbers, genes = given_probes
    expected, counts = collapse(frame(numbers), genes, method)
    order = list(range(len(numbers)))
    random.shuffle(order)
    for layout in ("C", "F"):
        again, counts_again = collapse(frame(numbers[order], layout), genes[order], method)
        pd.testing.assert_frame_equal(again, expected, check_exact=True)
        assert counts_again == counts


@settings(max_examples=50, deadline=None)
@given(
    probes_of_genes(),
    st.sampled_from(["median", "mean", "highest_mean", "highest_variance"]),
    st.data(),
)
def test_rows_that_are_named_are_the_same_as_rows_that_are_picked(given_probes, method, data):
    numbers, _ = given_probes
    rows = data.draw(st.lists(st.integers(0, len(numbers) - 1), min_size=1, max_size=30))
    genes = np.array(
        data.draw(st.lists(st.sampled_from("AB"), min_size=len(rows), max_size=len(rows))),
        dtype=object,
    )
    values = frame(numbers)
    named, counts = collapse(values, genes, method, np.array(rows))
    picked, counts_picked = collapse(values.iloc[rows], genes, method)
    pd.testing.assert_frame_equal(named, picked, check_exact=True)
    assert counts == counts_picked


@settings(max_examples=50, deadline=None)
@given(
    probes_of_genes(),
    st.sampled_from(["median", "mean", "highest_mean", "highest_variance"]),
    st.sampled_from([4, 200, 1 << 21]),
)
def test_samples_brought_to_log2_on_the_way_are_the_same_as_before_it(
    given_probes, method, block_bytes
):
    numbers, genes = given_probes
    numbers = np.exp2(numbers)

    def to_log2(sample):
        return np.log2(sample) if np.nansum(sample) > 100 else sample * np.nan

    before = frame(np.column_stack([to_log2(sample) for sample in numbers.T]))
    expected, counts = collapse(before, genes, method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_BYTES", block_bytes)
        table, counts_on_the_way = collapse(frame(numbers), genes, method, to_log2=to_log2)
    pd.testing.assert_frame_equal(table, expected, rtol=1e-6)
    assert counts_on_the_way == counts


@pytest.mark.parametrize("probes", [2, 3, 4, 7, 15, 16, 17, 18, 41])
@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_a_gene_of_many_probes_has_their_median(probes, gaps):
    rng = np.random.default_rng(probes)
    numbers = rng.normal(8, 2, size=(probes + 3, 50)).astype(np.float32)
    numbers[rng.random(numbers.shape) < gaps] = np.nan
    genes = np.array(["TP53"] * probes + ["CXCL8", "CXCL8", "A1BG"], dtype=object)
    table, _ = collapse(frame(numbers), genes)
    pd.testing.assert_frame_equal(table, plain(frame(numbers), genes, "median"), rtol=1e-6)


def test_two_large_values_have_a_middle():
    numbers = np.full((2, 1), 3e38, dtype=np.float32)
    table, _ = collapse(frame(numbers), np.array(["TP53"] * 2, dtype=object))
    assert table.at["TP53", "GSM0"] == np.float32(3e38)


def test_the_values_are_left_as_they_were():
    numbers = np.array([[3, np.nan], [1, 2], [2, 5]], dtype=np.float32)
    values = frame(numbers)
    collapse(values, np.array(["A", "A", "A"], dtype=object))
    np.testing.assert_array_equal(values.to_numpy(), numbers)
