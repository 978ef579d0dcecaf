"""How far rankings of genes agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from genellm_dagster.interpretation.agreement import own_agreement, rank_agreement
from genellm_dagster.interpretation.attribution import Attributions
from genellm_dagster.interpretation.options import InterpretationOptions

OPTIONS = InterpretationOptions(bootstraps=200)


def drawn(seed: int, n: int = 20, genes: int = 12) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, genes)) * np.linspace(0.2, 3.0, genes)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 20))
def test_the_value_is_the_rank_correlation_of_mean_sizes_and_lies_in_its_interval(
    seed: int, n: int
) -> None:
    first, second = drawn(seed, n), drawn(seed + 1, n)
    found = rank_agreement(first, second, OPTIONS, "test")
    wanted = spearmanr(np.abs(first).mean(axis=0), np.abs(second).mean(axis=0))[0]
    assert found["value"] == pytest.approx(wanted)
    assert -1.0 <= found["low"] <= found["high"] <= 1.0
    assert (found["n"], found["genes"]) == (n, 12)


def test_the_same_attributions_agree_whatever_their_sign_and_unit() -> None:
    first = drawn(1)
    found = rank_agreement(first, -3.0 * first, OPTIONS, "test")
    assert (found["value"], found["low"], found["high"]) == pytest.approx((1.0, 1.0, 1.0))


def test_unrelated_rankings_have_a_wide_interval_around_a_small_value() -> None:
    first, second = (np.random.default_rng(seed).normal(size=(15, 40)) for seed in (1, 2))
    found = rank_agreement(first, second, OPTIONS, "test")
    assert abs(found["value"]) < 0.5
    assert found["low"] < 0.0 < found["high"]


def test_absent_genes_are_left_out_of_both() -> None:
    first, second = drawn(3), drawn(4)
    first[:, 2] = np.nan
    second[:5, 7] = np.nan
    found = rank_agreement(first, second, OPTIONS, "test")
    assert found["genes"] == 11
    holes = first.copy()
    holes[:5, 7] = np.nan
    kept = [gene for gene in range(12) if gene != 2]
    wanted = spearmanr(
        np.nanmean(np.abs(holes[:, kept]), axis=0), np.nanmean(np.abs(second[:, kept]), axis=0)
    )[0]
    assert found["value"] == pytest.approx(wanted)


def test_too_little_and_nothing_to_rank_have_a_reason_and_no_number() -> None:
    few = rank_agreement(drawn(1, n=2), drawn(2, n=2), OPTIONS, "test")
    assert few["value"] is None
    assert "fewer than 3" in few["reason"]
    flat = rank_agreement(np.ones((20, 12)), drawn(2), OPTIONS, "test")
    assert flat["value"] is None
    assert "same attribution" in flat["reason"]


def attributions(by_member: np.ndarray, by_half: np.ndarray) -> Attributions:
    nothing, table = pd.Series(dtype=float), pd.DataFrame()
    return Attributions(table, table, nothing, nothing, nothing, nothing, by_member, by_half)


def test_members_agree_as_their_pairs_do_on_average_and_the_worst_pair_is_told() -> None:
    same, other = drawn(1), drawn(1)[:, ::-1]
    found = own_agreement(
        attributions(np.stack([same, 2 * same, other]), np.stack([same, same])), OPTIONS
    )
    pairs = [pair["value"] for pair in found["members"]["pairs"]]
    assert pairs[0] == pytest.approx(1.0)
    assert found["members"]["value"] == pytest.approx(np.mean(pairs))
    assert found["members"]["lowest"] == pytest.approx(min(pairs))
    assert min(pairs) < 0.0
    assert found["background"]["value"] == pytest.approx(1.0)


def test_a_single_member_agrees_with_nobody() -> None:
    found = own_agreement(attributions(drawn(1)[None], np.stack([drawn(1)] * 2)), OPTIONS)
    assert found["members"]["value"] is None
    assert "single member" in found["members"]["reason"]
