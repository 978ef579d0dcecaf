"""Net benefit of acting on a score, and the decision curve.

Vickers and Elkin (Medical Decision Making 26 (2006) 565): who acts at a probability of t or more
holds a missed case for (1 - t) / t times as bad as a needless action, and

net benefit = true positives / n - false positives / n x t / (1 - t),

in cases found per person without a single needless action. It stands beside acting on everyone and
on no one (0). It holds at the prevalence of the study, which in case-control data is not that of
any clinic. The prevalence is taken as given, so that net benefit is a weighted difference of
sensitivity and false positive share; its interval is square-and-add (Zou and Donner, Statistics in
Medicine 27 (2008) 1693) of their Wilson intervals, which stays open where nobody is called wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genellm_dagster.evaluation import intervals, metrics
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.metrics import FloatArray, IntArray

CURVE = tuple(round(step / 100, 2) for step in range(1, 100))
"""Thresholds of the decision curve."""


def net_benefit(case: IntArray, probability: FloatArray, threshold: float) -> float:
    """Net benefit of calling everyone at or above ``threshold`` (0..1, not the ends)."""
    called = probability >= threshold
    odds = threshold / (1 - threshold)
    return float(np.mean(called & (case == 1)) - np.mean(called & (case == 0)) * odds)


def treat_all(prevalence: float, threshold: float) -> float:
    """Net benefit of calling everyone a case."""
    return prevalence - (1 - prevalence) * threshold / (1 - threshold)


def net_benefit_interval(
    case: IntArray,
    probability: FloatArray,
    persons: IntArray,
    threshold: float,
    confidence: float,
) -> Interval:
    """Net benefit with its interval; see the module's head.

    Args:
        case: 1 case, 0 control; both present.
        probability: 0..1.
        persons: Person of each sample; intervals count persons.
        threshold: Probability at which one would act.
        confidence: Coverage meant.
    """
    counts = metrics.at_threshold(case, probability, threshold)
    prevalence = float(np.mean(case))
    case_persons, control_persons = intervals.person_counts(case, persons)
    gain = _scaled(counts.sensitivity, case_persons, prevalence, confidence)
    odds = threshold / (1 - threshold)
    harm = _scaled(1 - counts.specificity, control_persons, (1 - prevalence) * odds, confidence)
    return intervals.square_and_add(gain, harm)


def decisions(
    case: IntArray,
    probability: FloatArray,
    persons: IntArray,
    thresholds: Sequence[float],
    confidence: float,
) -> dict[str, Any]:
    """Net benefit at a few thresholds, with intervals, and the whole decision curve.

    Returns:
        JSON-safe: prevalence; ``thresholds``, a list of threshold, net_benefit, treat_all,
        treat_none and ``gain`` (over the better of treating all and none); ``curve``, lists of
        threshold, net_benefit and treat_all.
    """
    prevalence = float(np.mean(case))
    rows = []
    for threshold in thresholds:
        found = net_benefit_interval(case, probability, persons, threshold, confidence)
        everyone = treat_all(prevalence, threshold)
        rows.append(
            {
                "threshold": threshold,
                "net_benefit": found.as_json(),
                "treat_all": everyone,
                "treat_none": 0.0,
                "gain": _less(found, max(everyone, 0.0)).as_json(),
            }
        )
    return {
        "prevalence": prevalence,
        "thresholds": rows,
        "curve": {
            "threshold": list(CURVE),
            "net_benefit": [net_benefit(case, probability, at) for at in CURVE],
            "treat_all": [treat_all(prevalence, at) for at in CURVE],
        },
    }


def _scaled(share: float, count: int, weight: float, confidence: float) -> Interval:
    low, high = intervals.wilson_interval(share, count, confidence)
    return Interval(weight * share, weight * low, weight * high)


def _less(interval: Interval, known: float) -> Interval:
    return intervals.square_and_add(interval, Interval(known, known, known))
