"""What the score head reads of a sample: the pooled read-out, and one number a gene beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from genellm_dagster.genellm.gene_values import gene_values, learn_reading

if TYPE_CHECKING:
    from genellm_dagster.genellm.adapter import Member
    from genellm_dagster.genellm.states import StateSet

# A dimension that hardly varies would be blown up by standardising: no dimension counts as narrower
# than this share of the median one.
_SCALE_FLOOR = 0.1


@dataclass(frozen=True)
class HeadInput:
    """What is learned of the head's input before the head, without labels.

    Attributes:
        scale: What each dimension is divided by, hidden and then genes. Each block is standardised
            within cohorts, and its variances add up to its share; infinite for a gene not read.
        direction: Direction along which genes are read, hidden; empty where they are not.
        centre: Mean of each gene's reading, genes; empty likewise.
        told: Centred readings of the training samples, 0 where absent; samples x genes.
        hidden: Dimensions of the pooled read-out.
    """

    scale: torch.Tensor
    direction: torch.Tensor
    centre: torch.Tensor
    told: torch.Tensor
    hidden: int

    @classmethod
    def fit(
        cls,
        read: torch.Tensor,
        states: StateSet,
        rows: np.ndarray,
        cohorts: np.ndarray,
        context_share: float,
    ) -> HeadInput:
        """Learn from training samples.

        Args:
            read: Their pooled read-outs on the frozen backbone, rows x hidden.
            states: Prefix states.
            rows: The training samples.
            cohorts: Number of each one's cohort.
            context_share: Share of the variance that is the pooled read-out's.
        """
        hidden, cohort_of = read.shape[1], torch.as_tensor(cohorts)
        scale = _spread(read.cpu(), cohort_of) * (hidden / context_share) ** 0.5
        nothing = torch.empty(0)
        if context_share == 1.0:
            return cls(scale, nothing, nothing, torch.empty(len(rows), 0), hidden)
        reading = learn_reading(states, rows)
        told = gene_values(states, torch.as_tensor(rows), reading.direction)
        # A gene that cannot be read weighs nothing, and takes no part of the variance.
        number = max(int(reading.readable.sum()), 1)
        spread = _spread(told, cohort_of) * (number / (1.0 - context_share)) ** 0.5
        spread = spread.masked_fill(~reading.readable, float("inf"))
        centre = told.nanmean(dim=0).nan_to_num(0.0)
        told = _centred(told, centre)
        return cls(torch.cat([scale, spread]), reading.direction, centre, told, hidden)

    def features(self, read: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return what the head reads of some of the training samples.

        Args:
            read: Their pooled read-outs, now.
            rows: Which training samples.
        """
        together = torch.cat([read, self.told[rows].to(read.device)], dim=1)
        return together / self.scale.to(read.device)


def head_features(
    read: torch.Tensor, states: StateSet, rows: torch.Tensor, member: Member
) -> torch.Tensor:
    """Return what a member's head reads of samples: nothing is left but to weigh and to add.

    Args:
        read: Pooled read-outs, rows x hidden.
        states: Prefix states.
        rows: Which samples.
        member: The trained member.
    """
    if len(member.direction):
        told = gene_values(states, rows, member.direction)
        read = torch.cat([read, _centred(told, member.centre)], dim=1)
    return read / member.scale


def _centred(told: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Readings less their training mean; an absent gene contributes nothing."""
    return (told - centre).nan_to_num(0.0)


def _spread(features: torch.Tensor, cohort_of: torch.Tensor) -> torch.Tensor:
    """Standard deviation within cohorts of each dimension, over the samples that have it."""
    centred = torch.zeros_like(features)
    for cohort in cohort_of.unique():
        here = cohort_of == cohort
        centred[here] = features[here] - features[here].nanmean(dim=0)
    present = (~features.isnan()).sum(dim=0).clamp(min=1)
    spread = (centred.nan_to_num(0.0).square().sum(dim=0) / present).sqrt()
    varying = spread[spread > 0]
    return spread.clamp(min=_SCALE_FLOOR * float(varying.median()) if len(varying) else 1.0)
