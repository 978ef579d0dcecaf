"""Point values of every metric. Each raises where it is not defined; none returns NaN.

Scores are 0..1, cases are 1. Average precision is the step-wise sum over distinct scores,
AP = sum (R_n - R_(n-1)) P_n, without interpolation (scikit-learn's definition): not the trapezoidal
area under the precision-recall curve, which is too high (Davis and Goadrich, ICML 2006). Samples
with equal scores are called together. At prevalence one half every case weighs 1 / (2 cases) and
every control 1 / (2 controls).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.errors import EvaluationError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int_]

SCORE_CLIP = 1e-6
"""Scores are kept this far from 0 and 1 before a logit is taken (calibration only)."""

_LARGEST_SLOPE = 50.0
"""A calibration slope beyond this is the mark of perfect separation: there is no finite one."""


def require_both_classes(case: IntArray) -> None:
    """Raise when ``case`` does not hold both classes."""
    cases = int(np.sum(case))
    if not 0 < cases < len(case):
        raise EvaluationError(
            f"{cases} cases among {len(case)} samples: discrimination needs both classes."
        )


def auroc(case: IntArray, score: FloatArray) -> float:
    """Probability that a case scores above a control, ties counting one half (Mann-Whitney)."""
    from scipy.stats import rankdata

    require_both_classes(case)
    cases = int(case.sum())
    controls = len(case) - cases
    ranks = rankdata(score)
    return float((ranks[case == 1].sum() - cases * (cases + 1) / 2) / (cases * controls))


def average_precision(
    case: IntArray, score: FloatArray, weights: FloatArray | None = None
) -> float:
    """Average precision; a coin gets the prevalence.

    Args:
        case: 1 case, 0 control.
        score: Higher means case.
        weights: Weight of each sample; none means one each.
    """
    require_both_classes(case)
    weight = np.ones(len(case)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(-score, kind="stable")
    sorted_score = score[order]
    ends = np.append(np.flatnonzero(np.diff(sorted_score)), len(score) - 1)
    true = np.cumsum((weight * case)[order])[ends]
    called = np.cumsum(weight[order])[ends]
    gained = np.diff(true, prepend=0.0)
    # Rounding of weights can lift a perfect order a hair above one.
    return min(1.0, float(np.sum(gained * true / called) / true[-1]))


def half_weights(case: IntArray) -> FloatArray:
    """Weights under which cases and controls have the same total: prevalence one half."""
    require_both_classes(case)
    return np.where(case == 1, 0.5 / case.sum(), 0.5 / (len(case) - case.sum()))


def average_precision_at_half(case: IntArray, score: FloatArray) -> float:
    """Average precision as it would be at prevalence one half, by weighting."""
    return average_precision(case, score, half_weights(case))


@dataclass(frozen=True)
class ThresholdCounts:
    """Counts at a threshold, and the shares that follow."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    @property
    def sensitivity(self) -> float:
        """Share of cases called cases."""
        return self.true_positive / (self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of controls called controls."""
        return self.true_negative / (self.true_negative + self.false_positive)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of sensitivity and specificity."""
        return (self.sensitivity + self.specificity) / 2


def at_threshold(
    case: IntArray, score: FloatArray, threshold: float | FloatArray
) -> ThresholdCounts:
    """Counts when scores at or above ``threshold``, one or one a sample, are called cases."""
    require_both_classes(case)
    called = score >= threshold
    is_case = case == 1
    return ThresholdCounts(
        int((called & is_case).sum()),
        int((~called & is_case).sum()),
        int((~called & ~is_case).sum()),
        int((called & ~is_case).sum()),
    )


def sensitivity_at_specificity(case: IntArray, score: FloatArray, specificity: float) -> float:
    """Highest sensitivity among thresholds that leave this share of controls, or more, not called.

    A point of the ROC curve (without interpolation): it describes the ranking, as the AUROC does,
    and is not what a threshold set beforehand would give; see ``thresholds.py`` for that.
    """
    require_both_classes(case)
    controls = np.sort(score[case == 0])[::-1]
    allowed = int((1 - specificity) * len(controls) + 1e-9)
    return float(np.mean(score[case == 1] > controls[allowed])) if allowed < len(controls) else 1.0


def brier(case: IntArray, score: FloatArray) -> float:
    """Mean squared difference between score and outcome: 0 perfect, .25 for always one half."""
    return float(np.mean((score - case) ** 2))


def expected_calibration_error(case: IntArray, score: FloatArray, bins: int) -> float:
    """Mean gap between observed share of cases and mean score over equal-width bins, by size."""
    place = np.minimum((score * bins).astype(int), bins - 1)
    gap = np.bincount(place, weights=case - score, minlength=bins)
    return float(np.abs(gap).sum() / len(case))


@dataclass(frozen=True)
class Calibration:
    """Logistic recalibration with standard errors.

    ``slope``: of the outcome on logit(score); 1 is right, below 1 too extreme. ``intercept``: with
    the slope held at one (calibration in the large); 0 is right, below 0 scores are too high.
    A value is none, with a reason, where it does not exist.
    """

    slope: float | None
    slope_error: float | None
    intercept: float | None
    intercept_error: float | None
    reason: str | None = None


def calibration(
    case: IntArray, score: FloatArray, persons: NDArray[np.int_] | None = None
) -> Calibration:
    """Calibration slope and intercept (Cox 1958; Van Calster and others 2019).

    Args:
        case: 1 case, 0 control.
        score: 0..1, kept ``SCORE_CLIP`` from the ends.
        persons: Person of each sample; where persons repeat the standard errors are cluster-robust.

    Returns:
        Values and standard errors.
    """
    require_both_classes(case)
    clipped = np.clip(score, SCORE_CLIP, 1 - SCORE_CLIP)
    logit = np.log(clipped / (1 - clipped))
    ones = np.ones((len(case), 1))
    large = _logistic(ones, logit, case, persons)
    if np.ptp(logit) < 1e-9:
        slope, reason = None, "all scores are the same"
    else:
        slope = _logistic(np.column_stack([ones[:, 0], logit]), np.zeros(len(case)), case, persons)
        reason = None
        if slope is None or abs(slope[0][1]) > _LARGEST_SLOPE:
            slope, reason = None, "cases and controls do not overlap, so no finite slope exists"
    return Calibration(
        slope=None if slope is None else float(slope[0][1]),
        slope_error=None if slope is None else float(slope[1][1]),
        intercept=None if large is None else float(large[0][0]),
        intercept_error=None if large is None else float(large[1][0]),
        reason=reason,
    )


def _logistic(
    design: FloatArray, offset: FloatArray, case: IntArray, persons: NDArray[np.int_] | None
) -> tuple[FloatArray, FloatArray] | None:
    """Maximum likelihood by Newton with halving; none when it does not converge."""
    beta = np.zeros(design.shape[1])

    def loss(candidate: FloatArray) -> float:
        eta = offset + design @ candidate
        return float(np.sum(np.logaddexp(0.0, eta) - case * eta))

    current = loss(beta)
    for _ in range(200):
        probability = 0.5 * (1 + np.tanh(0.5 * (offset + design @ beta)))
        hessian = (design * (probability * (1 - probability))[:, None]).T @ design
        if np.linalg.cond(hessian) > 1e14:
            return None
        step = np.linalg.solve(hessian, design.T @ (case - probability))
        factor = 1.0
        while loss(beta + factor * step) > current + 1e-12 and factor > 1e-8:
            factor /= 2
        beta = beta + factor * step
        current = loss(beta)
        if np.max(np.abs(beta)) > 1e4:
            return None
        if np.max(np.abs(factor * step)) < 1e-10:
            break
    else:
        return None
    probability = 0.5 * (1 + np.tanh(0.5 * (offset + design @ beta)))
    inverse = np.linalg.inv((design * (probability * (1 - probability))[:, None]).T @ design)
    covariance = inverse
    if persons is not None and len(np.unique(persons)) < len(persons):
        number = np.unique(persons, return_inverse=True)[1]
        gradients = design * (case - probability)[:, None]
        sums = np.stack([np.bincount(number, weights=column) for column in gradients.T], axis=1)
        covariance = inverse @ (sums.T @ sums) @ inverse
    return beta, np.sqrt(np.diag(covariance))
