"""The Brier score taken apart: reliability, resolution, uncertainty, and what is left within bins.

Murphy (Journal of Applied Meteorology 12 (1973) 595) splits the score of forecasts that take few
values: Brier = reliability - resolution + uncertainty. Scores that vary inside a bin leave two more
terms (Stephenson, Coelho and Jolliffe, Weather and Forecasting 23 (2008) 752), within-bin variance
minus twice the within-bin covariance of outcome and score; their difference is ``within_bin`` here,
and with it the four add up to the Brier score exactly:
reliability - resolution + uncertainty + within_bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.evaluation.metrics import FloatArray, IntArray

PARTS = ("reliability", "resolution")
"""The parts that are measured anew on resamples: uncertainty follows from the class counts, and
``within_bin`` is the rest."""


@dataclass(frozen=True)
class BrierParts:
    """Parts of the Brier score.

    ``reliability``: 0 when the share of cases in each bin equals its mean score. ``resolution``:
    how far those shares lie from the prevalence, more is better. ``uncertainty``: prevalence times
    its complement, the score of always saying the prevalence. ``within_bin``: rest, see the module.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within_bin: float

    @property
    def brier(self) -> float:
        """The Brier score that the parts add up to."""
        return self.reliability - self.resolution + self.uncertainty + self.within_bin


def decompose(case: IntArray, score: FloatArray, bins: int) -> BrierParts:
    """Take the Brier score apart over equal-width bins.

    Args:
        case: 1 case, 0 control.
        score: 0..1, judged as a probability.
        bins: Number of bins, those of the expected calibration error.
    """
    once = np.ones((1, len(case)), dtype=np.float32)
    reliability, resolution = (float(part) for part in resampled_parts(case, score, once, bins)[0])
    place = np.minimum((score * bins).astype(int), bins - 1)
    size = np.maximum(np.bincount(place, minlength=bins), 1)
    stated, observed = (
        (np.bincount(place, weights=value, minlength=bins) / size)[place] for value in (score, case)
    )
    # Deviations inside bins: variance of the score, and twice its covariance with the outcome.
    inside = score - stated
    within = float(np.mean(inside**2) - 2 * np.mean(inside * (case - observed)))
    prevalence = float(np.mean(case))
    return BrierParts(reliability, resolution, prevalence * (1 - prevalence), within)


def resampled_parts(
    case: IntArray, score: FloatArray, counts: NDArray[np.float32], bins: int
) -> FloatArray:
    """Parts of every resample: columns as ``PARTS``.

    Args:
        case: 1 case, 0 control, n.
        score: 0..1, n.
        counts: Resamples x n.
        bins: Number of equal-width bins.
    """
    place = np.minimum((score * bins).astype(int), bins - 1)
    member = np.zeros((len(score), bins))
    member[np.arange(len(score)), place] = 1.0
    total = counts.sum(axis=1, dtype=np.float64)[:, None]

    def sums(value: FloatArray) -> FloatArray:
        found: FloatArray = counts @ (member * value[:, None]) / total
        return found

    outcome = case.astype(np.float64)
    size, observed, stated = (sums(value) for value in (np.ones(len(score)), outcome, score))
    held = size > 0

    def mean(part: FloatArray) -> FloatArray:
        return np.divide(part, size, out=np.zeros_like(part), where=held)

    prevalence = observed.sum(axis=1, keepdims=True)
    reliability = (size * (mean(stated) - mean(observed)) ** 2).sum(axis=1)
    resolution = (size * (mean(observed) - prevalence) ** 2).sum(axis=1)
    return np.column_stack([reliability, resolution])
