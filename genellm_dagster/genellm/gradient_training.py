"""The adapter and the head trained together by gradient steps, from epoch to epoch.

Between two epochs all that the next ones depend on can be taken as a snapshot, from which a
training that was begun alike goes on to the same bits: weights, the optimiser's moments, the place
in the schedule, the random numbers to come, the loss's scale, and what early stopping has seen.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import nn

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.checkpoints import Snapshot
from genellm_dagster.genellm.fit_task import FitTask, read_out
from genellm_dagster.genellm.inner_folds import Integers
from genellm_dagster.genellm.losses import training_loss
from genellm_dagster.genellm.options import TrainingOptions
from genellm_dagster.genellm.readout import ReadOut, represent
from genellm_dagster.genellm.score_head import common_intercept, equal_prevalence, log_loss
from genellm_dagster.genellm.team import team

logger = logging.getLogger(__name__)


class GradientTraining:
    """The training of one member's adapter.

    Args:
        adapter: The adapter's parameters; they are trained in place.
        readout: The head layers with the adapter.
        task: What members share.
        features: What the head reads of all training samples before anything is trained.
        weights: Weight of each training sample, for this member.
        member: Its number; it says which inner fold is left out to stop early.
        training: How to train.
    """

    def __init__(
        self,
        adapter: list[nn.Parameter],
        readout: ReadOut,
        task: FitTask,
        features: torch.Tensor,
        weights: np.ndarray,
        member: int,
        training: TrainingOptions,
    ) -> None:
        self._readout, self._task, self._training = readout, task, training
        self._device = device = readout.norm.weight.device
        learned, self._watched = sides_of(task, member, training)
        self._learned = torch.as_tensor(learned)
        # The penalty weighs against weights of mean 1.
        share = weights[learned] / (weights[learned].mean() if len(self._watched) else 1.0)
        self._weight = torch.as_tensor(share, dtype=torch.float32, device=device)
        self._target = torch.as_tensor(task.cases[learned], dtype=torch.float32, device=device)
        self._cohorts = np.unique(task.cohorts[learned], return_inverse=True)[1]
        # From a solved head the adapter has a gradient at once; from one of zeros it would not.
        start = task.head(features, weights, training, learned)
        self._head, self._intercepts = (
            nn.Parameter(torch.as_tensor(part, dtype=torch.float32, device=device))
            for part in (start.weight, start.intercepts)
        )
        self._adapter = adapter
        self._parameters = [*adapter, self._head, self._intercepts]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": adapter, "lr": training.adapter_learning_rate},
                {"params": [self._head, self._intercepts], "lr": training.head_learning_rate},
            ],
            weight_decay=0.0,
        )
        self._rates = [group["lr"] for group in self._optimiser.param_groups]
        self._numbers = number_type(training, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._numbers is torch.float16)
        self._step = 0
        self._best: list[torch.Tensor] = []
        self._seen: list[float] = []
        self.curve: list[float] = []

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights the adapter is left with: 0 before the first, else from 1."""
        return int(np.argmin(self._seen)) if self._seen else len(self.curve)

    def run(self, report: Callable[[int], None], keep: Callable[[Snapshot], None]) -> None:
        """Train all epochs that are left, or until no better one is to be expected.

        Args:
            report: Called after each step with the steps done.
            keep: Called after each epoch with a snapshot.

        Raises:
            ModelError: When the loss is not finite.
        """
        team().agree(self._parameters)
        if len(self._watched) and not self._seen:
            self._watch()
        while len(self.curve) < self._training.epochs and not self._stopped:
            self._epoch(report)
            if len(self._watched):
                self._watch()
            keep(self.snapshot())
        with torch.no_grad():
            for parameter, best in zip(self._adapter, self._best, strict=False):
                parameter.copy_(best)

    def snapshot(self) -> Snapshot:
        """Return all that the coming epochs depend on."""
        tensors: dict[str, torch.Tensor] = {}
        tensors |= {f"parameter.{at}": each for at, each in enumerate(self._parameters)}
        for at, parameter in enumerate(self._parameters):
            for name, value in self._optimiser.state[parameter].items():
                tensors[f"optimiser.{at}.{name}"] = value
        tensors |= {f"best.{at}": each for at, each in enumerate(self._best)}
        tensors["random.cpu"] = torch.get_rng_state()
        if self._device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self._device)
        return Snapshot(
            tensors={name: value.detach().to("cpu", copy=True) for name, value in tensors.items()},
            facts={
                "step": self._step,
                "curve": self.curve.copy(),
                "seen": self._seen.copy(),
                "scaler": self._scaler.state_dict(),
            },
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of a training that was begun alike."""
        tensors, facts = snapshot.tensors, snapshot.facts
        with torch.no_grad():
            for at, parameter in enumerate(self._parameters):
                parameter.copy_(tensors[f"parameter.{at}"])
                moments = {
                    name.rsplit(".", 1)[1]: value
                    for name, value in tensors.items()
                    if name.startswith(f"optimiser.{at}.")
                }
                # The count of steps stays where the optimiser keeps it.
                self._optimiser.state[parameter] = {
                    name: value if name == "step" else value.to(parameter.device)
                    for name, value in moments.items()
                }
        self._best = [
            tensors[f"best.{at}"] for at in range(len(self._adapter)) if f"best.{at}" in tensors
        ]
        self._step = facts["step"]
        self.curve, self._seen = list(facts["curve"]), list(facts["seen"])
        self._scaler.load_state_dict(facts["scaler"])
        torch.set_rng_state(tensors["random.cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self._device)

    @property
    def step(self) -> int:
        """Steps done."""
        return self._step

    @property
    def _stopped(self) -> bool:
        waited = len(self._seen) - 1 - int(np.argmin(self._seen)) if self._seen else 0
        return bool(self._watched.size) and waited >= self._training.patience

    def _epoch(self, report: Callable[[int], None]) -> None:
        training, task, total = self._training, self._task, 0.0
        cohort_of = torch.as_tensor(self._cohorts, device=self._device)
        for whole in torch.randperm(len(self._learned)).split(training.batch_size):
            batch, part = team().share(whole)
            self._set_rates()
            places, here = self._learned[batch], batch.to(self._device)
            with self._mixed():
                read = represent(self._readout, task.states, task.rows[places], task.kept)
            features = task.input.features(read.float(), places)
            logits = features @ self._head + self._intercepts[cohort_of[here]]
            loss = training_loss(logits, self._target[here], self._weight[here], training)
            penalty = task.penalty * self._head.square().sum()
            penalty = penalty + training.intercept_penalty * (
                (self._intercepts - self._intercepts.mean()).square().sum()
            )
            self._optimiser.zero_grad()
            # Over the team the parts of the loss add up to 1, and so do those of the penalty.
            self._scaler.scale(part * loss + 0.5 * penalty / team().size).backward()
            told = part * loss.detach()
            team().add_up([told, *(one.grad for one in self._parameters if one.grad is not None)])
            self._scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self._parameters, training.clip_norm)
            self._scaler.step(self._optimiser)
            self._scaler.update()
            total += float(told) * len(whole)
            self._step += 1
            report(self._step)
        if not math.isfinite(total):
            raise ModelError(
                "Training diverged (the loss is not finite); lower the learning rates."
            )
        self.curve.append(total / len(self._learned))

    @torch.no_grad()
    def _watch(self) -> None:
        """See how well the samples left out are told, as those of a cohort not trained on."""
        task, at = self._task, torch.as_tensor(self._watched)
        read = read_out(self._readout, task.states, task.rows[at], task.kept)
        slope = self._head.double().cpu().numpy()
        shift = common_intercept(
            self._intercepts.double().cpu().numpy(),
            task.cases[self._learned.numpy()].astype(np.float64),
            self._cohorts,
        )
        cases = task.cases[self._watched].astype(np.float64)
        logits = task.input.features(read, at).double().cpu().numpy() @ slope + shift
        told = torch.tensor(
            [log_loss(logits, cases, equal_prevalence(cases))],
            dtype=torch.float64,
            device=self._device,
        )
        # All stop at the same epoch, whatever the last bits on their devices are.
        team().agree([told])
        self._seen.append(float(told))
        if self.best_epoch == len(self._seen) - 1:
            self._best = [parameter.detach().clone() for parameter in self._adapter]

    def _set_rates(self) -> None:
        factor = _warmup_cosine(
            self._step, steps_of(len(self._learned), self._training), self._training
        )
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def _mixed(self) -> AbstractContextManager[object]:
        if self._numbers is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._numbers)


def sides_of(task: FitTask, member: int, training: TrainingOptions) -> tuple[Integers, Integers]:
    """Return what a member's LoRA is trained on, and what early stopping watches.

    Args:
        task: What members share.
        member: Number of the member; members take turns in what they leave out.
        training: Whether to stop early.

    Returns:
        Places among the training samples; all, and none, where nothing is left out.
    """
    if training.patience and task.inner:
        return task.inner[member % len(task.inner)]
    if training.patience:
        logger.warning(
            "Training cannot stop early: its samples are too few, or their classes too far apart, "
            "for an inner fold; all epochs are trained."
        )
    return np.arange(len(task.rows)), np.arange(0)


def steps_of(samples: int, training: TrainingOptions) -> int:
    """Return the steps of all epochs."""
    return training.epochs * math.ceil(samples / training.batch_size)


def number_type(training: TrainingOptions, device: torch.device) -> torch.dtype | None:
    """Return the number type of mixed precision; none where numbers stay as they are."""
    if training.mixed_precision == "bfloat16":
        return torch.bfloat16
    if training.mixed_precision == "float16":
        return torch.float16
    if training.mixed_precision == "off" or device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _warmup_cosine(step: int, steps: int, training: TrainingOptions) -> float:
    warmup = max(1, round(training.warmup_share * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
