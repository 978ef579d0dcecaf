"""Scores of samples from a trained adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import AdapterCard, Member, adapted, put_weights
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.head_features import head_features
from genellm_dagster.genellm.kept_inputs import KeptInputs
from genellm_dagster.genellm.options import AdapterOptions
from genellm_dagster.genellm.readout import ReadOut, represent
from genellm_dagster.genellm.states import StateSet

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

_BATCH = 128


@dataclass(frozen=True)
class Prediction:
    """What an ensemble says of samples.

    Attributes:
        score: Mean over the members of the probability of being a case, at equal prevalence,
            calibrated by the temperature.
        uncertainty: Standard deviation of that probability over the members.
        logits: Members x samples, before the temperature.
        representation: Scaled representation of each sample, mean over the members: all that the
            head reads, the pooled read-out first, then the genes; samples x dimensions.
    """

    score: np.ndarray
    uncertainty: np.ndarray
    logits: np.ndarray
    representation: np.ndarray


def predict(
    model: LlamaForCausalLM,
    states: StateSet,
    rows: np.ndarray,
    members: Sequence[Member],
    head_layers: int,
    options: AdapterOptions,
    kept: KeptInputs | None = None,
    batch: int = _BATCH,
    temperature: float = 1.0,
) -> Prediction:
    """Score samples.

    Args:
        model: The frozen backbone.
        states: Prefix states.
        rows: The samples to score.
        members: The trained ensemble.
        head_layers: Upper layers that the head runs.
        options: Of the adapter.
        kept: The frozen side of the last layer, when the caller has it.
        batch: Samples read out at once.
        temperature: Of the fit, by which logits are divided.

    Returns:
        Scores, their spread, and representations, in the order of ``rows``.
    """
    at = torch.as_tensor(rows)
    logits, representations = [], []
    for member in members:
        with adapted(model, head_layers, options) as wrapped, torch.inference_mode():
            put_weights(wrapped, member)
            readout = ReadOut.of(wrapped, head_layers)
            parts = [represent(readout, states, part, kept).cpu() for part in at.split(batch)]
        features = head_features(torch.cat(parts), states, at, member)
        logits.append((features @ member.weight + member.bias).double().numpy())
        representations.append(features.numpy())
    stacked = np.stack(logits)
    each = 1.0 / (1.0 + np.exp(-stacked / temperature))
    return Prediction(
        score=each.mean(axis=0),
        uncertainty=each.std(axis=0),
        logits=stacked,
        representation=np.mean(representations, axis=0),
    )


def require_fitting(card: AdapterCard, backbone: Backbone, numbers: str | None = None) -> None:
    """Refuse to use an adapter on another backbone than its own, or on other numbers.

    Args:
        card: Of the adapter.
        backbone: What it is to be used on.
        numbers: Number type of the states that it will read, as ``BackboneOptions.numbers`` says;
            not compared when not given.

    Raises:
        ModelError: When they differ.
    """
    if card.backbone_sha256 != backbone.sha256:
        raise ModelError(
            f"The adapter was trained on the backbone {card.backbone} with weights "
            f"{card.backbone_sha256[:12]}, not on {backbone.name} with {backbone.sha256[:12]}; use "
            "its own backbone, or train again."
        )
    if numbers is not None and card.numbers != numbers:
        raise ModelError(
            f"The adapter was trained on states in {card.numbers}, and these are in {numbers}; set "
            "the backbone's dtype and quantisation as they were, or train again."
        )
