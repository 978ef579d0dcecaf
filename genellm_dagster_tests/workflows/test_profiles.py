"""Each fold reads profiles that were learned on its own training side, down to the tokens."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from genellm_dagster.workflows.profiles import ALL, marks_of_models, profiles_of, stratum_profiles
from genellm_dagster.workflows.stratum import StratumSamples
from genellm_dagster_tests.workflows.strata import options


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
