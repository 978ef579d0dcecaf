"""Options are searched on a fold's own training side, kept, and used for that fold alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import StoreError
from genellm_dagster.evaluation.folds import Fold, Folds, make_folds
from genellm_dagster.files import read_json, write_json
from genellm_dagster.genellm.backbone import prepare_backbone
from genellm_dagster.genellm.session import Session
from genellm_dagster.settings import Settings, load_settings
from genellm_dagster.store import Store
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.done import SettingsDigests
from genellm_dagster.workflows.search import (
    TunedOptions,
    everyone,
    options_for,
    tracked_search,
)
from genellm_dagster_tests.defs.makers import a_study
from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, Finished
from genellm_dagster_tests.genellm.makers import GENES, simulated

STUDY = a_study("GSE0", "GSE1", "GSE2")


def settings_in(folder: Path, **model: Any) -> Settings:
    return load_settings(
        store=folder,
        backbone="tiny",
        model={"training": {"epochs": 0, "head_penalties": [30.0]}, **model},
        search={
            "trials": 3,
            "random_trials": 3,
            "space": {"training.head_penalties": {"one_of": [[30.0], [0.01], [0.1]]}},
        },
    )


def tokens_of_all(profiles: pd.DataFrame, samples: pd.DataFrame) -> dict:
    tokenizer = ValueTokenizer(GENES, TokenizerOptions())
    tables = {}
    for cohort, rows in samples.groupby("cohort"):
        table = tokenizer.transform(profiles.loc[rows["gsm"]])
        table.insert(0, "fold", "all")
        tables["adult", str(cohort)] = table
    return tables


class World:
    """Simulated cohorts on the tiny backbone, and a store of their own."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings_in(folder)
        self.store = Store(folder, STUDY.name)
        self.profiles, self.samples = simulated(3, 16, effect=1.5)
        self.tracker = Tracker(self.settings.tracking, folder)
        self.session = Session(
            prepare_backbone("tiny", self.store.backbones),
            ValueTokenizer(GENES, TokenizerOptions()).describe(),
            self.settings.model,
            self.store.prefix_states,
        )

    @property
    def folds(self) -> Folds:
        return make_folds(self.samples, None, self.settings.evaluation)

    def search(self) -> TunedOptions:
        return tracked_search(
            self.tracker,
            STUDY,
            "adult",
            lambda _: self.session,
            self.samples,
            tokens_of_all(self.profiles, self.samples),
            self.folds,
            self.settings,
            self.store,
            lambda _: lambda done, total: None,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def tuned(world: World) -> TunedOptions:
    found = world.search()
    write_json(world.store.place("tuned_options", "adult.json"), found.model_dump(mode="json"))
    return found


@pytest.fixture
def place(world: World, tuned: TunedOptions, tmp_path: Path) -> Path:
    """The file of a store whose only content it is, to be spoilt."""
    path = Store(tmp_path, STUDY.name).place("tuned_options", "adult.json")
    write_json(path, tuned.model_dump(mode="json"))
    return path


def test_each_fold_and_the_adapter_have_a_search_that_is_not_worse(tuned: TunedOptions, world):
    assert list(tuned.folds) == ["GSE0", "GSE1", "GSE2", "all"]
    assert [fold.samples for fold in tuned.folds.values()] == [32, 32, 32, 48]
    assert [fold.inner_folds for fold in tuned.folds.values()] == [2, 2, 2, 3]
    for fold in tuned.folds.values():
        assert fold.trials == 3
        assert fold.value < fold.default_value
        assert fold.options["training.head_penalties"] in ([0.01], [0.1])
    assert len(tuned.table()) == 4


def test_nothing_of_a_test_side_is_read(
    tuned: TunedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = World(tmp_path)
    there = other.samples["cohort"] == "GSE1"
    other.samples.loc[there, "case"] = 1 - other.samples.loc[there, "case"]
    noise = np.random.default_rng(1).normal(size=(int(there.sum()), len(GENES)))
    other.profiles.loc[other.samples.loc[there, "gsm"]] = noise.astype(np.float32)
    loaded: list[set[str]] = []
    real = Session.load

    def watching(session: Session, profiles):
        loaded.append({profile.gsm for profile in profiles})
        return real(session, profiles)

    monkeypatch.setattr(Session, "load", watching)
    found = other.search()
    assert found.folds["GSE1"] == tuned.folds["GSE1"]
    assert all(found.folds[name] != tuned.folds[name] for name in ("GSE0", "GSE2", "all"))
    assert loaded == [set(fold.train) for fold in (*other.folds, everyone(other.samples))]


def test_each_search_is_a_run_with_its_trials(tuned: TunedOptions, world: World, tmp_path: Path):
    runs = world.tracker.runs(STUDY.name, folds=True)
    parent = runs[runs["tags.level"] == "stratum"].iloc[0]
    assert (parent["tags.model"], parent["status"]) == ("genellm_search", "FINISHED")
    nested = runs[runs["tags.mlflow.parentRunId"] == parent["run_id"]].set_index("tags.fold")
    assert set(nested.index) == set(tuned.folds)
    assert set(nested["tags.level"]) == {"search"}
    for name, fold in tuned.folds.items():
        assert nested.loc[name, "metrics.value"] == fold.value
        assert nested.loc[name, "metrics.best_value"] == fold.value
        kept = world.tracker.kept(nested.loc[name, "run_id"], "trials.json", tmp_path, 10**6)
        trials = read_json(kept)
        assert len(trials) == fold.trials
        assert trials[0]["value"] == fold.default_value
        assert trials[0]["options"] == {"training.head_penalties": [30.0]}
    assert world.tracker.latest(STUDY.name, "adult") is None


def test_options_are_those_of_the_settings_until_tuned_ones_are_asked_for(
    world: World, tuned: TunedOptions
):
    fold = world.folds[0]
    assert options_for(world.settings, world.store, "adult", fold) == world.settings.model
    on = settings_in(world.store.root, tuned=True)
    for one in (*world.folds, everyone(world.samples)):
        options = options_for(on, world.store, "adult", one)
        changed = tuned.folds[one.name].options["training.head_penalties"]
        assert options.training.head_penalties == tuple(changed)
        assert options.adapter == on.model.adapter


def test_tuned_options_of_other_training_samples_are_refused(world: World, tuned, place: Path):
    on = settings_in(place.parents[2], tuned=True)
    store = Store(on.store, STUDY.name)
    fold = world.folds[0]
    assert options_for(on, store, "adult", fold) != on.model
    more = Fold(fold.name, (*fold.train, fold.test[0]), fold.test[1:])
    with pytest.raises(StoreError, match="other training samples than those of fold GSE0"):
        options_for(on, store, "adult", more)
    with pytest.raises(StoreError, match="other training samples"):
        options_for(on, store, "adult", Fold("GSE7", fold.train, fold.test))


def test_tuned_options_that_are_not_there_or_of_other_settings_are_one_sentence(
    world: World, place: Path
):
    fold, store = world.folds[0], Store(place.parents[2], STUDY.name)
    with pytest.raises(StoreError, match="genellm tune --stratum pediatric"):
        options_for(settings_in(store.root, tuned=True), store, "pediatric", fold)
    other = settings_in(store.root, tuned=True, adapter={"rank": 2})
    with pytest.raises(StoreError, match="searched from other options"):
        options_for(other, store, "adult", fold)
    faster = settings_in(store.root, tuned=True, prefix={"batch_tokens": 7})
    assert options_for(faster, store, "adult", fold).prefix.batch_tokens == 7


@pytest.mark.parametrize(
    "spoilt",
    [
        {"adapter.max_trainable_share": 1.0},
        {"training.epochs": -1},
        {"training.nothing": 1},
        "no mapping",
    ],
)
def test_a_spoilt_file_is_one_sentence_and_lifts_no_bound(world: World, place: Path, spoilt):
    content = read_json(place)
    content["folds"]["GSE0"]["options"] = spoilt
    write_json(place, content)
    on = settings_in(place.parents[2], tuned=True)
    with pytest.raises(StoreError, match="are damaged"):
        options_for(on, Store(on.store, STUDY.name), "adult", world.folds[0])


def test_a_new_search_makes_the_models_of_its_stratum_be_trained_again(place: Path):
    def digests(**model: Any) -> dict:
        return dict(SettingsDigests.of(settings_in(place.parents[2], **model), STUDY).tuned)

    assert digests() == {}
    before = digests(tuned=True)
    assert before.keys() == {"adult"}
    write_json(place, {**read_json(place), "url": "elsewhere"})
    assert digests(tuned=True) != before


@pytest.fixture
def copied(of_finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run's store, because a search leaves runs in it."""
    store = tmp_path / "store"
    shutil.copytree(of_finished.store, store)
    monkeypatch.setenv("GENELLM_STORE", str(store))
    space = {"training.whitening": {"low": 0, "high": 0.5}}
    monkeypatch.setenv("GENELLM_SEARCH__SPACE", json.dumps(space))
    return store


def test_the_command_searches_a_stratum_and_goes_on_from_what_is_done(copied: Path, genellm):
    said = genellm("tune", "--study", "demo", "--stratum", ADULTS, "--trials", "2", "--json")
    assert said.status == 0, said.err
    found = json.loads(said.out)
    written = read_json(copied / "demo" / "tuned_options" / f"{ADULTS}.json")
    assert found == {ADULTS: written}
    assert list(written["folds"]) == [*CELLS[ADULTS], "all"]
    assert {fold["trials"] for fold in written["folds"].values()} == {2}
    assert written["simulated"] is True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genellm_dagster.genellm.search.fit", None)
        again = genellm("tune", "--study", "demo", "--stratum", ADULTS, "--trials", "2")
    assert again.status == 0, again.err
    assert "SIMULATED demo adult" in again.out
    assert "GENELLM_MODEL__TUNED=true" in again.out
    for fold in written["folds"].values():
        assert f"{fold['default_value']:.4g}" in again.out


def test_a_stratum_that_is_none_or_was_not_run_is_one_sentence(
    copied: Path, genellm, monkeypatch: pytest.MonkeyPatch
):
    said = genellm("tune", "--study", "demo", "--stratum", "elderly")
    assert (said.status, len(said.sentences)) == (1, 1)
    assert "has no stratum 'elderly'" in said.err
    shutil.rmtree(copied / "demo" / "token_dataset")
    said = genellm("tune", "--study", "demo", "--stratum", CHILDREN)
    assert (said.status, len(said.sentences)) == (1, 1)
    assert "genellm run" in said.err
