"""Intervals that stay honest at the ends: an AUROC of 1 never gets [1, 1].

AUROC: the wider, on each side, of DeLong's interval on the logit scale and Newcombe's method 5
(Statistics in Medicine 25 (2006) 559), which solves |theta - A| = z sqrt(V(theta)) with the
Hanley-McNeil variance at theta itself. The first follows the data; the second stays bounded and
wide enough where the first collapses (few samples, AUROC near 1). Average precision: bootstrap of
persons; where resamples pile up at 1 the lower end is no higher than the average precision of an
equal-variance binormal curve at the AUROC's lower end; a sensitivity read at a given specificity,
likewise. Bootstrap intervals are percentile or, by option, BCa (``bootstrap.py``). Shares: Wilson.
Balanced accuracy: square-and-add of two Wilson intervals. Counts are of persons, so that repeated
samples add no precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.evaluation.delong import delong_covariance
from genellm_dagster.evaluation.metrics import FloatArray, IntArray

METHODS = {
    "auroc": "wider of DeLong on the logit scale and Newcombe's method 5",
    "auroc_bootstrap": "bootstrap of persons within class, wider of quantiles and normal on the "
    "logit scale; Newcombe's where resamples reach 0 or 1",
    "average_precision": "bootstrap of persons within class, wider of quantiles and normal on the "
    "logit scale; bounded by a binormal curve where resamples reach 1",
    "sensitivity_at_95_specificity": "as average_precision, the threshold read anew on each "
    "resample; never inside Wilson's; with fewer than about 40 control persons it is too short, "
    "because the threshold then hangs on one or two of them",
    "proportions": "Wilson, counting persons",
    "balanced_accuracy": "square-and-add of Wilson intervals",
    "brier": "bootstrap of persons within class",
    "ece and brier_decomposition": "basic bootstrap of persons within class: bins make them too "
    "high on few samples, so the interval lies mostly below; with fewer than about 40 samples a "
    "bin it holds the truth less often than it says; that of ece reaches 0 where outcomes drawn "
    "from the stated probabilities give as much",
    "net_benefit": "square-and-add of Wilson intervals at the prevalence of the study",
    "calibration": "Wald, cluster-robust where persons repeat",
    "differences": "DeLong for models on the same samples, and square-and-add of the two intervals "
    "where an AUROC of 0 or 1 has no DeLong variance; square-and-add between strata",
}


@dataclass(frozen=True)
class Interval:
    """A value with its interval; any part is none where it does not exist, with a reason."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    def as_json(self) -> dict[str, float | str | None]:
        """The report's form: value, low, high, and the reason when there is no value."""
        found: dict[str, float | str | None] = {
            "value": self.value,
            "low": self.low,
            "high": self.high,
        }
        return found if self.reason is None else {**found, "reason": self.reason}


def normal_quantile(confidence: float) -> float:
    """Two-sided standard normal quantile, 1.96 for .95."""
    from scipy.stats import norm

    return float(norm.ppf(0.5 + confidence / 2))


def person_counts(case: IntArray, persons: NDArray[np.int_]) -> tuple[int, int]:
    """Number of persons with a case sample, and with a control sample."""
    return len(np.unique(persons[case == 1])), len(np.unique(persons[case == 0]))


def auroc_interval(
    case: IntArray, score: FloatArray, persons: NDArray[np.int_], confidence: float
) -> Interval:
    """AUROC with its interval; see the module's head for the method.

    Args:
        case: 1 case, 0 control; both present.
        score: Higher means case.
        persons: Person of each sample.
        confidence: Coverage meant, .95 for 95 %.
    """
    values, covariance = delong_covariance(case, score[None, :], persons)
    value = float(values[0])
    low, high = newcombe_interval(value, *person_counts(case, persons), confidence)
    error = float(np.sqrt(max(covariance[0, 0], 0.0)))
    if 0 < value < 1 and error > 0:
        return wider(Interval(value, low, high), *logit_interval(value, error, confidence))
    return Interval(value, low, high)


def logit_interval(value: float, error: float, confidence: float) -> tuple[float, float]:
    """Normal interval on the logit scale of a value within 0..1, by the delta method."""
    logit = np.log(value / (1 - value))
    half = normal_quantile(confidence) * error / (value * (1 - value))
    return float(1 / (1 + np.exp(-(logit - half)))), float(1 / (1 + np.exp(-(logit + half))))


def newcombe_interval(
    value: float, cases: int, controls: int, confidence: float
) -> tuple[float, float]:
    """Newcombe's method 5 for an AUROC of ``cases`` against ``controls`` persons."""
    z = normal_quantile(confidence)
    spare = (cases + controls) / 2 - 1

    def excess(theta: float) -> float:
        shape = 1 + spare * (1 - theta) / (2 - theta) + spare * theta / (1 + theta)
        variance = theta * (1 - theta) * shape / (cases * controls)
        return abs(theta - value) - z * float(np.sqrt(variance))

    def edge(outside: float) -> float:
        # Bisection between the estimate, which is always inside, and the end of the scale.
        if excess(outside) <= 0:
            return outside
        inside = value
        for _ in range(80):
            middle = (inside + outside) / 2
            if excess(middle) <= 0:
                inside = middle
            else:
                outside = middle
        return inside

    return edge(0.0) if value > 0 else 0.0, edge(1.0) if value < 1 else 1.0


def wilson_interval(value: float, count: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share observed on ``count`` persons."""
    z = normal_quantile(confidence)
    centre = (value + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(value * (1 - value) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return max(0.0, min(float(centre - half), value)), min(1.0, max(float(centre + half), value))


def mean_of_two(first: Interval, second: Interval) -> Interval:
    """Mean of two independent shares with its interval, by square-and-add (Newcombe 1998)."""
    difference = square_and_add(first, Interval(0.0, *_mirrored(second)))
    if difference.value is None or difference.low is None or difference.high is None:
        return difference
    value = ((first.value or 0.0) + (second.value or 0.0)) / 2
    shift = second.value or 0.0
    return Interval(value, (difference.low + shift) / 2, (difference.high + shift) / 2)


def _mirrored(interval: Interval) -> tuple[float, float]:
    value, low, high = interval.value or 0.0, interval.low or 0.0, interval.high or 0.0
    return value - high, value - low


def square_and_add(first: Interval, second: Interval) -> Interval:
    """First minus second, for independent estimates (MOVER; Zou and Donner 2008)."""
    parts = (first.value, first.low, first.high, second.value, second.low, second.high)
    if any(part is None for part in parts):
        return Interval(None, None, None, first.reason or second.reason or "a value is missing")
    a, low_a, high_a, b, low_b, high_b = (float(part or 0.0) for part in parts)
    return Interval(
        a - b,
        a - b - float(np.hypot(a - low_a, high_b - b)),
        a - b + float(np.hypot(high_a - a, b - low_b)),
    )


def percentile_interval(value: float, resampled: FloatArray, confidence: float) -> Interval:
    """Percentile bootstrap interval, widened to hold the value itself."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(value, min(float(low), value), max(float(high), value))


def bounded_precision_interval(
    value: float,
    resampled: FloatArray,
    auroc_low: float,
    prevalence: float,
    confidence: float,
) -> Interval:
    """Interval of an average precision that stays open below where resamples pile up at 1."""
    return open_below(
        percentile_interval(value, resampled, confidence), binormal_precision(auroc_low, prevalence)
    )


def open_below(found: Interval, bound: float) -> Interval:
    """Lower the lower end to ``bound`` where the upper one is at 1, where resamples pile up."""
    if found.low is None or found.high is None or found.high < 1 - 1e-12:
        return found
    return Interval(found.value, min(found.low, bound), found.high)


def wider(first: Interval, low: float, high: float) -> Interval:
    """The interval, reaching at least from ``low`` to ``high``."""
    if first.low is None or first.high is None:
        return first
    return Interval(first.value, min(first.low, low), max(first.high, high), first.reason)


def paired_difference(
    difference: float, error: float, first: Interval, second: Interval, confidence: float
) -> Interval:
    """Difference of two AUROC on the same samples, open where DeLong's variance collapses.

    Args:
        difference: First minus second.
        error: DeLong's standard error of it; zero also where both order every pair alike.
        first: AUROC of the first model with its interval.
        second: Of the second.
        confidence: Coverage meant.

    Returns:
        DeLong's interval; where one AUROC is 0 or 1, whose placements do not vary, the wider of it
        and square-and-add of the two intervals, as if the two were independent.
    """
    half = normal_quantile(confidence) * error
    found = Interval(difference, difference - half, difference + half)
    if not any(one.value in (0.0, 1.0) for one in (first, second)):
        return found
    apart = square_and_add(first, second)
    return found if apart.low is None or apart.high is None else wider(found, apart.low, apart.high)


@lru_cache(maxsize=4096)
def binormal_precision(auroc: float, prevalence: float) -> float:
    """Average precision of an equal-variance binormal curve with this AUROC and prevalence."""
    from scipy.stats import norm

    distance = float(norm.ppf(np.clip(auroc, 1e-9, 1 - 1e-9))) * np.sqrt(2)
    sensitivity = (np.arange(20_000) + 0.5) / 20_000
    false_positive = norm.cdf(norm.ppf(sensitivity) - distance)
    true = prevalence * sensitivity
    return float(np.mean(true / (true + (1 - prevalence) * false_positive)))


def binormal_sensitivity(auroc: float, specificity: float) -> float:
    """Sensitivity at this specificity of an equal-variance binormal curve with this AUROC."""
    from scipy.stats import norm

    distance = float(norm.ppf(np.clip(auroc, 1e-9, 1 - 1e-9))) * np.sqrt(2)
    return float(norm.cdf(distance - norm.ppf(specificity)))
