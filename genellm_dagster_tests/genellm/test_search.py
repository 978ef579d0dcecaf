"""The search for hyper-parameters: never worse than the defaults, resumed as if never killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genellm_dagster.errors import ModelError, StoreError
from genellm_dagster.genellm import search as searching
from genellm_dagster.genellm.options import AdapterOptions, GeneLLMOptions, TrainingOptions
from genellm_dagster.genellm.search import (
    Found,
    TrainingSide,
    log_loss_at_equal_prevalence,
    search_options,
)
from genellm_dagster.genellm.search_options import (
    Choice,
    Range,
    SearchOptions,
    value_of,
    with_values,
)
from genellm_dagster.genellm.search_trials import Trial
from genellm_dagster_tests.genellm.search_process import (
    OPTIONS,
    SEARCH,
    a_side,
    killed_in_trial,
    searched,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def side(folder: Path) -> TrainingSide:
    return a_side(folder)


def of(space: dict, trials: int = 3, **others) -> SearchOptions:
    return SearchOptions(trials=trials, random_trials=trials, space=space, **others)


def test_the_first_candidate_is_the_options_and_the_best_is_never_worse(side, tmp_path: Path):
    found = search_options(side, OPTIONS, SEARCH, tmp_path / "trials.sqlite")
    first = found.trials[0]
    assert first.values == {"training.whitening": 0.25, "training.context_share": 0.05}
    assert first.loss == found.default_loss == pytest.approx(np.mean(first.losses))
    assert len(found.trials) == 5
    assert found.inner_folds == 3
    assert found.loss is not None
    assert found.loss == min(one.loss for one in found.trials if one.loss is not None)
    assert found.loss <= found.default_loss
    best = with_values(OPTIONS, found.changed)
    assert {name: value_of(best, name) for name in SEARCH.space} in [
        one.values for one in found.trials if one.loss == found.loss
    ]


def test_a_planted_bad_default_is_left(side, tmp_path: Path):
    bad = with_values(OPTIONS, {"training.head_penalties": (100.0,)})
    space = {"training.head_penalties": Choice(one_of=([100.0], [0.01]))}
    found = search_options(side, bad, of(space, 4), tmp_path / "trials.sqlite")
    assert found.changed == {"training.head_penalties": [0.01]}
    assert found.loss < found.default_loss - 0.1
    assert with_values(bad, found.changed).training.head_penalties == (0.01,)


def test_the_options_stay_when_no_candidate_is_better(side, tmp_path: Path):
    space = {"training.head_penalties": Choice(one_of=([100.0], [1000.0]))}
    found = search_options(side, OPTIONS, of(space), tmp_path / "trials.sqlite")
    assert found.changed == {}
    assert found.loss == found.default_loss


def test_a_candidate_that_falls_behind_is_given_up_before_the_last_inner_fold(side, tmp_path: Path):
    space = {"training.head_penalties": Choice(one_of=([100.0], [300.0], [1000.0]))}
    search = SearchOptions(trials=4, random_trials=1, space=space)
    found = search_options(side, OPTIONS, search, tmp_path / "trials.sqlite")
    behind = [one for one in found.trials if one.values["training.head_penalties"] != [0.01]]
    assert behind
    assert all(one.loss is None and 0 < len(one.losses) < 3 for one in behind)
    assert found.changed == {}


def test_one_seed_gives_one_search_and_another_seed_another(side, straight, tmp_path: Path):
    assert search_options(side, OPTIONS, SEARCH, tmp_path / "trials.sqlite") == straight
    other = SEARCH.model_copy(update={"seed": 21, "trials": 2})
    found = search_options(side, OPTIONS, other, tmp_path / "trials.sqlite")
    assert found.trials[0] == straight.trials[0]
    assert found.trials[1].values != straight.trials[1].values


@pytest.fixture(scope="module")
def straight(folder: Path) -> Found:
    return searched(folder, folder / "straight.sqlite")


@pytest.mark.parametrize("number", [0, 3])
def test_a_search_that_was_killed_ends_as_a_straight_one(
    folder, straight: Found, tmp_path: Path, number: int
):
    killed_in_trial(folder, tmp_path / "killed.sqlite", number)
    tried: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        real = searching._try
        patch.setattr(searching, "_try", lambda *rest: (tried.append(len(rest[3])), real(*rest)))
        resumed = searched(folder, tmp_path / "killed.sqlite")
    assert resumed == straight
    assert tried == list(range(number, SEARCH.trials))


def test_finished_trials_are_not_tried_again_and_more_may_be_asked_for(
    side, straight, tmp_path: Path
):
    file = tmp_path / "trials.sqlite"
    fewer = SEARCH.model_copy(update={"trials": 3})
    first = search_options(side, OPTIONS, fewer, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "fit", None)
        again = search_options(side, OPTIONS, fewer, file)
    assert again == first
    steps: list[tuple[int, int]] = []
    more = search_options(
        side, OPTIONS, SEARCH, file, lambda done, total: steps.append((done, total))
    )
    assert more.trials[:3] == first.trials
    assert more == straight
    assert steps[0] == (9, 15)
    assert steps[-1] == (15, 15)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_trials_of_other_labels_are_not_taken_over(side, tmp_path: Path):
    file = tmp_path / "trials.sqlite"
    one = search_options(side, OPTIONS, SEARCH, file)
    cases = side.cases.copy()
    cases[:4] = 1 - cases[:4]
    flipped = replace(side, cases=cases)
    other = search_options(flipped, OPTIONS, SEARCH, file)
    assert other.default_loss != one.default_loss
    assert search_options(side, OPTIONS, SEARCH, file) == one


def test_no_inner_fold_lets_a_person_of_two_cohorts_tell(side):
    persons = side.persons.copy()
    persons[20] = persons[3]
    folds = replace(side, persons=persons).inner_folds(SEARCH)
    assert [len(test) for _, test in folds] == [16, 16, 16]
    for train, test in folds:
        assert not set(persons[train]) & set(persons[test])
    assert sorted(len(train) for train, _ in folds) == [31, 31, 32]


def test_with_too_few_persons_the_options_stay(side, tmp_path: Path):
    rows = [0, 1, 2]
    few = replace(
        side,
        profiles=[side.profiles[row] for row in rows],
        cases=side.cases[rows],
        cohorts=side.cohorts[rows],
        persons=side.persons[rows],
    )
    found = search_options(few, OPTIONS, SEARCH, tmp_path / "trials.sqlite")
    assert (found.changed, found.loss, found.trials, found.inner_folds) == ({}, None, (), 0)


def test_no_rank_is_tried_that_the_share_does_not_allow(side, tmp_path: Path, monkeypatch):
    session = side.session_of(1)
    real = session.backbone.model_copy(update={"pretrained": True})
    session.backbone = real
    heavy = replace(side, session_of=lambda _: session)
    limit = searching.adapted
    with limit(session.model, 1, AdapterOptions(rank=3)) as wrapped:
        trainable = searching.trainable_parameters(wrapped, real.hidden + 12, real.hidden)
    share = (trainable + 0.5) / real.parameters
    options = GeneLLMOptions(
        adapter=AdapterOptions(rank=2, max_trainable_share=share), training=OPTIONS.training
    )
    ranks = of({"adapter.rank": Range(low=1, high=40, whole=True)}, 6)
    found = search_options(heavy, options, ranks, tmp_path / "trials.sqlite")
    assert found.space["adapter.rank"] == Range(low=1, high=3, whole=True)
    assert {one.values["adapter.rank"] for one in found.trials} <= {1, 2, 3}
    assert all(one.refused is None for one in found.trials)


def test_a_candidate_that_cannot_be_trained_is_refused_and_the_search_goes_on(side, tmp_path: Path):
    space = {"adapter.targets": Choice(one_of=(["q_proj", "v_proj"], ["no_such_layer"]))}
    options = with_values(OPTIONS, {"training.epochs": 1, "adapter.targets": ["q_proj", "v_proj"]})
    found = search_options(side, options, of(space, 5), tmp_path / "trials.sqlite")
    refused = [one for one in found.trials if one.refused]
    assert refused
    assert "no_such_layer" in refused[0].refused
    assert found.changed == {}


def test_options_that_cannot_be_trained_end_the_search(side, tmp_path: Path):
    wrong = with_values(OPTIONS, {"adapter.targets": ["no_such_layer"]})
    with pytest.raises(ModelError, match="no_such_layer"):
        search_options(side, wrong, SEARCH, tmp_path / "trials.sqlite")


def test_the_number_of_head_layers_may_be_searched(side, tmp_path: Path):
    space = {"prefix.head_layers": Choice(one_of=(2,))}
    found = search_options(side, OPTIONS, of(space, 6), tmp_path / "trials.sqlite")
    one, two = (
        {t.losses for t in found.trials if t.values == {"prefix.head_layers": n}} for n in (1, 2)
    )
    assert len(one) == len(two) == 1
    assert one != two


def test_more_head_layers_than_there_are_layers_are_refused(side, tmp_path: Path):
    space = {"prefix.head_layers": Choice(one_of=(99,))}
    found = search_options(side, OPTIONS, of(space, 6), tmp_path / "trials.sqlite")
    refused = [one.refused for one in found.trials if one.values == {"prefix.head_layers": 99}]
    assert refused
    assert all("has only" in sentence for sentence in refused)


def test_a_second_search_in_the_same_file_is_one_sentence(side, tmp_path: Path):
    file = tmp_path / "trials.sqlite"
    with FileLock(f"{file}.lock"), pytest.raises(StoreError, match="Another process searches"):
        search_options(side, OPTIONS, SEARCH, file)


def test_a_damaged_file_is_one_sentence(side, tmp_path: Path):
    file = tmp_path / "trials.sqlite"
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="delete the file"):
        search_options(side, OPTIONS, SEARCH, file)


def test_log_loss_does_not_depend_on_prevalence():
    scores = np.array([0.9, 0.6, 0.2])
    cases = np.array([1, 1, 0])
    expected = -0.5 * ((np.log(0.9) + np.log(0.6)) / 2 + np.log(0.8))
    assert log_loss_at_equal_prevalence(cases, scores) == pytest.approx(expected)
    repeated = np.repeat([0, 1, 2], [1, 1, 50])
    assert log_loss_at_equal_prevalence(cases[repeated], scores[repeated]) == pytest.approx(
        expected
    )
    assert np.isfinite(log_loss_at_equal_prevalence(cases, np.array([0.0, 0.5, 1.0])))


LOSSES = st.lists(
    st.lists(st.floats(0, 5), min_size=4, max_size=4).map(tuple), min_size=2, max_size=6
)


@given(LOSSES)
def test_a_candidate_that_beats_all_on_no_fold_that_remains_is_given_up_only_if_it_loses(given_):
    *finished, candidate = given_
    trials = [Trial({}, losses, float(np.mean(losses)), None) for losses in finished]
    best = min(sum(losses) for losses in finished)
    record = any(
        candidate[n] < min(losses[n] for losses in finished) for n in range(len(candidate))
    )
    for done in range(1, 5):
        if searching._hopeless(candidate[:done], trials, 4) and not record:
            assert sum(candidate) >= best - 1e-9


def test_a_candidate_far_behind_is_given_up_at_once():
    trials = [Trial({}, (0.3, 0.2, 0.4), 0.3, None)]
    assert searching._hopeless([0.5], trials, 3)
    assert not searching._hopeless([0.2], trials, 3)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "empty"),
        ({"adapter.max_trainable_share": {"low": 0.1, "high": 1}}, "cannot be searched"),
        ({"training.seed": {"one_of": [1, 2]}}, "cannot be searched"),
        ({"adapter.nothing": {"one_of": [1]}}, "cannot be searched"),
        ({"min_gene_coverage": {"low": 0.1, "high": 1}}, "cannot be searched"),
        ({"adapter.rank": {"low": 0, "high": 4, "whole": True}}, "adapter.rank cannot be 0"),
        ({"adapter.rank": {"low": 1, "high": 4.5, "whole": True}}, "no whole numbers"),
        ({"training.whitening": {"low": 0.4, "high": 0.1}}, "is above"),
        ({"training.whitening": {"low": 0, "high": 0.1, "log": True}}, "no logarithm"),
        ({"training.whitening": {"low": 0, "high": 0.9}}, "training.whitening cannot be"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space: dict, said: str):
    with pytest.raises(ValidationError, match=said):
        SearchOptions(space=space)


def test_the_space_holds_the_options_even_where_they_are_set_outside(side, tmp_path: Path):
    far = with_values(OPTIONS, {"training.context_share": 0.95})
    found = search_options(side, far, SEARCH, tmp_path / "trials.sqlite")
    assert found.trials[0].values["training.context_share"] == 0.95
    assert found.space["training.context_share"] == Range(low=0.01, high=0.95, log=True)


def test_an_option_that_its_range_cannot_hold_is_one_sentence(side, tmp_path: Path):
    space = {"training.warmup_share": Range(low=0.01, high=0.5, log=True)}
    none = GeneLLMOptions(training=TrainingOptions(warmup_share=0))
    with pytest.raises(ModelError, match=r"warmup_share is 0.0"):
        search_options(side, none, of(space), tmp_path / "trials.sqlite")


def test_what_belongs_to_lora_is_not_searched_for_another_kind(side, tmp_path: Path):
    options = with_values(OPTIONS, {"adapter.kind": "ia3", "training.epochs": 1})
    space = {
        "adapter.rank": Range(low=1, high=4, whole=True),
        "training.whitening": Range(low=0.0, high=0.5),
    }
    found = search_options(side, options, of(space, 2), tmp_path / "trials.sqlite")
    assert set(found.space) == {"training.whitening"}
