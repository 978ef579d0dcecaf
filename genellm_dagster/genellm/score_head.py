"""The score head: a penalised logistic regression on representations, solved to its optimum.

The problem is convex, so that the head depends on no step size, no number of epochs and no seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ITERATIONS = 1000
_TOLERANCE = 1e-9
# Directions in which samples hardly vary within cohorts count as if they varied by this share of
# the mean one: further down there is only rounding.
_WHITENING_FLOOR = 0.1


@dataclass(frozen=True)
class ScoreHead:
    """A fitted head.

    Attributes:
        weight: One number a dimension.
        intercepts: One a training cohort.
        loss: Weighted mean log loss on the training samples, without the penalties.
    """

    weight: Floats
    intercepts: Floats
    loss: float

    @property
    def bias(self) -> float:
        """The intercept for a cohort that was not trained on: the mean of those known."""
        return float(self.intercepts.mean())


def solve_head(
    features: Floats,
    cases: Floats,
    cohorts: NDArray[np.int_],
    weights: Floats,
    penalty: float,
    intercept_penalty: float,
    whitening: float = 0.0,
) -> ScoreHead:
    """Minimise weighted mean log loss + penalty / 2 |w|^2 + intercept_penalty / 2 |deviations|^2.

    A cohort's intercept is a common one plus the cohort's deviation, so that a penalty of zero lets
    each cohort have its own, and a large one gives them all the same. With whitening the penalty is
    on the weights of features whose variances within cohorts were brought closer to each other.

    Args:
        features: samples x dimensions.
        cases: 0 or 1 of each sample.
        cohorts: Number of each sample's cohort, from 0.
        weights: Weight of each sample.
        penalty: Of the weights.
        intercept_penalty: Of the deviations.
        whitening: Power of the within-cohort covariance by which features are divided, 0 to 0.5.

    Returns:
        The optimum.
    """
    from scipy.optimize import minimize

    share = weights / weights.sum()
    centre = share @ features
    evened = _Evening(features, cohorts, share, whitening) if whitening else None
    centred = features - centre
    if evened is not None:
        centred = evened(centred)
    dimensions = features.shape[1]
    number = int(cohorts.max()) + 1

    def loss_of(logits: Floats) -> float:
        return float(share @ (np.logaddexp(0.0, logits) - cases * logits))

    def objective(parameters: Floats) -> tuple[float, Floats]:
        slope, common = parameters[:dimensions], parameters[dimensions]
        deviations = parameters[dimensions + 1 :]
        logits = centred @ slope + common + deviations[cohorts]
        value = loss_of(logits) + 0.5 * penalty * slope @ slope
        value += 0.5 * intercept_penalty * deviations @ deviations
        error = share * (0.5 * (1.0 + np.tanh(0.5 * logits)) - cases)
        gradient = np.concatenate(
            [
                error @ centred + penalty * slope,
                [error.sum()],
                np.bincount(cohorts, error, number) + intercept_penalty * deviations,
            ]
        )
        return float(value), gradient

    found = minimize(
        objective,
        np.zeros(dimensions + 1 + number),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS, "ftol": _TOLERANCE, "gtol": _TOLERANCE},
    )
    slope, common = found.x[:dimensions], found.x[dimensions]
    deviations = found.x[dimensions + 1 :]
    loss = loss_of(centred @ slope + common + deviations[cohorts])
    if evened is not None:
        slope = evened(slope[None])[0]
    return ScoreHead(slope, common + deviations - centre @ slope, loss)


class _Evening:
    """Multiplication by (covariance within cohorts + floor) ** -power, scaled; it is symmetric."""

    def __init__(
        self, features: Floats, cohorts: NDArray[np.int_], share: Floats, power: float
    ) -> None:
        within = features.copy()
        for cohort in np.unique(cohorts):
            here = cohorts == cohort
            within[here] -= share[here] @ features[here] / share[here].sum()
        # At most as many directions vary as there are samples: no hidden x hidden matrix is made.
        _, singular, self.directions = np.linalg.svd(
            within * np.sqrt(share)[:, None], full_matrices=False
        )
        variance = singular**2
        floor = _WHITENING_FLOOR * variance.sum() / features.shape[1]
        if not floor > 0:
            self.rest, self.along = 1.0, np.zeros_like(variance)
            return
        self.rest = floor**-power
        self.along = (variance + floor) ** -power
        scale = np.sqrt((variance * self.along**2).sum() / features.shape[1])
        self.rest, self.along = self.rest / scale, self.along / scale - self.rest / scale

    def __call__(self, rows: Floats) -> Floats:
        evened: Floats = rows * self.rest
        evened += ((rows @ self.directions.T) * self.along) @ self.directions
        return evened
