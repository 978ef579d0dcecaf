"""Properties of what is chosen and told of cohorts: vocabulary, overlap, shares of variance."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.options import OverlapOptions
from genellm_dagster.expression.overlap import COLUMNS, find_overlaps
from genellm_dagster.expression.profile_options import VocabularyOptions
from genellm_dagster.expression.variance import (
    ExplainedVariance,
    explained_variance,
    principal_scores,
)
from genellm_dagster.expression.vocabulary import choose_vocabulary
from genellm_dagster_tests.expression.steps import GENES, Tables, hostile, plain, tables
from genellm_dagster_tests.expression.tables import factor_table, sheet_of

ordinary = settings(max_examples=30, deadline=None)
shuffles = st.randoms(use_true_random=False)
FEW = VocabularyOptions(max_genes=4, min_cohort_share=0.5)


def choose_genes(given_: Tables) -> pd.DataFrame:
    return choose_vocabulary(given_, FEW).table


def mixed(tables_of: Tables, random) -> Tables:
    """The same cohorts, genes and samples in another order."""
    names = random.sample(sorted(tables_of), len(tables_of))
    return {
        name: tables_of[name].loc[
            random.sample(list(tables_of[name].index), len(tables_of[name])),
            random.sample(list(tables_of[name].columns), tables_of[name].shape[1]),
        ]
        for name in names
    }


@st.composite
def cohorts(draw: st.DrawFn, values: st.SearchStrategy = plain, least: int = 1) -> Tables:
    count = draw(st.integers(1, 3))
    return {
        f"GSE{number}": draw(tables(values, least=least)).add_suffix(f"of{number}")
        for number in range(count)
    }


@settings(max_examples=50, deadline=None)
@given(cohorts(), shuffles)
def test_genes_that_vary_alike_are_chosen_by_name_and_not_by_the_order_of_samples(given_, random):
    expected = choose_genes(given_)
    found = choose_genes(mixed(given_, random))
    assert found["gene"].tolist() == expected["gene"].tolist()
    pd.testing.assert_frame_equal(found, expected)


@ordinary
@given(cohorts(), st.data())
def test_a_gene_without_a_value_is_no_gene_of_its_cohort(given_, data):
    gene = data.draw(st.sampled_from(GENES[1:]))
    empty, absent = {}, {}
    for name, table in given_.items():
        absent[name] = table.drop(index=gene, errors="ignore")
        row = pd.DataFrame(np.nan, [gene], table.columns, dtype=np.float32)
        empty[name] = pd.concat([row, absent[name]]).rename_axis(index="gene")
    pd.testing.assert_frame_equal(choose_genes(empty), choose_genes(absent))


@ordinary
@given(cohorts(hostile))
def test_a_vocabulary_is_of_measured_genes_each_once_whatever_the_values(given_):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = choose_genes(given_)
    measured = pd.concat([table.notna().any(axis=1) for table in given_.values()])
    assert set(found["gene"]) <= set(measured[measured].index)
    assert found["gene"].is_unique
    assert found["position"].tolist() == list(range(len(found)))
    assert found["variability"].dropna().between(0, 1).all()
    # Where two samples of a cohort have a gene, how much it varies is known.
    twice = pd.concat([table.notna().sum(axis=1) > 1 for table in given_.values()])
    known = set(twice[twice].index)
    for gene, variability in zip(found["gene"], found["variability"], strict=True):
        assert np.isfinite(variability) == (gene in known)


LOOSE = OverlapOptions(min_common_genes=2, max_genes=300)
TWINS = {(f"GSM{1000 + n}", f"GSM{2000 + n}") for n in range(3)}


def overlaps(given_: Tables, **columns: object) -> pd.DataFrame:
    sheets = {name: sheet_of(table, **columns) for name, table in given_.items()}
    return find_overlaps(given_, sheets, {}, LOOSE)


def pairs(found: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(found["gsm_a"], found["gsm_b"], strict=True))


def with_twins(seed: int) -> Tables:
    """Two cohorts, three arrays of the first again in the second, on another scale."""
    first, second = (factor_table(300, 40, seed + n, 1000 * n) for n in (1, 2))
    noise = np.random.default_rng(seed).normal(0, 0.05, (300, 3))
    second.iloc[:, :3] = (2 + 1.1 * first.iloc[:, :3].to_numpy() + noise).astype(np.float32)
    return {"GSE1": first, "GSE2": second}


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), shuffles, st.sampled_from(["case", "label", "sex", "age_years"]))
def test_copies_are_found_by_their_values_not_by_order_names_or_labels(seed, random, column):
    given_ = with_twins(seed)
    expected = overlaps(given_)
    assert set(pairs(expected)) >= TWINS
    found = overlaps(mixed(given_, random), **{column: random.randrange(9)})
    pd.testing.assert_frame_equal(found, expected, atol=1e-4)
    renamed = overlaps({"GSE9": given_["GSE1"], "GSE3": given_["GSE2"]})
    assert set(map(frozenset, pairs(renamed))) == set(map(frozenset, pairs(expected)))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(0, 39), st.integers(1, 90), hostile)
def test_a_gene_with_a_gap_is_not_compared_so_that_its_values_say_nothing(seed, at, gaps, value):
    given_ = with_twins(seed)
    given_["GSE1"].iloc[:gaps, at] = np.nan
    expected = overlaps(given_)
    assert set(pairs(expected)) >= TWINS
    torn = given_["GSE1"].iloc[:gaps]
    given_["GSE1"].iloc[:gaps] = torn.where(torn.isna(), np.float32(value))
    pd.testing.assert_frame_equal(overlaps(given_), expected)


@ordinary
@given(cohorts(hostile), st.booleans())
def test_any_cohorts_give_pairs_of_two_samples_each_pair_once(given_, one_person):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = overlaps(given_, **({"subject": "Anna"} if one_person else {}))
    assert list(found.columns) == list(COLUMNS)
    assert found["similarity"].dropna().between(-1, 1).all()
    for reason, of_reason in found.groupby("reason"):
        both = set(map(frozenset, pairs(of_reason)))
        assert len(both) == len(of_reason)
        assert all(len(pair) == 2 for pair in both)
        assert of_reason["similarity"].notna().all() == (reason == "expression")
    first = list(zip(found["cohort_a"], found["gsm_a"], strict=True))
    second = list(zip(found["cohort_b"], found["gsm_b"], strict=True))
    assert all(a < b for a, b in zip(first, second, strict=True))
    assert found["gsm_a"].is_monotonic_increasing
    assert all(gsm in given_[cohort] for cohort, gsm in [*first, *second])


def factors_of(profiles: pd.DataFrame) -> pd.DataFrame:
    number = np.arange(len(profiles))
    return pd.DataFrame(
        {"cohort": np.array(["GSE1", "GSE2"])[number % 2], "case": number // 2 % 2},
        index=profiles.index,
    )


def told(found: ExplainedVariance) -> np.ndarray:
    return found.factors[["share", "share_beyond_others"]].to_numpy(dtype=np.float64)


profiles = st.integers(8, 14).flatmap(
    lambda samples: st.integers(0, 999).map(
        lambda seed: factor_table(12, samples, seed).T.rename_axis(index="gsm")
    )
)


@ordinary
@given(profiles, shuffles, st.data())
def test_shares_of_variance_do_not_hang_on_order_names_or_genes_with_a_gap(given_, random, data):
    factors = factors_of(given_)
    expected = told(explained_variance(given_, factors))
    samples = random.sample(list(given_.index), len(given_))
    genes = random.sample(list(given_.columns), given_.shape[1])
    renamed = factors.replace({"GSE1": "z", "GSE2": "a"}).assign(case=1 - factors["case"])
    found = explained_variance(given_.loc[samples, genes], renamed)
    np.testing.assert_allclose(told(found), expected, atol=1e-6)
    # A gene that varies nowhere adds nothing; one that a sample lacks is left out for all.
    constant = given_.assign(CONSTANT=np.float32(data.draw(st.floats(-9, 9, width=32))))
    np.testing.assert_allclose(told(explained_variance(constant, factors)), expected, atol=1e-6)
    gap = given_.assign(GAP=np.float32(data.draw(hostile)))
    gap.loc[data.draw(st.sampled_from(list(gap.index))), "GAP"] = np.nan
    found = explained_variance(gap, factors)
    np.testing.assert_array_equal(told(found), expected)
    assert found.principal.genes_left_out == 1


@ordinary
@given(tables(hostile, least=4))
def test_hostile_profiles_have_finite_components_or_are_refused(table):
    given_ = table.T.rename_axis(index="gsm")
    assume(given_.notna().all().sum() > 0)
    with warnings.catch_warnings(), contextlib.suppress(ExpressionError):
        warnings.simplefilter("error", RuntimeWarning)
        found = principal_scores(given_)
        assert np.isfinite(found.scores).all(axis=None)
        whole = given_.dropna(axis=1).to_numpy(dtype=np.float64)
        total = ((whole - whole.mean(axis=0)) ** 2).sum()
        np.testing.assert_allclose((found.scores**2).sum() / total, found.shares, rtol=1e-6)
        assert found.genes + found.genes_left_out == given_.shape[1]
        explained = told(explained_variance(given_, factors_of(given_)))
        assert np.isfinite(explained[:-1]).all()
        assert np.isfinite(explained[-1, 1])


def test_values_are_spread_out_evenly_or_not_at_all_by_one_gene():
    with pytest.raises(ExpressionError, match="a gene that varies"):
        principal_scores(pd.DataFrame(np.full((5, 3), np.float32(1e38))))
