"""DeLong's variance of the AUROC and the paired test of two models on the same samples.

Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837, computed by midranks (Sun and
Xu, IEEE Signal Processing Letters 21 (2014) 1389). Where persons repeat, the placements are summed
by person (Obuchowski, Biometrics 53 (1997) 567).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.evaluation.metrics import FloatArray, IntArray, require_both_classes


@dataclass(frozen=True)
class PairedTest:
    """Difference of two AUROC on the same samples, its standard error and two-sided p value."""

    difference: float
    standard_error: float
    z: float | None
    p: float


def delong_covariance(
    case: IntArray, scores: FloatArray, persons: NDArray[np.int_] | None = None
) -> tuple[FloatArray, FloatArray]:
    """AUROC of several models on the same samples, and their covariance.

    Args:
        case: 1 case, 0 control, of n samples.
        scores: Models x n.
        persons: Person of each sample; none means every sample is another person.

    Returns:
        AUROC of each model, and the covariance matrix (models x models). With a single case or
        control that class's share of the variance cannot be estimated and counts as zero.
    """
    from scipy.stats import rankdata

    require_both_classes(case)
    is_case = case == 1
    cases, controls = int(is_case.sum()), int((~is_case).sum())
    case_scores, control_scores = scores[:, is_case], scores[:, ~is_case]
    within_cases = rankdata(case_scores, axis=1)
    within_controls = rankdata(control_scores, axis=1)
    ranks = rankdata(np.concatenate([case_scores, control_scores], axis=1), axis=1)
    # Placement of each case among controls, and of each control among cases.
    case_placement = (ranks[:, :cases] - within_cases) / controls
    control_placement = 1.0 - (ranks[:, cases:] - within_controls) / cases
    auroc = case_placement.mean(axis=1)
    if persons is None or len(np.unique(persons)) == len(persons):
        covariance = _covariance(case_placement, cases) + _covariance(control_placement, controls)
        return auroc, covariance
    return auroc, _clustered(auroc, case_placement, control_placement, is_case, persons)


def _covariance(placement: FloatArray, size: int) -> FloatArray:
    if size < 2:
        return np.zeros((len(placement), len(placement)))
    centred = placement - placement.mean(axis=1, keepdims=True)
    return centred @ centred.T / (size - 1) / size


def _clustered(
    auroc: FloatArray,
    case_placement: FloatArray,
    control_placement: FloatArray,
    is_case: NDArray[np.bool_],
    persons: NDArray[np.int_],
) -> FloatArray:
    number = np.unique(persons, return_inverse=True)[1]
    clusters = int(number.max()) + 1
    cases, controls = case_placement.shape[1], control_placement.shape[1]
    above = np.zeros((len(auroc), clusters))
    below = np.zeros((len(auroc), clusters))
    for model in range(len(auroc)):
        above[model] = np.bincount(
            number[is_case], case_placement[model] - auroc[model], minlength=clusters
        )
        below[model] = np.bincount(
            number[~is_case], control_placement[model] - auroc[model], minlength=clusters
        )
    with_case = len(np.unique(number[is_case]))
    with_control = len(np.unique(number[~is_case]))

    def factor(count: int) -> float:
        return count / (count - 1) if count > 1 else 1.0

    cross = above @ below.T
    return (
        factor(with_case) * above @ above.T / cases**2
        + factor(with_control) * below @ below.T / controls**2
        + factor(clusters) * (cross + cross.T) / (cases * controls)
    )


def delong_test(
    case: IntArray,
    first: FloatArray,
    second: FloatArray,
    persons: NDArray[np.int_] | None = None,
) -> PairedTest:
    """Two-sided test that two models have the same AUROC on the same samples.

    Where the standard error is zero (both models order every pair alike, or both are perfect) the
    data hold no evidence of a difference and p is 1.
    """
    from scipy.stats import norm

    auroc, covariance = delong_covariance(case, np.stack([first, second]), persons)
    difference = float(auroc[0] - auroc[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    error = float(np.sqrt(max(variance, 0.0)))
    if error < 1e-12:
        return PairedTest(difference, 0.0, None, 1.0)
    z = difference / error
    return PairedTest(difference, error, float(z), float(2 * norm.sf(abs(z))))


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for position, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted[index] = running
    return [float(value) for value in adjusted]
