"""Tokens follow the fold: what a tokenizer learns, it learns on the fold's training profiles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.defs.build import build_definitions
from genellm_dagster.defs.runs import StudyRunner, dagster_instance
from genellm_dagster.errors import StoreError
from genellm_dagster.files import read_json, read_parquet
from genellm_dagster.settings import load_settings, study_of
from genellm_dagster.store import Store
from genellm_dagster.tokenizers.kinds import tokenizer_from_description
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.workflows.profiles import (
    ALL,
    profiles_of,
    stratum_profiles,
    token_profiles_of,
)
from genellm_dagster.workflows.stratum import StratumSamples
from genellm_dagster.workflows.tokenizers import (
    kept_of_expression,
    stratum_tokenizers,
    tokenizer_of,
    tokens_of,
)
from genellm_dagster_tests.finished import CELLS, CHILDREN, Finished
from genellm_dagster_tests.workflows.strata import COHORTS, options

LEARNING = ("rank", "bins")


def test_tokens_follow_the_fold_and_an_absent_gene_has_none(data, genes, folds):
    made = stratum_profiles(data, genes, folds, options("gene_z"))
    tokenizers = stratum_tokenizers(made.table, folds, TokenizerOptions())
    assert list(tokenizers) == [ALL]
    tokens = {("adult", name): tokens_of(made.table, name, tokenizers) for name in COHORTS}
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
    tokenizers = stratum_tokenizers(made.table, folds, TokenizerOptions())
    empty = tokens_of(made.table, "GSE9", tokenizers)
    full = tokens_of(made.table, "GSE1", tokenizers)
    assert empty.empty and list(empty.columns) == list(full.columns)
    tokens = {("adult", "GSE9"): empty, ("adult", "GSE1"): full}
    gsm = pd.Series(data.tables["GSE1"].columns)
    assert len(token_profiles_of(tokens, "adult", gsm)) == len(gsm)
    with pytest.raises(StoreError, match="materialize token_dataset again"):
        token_profiles_of(tokens, "adult", pd.Series(["GSM9"]))


@pytest.mark.parametrize("kind", LEARNING)
@pytest.mark.parametrize("normalisation", ["rank_normal", "gene_z"])
def test_a_fold_learns_its_tokens_from_its_training_side_alone(
    data, genes, folds, kind, normalisation
):
    chosen = TokenizerOptions(kind=kind)
    changed = {**data.tables, "GSE2": 30 - data.tables["GSE2"] ** 2}
    sets, rows = [], []
    for stratum in (data, StratumSamples(data.samples, changed, [])):
        profiles = stratum_profiles(stratum, genes, folds, options(normalisation)).table
        tokenizers = stratum_tokenizers(profiles, folds, chosen)
        assert list(tokenizers) == [ALL, *folds.names]
        tokens = {("adult", name): tokens_of(profiles, name, tokenizers) for name in COHORTS}
        held_out = next(fold for fold in folds if fold.name == "GSE2")
        sets.append(tokenizers)
        rows.append(token_profiles_of(tokens, "adult", pd.Series(held_out.train), "GSE2"))
    assert sets[0]["GSE2"] == sets[1]["GSE2"]
    for one, two in zip(*rows, strict=True):
        for part in ("genes", "positions", "values"):
            np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
    # Where GSE2 is learned from, it shows.
    assert sets[0][ALL] != sets[1][ALL]
    assert sets[0]["GSE1"] != sets[1]["GSE1"]
    json.dumps(sets)


@pytest.mark.parametrize("kind", LEARNING)
def test_tokens_of_a_fold_are_those_of_its_own_tokenizer(data, genes, folds, kind):
    profiles = stratum_profiles(data, genes, folds, options()).table
    tokenizers = stratum_tokenizers(profiles, folds, TokenizerOptions(kind=kind))
    tokens = tokens_of(profiles, "GSE1", tokenizers)
    assert tokens["fold"].unique().tolist() == [ALL, *folds.names]
    for fold in (ALL, *folds.names):
        own = tokenizer_from_description(tokenizer_of(tokenizers, fold))
        wanted = own.transform(profiles_of(profiles, fold).loc[data.tables["GSE1"].columns])
        found = tokens[tokens["fold"] == fold].drop(columns="fold").reset_index(drop=True)
        pd.testing.assert_frame_equal(found, wanted)


def test_what_tokens_keep_is_measured_on_samples_that_they_were_not_learned_on(data, genes, folds):
    profiles = stratum_profiles(data, genes, folds, options()).table
    kept = {
        kind: kept_of_expression(
            profiles, folds, stratum_tokenizers(profiles, folds, TokenizerOptions(kind=kind))
        )
        for kind in ("value", *LEARNING)
    }
    for table in kept.values():
        assert table["fold"].tolist() == folds.names
        assert table["samples"].tolist() == [len(fold.test) for fold in folds]
        assert not table["lost"].any()
    np.testing.assert_allclose(kept["value"][["r2", "r2_within_genes"]], 1.0, atol=1e-5)
    assert (kept["bins"]["r2"] < 1.0).all()
    assert (kept["rank"]["r2_within_genes"] < kept["bins"]["r2_within_genes"]).all()


def test_a_sample_is_shown_as_the_model_reads_it(finished: Finished, genellm: Callable):
    tokens = finished.table("token_dataset", CHILDREN, CELLS[CHILDREN][0])
    one = tokens.iloc[0]
    genes = finished.json("tokenizer", CHILDREN)[ALL]["genes"]
    with finished.environment():
        said = genellm("tokens", "show", one["gsm"], "--study", "demo", "--every")
        short = genellm("tokens", "show", one["gsm"], "--study", "demo", "--stratum", CHILDREN)
    assert (said.status, said.sentences) == (0, [])
    heading = f"{one['gsm']}: {len(one['genes'])} tokens of a vocabulary of {len(genes)} genes"
    assert said.out.startswith(heading) and short.out.startswith(heading)
    assert len(short.out) < len(said.out)
    lines = [line.split() for line in said.out.splitlines() if line[:9].strip().isdigit()]
    assert [line[1] for line in lines] == [genes[number] for number in one["genes"]]
    shown = np.array([float(line[3]) for line in lines])
    np.testing.assert_allclose(shown, one["values"], atol=6e-4)
    pieces = [line[2].replace("|", "") for line in lines]
    assert pieces == [f"\N{OPEN BOX}{genes[number]}" for number in one["genes"]]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["GSM1"], "GSM1 has no tokens in the study demo; run the study"),
        (["GSM1", "--stratum", "elderly"], "the stratum elderly"),
    ],
)
def test_a_sample_without_tokens_is_told(finished: Finished, genellm: Callable, given, words):
    with finished.environment():
        said = genellm("tokens", "show", *given, "--study", "demo")
    assert said.status == 1
    assert words in said.sentences[0]


def test_a_fold_without_tokens_of_its_own_is_told(finished: Finished, genellm: Callable):
    gsm = finished.table("token_dataset", CHILDREN, CELLS[CHILDREN][0])["gsm"].iloc[0]
    with finished.environment():
        said = genellm("tokens", "show", gsm, "--study", "demo", "--fold", "GSE1")
    assert said.status == 1
    assert "no tokens of its own for a fold 'GSE1'; it has those of all." in said.sentences[0]


def test_a_stratum_is_trained_on_tokens_that_each_fold_learned(finished: Finished, tmp_path: Path):
    place = tmp_path / "store"
    shutil.copytree(finished.store, place, ignore=shutil.ignore_patterns("compute_logs"))
    with finished.environment():
        settings = load_settings(
            study="demo", store=place, controls=False, tokenizer={"kind": "rank"}
        )
        study = study_of(settings)
        with dagster_instance(settings) as instance:
            definitions = build_definitions(settings, study)
            runner = StudyRunner(settings, study, definitions, instance, lambda _: None)
            runner.train(runner.plan(), [CHILDREN])
    ranked = Store(place, "demo")
    folds = set(read_json(ranked.place("tokenizer", f"{CHILDREN}.json"))) - {ALL}
    predictions = read_parquet(ranked.place("cross_validation", f"{CHILDREN}.parquet"))
    assert set(predictions["fold"]) == folds == set(CELLS[CHILDREN])
    before = finished.table("cross_validation", CHILDREN)
    before = before[before["model"] == "genellm"].set_index("gsm")["score"]
    assert not np.allclose(predictions.set_index("gsm")["score"], before[predictions["gsm"]])
    card = read_json(ranked.place("adapter", CHILDREN, "adapter.json"))["card"]
    assert card["tokenizer"]["kind"] == "rank" and card["tokenizer"]["medians"]
    # An order has no gradient: nothing is explained, and that is no error.
    attributed = read_parquet(ranked.place("gene_attributions", f"{CHILDREN}.parquet"))
    assert attributed.empty
