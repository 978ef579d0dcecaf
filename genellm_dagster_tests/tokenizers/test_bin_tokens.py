"""Profiles to bin tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.bins import Bins, BinsTokenizer
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster_tests.tokenizers.makers import GENES, profiles, some_profiles

WHOLE = TokenizerOptions(kind="bins", bin_count=2, value_scale=1)
OF_A_GENE = TokenizerOptions(kind="bins", bin_count=2, value_scale=1, bin_edges="gene")
TRAINING = [[0, 10, 5, 1, 1], [1, 11, 5, 1, 2], [2, 12, 5, 1, 3], [3, 13, 5, 1, 4]]

values = arrays(np.float64, st.integers(1, 60), elements=st.floats(-9, 9, width=32))


@settings(deadline=None)
@given(values, st.integers(2, 20))
def test_no_bin_is_empty_and_each_holds_its_centre(found: np.ndarray, count: int):
    bins = Bins.of(found, count)
    assert 1 <= len(bins.centres) == len(bins.edges) + 1 <= count
    numbers = bins.number(found)
    assert set(numbers) == set(range(len(bins.centres)))
    assert bins.number(bins.centres).tolist() == list(range(len(bins.centres)))


@settings(deadline=None)
@given(values, st.integers(2, 20), st.randoms(use_true_random=False))
def test_bins_do_not_depend_on_the_order_of_the_values(found: np.ndarray, count: int, random):
    bins = Bins.of(found, count)
    shuffled = found.copy()
    random.shuffle(shuffled)
    again = Bins.of(shuffled, count)
    assert bins.edges.tolist() == again.edges.tolist()
    assert bins.centres.tolist() == again.centres.tolist()


def test_bins_hold_about_as_many_values_each():
    numbers = Bins.of(np.arange(100.0), 8).number(np.arange(100.0))
    assert set(np.bincount(numbers)) <= {12, 13}


def test_a_value_is_read_as_the_median_of_its_bin():
    tokenizer = BinsTokenizer(GENES, OF_A_GENE).fit(profiles(TRAINING))
    (token,) = token_profiles(tokenizer.transform(profiles([[0.9, 12, 5, 1, 2.9]])))
    assert token.values.tolist() == [0.5, 12.5, 5, 1, 1.5]
    assert token.genes.tolist() == token.positions.tolist() == [0, 1, 2, 3, 4]


def test_what_lies_beyond_training_is_read_as_the_outermost_bin():
    tokenizer = BinsTokenizer(GENES, OF_A_GENE).fit(profiles(TRAINING))
    (token,) = token_profiles(tokenizer.transform(profiles([[-90, 90, -90, 90, 90]])))
    assert token.values.tolist() == [0.5, 12.5, 5, 1, 3.5]


def test_common_bins_read_the_same_value_of_every_gene_alike():
    tokenizer = BinsTokenizer(GENES, WHOLE).fit(profiles(TRAINING))
    (token,) = token_profiles(tokenizer.transform(profiles([[2.5, 2.5, 2.5, 9, 9]])))
    assert len(set(token.values[:3])) == 1
    assert len(set(token.values[3:])) == 1
    assert token.values[0] < token.values[3]


def test_a_gene_without_bins_of_its_own_has_no_token():
    training = profiles([[np.nan, 1, 1, 1, 1], [np.nan, 2, 2, 2, 2]])
    tokenizer = BinsTokenizer(GENES, OF_A_GENE).fit(training)
    (token,) = token_profiles(tokenizer.transform(profiles([[7, 1, 1, 1, np.nan]])))
    assert token.genes.tolist() == [1, 2, 3]
    # With common bins the level is known of every gene.
    common = BinsTokenizer(GENES, WHOLE).fit(training)
    (token,) = token_profiles(common.transform(profiles([[7, 1, 1, 1, np.nan]])))
    assert token.genes.tolist() == [0, 1, 2, 3]


@settings(max_examples=50, deadline=None)
@given(some_profiles())
def test_with_a_bin_a_value_nothing_is_lost_and_tokens_are_those_of_value(training):
    options = TokenizerOptions(kind="bins", bin_count=256)
    bins = BinsTokenizer(GENES, options).fit(training)
    value = ValueTokenizer(GENES, TokenizerOptions())
    for one, other in zip(
        token_profiles(bins.transform(training)),
        token_profiles(value.transform(training)),
        strict=True,
    ):
        assert one.genes.tolist() == other.genes.tolist()
        np.testing.assert_allclose(one.values, other.values, rtol=1e-6)


def test_without_training_profiles_there_are_no_bins():
    with pytest.raises(ModelError, match="has not been fitted"):
        BinsTokenizer(GENES, WHOLE).transform(profiles(TRAINING))


def test_tokens_of_a_gene_without_bins_are_refused_when_read_back():
    training = profiles([[np.nan, 1, 1, 1, 1]])
    tokens = token_profiles(
        ValueTokenizer(GENES, TokenizerOptions()).transform(profiles([[1] * 5]))
    )
    with pytest.raises(ModelError, match="has IL6, of which the tokenizer learned no bins"):
        BinsTokenizer(GENES, OF_A_GENE).fit(training).expression(tokens)
