"""What holds of every tokenizer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.prefix import reference_of
from genellm_dagster.tokenizers.kinds import fit_tokenizer, learns, tokenizer_from_description
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles
from genellm_dagster_tests.tokenizers.makers import (
    GENES,
    KINDS,
    fitted,
    profiles,
    some_profiles,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
learning = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "value"])


def same(one: TokenProfile, other: TokenProfile) -> bool:
    return one.gsm == other.gsm and all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in ("genes", "positions", "values")
    )


@every_kind
@settings(max_examples=25, deadline=None)
@given(training=some_profiles(), new=some_profiles())
def test_a_sample_alone_gets_the_tokens_it_gets_among_others(kind: str, training, new):
    tokenizer = fitted(kind, training)
    together = token_profiles(tokenizer.transform(new))
    backwards = token_profiles(tokenizer.transform(new.iloc[::-1]))[::-1]
    for number, profile in enumerate(together):
        (alone,) = token_profiles(tokenizer.transform(new.iloc[[number]]))
        assert same(alone, profile)
        assert same(backwards[number], profile)


@every_kind
@settings(max_examples=25, deadline=None)
@given(training=some_profiles(), order=st.permutations(range(6)))
def test_what_is_learned_does_not_depend_on_the_order_of_the_samples(kind: str, training, order):
    one = fitted(kind, training).describe()
    other = fitted(kind, training.iloc[order]).describe()
    assert json.dumps(one) == json.dumps(other)


@every_kind
@settings(max_examples=25, deadline=None)
@given(training=some_profiles(), new=some_profiles(), order=st.permutations(range(len(GENES))))
def test_what_a_token_says_does_not_depend_on_the_order_of_the_vocabulary(
    kind: str, training, new, order
):
    other = [GENES[place] for place in order]
    told = [
        fitted(kind, training[genes]).expression(
            token_profiles(fitted(kind, training[genes]).transform(new[genes]))
        )
        for genes in (GENES, other)
    ]
    pd.testing.assert_frame_equal(told[0], told[1][GENES], rtol=1e-6)


@every_kind
@settings(max_examples=25, deadline=None)
@given(training=some_profiles(), new=some_profiles())
def test_a_description_that_went_through_json_gives_the_same_tokenizer(kind: str, training, new):
    tokenizer = fitted(kind, training)
    description = tokenizer.describe()
    again = tokenizer_from_description(json.loads(json.dumps(description, allow_nan=False)))
    assert type(again) is type(tokenizer)
    assert again.describe() == description
    tokens, others = (token_profiles(one.transform(new)) for one in (tokenizer, again))
    for one, other in zip(tokens, others, strict=True):
        assert same(one, other)
    pd.testing.assert_frame_equal(tokenizer.expression(tokens), again.expression(tokens))


@every_kind
@settings(max_examples=25, deadline=None)
@given(training=some_profiles(), new=some_profiles())
def test_only_measured_genes_have_a_token_and_each_has_one(kind: str, training, new):
    tokenizer = fitted(kind, training)
    tokens = token_profiles(tokenizer.transform(new))
    had = training.notna().any().to_numpy()
    for profile, row in zip(tokens, new.to_numpy(), strict=True):
        measured = set(np.flatnonzero(~np.isnan(row)))
        assert len(set(profile.genes)) == len(profile)
        assert set(profile.genes) <= measured
        if had.all():
            assert set(profile.genes) == measured
        assert np.isfinite(profile.values).all()
    back = tokenizer.expression(tokens)
    assert (back.notna().sum(axis=1).to_numpy() == [len(profile) for profile in tokens]).all()
    assert (back.isna() | new.notna()).all(axis=None)


@every_kind
@settings(max_examples=25, deadline=None)
@given(training=some_profiles(), new=some_profiles())
def test_samples_with_the_same_genes_share_a_reference_position_by_position(
    kind: str, training, new
):
    # The prefix keeps a state less that of its reference, token by token, and one set of positions
    # for both.
    found: dict[tuple[int, ...], bytes] = {}
    for profile in token_profiles(fitted(kind, training).transform(new)):
        reference = reference_of(profile)
        genes = tuple(sorted(profile.genes))
        assert reference.positions.tobytes() == profile.positions.tobytes()
        assert (np.diff(profile.positions) > 0).all()
        assert profile.positions[-1] < len(GENES)
        content = reference.genes.tobytes() + reference.positions.tobytes()
        assert found.setdefault(genes, content) == content
        assert not reference.values.any()


@every_kind
def test_a_negative_zero_is_a_zero(kind: str):
    # Which of the two stays after sorting would depend on the order of the samples.
    one, other = (fitted(kind, profiles([[zero] * 5])).describe() for zero in (-0.0, 0.0))
    assert json.dumps(one) == json.dumps(other)


@learning
@settings(max_examples=25, deadline=None)
@given(training=some_profiles(), new=some_profiles())
def test_tokenizing_teaches_nothing(kind: str, training, new):
    tokenizer = fitted(kind, training)
    before = json.dumps(tokenizer.describe())
    tokenizer.transform(new)
    assert json.dumps(tokenizer.describe()) == before
    # A second fit starts anew and leaves the first as it was.
    tokenizer.fit(new)
    assert json.dumps(tokenizer.describe()) == before


def test_the_description_of_value_is_what_it_always_was():
    # Anything more would give every stored prefix state and every adapter another address.
    assert fitted("value", profiles([[0] * 5])).describe() == {
        "kind": "value",
        "value_scale": 0.1,
        "low_word": "low",
        "high_word": "high",
        "genes": GENES,
    }


@learning
def test_other_training_samples_give_another_description(kind: str):
    one, other = (
        fitted(kind, profiles(np.arange(10.0).reshape(2, 5) * factor)).describe()
        for factor in (1, 2)
    )
    assert one != other


def test_value_alone_gives_every_fold_the_same_tokens():
    assert {kind for kind, options in KINDS.items() if not learns(options)} == {"value"}
    nobody = profiles(np.empty((0, 5)))
    assert fit_tokenizer(GENES, TokenizerOptions(), nobody).describe()["genes"] == GENES


@learning
def test_nothing_to_learn_from_is_refused(kind: str):
    for training in (profiles(np.empty((0, 5))), profiles(np.full((2, 5), np.nan))):
        with pytest.raises(ModelError, match="No training sample has a value"):
            fitted(kind, training)


@every_kind
@pytest.mark.parametrize(
    ("new", "said"),
    [
        (profiles([[np.nan] * 5]), "none of the model's genes"),
        (profiles([[1, np.inf, 0, 0, 0]]), "infinite"),
        (profiles([[1] * 5])[GENES[::-1]], "not the vocabulary"),
    ],
)
def test_profiles_that_cannot_be_tokens_are_refused(kind: str, new: pd.DataFrame, said: str):
    with pytest.raises(ModelError, match=said):
        fitted(kind, profiles(np.eye(5))).transform(new)


@learning
def test_training_profiles_that_are_none_are_refused(kind: str):
    with pytest.raises(ModelError, match="infinite"):
        fitted(kind, profiles([[1, np.inf, 0, 0, 0]]))
    with pytest.raises(ModelError, match="not the vocabulary"):
        fit_tokenizer(GENES, KINDS[kind], profiles([[1] * 5])[GENES[::-1]])


@every_kind
def test_no_sample_gives_no_token(kind: str):
    none = fitted(kind, profiles(np.eye(5))).transform(profiles(np.empty((0, 5))))
    assert token_profiles(none) == []


@every_kind
@pytest.mark.parametrize(
    ("genes", "said"), [([0, 5], "another vocabulary"), ([1, 1], "two tokens of one gene")]
)
def test_tokens_that_are_of_no_sample_of_the_vocabulary_are_refused(kind, genes, said):
    tokens = TokenProfile(
        "GSM1", np.array(genes, np.int32), np.array([0, 1], np.int32), np.zeros(2, np.float32)
    )
    with pytest.raises(ModelError, match=f"GSM1 .*{said}"):
        fitted(kind, profiles(np.eye(5))).expression([tokens])


def _described(kind: str, /, **changes: Any) -> dict[str, Any]:
    return {**fitted(kind, profiles(np.arange(20.0).reshape(4, 5))).describe(), **changes}


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"genes": GENES},
        _described("value", kind="words"),
        _described("value", genes=["IL6", 5]),
        _described("value", value_scale="much"),
        _described("rank", medians=[0.0]),
        _described("rank", medians=[float("inf")] * 5),
        _described("rank", curve=[0.0, 1.0]),
        _described("rank", curve=None),
        _described("bins", edges=[]),
        _described("bins", edges=[[2.0, 1.0, 3.0]]),
        _described("bins", centres=[[0.0]]),
        _described("bins of a gene", edges=[[]] * 4),
        _described("bins of a gene", centres=[["x"]] * 5),
    ],
)
def test_a_description_that_is_none_is_refused(description: dict[str, Any]):
    with pytest.raises(ModelError, match="description of the tokenizer cannot be read"):
        tokenizer_from_description(description)
