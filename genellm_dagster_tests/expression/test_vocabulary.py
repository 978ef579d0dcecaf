"""The vocabulary: shared, lively genes, chosen without labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.options import VocabularyOptions
from genellm_dagster.expression.vocabulary import choose_genes
from genellm_dagster_tests.expression.tables import factor_table


def test_only_genes_of_enough_cohorts_are_chosen():
    whole = factor_table(40, 8, 1)
    tables = {"GSE1": whole, "GSE2": whole.iloc[:30], "GSE3": whole.iloc[:20]}
    two_of_three = choose_genes(tables, VocabularyOptions(min_cohort_share=0.6))
    assert set(two_of_three["gene"]) == set(whole.index[:30])
    everywhere = choose_genes(tables, VocabularyOptions(min_cohort_share=1))
    assert set(everywhere["gene"]) == set(whole.index[:20])
    assert set(everywhere["share_of_cohorts"]) == {1.0}
    assert two_of_three["n_cohorts"].min() == 2


def test_the_liveliest_genes_come_first_whatever_the_scale_of_a_platform():
    rng = np.random.default_rng(0)
    table = factor_table(60, 20, 1, factors=1)
    quiet = table.apply(
        lambda row: row.mean() + rng.normal(0, 0.01, 20), axis=1, result_type="expand"
    )
    quiet.columns = table.columns
    quiet.iloc[20:25] = 8 + rng.normal(0, 6, (5, 20))
    vocabulary = choose_genes({"GSE1": quiet, "GSE2": 0.1 * quiet}, VocabularyOptions(max_genes=5))
    assert set(vocabulary["gene"]) == set(table.index[20:25])
    assert vocabulary["position"].tolist() == [0, 1, 2, 3, 4]
    assert vocabulary["variability"].is_monotonic_decreasing


def test_a_gene_without_any_value_is_not_measured():
    table = factor_table(10, 5, 1)
    table.iloc[2] = np.nan
    assert table.index[2] not in set(choose_genes({"GSE1": table})["gene"])


def test_genes_at_the_floor_give_way_but_panels_lose_nothing():
    rng = np.random.default_rng(0)
    table = factor_table(60, 20, 1)
    table.iloc[:10] = rng.normal(-8, 3, (10, 20)).astype(np.float32)
    chosen = choose_genes({"GSE1": table}, VocabularyOptions(max_genes=40))
    assert not set(chosen["gene"]) & set(table.index[:10])
    assert len(choose_genes({"GSE1": table}, VocabularyOptions(max_genes=60))) == 60


def test_genes_that_tell_men_from_women_are_passed_over():
    table = factor_table(10, 5, 1).rename(index={factor_table(10, 5, 1).index[0]: "XIST"})
    assert "XIST" not in set(choose_genes({"GSE1": table})["gene"])
    assert "XIST" in set(choose_genes({"GSE1": table}, VocabularyOptions(exclude=()))["gene"])


def test_cohorts_without_a_common_gene_are_refused_with_their_sizes():
    table = factor_table(20, 5, 1)
    with pytest.raises(ExpressionError, match="GSE1 10, GSE2 10"):
        choose_genes({"GSE1": table.iloc[:10], "GSE2": table.iloc[10:]})


def test_no_cohort_is_refused():
    with pytest.raises(ExpressionError, match="no cohort"):
        choose_genes({})


def test_one_sample_gives_genes_without_a_variability():
    vocabulary = choose_genes({"GSE1": factor_table(10, 1, 1)})
    assert len(vocabulary) == 10
    assert vocabulary["variability"].isna().all()


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_cohorts_genes_and_samples_changes_nothing(random):
    tables = {"GSE1": factor_table(40, 6, 1), "GSE2": factor_table(40, 7, 2).iloc[5:]}
    options = VocabularyOptions(max_genes=15)
    expected = choose_genes(tables, options)
    shuffled = {}
    for name in random.sample(sorted(tables), 2):
        table = tables[name]
        genes = random.sample(list(table.index), len(table))
        shuffled[name] = table.loc[genes, random.sample(list(table.columns), table.shape[1])]
    pd.testing.assert_frame_equal(choose_genes(shuffled, options), expected, atol=1e-6)
