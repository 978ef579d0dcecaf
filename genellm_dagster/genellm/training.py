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
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.readout import ReadOut, represent
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
        losses: Mean training loss of each epoch, one list a member.
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
) -> Fit:
    """Train an ensemble of adapters.

    Each training cohort has an intercept of its own, so that what differs between cohorts as a
    whole cannot pass for disease; the score head keeps their mean.

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

    Returns:
        The trained members.

    Raises:
        ModelError: When there is one class only, or the adapter is too large.
    """
    if len(np.unique(cases)) < 2:
        raise ModelError("Training needs cases and controls; these samples hold one class only.")
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
                    wrapped, states, rows, cases, cohorts, head_layers, training, report
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
) -> tuple[Member, list[float]]:
    from peft import get_peft_model_state_dict

    readout = ReadOut(wrapped.base_model.model.model, head_layers)
    device = readout.norm.weight.device
    names, cohort_index = np.unique(cohorts, return_inverse=True)
    target = torch.as_tensor(cases, dtype=torch.float32, device=device)
    weight = torch.as_tensor(balanced_weights(cohorts, cases), device=device)
    cohort_of = torch.as_tensor(cohort_index, device=device)
    at = torch.as_tensor(rows)
    scale = _scale(readout, states, at, cohort_of)
    head = nn.Parameter(torch.zeros(scale.shape[0], device=device))
    intercepts = nn.Parameter(torch.zeros(len(names), device=device))
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
        order = torch.randperm(len(rows))
        total = 0.0
        for batch in order.split(training.batch_size):
            features = represent(readout, states, at[batch]) / scale
            here = batch.to(device)
            logits = features @ head + intercepts[cohort_of[here]]
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, target[here], weight=weight[here]
            )
            objective = loss + 0.5 * training.head_penalty * head.square().sum()
            optimiser.zero_grad()
            objective.backward()
            nn.utils.clip_grad_norm_([*lora, head, intercepts], training.clip_norm)
            optimiser.step()
            schedule.step()
            total += float(loss) * len(batch)
            step += 1
            report(step)
        curve.append(total / len(rows))
    if not math.isfinite(curve[-1]):
        raise ModelError("Training diverged (the loss is not finite); lower the learning rates.")
    member = Member(
        lora={
            key: value.detach().cpu().clone()
            for key, value in get_peft_model_state_dict(wrapped).items()
        },
        weight=head.detach().cpu(),
        bias=intercepts.detach().mean().reshape(1).cpu(),
        scale=scale.cpu(),
    )
    return member, curve


@torch.no_grad()
def _scale(
    readout: ReadOut, states: StateSet, rows: torch.Tensor, cohort_of: torch.Tensor
) -> torch.Tensor:
    """Standard deviation within cohorts of each dimension, before any training step."""
    features = torch.cat([represent(readout, states, part) for part in rows.split(_SCALE_BATCH)])
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
