"""How much of expression is left in tokens."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.tokenizers.kinds import fit_tokenizer
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.round_trip import round_trip
from genellm_dagster_tests.tokenizers.makers import GENES, fitted, profiles

MANY = [f"GENE{number}" for number in range(60)]


def drawn(samples: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    levels = np.linspace(-2, 2, len(MANY))
    values = levels + random.normal(size=(samples, len(MANY)))
    values[random.random(values.shape) < 0.1] = np.nan
    return profiles(values, MANY)


def test_value_tokens_lose_nothing():
    found = round_trip(fitted("value", drawn(1, 0)), drawn(40, 1))
    assert found.r2 == pytest.approx(1, abs=1e-6)
    assert found.r2_within_genes == pytest.approx(1, abs=1e-6)
    assert found.values == int(drawn(40, 1).notna().to_numpy().sum())
    assert found.lost == 0


def test_the_order_alone_tells_nearly_all_of_new_samples_like_those_of_training():
    found = round_trip(
        fit_tokenizer(MANY, TokenizerOptions(kind="rank"), drawn(80, 0)), drawn(40, 1)
    )
    assert found.r2 > 0.95
    assert found.r2_within_genes > 0.9


def test_an_order_that_says_nothing_of_the_sample_tells_nothing_within_genes():
    tokenizer = fit_tokenizer(MANY, TokenizerOptions(kind="rank"), drawn(80, 0))
    new = drawn(40, 1)
    # Noise that lies between the genes' training medians as before, but in another sample's order.
    tokens = token_profiles(tokenizer.transform(new))
    random = np.random.default_rng(2)
    for token in tokens:
        random.shuffle(token.genes)
    back = tokenizer.expression(tokens).to_numpy()
    deviations = new.to_numpy() - tokenizer.describe()["medians"]
    told = back - tokenizer.describe()["medians"]
    known = ~np.isnan(deviations)
    assert abs(np.corrcoef(deviations[known], told[known])[0, 1]) < 0.1


def test_more_bins_lose_less():
    found = [
        round_trip(
            fit_tokenizer(MANY, TokenizerOptions(kind="bins", bin_count=count), drawn(80, 0)),
            drawn(40, 1),
        ).r2
        for count in (2, 4, 16, 64)
    ]
    assert found == sorted(found)
    assert found[0] > 0.5
    assert found[-1] > 0.99


def test_genes_without_a_token_are_counted_as_lost():
    tokenizer = fitted("rank", profiles([[0, 1, 2, 3, np.nan], [1, 1, 2, 3, np.nan]]))
    found = round_trip(tokenizer, profiles([[1, 1, 2, 3, 7], [np.nan, 1, 2, 3, 7]]))
    assert (found.values, found.lost) == (7, 2)


def test_where_nothing_varies_there_is_no_share():
    found = round_trip(fitted("value", profiles([[0] * 5])), profiles([[1, 2, 3, 4, 5]]))
    assert found.r2 == pytest.approx(1)
    assert math.isnan(found.r2_within_genes)
    nobody = round_trip(fitted("value", profiles([[0] * 5])), profiles(np.empty((0, 5)), GENES))
    assert math.isnan(nobody.r2)
    assert nobody.values == 0
