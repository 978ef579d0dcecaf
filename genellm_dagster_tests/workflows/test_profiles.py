"""Each fold reads profiles that were learned on its own training side, down to the tokens."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import StoreError
from genellm_dagster.evaluation.folds import Folds, make_folds
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
)
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster.workflows.profiles import (
    ALL,
    marks_of_models,
    profiles_of,
    stratum_profiles,
    token_profiles_of,
    tokens_of,
)
from genellm_dagster.workflows.stratum import StratumSamples
from genellm_dagster_tests.expression.tables import factor_table

COHORTS = ("GSE1", "GSE2", "GSE3")


def options(normalisation: str = "rank_normal", harmonisation: str = "none") -> ExpressionOptions:
    return ExpressionOptions(
        normalisation=NormalisationOptions(method=normalisation),
        harmonisation=HarmonisationOptions(method=harmonisation),
    )


@pytest.fixture
def data() -> StratumSamples:
    tables = {
        f"GSE{n}": n + (1 + n / 10) * factor_table(70, 12, n, first_gsm=1000 * n) for n in (1, 2, 3)
    }
    # GSE3 lacks a gene that the others measured.
    tables["GSE3"] = tables["GSE3"].drop(index=tables["GSE3"].index[12])
    rows = [
        {"gsm": gsm, "cohort": name, "subject": gsm, "case": number % 2, "stratum": "adult"}
        for name, table in tables.items()
        for number, gsm in enumerate(table.columns)
    ]
    return StratumSamples(pd.DataFrame(rows), tables, [])


@pytest.fixture
def genes(data: StratumSamples) -> list[str]:
    return list(data.tables["GSE1"].index[10:40])


@pytest.fixture
def folds(data: StratumSamples) -> Folds:
    return make_folds(data.samples, None, EvaluationOptions())


def test_what_learns_nothing_has_one_set_that_every_fold_reads(data, genes, folds):
    made = stratum_profiles(data, genes, folds, options())
    assert set(made.table["fold"]) == {ALL}
    assert made.table["gsm"].tolist() == data.samples["gsm"].tolist()
    assert made.learned == {"normalisation": None, "harmonisation": None}
    assert made.marks == []
    for fold in folds:
        pd.testing.assert_frame_equal(profiles_of(made.table, fold.name), profiles_of(made.table))


@pytest.mark.parametrize(
    ("normalisation", "harmonisation"),
    [("gene_z", "none"), ("reference_quantiles", "none"), ("rank_normal", "combat")],
)
def test_a_fold_learns_nothing_from_its_test_side(data, genes, folds, normalisation, harmonisation):
    chosen = options(normalisation, harmonisation)
    made = stratum_profiles(data, genes, folds, chosen)
    assert set(made.table["fold"]) == {ALL, *folds.names}
    changed = {**data.tables, "GSE2": 30 - data.tables["GSE2"] ** 2}
    other = stratum_profiles(StratumSamples(data.samples, changed, []), genes, folds, chosen)
    held_out = next(fold for fold in folds if fold.name == "GSE2")
    one, two = (profiles_of(each.table, "GSE2") for each in (made, other))
    train = list(held_out.train)
    pd.testing.assert_frame_equal(one.loc[train], two.loc[train], check_exact=True)
    # Where GSE2 is learned from, it shows.
    assert not profiles_of(made.table, "GSE1").equals(profiles_of(other.table, "GSE1"))
    assert not profiles_of(made.table, "GSE2").loc[train].equals(profiles_of(made.table).loc[train])
    json.dumps(made.learned)


def test_harmonised_cohorts_that_were_held_out_are_named_in_the_mark(data, genes, folds):
    made = stratum_profiles(data, genes, folds, options("quantile", "combat"))
    assert made.marks == [
        "quantile normalisation",
        "ComBat of a new cohort by its own samples (GSE1, GSE2, GSE3)",
    ]
    made = stratum_profiles(data, genes, folds, options(harmonisation="coconut"))
    assert "USES TEST LABELS" in made.marks[0]


def test_marks_are_those_of_what_a_model_reads():
    marks = marks_of_models(["genellm", "snip"], {"snip"}, ["ComBat", "collapse"], ["collapse"])
    assert marks == {"genellm": ["ComBat", "collapse"], "snip": ["collapse"]}


def test_tokens_follow_the_fold_and_an_absent_gene_has_none(data, genes, folds):
    made = stratum_profiles(data, genes, folds, options("gene_z"))
    tokenizer = ValueTokenizer(genes, TokenizerOptions())
    tokens = {("adult", name): tokens_of(made.table, name, tokenizer) for name in COHORTS}
    for fold in [*folds.names, ALL]:
        profiles = profiles_of(made.table, fold)
        read = token_profiles_of(tokens, "adult", pd.Series(profiles.index), fold)
        assert [one.gsm for one in read] == profiles.index.tolist()
        for one, (_, row) in zip(read, profiles.iterrows(), strict=True):
            present = np.flatnonzero(row.notna().to_numpy())
            np.testing.assert_array_equal(one.genes, present)
            expected = row.to_numpy(np.float32)[present] * np.float32(
                TokenizerOptions().value_scale
            )
            np.testing.assert_array_equal(one.values, expected)
    lacking = token_profiles_of(tokens, "adult", pd.Series(data.tables["GSE3"].columns))
    assert {len(one) for one in lacking} == {len(genes) - 1}


def test_a_cohort_outside_the_stratum_has_an_empty_token_table(data, genes, folds):
    made = stratum_profiles(data, genes, folds, options())
    tokenizer = ValueTokenizer(genes, TokenizerOptions())
    empty = tokens_of(made.table, "GSE9", tokenizer)
    full = tokens_of(made.table, "GSE1", tokenizer)
    assert empty.empty and list(empty.columns) == list(full.columns)
    tokens = {("adult", "GSE9"): empty, ("adult", "GSE1"): full}
    gsm = pd.Series(data.tables["GSE1"].columns)
    assert len(token_profiles_of(tokens, "adult", gsm)) == len(gsm)
    with pytest.raises(StoreError, match="materialize token_dataset again"):
        token_profiles_of(tokens, "adult", pd.Series(["GSM9"]))
