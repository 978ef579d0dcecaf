"""Training by gradients: its loss, when it stops, in which numbers it runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm import gradient_training
from genellm_dagster.genellm.gradient_training import number_type
from genellm_dagster.genellm.losses import training_loss
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.training import Fit, fit
from genellm_dagster_tests.genellm.makers import Setting

OPTIONS = {"epochs": 4, "ensemble": 1, "adapter_learning_rate": 0.05, "batch_size": 24}


def _fit(tiny: Setting, easy, rows: np.ndarray | None = None, **changes: Any) -> Fit:
    states, samples = easy
    rows = np.arange(len(samples)) if rows is None else rows
    steps = changes.pop("progress", None)
    return fit(
        tiny.model, tiny.backbone, states, rows, samples["case"].to_numpy()[rows],
        samples["cohort"].to_numpy(str)[rows], 1, AdapterOptions(),
        TrainingOptions(**OPTIONS | changes), steps,
    )  # fmt: skip


def _lora(result: Fit, member: int = 0) -> float:
    return max(
        float(value.abs().max())
        for name, value in result.members[member].peft.items()
        if "lora_B" in name
    )


numbers = st.floats(-200, 200, allow_nan=False, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, st.integers(0, 1)), min_size=1, max_size=12), st.floats(0, 10))
def test_focal_loss_is_log_loss_times_a_power_of_the_doubt(pairs, gamma: float):
    logits = torch.tensor([logit for logit, _ in pairs], requires_grad=True)
    target = torch.tensor([float(case) for _, case in pairs])
    weight = torch.linspace(0.5, 1.5, len(pairs))
    options = TrainingOptions(loss="focal", focal_gamma=gamma)
    found = training_loss(logits, target, weight, options)
    right = torch.where(target == 1, logits, -logits).double()
    doubt = torch.sigmoid(-right) ** gamma
    known = (weight * doubt * nn.functional.softplus(-right)).mean()
    assert float(found.detach()) == pytest.approx(float(known.detach()), rel=1e-4, abs=1e-6)
    (gradient,) = torch.autograd.grad(found, logits)
    assert bool(gradient.isfinite().all())


def test_focal_loss_without_gamma_is_log_loss_and_with_it_turns_to_what_is_told_wrong():
    logits = torch.tensor([3.0, -1.0], requires_grad=True)
    target, weight = torch.ones(2), torch.ones(2)

    def gradient(**changes: Any) -> torch.Tensor:
        loss = training_loss(logits, target, weight, TrainingOptions(**changes))
        return torch.autograd.grad(loss, logits)[0]

    plain = gradient()
    torch.testing.assert_close(gradient(loss="focal", focal_gamma=0.0), plain)
    focal = gradient(loss="focal")
    assert focal[0] / focal[1] < 0.1 * plain[0] / plain[1]


def test_focal_loss_trains_another_adapter_on_the_same_head(tiny: Setting, easy):
    plain, focal = _fit(tiny, easy), _fit(tiny, easy, loss="focal")
    assert focal.penalty == plain.penalty
    assert focal.losses[0][0] == plain.losses[0][0]
    assert focal.losses[0][1] < plain.losses[0][1]
    assert _lora(focal) != _lora(plain)


def test_without_patience_all_epochs_are_trained_on_all_samples(tiny: Setting, easy):
    seen: list[int] = []
    result = _fit(tiny, easy, progress=lambda done, total: seen.append(total))
    assert seen == [12] * 12
    assert result.best_epochs == [4]
    assert len(result.losses[0]) == 1 + 4 + 1


def test_training_that_only_harms_leaves_the_adapter_as_it_was(
    tiny: Setting, easy, monkeypatch: pytest.MonkeyPatch
):
    planted = iter([0.5, 0.6, 0.7])
    monkeypatch.setattr(gradient_training, "log_loss", lambda *_: next(planted))
    seen: list[tuple[int, int]] = []
    result = _fit(
        tiny, easy, patience=2, epochs=9,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert result.best_epochs == [0]
    assert _lora(result) == 0.0
    # Two epochs without a better one, of two steps each, as a cohort is left out; then it is over.
    assert len(result.losses[0]) == 1 + 2 + 1
    assert seen == [(1, 18), (2, 18), (3, 18), (4, 18), (18, 18)]
    head_alone = _fit(tiny, easy, epochs=0)
    torch.testing.assert_close(result.members[0].weight, head_alone.members[0].weight)


def test_what_is_kept_is_the_epoch_that_told_the_inner_fold_best(
    tiny: Setting, easy, monkeypatch: pytest.MonkeyPatch
):
    """Of losses planted in the watched fold, the least says what is kept, to the last bit."""
    after: list[torch.Tensor] = []
    planted = iter([1.0, 0.9, 0.5, 0.7, 0.5, 0.6])
    monkeypatch.setattr(gradient_training, "log_loss", lambda *_: next(planted))
    straight = gradient_training.GradientTraining._watch

    def watch(self) -> None:
        straight(self)
        after.append(self._adapter[-1].detach().clone())

    monkeypatch.setattr(gradient_training.GradientTraining, "_watch", watch)
    result = _fit(tiny, easy, patience=3, epochs=9)
    # Equal to the best is no better: 0.5 comes twice, and the first counts.
    assert result.best_epochs == [2]
    assert len(after) == 1 + 5
    kept = list(result.members[0].peft.values())
    assert any(torch.equal(value, after[2]) for value in kept)
    assert not any(torch.equal(value, after[5]) for value in kept)


def test_members_take_turns_in_the_inner_fold_that_they_leave_out(
    tiny: Setting, easy, monkeypatch: pytest.MonkeyPatch
):
    left_out: list[tuple[int, ...]] = []
    straight = gradient_training.sides_of

    def sides(task, member, training):
        learned, watched = straight(task, member, training)
        left_out.append(tuple(watched))
        assert sorted([*learned, *watched]) == list(range(72))
        assert len({task.cohorts[row] for row in watched}) == 1
        return learned, watched

    monkeypatch.setattr(gradient_training, "sides_of", sides)
    _fit(tiny, easy, patience=1, ensemble=3, epochs=1)
    assert len(set(left_out)) == 3


def test_what_early_stopping_watches_takes_no_part_in_lora(tiny: Setting, easy):
    """Other labels of the inner fold that is left out change no step before the first stop."""
    states, samples = easy
    rows, cases = np.arange(len(samples)), samples["case"].to_numpy()
    cohorts = samples["cohort"].to_numpy(str)
    turned = np.where(cohorts == "GSE0", 1 - cases, cases)
    losses = []
    for labels in (cases, turned):
        result = fit(
            tiny.model, tiny.backbone, states, rows, labels, cohorts, 1, AdapterOptions(),
            TrainingOptions(
                **OPTIONS | {"patience": 4, "reweigh": False, "head_penalties": (0.01,)}
            ),
        )  # fmt: skip
        losses.append(result.losses[0][1:-1])
    assert losses[0] == losses[1]


def test_where_no_inner_fold_is_possible_all_epochs_are_trained_and_that_is_said(
    tiny: Setting, easy, caplog: pytest.LogCaptureFixture
):
    # Two samples: no side of a split would hold both classes.
    result = _fit(tiny, easy, np.array([0, 1]), patience=1)
    assert result.best_epochs == [4]
    assert "cannot stop early" in caplog.text


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_mixed_precision_gives_nearly_the_same_scores(tiny: Setting, easy, kind: str):
    states, samples = easy
    rows = np.arange(len(samples))
    results = [_fit(tiny, easy, mixed_precision=how) for how in ("off", kind)]
    scores = [
        predict(tiny.model, states, rows, one.members, 1, AdapterOptions()).score for one in results
    ]
    assert results[0].losses[0][1:-1] != results[1].losses[0][1:-1]
    np.testing.assert_allclose(scores[0], scores[1], atol=0.02)
    assert all(value.dtype == torch.float32 for value in results[1].members[0].peft.values())


def test_a_gradient_that_overflows_float16_costs_a_step_and_no_more(
    tiny: Setting, easy, monkeypatch: pytest.MonkeyPatch
):
    straight, calls = gradient_training.training_loss, []

    def once_huge(*parts):
        calls.append(0)
        return straight(*parts) * (1e38 if len(calls) == 1 else 1.0)

    monkeypatch.setattr(gradient_training, "training_loss", once_huge)
    result = _fit(tiny, easy, mixed_precision="float16")
    assert all(math.isfinite(loss) for loss in result.losses[0])
    assert 0 < _lora(result) < 10
    monkeypatch.undo()
    assert result.losses[0][-1] < result.losses[0][0]


def test_mixed_precision_is_for_cuda_unless_asked_for(monkeypatch: pytest.MonkeyPatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda:0")
    assert number_type(TrainingOptions(), cpu) is None
    assert number_type(TrainingOptions(mixed_precision="bfloat16"), cpu) is torch.bfloat16
    assert number_type(TrainingOptions(mixed_precision="off"), cuda) is None
    for there, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda there=there: there)
        assert number_type(TrainingOptions(), cuda) is expected


def test_a_training_that_diverges_is_refused(tiny: Setting, easy, monkeypatch):
    monkeypatch.setattr(
        gradient_training, "training_loss", lambda logits, *_: logits.sum() * float("nan")
    )
    with pytest.raises(ModelError, match="lower the learning rates"):
        _fit(tiny, easy)
