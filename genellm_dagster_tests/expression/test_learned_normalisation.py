"""Normalisations that training cohorts teach and that then place one new sample alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.learned_normalisation import (
    GeneScale,
    ReferenceQuantiles,
    fit_normalisation,
    normalisation_from_json,
)
from genellm_dagster.expression.normalisation import quantile
from genellm_dagster.expression.profile_options import NormalisationOptions
from genellm_dagster.expression.profiles import build_profiles
from genellm_dagster_tests.expression.tables import factor_table

METHODS = ["reference_quantiles", "gene_z"]
SCOPES = ["table", "vocabulary"]


def training() -> dict[str, pd.DataFrame]:
    return {"GSE1": factor_table(60, 7, 1), "GSE2": factor_table(60, 9, 2, first_gsm=2000)}


def options(method: str, scope: str = "table") -> NormalisationOptions:
    return NormalisationOptions(method=method, scope=scope)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("method", METHODS)
def test_a_new_sample_is_placed_the_same_alone_and_among_others(method, scope):
    chosen, new = options(method, scope), factor_table(60, 5, 3, first_gsm=3000)
    genes = list(new.index[5:40])
    learned = fit_normalisation(training(), genes, chosen)
    whole = build_profiles(new, genes, chosen, learned)
    alone = build_profiles(new[["GSM3002"]], genes, chosen, learned)
    pd.testing.assert_frame_equal(alone, whole.loc[["GSM3002"]])


@pytest.mark.parametrize("method", METHODS)
def test_what_was_learned_survives_json_to_the_last_digit(method):
    chosen, tables = options(method), training()
    tables["GSE1"].iloc[3] = np.nan
    tables["GSE2"].iloc[3] = np.nan
    tables["GSE1"].iloc[4] = tables["GSE2"].iloc[4] = 5.0
    genes = list(tables["GSE1"].index)
    learned = fit_normalisation(tables, genes, chosen)
    text = json.dumps(learned.as_json(), allow_nan=False)
    read = normalisation_from_json(json.loads(text))
    new = factor_table(60, 4, 3, first_gsm=3000)
    pd.testing.assert_frame_equal(
        build_profiles(new, genes, chosen, read),
        build_profiles(new, genes, chosen, learned),
        check_exact=True,
    )


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(METHODS), st.randoms(use_true_random=False))
def test_the_order_of_training_samples_and_genes_teaches_nothing(method, random):
    tables = training()
    genes = list(tables["GSE1"].index)
    shuffled = {}
    for name in reversed(list(tables)):
        rows, columns = list(genes), list(tables[name].columns)
        random.shuffle(rows)
        random.shuffle(columns)
        shuffled[name] = tables[name].loc[rows, columns]
    new, chosen = factor_table(60, 3, 3, first_gsm=3000), options(method)
    one, other = (
        build_profiles(new, genes, chosen, fit_normalisation(found, genes, chosen))
        for found in (tables, shuffled)
    )
    pd.testing.assert_frame_equal(one, other, atol=1e-5)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(METHODS), st.integers(0, 59), st.integers(0, 3))
def test_a_missing_value_stays_missing_and_moves_no_other_sample(method, row, column):
    chosen, new = options(method), factor_table(60, 4, 3, first_gsm=3000)
    genes = list(new.index)
    learned = fit_normalisation(training(), genes, chosen)
    before = build_profiles(new, genes, chosen, learned)
    gsm = new.columns[column]
    new.iloc[row, column] = np.nan
    after = build_profiles(new, genes, chosen, learned)
    assert np.isnan(after.loc[gsm, genes[row]])
    assert after.isna().to_numpy().sum() == 1
    others = [name for name in new.columns if name != gsm]
    pd.testing.assert_frame_equal(after.loc[others], before.loc[others])


def test_training_samples_have_mean_0_and_spread_1_in_each_gene():
    tables, chosen = training(), options("gene_z")
    genes = list(tables["GSE1"].index)
    learned = fit_normalisation(tables, genes, chosen)
    together = pd.concat([build_profiles(t, genes, chosen, learned) for t in tables.values()])
    assert np.allclose(together.mean(), 0, atol=1e-5)
    assert np.allclose(together.std(ddof=0), 1, atol=1e-4)


def test_a_gene_without_a_scale_in_training_has_no_z():
    tables = training()
    tables["GSE1"].iloc[0] = tables["GSE2"].iloc[0] = 7.25
    tables = {name: table.drop(index=table.index[1]) for name, table in tables.items()}
    new = factor_table(60, 3, 3)
    z = GeneScale.fit(tables).transform(new)
    assert z.iloc[:2].isna().all(axis=None)
    assert z.iloc[2:].notna().all(axis=None)


def test_reference_learned_on_a_cohort_is_that_of_quantile_normalisation_within_it():
    table = factor_table(50, 6, 1)
    learned = ReferenceQuantiles.fit({"GSE1": table}, 50)
    pd.testing.assert_frame_equal(learned.transform(table), quantile(table), atol=1e-5)


def test_every_training_sample_weighs_the_same_in_the_reference():
    low = pd.DataFrame({"GSM1": [0.0, 0.0], "GSM2": [0.0, 0.0]}, index=["A1BG", "TP53"])
    high = pd.DataFrame({"GSM3": [3.0, 3.0]}, index=["A1BG", "TP53"])
    learned = ReferenceQuantiles.fit({"GSE1": low, "GSE2": high}, 3)
    assert learned.values.tolist() == [1.0, 1.0, 1.0]
    assert learned.samples == 3


@pytest.mark.parametrize("method", METHODS)
def test_a_learned_method_without_what_it_learned_is_refused(method):
    table = factor_table(10, 3, 1)
    with pytest.raises(ExpressionError, match="learned on training cohorts"):
        build_profiles(table, list(table.index), options(method))


def test_what_another_method_learned_is_refused():
    table = factor_table(10, 3, 1)
    learned = fit_normalisation({"GSE1": table}, list(table.index), options("gene_z"))
    with pytest.raises(ExpressionError, match="reference_quantiles"):
        build_profiles(table, list(table.index), options("reference_quantiles"), learned)


@pytest.mark.parametrize("method", ["rank_normal", "within_sample_z", "quantile"])
def test_the_other_methods_learn_nothing(method):
    assert fit_normalisation(training(), ["TP53"], options(method)) is None
    assert normalisation_from_json(None) is None


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"method": "magic"},
        {"method": "reference_quantiles", "values": [2.0, 1.0], "samples": 3},
        {"method": "gene_z", "genes": ["TP53"], "mean": [1.0], "spread": ["x"], "samples": [3]},
    ],
)
def test_an_unreadable_record_is_refused_in_one_sentence(found):
    with pytest.raises(ExpressionError, match="train it again"):
        normalisation_from_json(found)


def test_learning_from_nothing_is_refused():
    with pytest.raises(ExpressionError, match="no training cohort"):
        fit_normalisation({}, ["TP53"], options("gene_z"))
    empty = pd.DataFrame({"GSM1": [np.nan]}, index=["TP53"])
    with pytest.raises(ExpressionError, match="No training sample"):
        fit_normalisation({"GSE1": empty}, ["TP53"], options("reference_quantiles"))
