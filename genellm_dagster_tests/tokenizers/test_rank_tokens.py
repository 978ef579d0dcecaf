"""Profiles to rank tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.rank import RankTokenizer, spread_positions
from genellm_dagster_tests.tokenizers.makers import GENES, profiles

OPTIONS = TokenizerOptions(kind="rank")
MEDIANS = [0.0, 1.0, 2.0, 3.0, 4.0]


def tokenizer() -> RankTokenizer:
    return RankTokenizer(GENES, OPTIONS).fit(profiles([MEDIANS]))


def symbols(values: list[float]) -> list[str]:
    (token,) = token_profiles(tokenizer().transform(profiles([values])))
    return [GENES[gene] for gene in token.genes]


def test_the_gene_most_above_its_median_comes_first_whatever_its_level():
    # IL6 has the lowest value and lies most above its median.
    assert symbols([2.5, 2.0, 2.0, 2.0, 2.0]) == ["IL6", "CD177", "MMP8", "ARG1", "HLA-DPB1"]


def test_ties_stand_in_the_order_of_their_symbols():
    assert symbols(MEDIANS) == sorted(GENES)


def test_a_difference_that_is_only_rounding_is_a_tie():
    # 0.1 above the median in float32 is not the same number at every median.
    assert symbols([value + 0.1 for value in MEDIANS]) == sorted(GENES)


def test_no_token_is_moved():
    (token,) = token_profiles(tokenizer().transform(profiles([[5, 4, 3, 2, 1]])))
    assert token.values.tolist() == [0.0] * 5
    assert token.positions.tolist() == [0, 1, 2, 3, 4]


def test_an_absent_gene_has_no_token_and_the_order_keeps_its_ends():
    (token,) = token_profiles(tokenizer().transform(profiles([[2.5, 2, np.nan, 2, 2]])))
    assert [GENES[gene] for gene in token.genes] == ["IL6", "CD177", "ARG1", "HLA-DPB1"]
    assert (token.positions[0], token.positions[-1]) == (0, 4)


def test_a_gene_that_no_training_sample_had_has_no_token():
    unseen = profiles([[1, 1, 1, 1, np.nan], [2, 2, 2, 2, np.nan]])
    learned = RankTokenizer(GENES, OPTIONS).fit(unseen)
    (token,) = token_profiles(learned.transform(profiles([[1, 2, 3, 4, 9]])))
    assert 4 not in token.genes
    assert learned.describe()["medians"][4] is None
    with pytest.raises(ModelError, match="none of the model's genes"):
        learned.transform(profiles([[np.nan] * 4 + [1.0]]))


def test_the_median_is_that_of_the_training_samples_that_have_the_gene():
    learned = RankTokenizer(GENES, OPTIONS).fit(
        profiles([[1, 0, 0, 0, 0], [np.nan, 0, 0, 0, 0], [3, 0, 0, 0, 0], [8, 0, 0, 0, 0]])
    )
    assert learned.describe()["medians"][0] == 3.0


def test_without_training_profiles_there_is_no_order():
    with pytest.raises(ModelError, match="has not been fitted"):
        RankTokenizer(GENES, OPTIONS).transform(profiles([MEDIANS]))
    with pytest.raises(ModelError, match="has not been fitted"):
        RankTokenizer(GENES, OPTIONS).describe()


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 400))
def test_positions_rise_from_the_start_to_the_end_of_the_vocabulary(tokens: int, more: int):
    positions = spread_positions(tokens, tokens + more)
    assert positions[0] == 0
    assert (np.diff(positions) > 0).all()
    assert positions[-1] == (tokens + more - 1 if tokens > 1 else 0)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, 5, elements=st.floats(-4, 4, width=32)), st.floats(0.5, 3))
def test_every_token_lies_at_least_as_far_above_its_median_as_the_next(values, factor: float):
    (token,) = token_profiles(tokenizer().transform(profiles([values])))
    deviations = (values.astype(float) - MEDIANS)[token.genes]
    assert (np.diff(deviations) <= 1e-6).all()
    # A steeper profile has the same order; a scale alone is not read.
    steeper = np.array(MEDIANS) + factor * (values - MEDIANS)
    moved = (np.asarray(steeper, np.float32).astype(float) - MEDIANS)[token.genes]
    assert (np.diff(moved) <= 1e-5).all()
