"""Bootstrap intervals by persons, stratified by class: percentile, or BCa.

Percentile: quantiles of the metric over resamples (Efron 1979). BCa: the same quantiles moved for
bias and acceleration (Efron, JASA 82 (1987) 171), the acceleration by the jackknife over persons
and, since cases and controls are drawn apart, summed over the two as Davison and Hinkley (Bootstrap
Methods and their Application (1997), 5.3) do for several samples. Where resamples do not vary at
all, quantiles say nothing: a share then gets Wilson's interval on as many persons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.evaluation import intervals, resampling
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.metrics import FloatArray, IntArray
from genellm_dagster.evaluation.options import EvaluationOptions

Counts = NDArray[np.float32]
Statistic = Callable[[Counts], FloatArray]
"""Count weights (resamples x samples) to one value a resample, or one column a value."""

_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of one set of samples, shared by every model judged on it.

    Attributes:
        counts: Resamples x samples.
        confidence: Coverage meant, .95 for 95 %.
        persons: Number of persons.
        left_out: Persons x samples, each person left out in turn; none for percentile intervals.
        drawn_in: Class in which each person is drawn, as long as ``left_out``.
    """

    counts: Counts
    confidence: float
    persons: int
    left_out: Counts | None = None
    drawn_in: NDArray[np.int_] | None = None

    @classmethod
    def draw(
        cls, case: IntArray, persons: NDArray[np.int_], options: EvaluationOptions
    ) -> Bootstrap:
        """Draw the resamples, seeded.

        Args:
            case: 1 case, 0 control; both present.
            persons: Person of each sample.
            options: Number of resamples, seed, confidence, and the kind of interval.
        """
        counts = resampling.bootstrap_counts(case, persons, options.bootstraps, options.seed)
        number = len(np.unique(persons))
        if options.bootstrap_interval == "percentile":
            return cls(counts, options.confidence, number)
        return cls(counts, options.confidence, number, *resampling.left_out_counts(case, persons))

    def interval(self, value: float, statistic: Statistic, *, share: bool = True) -> Interval:
        """Interval of one metric.

        Args:
            value: The metric on the sample.
            statistic: The metric on count weights.
            share: Whether the metric lies in 0..1, so that it has an interval without spread too.
        """
        return self.intervals([value], lambda counts: statistic(counts)[:, None], share=share)[0]

    def intervals(
        self, values: list[float], statistic: Statistic, *, share: bool = True
    ) -> list[Interval]:
        """Intervals of several metrics that are computed together, one column each."""
        drawn = statistic(self.counts)
        left_out = None if self.left_out is None else statistic(self.left_out)
        return [
            self._one(value, drawn[:, at], None if left_out is None else left_out[:, at], share)
            for at, value in enumerate(values)
        ]

    def _one(
        self, value: float, drawn: FloatArray, left_out: FloatArray | None, share: bool
    ) -> Interval:
        if share and np.ptp(drawn) < _NO_SPREAD:
            return Interval(value, *intervals.wilson_interval(value, self.persons, self.confidence))
        if left_out is not None and self.drawn_in is not None:
            levels = bca_levels(value, drawn, left_out, self.drawn_in, self.confidence)
            if levels is not None:
                low, high = np.quantile(drawn, levels)
                return Interval(value, min(float(low), value), max(float(high), value))
        return intervals.percentile_interval(value, drawn, self.confidence)


def bca_levels(
    value: float,
    drawn: FloatArray,
    left_out: FloatArray,
    stratum: NDArray[np.int_],
    confidence: float,
) -> tuple[float, float] | None:
    """Quantiles of the resamples that BCa takes for the ends.

    Args:
        value: The metric on the sample.
        drawn: The metric on every resample.
        left_out: The metric with each person left out.
        stratum: In which class each person is drawn.
        confidence: Coverage meant.

    Returns:
        The two levels, 0..1; none where every resample lies on one side of the value, or the
        jackknife does not vary, so that no correction exists.
    """
    from scipy.stats import norm

    below = float(np.mean(drawn < value) + 0.5 * np.mean(drawn == value))
    if not 0 < below < 1:
        return None
    cubes = squares = 0.0
    for label in np.unique(stratum):
        part = left_out[stratum == label]
        influence = (len(part) - 1) * (part.mean() - part)
        cubes += float((influence**3).sum()) / len(part) ** 3
        squares += float((influence**2).sum()) / len(part) ** 2
    if squares < _NO_SPREAD:
        return None
    acceleration = cubes / (6 * squares**1.5)
    bias = float(norm.ppf(below))
    z = intervals.normal_quantile(confidence)

    def level(quantile: float) -> float:
        moved = bias + quantile
        return float(norm.cdf(bias + moved / (1 - acceleration * moved)))

    return level(-z), level(z)
