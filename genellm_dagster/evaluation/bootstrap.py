"""Bootstrap intervals by persons, stratified by class: percentile, BCa, basic.

Percentile: quantiles of the metric over resamples (Efron 1979). BCa: the same quantiles moved for
bias and acceleration (Efron, JASA 82 (1987) 171), the acceleration by the jackknife over persons
and, since cases and controls are drawn apart, summed over the two as Davison and Hinkley (Bootstrap
Methods and their Application (1997), 5.3) do for several samples. Numbers that are too high on few
samples, and too high once more on resamples of these (sums of squared or absolute gaps of bins),
get the basic interval, the quantiles mirrored at the value (the same, 5.2), whatever the option:
with the others ``benchmarks/measure_coverage.py`` finds the truth below most intervals. Metrics of
ranking come out too high on resamples, where a case stands beside its own copies; on each side they
take the wider of the quantiles and the normal interval on the logit scale with the standard error
of the resamples, which together hold the truth as often as they say. Where resamples do not vary at
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
"""Count weights (resamples x samples) to one value a resample."""

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

    def interval(
        self,
        value: float,
        statistic: Statistic,
        *,
        too_high: bool = False,
        ranking: bool = False,
    ) -> Interval:
        """Interval of one metric that lies in 0..1.

        Args:
            value: The metric on the sample.
            statistic: The metric on count weights.
            too_high: Whether few samples make the metric too high on average.
            ranking: Whether the metric is one of ranking; see the module's head.
        """
        drawn = statistic(self.counts)
        if np.ptp(drawn) < _NO_SPREAD:
            return Interval(value, *intervals.wilson_interval(value, self.persons, self.confidence))
        if too_high:
            return basic_interval(value, drawn, self.confidence)
        left_out = None if self.left_out is None else statistic(self.left_out)
        found = self._by_quantiles(value, drawn, left_out)
        if not ranking or not 0 < value < 1:
            return found
        error = float(drawn.std(ddof=1))
        return intervals.wider(found, *intervals.logit_interval(value, error, self.confidence))

    def _by_quantiles(
        self, value: float, drawn: FloatArray, left_out: FloatArray | None
    ) -> Interval:
        if left_out is not None and self.drawn_in is not None:
            levels = bca_levels(value, drawn, left_out, self.drawn_in, self.confidence)
            if levels is not None:
                low, high = np.quantile(drawn, levels)
                return Interval(value, min(float(low), value), max(float(high), value))
        return intervals.percentile_interval(value, drawn, self.confidence)


def basic_interval(value: float, drawn: FloatArray, confidence: float) -> Interval:
    """Quantiles of the resamples mirrored at the value; not below 0, and holding the value."""
    mirrored = intervals.percentile_interval(value, 2 * value - drawn, confidence)
    return Interval(value, max(0.0, mirrored.low or 0.0), mirrored.high)


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
