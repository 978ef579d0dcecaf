"""What the gradient training lowers: log loss or focal loss, with weights."""

from __future__ import annotations

import torch
from torch import nn

from genellm_dagster.genellm.options import TrainingOptions


def training_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, training: TrainingOptions
) -> torch.Tensor:
    """Return the weighted mean loss of samples.

    Focal loss (Lin and others, 2017) multiplies a sample's log loss by the gamma-th power of the
    probability that its wrong class still has.

    Args:
        logits: One a sample, float32.
        target: 0 or 1 of each.
        weight: Weight of each; of mean 1 over all training samples.
        training: Which loss.

    Returns:
        One number.
    """
    if training.loss == "cross_entropy":
        return nn.functional.binary_cross_entropy_with_logits(logits, target, weight=weight)
    right = logits * (2.0 * target - 1.0)
    # Through its logarithm: the power of a probability that has run out to zero has no gradient.
    doubt = torch.exp(training.focal_gamma * nn.functional.logsigmoid(-right))
    return (weight * doubt * nn.functional.softplus(-right)).mean()
