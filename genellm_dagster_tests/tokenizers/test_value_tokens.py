"""Profiles to value tokens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer

GENES = ["IL6", "CD177", "MMP8", "ARG1"]


def profiles(values: np.ndarray) -> pd.DataFrame:
    names = [f"GSM{number}" for number in range(len(values))]
    return pd.DataFrame(values.astype(np.float32), index=names, columns=GENES)


def test_an_absent_gene_has_no_token_and_moves_no_other():
    tokenizer = ValueTokenizer(GENES, TokenizerOptions())
    whole, partial = token_profiles(
        tokenizer.transform(profiles(np.array([[1, 2, 3, 4], [1, np.nan, 3, 4]])))
    )
    assert whole.genes.tolist() == [0, 1, 2, 3]
    assert partial.genes.tolist() == [0, 2, 3]
    assert partial.positions.tolist() == [0, 2, 3]
    assert partial.values.tolist() == whole.values[[0, 2, 3]].tolist()


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (5, 4), elements=st.floats(-4, 4, width=32)))
def test_a_sample_alone_gets_the_tokens_it_gets_among_others(values: np.ndarray):
    tokenizer = ValueTokenizer(GENES, TokenizerOptions())
    together = token_profiles(tokenizer.transform(profiles(values)))
    for number in range(len(values)):
        alone = token_profiles(tokenizer.transform(profiles(values).iloc[[number]]))[0]
        assert alone.gsm == together[number].gsm
        np.testing.assert_array_equal(alone.values, together[number].values)


def test_the_scale_is_part_of_the_description():
    one, other = (
        ValueTokenizer(GENES, TokenizerOptions(value_scale=scale)).describe() for scale in (0.1, 1)
    )
    assert one != other
    assert one["genes"] == GENES


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((1, 4), np.nan), "none of the model's genes"),
        (np.array([[1, np.inf, 0, 0]]), "infinite"),
    ],
)
def test_profiles_that_cannot_be_tokens_are_refused(values: np.ndarray, said: str):
    with pytest.raises(ModelError, match=said):
        ValueTokenizer(GENES, TokenizerOptions()).transform(profiles(values))


def test_another_vocabulary_is_refused():
    with pytest.raises(ModelError, match="not the vocabulary"):
        ValueTokenizer(GENES, TokenizerOptions()).transform(profiles(np.ones((1, 4)))[GENES[::-1]])


@pytest.mark.parametrize("genes", [[], ["IL6", "IL6"]])
def test_a_vocabulary_that_is_none_is_refused(genes: list[str]):
    with pytest.raises(ModelError, match="each gene once"):
        ValueTokenizer(genes, TokenizerOptions())


def test_a_token_table_that_is_torn_or_lacks_a_column_is_refused():
    tokens = ValueTokenizer(GENES, TokenizerOptions()).transform(profiles(np.eye(4)))
    with pytest.raises(ModelError, match="lacks values"):
        token_profiles(tokens.drop(columns="values"))
    tokens.at[1, "values"] = tokens.at[1, "values"][:2]
    with pytest.raises(ModelError, match="GSM1 is torn"):
        token_profiles(tokens)
