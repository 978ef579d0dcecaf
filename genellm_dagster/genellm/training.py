"""Fine-tuning: LoRA on the head layers and the score head, on kept prefix states."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import (
    Member,
    adapted,
    require_small,
    trainable_parameters,
)
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.kept_inputs import KeptInputs, keep_inputs
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.readout import ReadOut, represent
from genellm_dagster.genellm.score_head import ScoreHead, solve_head
from genellm_dagster.genellm.states import StateSet

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import LlamaForCausalLM

# A dimension that hardly varies would be blown up by standardising: no dimension counts as narrower
# than this share of the median one.
_SCALE_FLOOR = 0.1
_SCALE_BATCH = 128


@dataclass(frozen=True)
class Fit:
    """What training gave.

    Attributes:
        members: The ensemble.
        trainable: Parameters trained in one member.
        losses: Mean training loss of each member: of the head on the frozen representations, of
            each epoch, and of the final head.
    """

    members: tuple[Member, ...]
    trainable: int
    losses: list[list[float]]


def balanced_weights(cohorts: np.ndarray, cases: np.ndarray) -> np.ndarray:
    """Weigh samples so that each class of each cohort counts the same; mean weight 1.

    Otherwise a large cohort with many cases lets the model tell the cohort and call it disease.

    Args:
        cohorts: Cohort of each sample.
        cases: 0 or 1 of each sample.

    Returns:
        Weights, float32.
    """
    weights = np.zeros(len(cases), dtype=np.float64)
    for cohort in np.unique(cohorts):
        for case in (0, 1):
            cell = (cohorts == cohort) & (cases == case)
            if cell.any():
                weights[cell] = 1.0 / cell.sum()
    return (weights / weights.mean()).astype(np.float32)


def reweighed(
    weights: np.ndarray, cohorts: np.ndarray, cases: np.ndarray, uniform: np.ndarray
) -> np.ndarray:
    """Multiply weights by random ones of mean 1: Rubin's Bayesian bootstrap (1981).

    Each class of each cohort keeps its total, so that members of an ensemble see other samples of
    it and no other balance.

    Args:
        weights: From :func:`balanced_weights`.
        cohorts: Cohort of each sample.
        cases: 0 or 1 of each sample.
        uniform: Random numbers in [0, 1), one a sample.

    Returns:
        Weights, float32.
    """
    drawn = weights * -np.log1p(-uniform)
    for cohort in np.unique(cohorts):
        for case in (0, 1):
            cell = (cohorts == cohort) & (cases == case)
            if cell.any():
                drawn[cell] *= weights[cell].sum() / drawn[cell].sum()
    return drawn.astype(np.float32)


def kept_for(
    model: LlamaForCausalLM, states: StateSet, head_layers: int, training: TrainingOptions
) -> KeptInputs | None:
    """Compute once what no training step changes; folds and members share it.

    Args:
        model: The frozen backbone, without an adapter.
        states: Prefix states.
        head_layers: Upper layers that carry the adapter.
        training: Says how much memory this may take.

    Returns:
        The frozen side of the last layer; none where it cannot be kept.
    """
    return keep_inputs(ReadOut(model.model, head_layers), states, training.kept_megabytes)


def fit(
    model: LlamaForCausalLM,
    backbone: Backbone,
    states: StateSet,
    rows: np.ndarray,
    cases: np.ndarray,
    cohorts: np.ndarray,
    head_layers: int,
    adapter: AdapterOptions,
    training: TrainingOptions,
    progress: Callable[[int, int], None] | None = None,
    kept: KeptInputs | None = None,
) -> Fit:
    """Train an ensemble of adapters.

    Each training cohort has an intercept of its own, so that what differs between cohorts as a
    whole cannot pass for disease; a new cohort gets their mean. A member starts from the head that
    is optimal on the frozen backbone's representations, trains LoRA together with the head, and
    ends with the head that is optimal on the adapted ones.

    Args:
        model: The frozen backbone.
        backbone: Its description.
        states: Prefix states.
        rows: The training samples among them.
        cases: 0 or 1 of each training sample.
        cohorts: Cohort of each training sample.
        head_layers: Upper layers that carry the adapter.
        adapter: What is trained.
        training: How.
        progress: Called with steps done and steps in all.
        kept: The frozen side of the last layer, when the caller has it (:func:`kept_for`).

    Returns:
        The trained members.

    Raises:
        ModelError: When there is one class only, or the adapter is too large.
    """
    if len(np.unique(cases)) < 2:
        raise ModelError("Training needs cases and controls; these samples hold one class only.")
    if kept is None:
        kept = kept_for(model, states, head_layers, training)
    members, losses, trainable = [], [], 0
    steps = training.epochs * math.ceil(len(rows) / training.batch_size)
    for number in range(training.ensemble):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed + number)
            with adapted(model, head_layers, adapter) as wrapped:
                trainable = trainable_parameters(wrapped, backbone.hidden)
                require_small(trainable, backbone, adapter)

                def report(step: int, before: int = number * steps) -> None:
                    if progress is not None:
                        progress(before + step, training.ensemble * steps)

                member, curve = _fit_member(
                    wrapped, states, rows, cases, cohorts, head_layers, training, report, kept
                )
        members.append(member)
        losses.append(curve)
    return Fit(tuple(members), trainable, losses)


def _fit_member(
    wrapped: PeftModel,
    states: StateSet,
    rows: np.ndarray,
    cases: np.ndarray,
    cohorts: np.ndarray,
    head_layers: int,
    training: TrainingOptions,
    report: Callable[[int], None],
    kept: KeptInputs | None,
) -> tuple[Member, list[float]]:
    from peft import get_peft_model_state_dict

    readout = ReadOut.of(wrapped, head_layers)
    device = readout.norm.weight.device
    cohort_index = np.unique(cohorts, return_inverse=True)[1]
    weights = balanced_weights(cohorts, cases)
    if training.reweigh:
        weights = reweighed(weights, cohorts, cases, torch.rand(len(rows)).double().numpy())
    at = torch.as_tensor(rows)
    raw = _features(readout, states, at, kept)
    scale = _scale(raw, torch.as_tensor(cohort_index, device=device))

    def solved(features: torch.Tensor) -> ScoreHead:
        return solve_head(
            (features / scale).double().cpu().numpy(),
            cases.astype(np.float64),
            cohort_index,
            weights.astype(np.float64),
            training.head_penalty,
            training.intercept_penalty,
            training.whitening,
        )

    # From a solved head LoRA has a gradient at once; from a head of zeros it would have none.
    head = solved(raw)
    curve = [head.loss]
    if training.epochs:
        curve += _train_lora(
            wrapped, readout, states, at, cases, cohort_index, weights, scale, head, training,
            report, kept,
        )  # fmt: skip
        head = solved(_features(readout, states, at, kept))
        curve.append(head.loss)
    member = Member(
        lora={
            key: value.detach().cpu().clone()
            for key, value in get_peft_model_state_dict(wrapped).items()
        },
        weight=torch.as_tensor(head.weight, dtype=torch.float32),
        bias=torch.tensor([head.bias], dtype=torch.float32),
        scale=scale.cpu(),
    )
    return member, curve


def _train_lora(
    wrapped: PeftModel,
    readout: ReadOut,
    states: StateSet,
    rows: torch.Tensor,
    cases: np.ndarray,
    cohorts: np.ndarray,
    weights: np.ndarray,
    scale: torch.Tensor,
    start: ScoreHead,
    training: TrainingOptions,
    report: Callable[[int], None],
    kept: KeptInputs | None,
) -> list[float]:
    """Train LoRA and the head together; the mean loss of each epoch."""
    device = scale.device
    target = torch.as_tensor(cases, dtype=torch.float32, device=device)
    weight = torch.as_tensor(weights, dtype=torch.float32, device=device)
    cohort_of = torch.as_tensor(cohorts, device=device)
    head = nn.Parameter(torch.as_tensor(start.weight, dtype=torch.float32, device=device))
    intercepts = nn.Parameter(torch.as_tensor(start.intercepts, dtype=torch.float32, device=device))
    lora = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": lora, "lr": training.adapter_learning_rate},
            {"params": [head, intercepts], "lr": training.head_learning_rate},
        ],
        weight_decay=0.0,
    )
    steps = training.epochs * math.ceil(len(rows) / training.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warmup_cosine(steps, training))
    curve, step = [], 0
    for _ in range(training.epochs):
        total = 0.0
        for batch in torch.randperm(len(rows)).split(training.batch_size):
            features = represent(readout, states, rows[batch], kept) / scale
            here = batch.to(device)
            logits = features @ head + intercepts[cohort_of[here]]
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, target[here], weight=weight[here]
            )
            penalty = training.head_penalty * head.square().sum()
            penalty = penalty + training.intercept_penalty * (
                (intercepts - intercepts.mean()).square().sum()
            )
            optimiser.zero_grad()
            (loss + 0.5 * penalty).backward()
            nn.utils.clip_grad_norm_([*lora, head, intercepts], training.clip_norm)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
            step += 1
            report(step)
        curve.append(total / len(rows))
    if not math.isfinite(curve[-1]):
        raise ModelError("Training diverged (the loss is not finite); lower the learning rates.")
    return curve


@torch.no_grad()
def _features(
    readout: ReadOut, states: StateSet, rows: torch.Tensor, kept: KeptInputs | None
) -> torch.Tensor:
    return torch.cat([represent(readout, states, part, kept) for part in rows.split(_SCALE_BATCH)])


def _scale(features: torch.Tensor, cohort_of: torch.Tensor) -> torch.Tensor:
    """Standard deviation within cohorts of each dimension, before any training step."""
    centred = torch.zeros_like(features)
    for cohort in cohort_of.unique():
        here = cohort_of == cohort
        centred[here] = features[here] - features[here].mean(dim=0)
    spread = centred.square().mean(dim=0).sqrt()
    return spread.clamp(min=_SCALE_FLOOR * float(spread.median()) or 1.0)


def _warmup_cosine(steps: int, training: TrainingOptions) -> Callable[[int], float]:
    warmup = max(1, round(training.warmup_share * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor
