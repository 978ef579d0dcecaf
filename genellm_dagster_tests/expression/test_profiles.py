"""Profiles: within-sample normal scores on a vocabulary, absent genes absent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.normalisation import (
    quantile,
    rank_normal,
    reference_quantiles,
    to_reference,
    within_sample_z,
)
from genellm_dagster.expression.profile_options import NormalisationOptions
from genellm_dagster.expression.profiles import build_profiles
from genellm_dagster_tests.expression.tables import factor_table, gene_names

tables = hnp.arrays(
    np.float32,
    st.tuples(st.integers(2, 25), st.integers(1, 6)),
    elements=st.one_of(st.just(np.float32(np.nan)), st.floats(-20, 20, width=16)),
).map(
    lambda a: pd.DataFrame(
        a,
        index=pd.Index(gene_names(25)[: a.shape[0]], name="gene"),
        columns=[f"GSM{i}" for i in range(a.shape[1])],
    )
)


@settings(max_examples=80, deadline=None)
@given(tables)
def test_rank_normal_keeps_gaps_and_is_idempotent(table):
    once = rank_normal(table)
    assert (once.isna() == table.isna()).all().all()
    pd.testing.assert_frame_equal(rank_normal(once), once, check_exact=True)


@settings(max_examples=50, deadline=None)
@given(tables)
def test_scores_only_depend_on_order_and_lie_evenly_about_zero(table):
    scores = rank_normal(table)
    pd.testing.assert_frame_equal(rank_normal(2 * table + 1), scores)
    pd.testing.assert_frame_equal(rank_normal(-table), -scores, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(tables, st.sampled_from([rank_normal, within_sample_z]))
def test_one_sample_alone_is_normalised_as_in_a_batch(table, method):
    whole = method(table)
    for gsm in table.columns:
        pd.testing.assert_frame_equal(method(table[[gsm]]), whole[[gsm]])


@settings(max_examples=50, deadline=None)
@given(
    tables,
    st.sampled_from([rank_normal, within_sample_z, quantile]),
    st.randoms(use_true_random=False),
)
def test_order_of_genes_and_samples_changes_nothing_but_order(table, method, random):
    table = table.loc[:, table.notna().any()]
    if table.shape[1] == 0:
        return
    genes, samples = list(table.index), list(table.columns)
    random.shuffle(genes)
    random.shuffle(samples)
    expected = method(table)
    got = method(table.loc[genes, samples]).loc[table.index, table.columns]
    pd.testing.assert_frame_equal(got, expected, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(tables)
def test_quantile_normalisation_keeps_gaps(table):
    table = table.loc[:, table.notna().any()]
    if table.shape[1]:
        assert (quantile(table).isna() == table.isna()).all().all()


def test_quantile_normalised_samples_share_one_distribution_and_stay_so():
    once = quantile(factor_table(50, 6, 1))
    ordered = np.sort(once.to_numpy(), axis=0)
    assert np.allclose(ordered, ordered[:, [0]], atol=1e-5)
    pd.testing.assert_frame_equal(quantile(once), once, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(tables)
def test_quantile_normalisation_keeps_the_order_of_genes_in_each_sample(table):
    table = table.loc[:, table.notna().sum() > 1]
    if table.shape[1] == 0:
        return
    normalised = quantile(table)
    for gsm in table.columns:
        one = table[gsm].dropna().sort_values()
        steps = np.diff(normalised.loc[one.index, gsm])
        assert (steps[np.diff(one) == 0] == 0).all()
        assert (steps >= -1e-5).all()


def test_quantile_normalisation_of_one_sample_changes_nothing():
    table = factor_table(50, 1, 1)
    pd.testing.assert_frame_equal(quantile(table), table, atol=1e-5)


def test_a_reference_learned_on_training_samples_places_a_new_sample_alone():
    training, new = factor_table(50, 6, 1), factor_table(50, 3, 2)
    reference = reference_quantiles(training)
    whole = to_reference(new, reference)
    pd.testing.assert_frame_equal(to_reference(new.iloc[:, [1]], reference), whole.iloc[:, [1]])


def test_a_constant_sample_has_scores_of_zero():
    table = pd.DataFrame({"GSM1": [3.1, 3.1, np.nan]}, index=["A1BG", "CXCL8", "TP53"])
    for method in (rank_normal, within_sample_z):
        assert method(table)["GSM1"].tolist()[:2] == [0.0, 0.0]


def test_profiles_follow_the_vocabulary_and_leave_absent_genes_out():
    table = factor_table(30, 4, 1)
    table.iloc[3, 2] = np.nan
    genes = ["XIST", *reversed(table.index)]
    profiles = build_profiles(table, genes)
    assert profiles.columns.tolist() == genes
    assert profiles.index.tolist() == list(table.columns)
    assert profiles.index.name == "gsm"
    assert (profiles.dtypes == np.float32).all()
    assert profiles["XIST"].isna().all()
    assert profiles.isna().to_numpy().sum() == 4 + 1


@pytest.mark.parametrize("method", ["rank_normal", "within_sample_z"])
def test_a_profile_is_the_same_alone_and_among_others(method):
    table = factor_table(60, 5, 1)
    genes = list(table.index[10:30])
    options = NormalisationOptions(method=method)
    whole = build_profiles(table, genes, options)
    alone = build_profiles(table[["GSM1003"]], genes, options)
    pd.testing.assert_frame_equal(alone, whole.loc[["GSM1003"]])


@pytest.mark.parametrize("method", ["rank_normal", "within_sample_z"])
def test_ranked_among_the_vocabulary_a_profile_is_the_same_whatever_else_was_measured(method):
    table = factor_table(60, 5, 1)
    genes = list(table.index[10:30])
    options = NormalisationOptions(method=method, scope="vocabulary")
    whole = build_profiles(table, genes, options)
    alone = build_profiles(table.loc[table.index[5:40], ["GSM1003"]], genes, options)
    pd.testing.assert_frame_equal(alone, whole.loc[["GSM1003"]])


def test_a_sample_without_any_gene_of_the_vocabulary_is_refused():
    table = factor_table(10, 3, 1)
    table["GSM1001"] = np.float32(np.nan)
    with pytest.raises(ExpressionError, match="GSM1001"):
        build_profiles(table, list(table.index))


@pytest.mark.parametrize("genes", [[], ["TP53", "TP53"]])
def test_a_vocabulary_that_is_empty_or_repeats_is_refused(genes):
    with pytest.raises(ExpressionError, match="vocabulary"):
        build_profiles(factor_table(10, 3, 1), genes)


def test_infinite_values_are_refused():
    table = factor_table(10, 3, 1)
    table.iloc[0, 0] = np.inf
    with pytest.raises(ExpressionError, match="infinite"):
        build_profiles(table, list(table.index))
