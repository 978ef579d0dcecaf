"""Cross-validation: never trains on what it tests; learns a signal, and none from shuffles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm import fold_task
from genellm_dagster.genellm.cross_validation import (
    cross_validate,
    shuffled_within,
)
from genellm_dagster.genellm.options import GeneLLMOptions, PrefixOptions, TrainingOptions
from genellm_dagster.genellm.session import Session
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster_tests.genellm.folds import OPTIONS, Fold, Given, by_cohort, require_same
from genellm_dagster_tests.genellm.makers import GENES, Setting, simulated


def test_an_easy_signal_is_learned_and_every_sample_predicted_once(tiny: Setting, given: Given):
    samples = given.samples
    heard: list[str] = []
    steps: list[tuple[int, int]] = []
    result = given.validate(
        on_fold=lambda fold, fit, part: heard.append(f"{fold.name} {len(fit.members)} {len(part)}"),
        progress=lambda done, total: steps.append((done, total)),
    )
    table = result.predictions
    assert list(table.columns) == [
        "gsm", "cohort", "stratum", "subject", "case", "fold", "model", "score", "uncertainty",
    ]  # fmt: skip
    assert sorted(table["gsm"]) == sorted(samples["gsm"])
    assert (table["fold"] == table["cohort"]).all()
    assert set(table["model"]) == {"genellm"}
    assert table["score"].between(0, 1).all()
    assert (table["uncertainty"] > 0).any()
    assert roc_auc_score(table["case"], table["score"]) > 0.9
    assert result.representations.index.tolist() == table["gsm"].tolist()
    assert result.representations.shape[1] == tiny.backbone.hidden + len(GENES)
    assert heard == ["GSE0 2 24", "GSE1 2 24", "GSE2 2 24"]
    assert steps == [(step, 6) for step in range(1, 7)]


def test_labels_of_test_samples_and_the_samples_themselves_are_not_used(
    given: Given, monkeypatch: pytest.MonkeyPatch
):
    samples = given.samples
    folds = by_cohort(samples)
    seen: list[set[str]] = []
    real = fold_task.fit

    def watching(model, backbone, states_, rows, *rest, **more):
        seen.append({states_.gsm[row] for row in rows})
        return real(model, backbone, states_, rows, *rest, **more)

    monkeypatch.setattr(fold_task, "fit", watching)
    one = given.validate()
    assert seen == [set(fold.train) for fold in folds]
    flipped = samples.assign(
        case=np.where(samples["cohort"] == "GSE1", 1 - samples["case"], samples["case"])
    )
    other = given.validate(folds[1:2], flipped)
    tested = one.predictions[one.predictions["fold"] == "GSE1"]
    np.testing.assert_array_equal(tested["score"], other.predictions["score"])


def test_shuffled_labels_fall_to_chance(given: Given):
    samples = given.samples
    aurocs = []
    options = OPTIONS.model_copy(update={"training": TrainingOptions(epochs=0, ensemble=2)})
    every = given.validate_shuffled(4, options=options)
    for result in every:
        table = result.predictions
        assert set(table["model"]) == {"genellm_shuffled_labels"}
        assert (table["fold"] == table["cohort"]).all()
        aurocs += [
            roc_auc_score(part["case"], part["score"]) for _, part in table.groupby("cohort")
        ]
        assert (table.set_index("gsm")["case"] == samples.set_index("gsm")["case"]).all()
        assert all(len(fit.members) == 1 for fit in result.fits.values())
    assert len({tuple(result.predictions["score"]) for result in every}) == 4
    assert abs(np.mean(aurocs) - 0.5) < 0.3
    assert min(aurocs) < 0.5


def test_shuffles_share_the_states_of_a_fold_and_the_first_is_the_same_alone(
    given: Given, monkeypatch: pytest.MonkeyPatch
):
    loaded, heard, steps = [], [], []
    load = Session.load
    monkeypatch.setattr(
        Session, "load", lambda self, profiles: loaded.append(1) or load(self, profiles)
    )
    every = given.validate_shuffled(
        3,
        on_fold=lambda fold, fit, part: heard.append(fold.name),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert loaded == [1]
    assert heard == ["GSE0", "GSE1", "GSE2"]
    assert steps[-1][0] == steps[-1][1] == len(steps)
    alone = given.validate_shuffled(1)
    pd.testing.assert_frame_equal(every[0].predictions, alone[0].predictions)


def test_labels_are_shuffled_within_cohorts_only():
    cohorts = np.repeat(["A", "B"], 50)
    cases = np.repeat([0, 1, 0, 1], [45, 5, 10, 40])
    shuffled = shuffled_within(cases, cohorts, 1)
    assert (shuffled != cases).any()
    assert [int(shuffled[cohorts == name].sum()) for name in "AB"] == [5, 40]
    np.testing.assert_array_equal(shuffled, shuffled_within(cases, cohorts, 1))


def test_ensemble_can_be_smaller_than_the_options_say(given: Given):
    result = given.validate(by_cohort(given.samples)[:1], ensemble=1)
    assert len(result.fits["GSE0"].members) == 1
    assert (result.predictions["uncertainty"] == 0).all()


def test_each_fold_may_have_options_of_its_own(given: Given):
    folds = by_cohort(given.samples)
    deeper = GeneLLMOptions(
        training=TrainingOptions(epochs=2, ensemble=1), prefix=PrefixOptions(head_layers=2)
    )
    options = {"GSE0": OPTIONS, "GSE1": deeper, "GSE2": OPTIONS}
    steps: list[tuple[int, int]] = []
    mixed = cross_validate(
        given.samples, folds, lambda _: given.session, lambda _: given.profiles,
        lambda fold: options[fold.name], progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert {name: len(fit.members) for name, fit in mixed.fits.items()} == {
        "GSE0": 2, "GSE1": 1, "GSE2": 2,
    }  # fmt: skip
    straight = given.validate(folds[1:2], options=deeper).predictions
    plain = given.validate(folds).predictions
    for fold, expected in {"GSE0": plain, "GSE1": straight, "GSE2": plain}.items():
        own = [table.loc[table["fold"] == fold, "score"] for table in (mixed.predictions, expected)]
        np.testing.assert_array_equal(*own)
    assert steps[-1] == (6, 6)


def test_each_fold_may_have_a_tokenizer_of_its_own(tiny: Setting, given: Given):
    profiles, samples = simulated(cohorts=3, each=24)
    folds = by_cohort(samples)
    fewer = ValueTokenizer(GENES[:6], TokenizerOptions())
    other = given.session.with_tokenizer(fewer.describe())
    assert other.model is given.session.model
    tokens = token_profiles(fewer.transform(profiles[GENES[:6]]))
    mixed = cross_validate(
        samples,
        folds,
        lambda fold: other if fold.name == "GSE1" else given.session,
        lambda fold: tokens if fold.name == "GSE1" else given.profiles,
        lambda _: OPTIONS,
    )
    widths = {name: len(fit.members[0].weight) for name, fit in mixed.fits.items()}
    hidden = tiny.backbone.hidden
    assert widths == {"GSE0": hidden + 12, "GSE1": hidden + 6, "GSE2": hidden + 12}
    plain = given.validate().predictions
    same = mixed.predictions["fold"] != "GSE1"
    np.testing.assert_array_equal(mixed.predictions["score"][same], plain["score"][same])
    assert (mixed.predictions["score"] != plain["score"])[~same].any()


def test_states_are_loaded_once_for_folds_of_the_same_profiles(
    given: Given, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[int] = []
    real = Session.load
    monkeypatch.setattr(
        Session, "load", lambda self, profiles: loaded.append(1) or real(self, profiles)
    )
    given.validate(ensemble=1)
    assert len(loaded) == 1


def test_a_cross_validation_that_was_stopped_trains_no_fold_twice(given: Given, tmp_path: Path):
    def stop(fold: Fold, *_) -> None:
        if fold.name == "GSE1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        given.validate(checkpoints=tmp_path, on_fold=stop)
    steps: list[tuple[int, int]] = []
    again = given.validate(
        checkpoints=tmp_path, progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(2, 6), (4, 6), (5, 6), (6, 6)]
    require_same(again, given.validate())


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (("GSM0", "GSM1"), ("GSM1", "GSM2"), "tests GSM1, which it also trains on"),
        (("GSM0", "GSM1"), ("GSM999",), "GSM999, which is no sample"),
        ((), ("GSM1",), "empty side"),
    ],
)
def test_a_fold_that_is_not_sound_is_refused(given: Given, train, test, said: str):
    with pytest.raises(ModelError, match=said):
        given.validate([Fold("f", train, test)])


def test_no_folds_doubled_samples_and_missing_profiles_are_refused(given: Given):
    folds = by_cohort(given.samples)
    with pytest.raises(ModelError, match="no fold"):
        given.validate([])
    with pytest.raises(ModelError, match="two folds GSE0"):
        given.validate([folds[0], folds[0]])
    doubled = pd.concat([given.samples, given.samples.iloc[:1]])
    with pytest.raises(ModelError, match="GSM0 stands twice"):
        given.validate(folds, doubled)
    few = Given(given.session, given.profiles[:4], given.samples)
    with pytest.raises(ModelError, match="68 samples have no prefix states"):
        few.validate(folds)
