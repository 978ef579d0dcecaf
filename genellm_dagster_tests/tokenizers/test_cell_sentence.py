"""Rank tokens as text, and text as rank tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles
from genellm_dagster.tokenizers.sentence import cell_sentence, profile_of_sentence
from genellm_dagster_tests.tokenizers.makers import GENES, fitted, profiles, some_profiles


def of(values: list[float]) -> TokenProfile:
    tokenizer = fitted("rank", profiles([[0] * 5]))
    (token,) = token_profiles(tokenizer.transform(profiles([values])))
    return token


def test_a_sentence_is_the_symbols_in_order():
    token = of([1, 5, np.nan, 3, 2])
    assert cell_sentence(token, GENES) == "CD177 ARG1 HLA-DPB1 IL6"
    assert cell_sentence(token, GENES, first=2) == "CD177 ARG1 …"
    assert cell_sentence(token, GENES, first=4) == "CD177 ARG1 HLA-DPB1 IL6"


@settings(max_examples=50, deadline=None)
@given(training=some_profiles(), new=some_profiles())
def test_a_sentence_read_back_is_the_token_profile(training, new):
    for token in token_profiles(fitted("rank", training).transform(new)):
        again = profile_of_sentence(cell_sentence(token, GENES), GENES, token.gsm)
        for name in ("genes", "positions", "values"):
            one, other = getattr(token, name), getattr(again, name)
            assert one.dtype == other.dtype
            assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("CD177 SEPSIS", "'SEPSIS', which is no gene"),
        ("CD177 …", "no gene"),
        ("CD177 CD177", "each gene once"),
        ("  ", "at least one gene"),
        ("CD177 " * 100_000, "no gene"),
    ],
)
def test_text_that_is_no_sentence_is_refused(sentence: str, said: str):
    with pytest.raises(ModelError, match=said) as refused:
        profile_of_sentence(sentence, GENES, "GSM1")
    assert len(str(refused.value)) < 300


def test_a_symbol_with_white_space_is_refused_rather_than_torn():
    with pytest.raises(ModelError, match="white space"):
        cell_sentence(of([1, 2, 3, 4, 5]), ["IL 6", *GENES[1:]])
