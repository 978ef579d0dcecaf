"""How far cases and controls lie apart in a representation's own space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.evaluation.metrics import FloatArray, IntArray
from genellm_dagster.evaluation.resampling import resampled_mean


def distances(points: FloatArray) -> FloatArray:
    """Euclidean distances between all pairs of samples x dims."""
    from scipy.spatial.distance import pdist, squareform

    result: FloatArray = squareform(pdist(points))
    return result


def silhouettes(distance: FloatArray, label: IntArray) -> FloatArray:
    """Silhouette of each sample (Rousseeuw 1987); 0 for a sample alone in its class.

    Args:
        distance: Samples x samples.
        label: Class of each sample; at least two classes.
    """
    classes, number, size = np.unique(label, return_inverse=True, return_counts=True)
    sums = distance @ np.eye(len(classes))[number]
    rows = np.arange(len(label))
    own = size[number]
    inside = sums[rows, number] / np.maximum(own - 1, 1)
    means = sums / size
    means[rows, number] = np.inf
    outside = means.min(axis=1)
    largest = np.maximum(inside, outside)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: FloatArray = np.where(largest > 0, (outside - inside) / largest, 0.0)
    return np.where(own > 1, result, 0.0)


def balanced_mean(value: FloatArray, label: IntArray) -> float:
    """Mean of the classes' means, so that the larger class does not speak for both."""
    return float(np.mean([value[label == one].mean() for one in np.unique(label)]))


def resampled_balanced_mean(
    value: FloatArray, label: IntArray, counts: NDArray[np.float32]
) -> FloatArray:
    """:func:`balanced_mean` of every resample (resamples x samples)."""
    result: FloatArray = np.mean(
        [resampled_mean(value[label == one], counts[:, label == one]) for one in np.unique(label)],
        axis=0,
    )
    return result


def fisher_ratios(points: FloatArray, case: IntArray, counts: NDArray[np.float32]) -> FloatArray:
    """Squared distance of the class means over the sum of the classes' total variances.

    Args:
        points: Samples x dims.
        case: 1 case, 0 control.
        counts: Resamples x samples; a row of ones gives the value itself.

    Returns:
        One ratio a resample; 0 where all samples of it coincide.
    """
    centred = points - points.mean(axis=0)
    squares = (centred**2).sum(axis=1)
    means, spreads = [], []
    for label in (0, 1):
        weight = counts[:, case == label].astype(np.float64)
        total = weight.sum(axis=1)
        mean = weight @ centred[case == label] / total[:, None]
        spread = weight @ squares[case == label] / total - (mean**2).sum(axis=1)
        means.append(mean)
        spreads.append(np.maximum(spread, 0.0))
    between = ((means[1] - means[0]) ** 2).sum(axis=1)
    within = spreads[0] + spreads[1]
    return np.divide(between, within, out=np.zeros_like(between), where=within > 1e-15)
