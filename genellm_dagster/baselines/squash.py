"""From any score to 0..1 by a one-dimensional logistic that keeps the score's order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MIN_SLOPE = 0.01
"""Smallest slope per standard deviation: a score whose given direction fails on the training fold
keeps its order (its AUROC is what it is) and is squashed to nearly one half."""

_MAX_STEPS = 100
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Squash:
    """A fitted one-dimensional logistic: sigmoid(intercept + slope x (score - centre) / spread)."""

    centre: float
    spread: float
    slope: float
    intercept: float
    slope_held: bool

    def apply(self, score: FloatArray) -> FloatArray:
        """Map raw scores (any unit) to 0..1."""
        standard = (np.asarray(score, dtype=np.float64) - self.centre) / self.spread
        return sigmoid(self.intercept + self.slope * standard)


def sigmoid(value: FloatArray) -> FloatArray:
    """Logistic function, safe for large magnitudes."""
    return 0.5 * (1.0 + np.tanh(0.5 * value))


def class_weights(case: NDArray[np.int_], *, balanced: bool) -> FloatArray:
    """Weight of each sample; balanced: both classes have the same total, the mean is one."""
    if not balanced:
        return np.ones(len(case))
    cases = int(case.sum())
    controls = len(case) - cases
    return np.where(case == 1, len(case) / (2 * cases), len(case) / (2 * controls))


def fit_squash(
    score: FloatArray, case: NDArray[np.int_], weights: FloatArray, penalty: float
) -> Squash:
    """Fit the logistic by penalised maximum likelihood (Newton), slope held at or above a floor.

    Args:
        score: Oriented scores of the training fold: higher means case.
        case: 1 case, 0 control; both classes present.
        weights: Sample weights.
        penalty: C: the inverse of the L2 penalty on the slope per standard deviation.

    Returns:
        The fitted map.
    """
    centre = float(np.average(score, weights=weights))
    spread = float(np.sqrt(np.average((score - centre) ** 2, weights=weights)))
    # A relative floor: a constant score has a spread of rounding errors only.
    if not spread > 1e-12 * max(1.0, abs(centre)):
        spread = 1.0
    standard = (score - centre) / spread
    design = np.column_stack([np.ones_like(standard), standard])
    beta = _newton(design, np.zeros(len(score)), case, weights, np.array([0.0, 1.0 / penalty]))
    if beta[1] >= MIN_SLOPE:
        return Squash(centre, spread, float(beta[1]), float(beta[0]), slope_held=False)
    offset = MIN_SLOPE * standard
    alone = _newton(design[:, :1], offset, case, weights, np.zeros(1))
    return Squash(centre, spread, MIN_SLOPE, float(alone[0]), slope_held=True)


def _newton(
    design: FloatArray,
    offset: FloatArray,
    case: NDArray[np.int_],
    weights: FloatArray,
    ridge: FloatArray,
) -> FloatArray:
    beta = np.zeros(design.shape[1])

    def loss(candidate: FloatArray) -> float:
        eta = offset + design @ candidate
        return float(weights @ (np.logaddexp(0.0, eta) - case * eta) + 0.5 * ridge @ candidate**2)

    current = loss(beta)
    for _ in range(_MAX_STEPS):
        probability = sigmoid(offset + design @ beta)
        gradient = design.T @ (weights * (probability - case)) + ridge * beta
        curvature = weights * probability * (1 - probability)
        hessian = (design * curvature[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(hessian + 1e-12 * np.eye(len(beta)), gradient)
        factor = 1.0
        while loss(beta - factor * step) > current and factor > 1e-6:
            factor /= 2
        beta = beta - factor * step
        current = loss(beta)
        if np.max(np.abs(factor * step)) < _TOLERANCE:
            break
    return beta
