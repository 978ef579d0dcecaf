"""What all members of an ensemble share: samples, weights, the head's input, its penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from genellm_dagster.genellm.head_features import HeadInput
from genellm_dagster.genellm.inner_folds import Integers, inner_folds
from genellm_dagster.genellm.kept_inputs import KeptInputs
from genellm_dagster.genellm.options import TrainingOptions
from genellm_dagster.genellm.readout import ReadOut, represent
from genellm_dagster.genellm.sample_weights import balanced_weights
from genellm_dagster.genellm.score_head import ScoreHead, choose_penalty, solve_head
from genellm_dagster.genellm.states import StateSet
from genellm_dagster.genellm.temperature import fit_temperature

_BATCH = 128


@dataclass(frozen=True)
class FitTask:
    """What all members of an ensemble share.

    Attributes:
        states: Prefix states.
        rows: The training samples among them.
        cases: 0 or 1 of each.
        cohorts: Number of each one's cohort.
        weights: From :func:`balanced_weights`.
        kept: The frozen side of the last layer, or none.
        input: What the head reads.
        frozen: What it reads of the training samples on the frozen backbone.
        inner: Training and test side of each inner fold, as places among the training samples.
        penalty: Of the head's weights.
        temperature: By which logits are divided for a probability.
    """

    states: StateSet
    rows: torch.Tensor
    cases: np.ndarray
    cohorts: np.ndarray
    weights: np.ndarray
    kept: KeptInputs | None
    input: HeadInput
    frozen: torch.Tensor
    inner: list[tuple[Integers, Integers]]
    penalty: float
    temperature: float

    @classmethod
    def of(
        cls,
        readout: ReadOut,
        states: StateSet,
        rows: np.ndarray,
        cases: np.ndarray,
        cohorts: np.ndarray,
        persons: np.ndarray,
        training: TrainingOptions,
        kept: KeptInputs | None,
    ) -> FitTask:
        """Learn from training samples what does not depend on a seed.

        Args:
            readout: The head layers, without an adapter.
            states: Prefix states.
            rows: The training samples among them.
            cases: 0 or 1 of each.
            cohorts: Cohort of each.
            persons: Person of each.
            training: How to train.
            kept: The frozen side of the last layer, or none.
        """
        number = np.unique(cohorts, return_inverse=True)[1]
        weights = balanced_weights(cohorts, cases)
        at = torch.as_tensor(rows)
        read = read_out(readout, states, at, kept)
        reads = HeadInput.fit(read, states, rows, number, training.context_share)
        frozen = reads.features(read, torch.arange(len(rows)))
        inner = inner_folds(cases, cohorts, persons, training.inner_folds, training.seed)
        chosen = choose_penalty(
            _numbers(frozen),
            cases.astype(np.float64),
            number,
            weights.astype(np.float64),
            inner,
            training.head_penalties,
            training.intercept_penalty,
            training.whitening,
            reads.hidden,
        )
        return cls(
            states=states,
            rows=at,
            cases=cases,
            cohorts=number,
            weights=weights,
            kept=kept,
            input=reads,
            frozen=frozen,
            inner=inner,
            penalty=chosen.penalty,
            temperature=fit_temperature(chosen.inner),
        )

    def features(self, readout: ReadOut) -> torch.Tensor:
        """Return what the head reads of all training samples."""
        read = read_out(readout, self.states, self.rows, self.kept)
        return self.input.features(read, torch.arange(len(read)))

    def head(
        self,
        features: torch.Tensor,
        weights: np.ndarray,
        training: TrainingOptions,
        at: Integers | None = None,
    ) -> ScoreHead:
        """Solve the head.

        Args:
            features: Of all training samples.
            weights: Of each of them.
            training: Penalty of intercepts, whitening.
            at: Places of those that it is solved on; all when not given.
        """
        at = np.arange(len(self.rows)) if at is None else at
        return solve_head(
            _numbers(features)[at],
            self.cases[at].astype(np.float64),
            np.unique(self.cohorts[at], return_inverse=True)[1],
            weights[at].astype(np.float64),
            self.penalty,
            training.intercept_penalty,
            training.whitening,
            self.input.hidden,
        )


@torch.no_grad()
def read_out(
    readout: ReadOut, states: StateSet, rows: torch.Tensor, kept: KeptInputs | None
) -> torch.Tensor:
    """Return the pooled read-outs of samples, rows x hidden, in batches."""
    return torch.cat([represent(readout, states, part, kept) for part in rows.split(_BATCH)])


def _numbers(features: torch.Tensor) -> np.ndarray:
    return features.double().cpu().numpy()
