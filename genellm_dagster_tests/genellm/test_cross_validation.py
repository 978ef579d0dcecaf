"""Cross-validation: never trains on what it tests; learns a signal, and none from shuffles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm import cross_validation
from genellm_dagster.genellm.cross_validation import cross_validate, shuffled_within
from genellm_dagster.genellm.options import GeneLLMOptions, TrainingOptions
from genellm_dagster_tests.genellm.makers import GENES, Setting, simulated

OPTIONS = GeneLLMOptions(training=TrainingOptions(epochs=1, ensemble=2))


@dataclass(frozen=True)
class Fold:
    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


def by_cohort(samples: pd.DataFrame) -> list[Fold]:
    folds = []
    for cohort in sorted(samples["cohort"].unique()):
        here = samples["cohort"] == cohort
        folds.append(
            Fold(cohort, tuple(samples.loc[~here, "gsm"]), tuple(samples.loc[here, "gsm"]))
        )
    return folds


def test_an_easy_signal_is_learned_and_every_sample_predicted_once(tiny: Setting, easy):
    states, samples = easy
    heard: list[str] = []
    steps: list[tuple[int, int]] = []
    result = cross_validate(
        tiny.model, tiny.backbone, lambda _: states, samples, by_cohort(samples), OPTIONS,
        on_fold=lambda fold, fit, part: heard.append(f"{fold.name} {len(fit.members)} {len(part)}"),
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
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
    assert steps[-1][0] == steps[-1][1]


def test_labels_of_test_samples_and_the_samples_themselves_are_not_used(
    tiny: Setting, easy, monkeypatch: pytest.MonkeyPatch
):
    states, samples = easy
    folds = by_cohort(samples)
    seen: list[set[str]] = []
    real = cross_validation.fit

    def watching(model, backbone, states_, rows, *rest):
        seen.append({states_.gsm[row] for row in rows})
        return real(model, backbone, states_, rows, *rest)

    monkeypatch.setattr(cross_validation, "fit", watching)
    one = cross_validate(tiny.model, tiny.backbone, lambda _: states, samples, folds, OPTIONS)
    assert seen == [set(fold.train) for fold in folds]
    flipped = samples.assign(
        case=np.where(samples["cohort"] == "GSE1", 1 - samples["case"], samples["case"])
    )
    other = cross_validate(
        tiny.model, tiny.backbone, lambda _: states, flipped, folds[1:2], OPTIONS
    )
    tested = one.predictions[one.predictions["fold"] == "GSE1"]
    np.testing.assert_array_equal(tested["score"], other.predictions["score"])


def test_shuffled_labels_fall_to_chance(tiny: Setting, easy):
    states, samples = easy
    aurocs = []
    for seed in range(4):
        options = OPTIONS.model_copy(
            update={"training": TrainingOptions(epochs=0, ensemble=1, seed=seed)}
        )
        table = cross_validate(
            tiny.model, tiny.backbone, lambda _: states, samples, by_cohort(samples), options,
            model_name="genellm_shuffled_labels", shuffle_labels=True,
        ).predictions  # fmt: skip
        aurocs += [
            roc_auc_score(part["case"], part["score"]) for _, part in table.groupby("cohort")
        ]
        assert (table.set_index("gsm")["case"] == samples.set_index("gsm")["case"]).all()
    assert abs(np.mean(aurocs) - 0.5) < 0.3
    assert min(aurocs) < 0.5


def test_labels_are_shuffled_within_cohorts_only():
    cohorts = np.repeat(["A", "B"], 50)
    cases = np.repeat([0, 1, 0, 1], [45, 5, 10, 40])
    shuffled = shuffled_within(cases, cohorts, 1)
    assert (shuffled != cases).any()
    assert [int(shuffled[cohorts == name].sum()) for name in "AB"] == [5, 40]
    np.testing.assert_array_equal(shuffled, shuffled_within(cases, cohorts, 1))


def test_ensemble_can_be_smaller_than_the_options_say(tiny: Setting, easy):
    states, samples = easy
    result = cross_validate(
        tiny.model,
        tiny.backbone,
        lambda _: states,
        samples,
        by_cohort(samples)[:1],
        OPTIONS,
        ensemble=1,
    )
    assert len(result.fits["GSE0"].members) == 1
    assert (result.predictions["uncertainty"] == 0).all()


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (("GSM0", "GSM1"), ("GSM1", "GSM2"), "tests GSM1, which it also trains on"),
        (("GSM0", "GSM1"), ("GSM999",), "GSM999, which is no sample"),
        ((), ("GSM1",), "empty side"),
    ],
)
def test_a_fold_that_is_not_sound_is_refused(tiny: Setting, easy, train, test, said: str):
    states, samples = easy
    with pytest.raises(ModelError, match=said):
        cross_validate(
            tiny.model, tiny.backbone, lambda _: states, samples, [Fold("f", train, test)], OPTIONS
        )


def test_no_folds_doubled_samples_and_missing_states_are_refused(
    tiny: Setting, easy, tmp_path: Path
):
    states, samples = easy
    folds = by_cohort(samples)
    with pytest.raises(ModelError, match="no fold"):
        cross_validate(tiny.model, tiny.backbone, lambda _: states, samples, [], OPTIONS)
    doubled = pd.concat([samples, samples.iloc[:1]])
    with pytest.raises(ModelError, match="GSM0 stands twice"):
        cross_validate(tiny.model, tiny.backbone, lambda _: states, doubled, folds, OPTIONS)
    profiles, _ = simulated(cohorts=1, each=4)
    few = tiny.states(tmp_path, profiles)
    with pytest.raises(ModelError, match="68 samples have no prefix states"):
        cross_validate(tiny.model, tiny.backbone, lambda _: few, samples, folds, OPTIONS)
