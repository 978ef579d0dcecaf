"""Is the disease told as well in each stratum, and is that more than a matter of size?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.evaluation import intervals, resampling
from genellm_dagster.evaluation.age.parts import (
    IntArray,
    Scores,
    common_models,
    independent_differences,
    scores_of,
)
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.options import EvaluationOptions


def discrimination(
    predictions: dict[str, pd.DataFrame], options: EvaluationOptions, seed: int
) -> dict[str, Any]:
    """AUROC of each model in each stratum, on all samples and at equal size and prevalence.

    Args:
        predictions: Stratum to out-of-fold predictions; models that all strata have are compared.
        options: Settings.
        seed: Of the resamplings.

    Returns:
        Model to strata, differences and equal_size.
    """
    found: dict[str, Any] = {}
    for model in common_models(predictions):
        scores = {name: scores_of(table, model) for name, table in predictions.items()}
        auroc = {
            name: intervals.auroc_interval(one.case, one.score, one.persons, options.confidence)
            for name, one in scores.items()
        }
        found[model] = {
            "strata": {name: {"auroc": one.as_json()} for name, one in auroc.items()},
            "differences": independent_differences(auroc),
            "equal_size": _equal_size(scores, options, seed),
        }
    return found


def _equal_size(scores: dict[str, Scores], options: EvaluationOptions, seed: int) -> dict[str, Any]:
    """AUROC and average precision when every stratum has as many persons of each class.

    Persons are drawn with replacement, as many cases and controls as the poorest stratum has, one
    sample a person. The interval is the wider of the resamples' percentiles and Newcombe's method
    at that size, so that a perfect order is not called certain.
    """
    cases, controls = (
        min(intervals.person_counts(one.case, one.persons)[place] for one in scores.values())
        for place in (0, 1)
    )
    parts: dict[str, dict[str, Interval]] = {}
    for position, (name, one) in enumerate(scores.items()):
        generator = np.random.default_rng([seed, position])
        size = options.equal_size_resamples
        counts = np.zeros((size, len(one.case)), dtype=np.float32)
        for label, wanted in ((1, cases), (0, controls)):
            chosen = _draw_persons(one, label, wanted, size, generator)
            np.add.at(counts, (np.arange(size)[:, None], chosen), 1)
        areas = resampling.resampled_auroc(one.case, one.score, counts)
        precisions = resampling.resampled_average_precision(one.case, one.score, counts)
        mean = min(1.0, float(areas.mean()))
        auroc = intervals.percentile_interval(mean, areas, options.confidence)
        low, high = intervals.newcombe_interval(mean, cases, controls, options.confidence)
        auroc = Interval(mean, min(float(auroc.low or 0), low), max(float(auroc.high or 1), high))
        parts[name] = {
            "auroc": auroc,
            "average_precision": intervals.bounded_precision_interval(
                min(1.0, float(precisions.mean())),
                precisions,
                auroc_low=float(auroc.low or 0.0),
                prevalence=cases / (cases + controls),
                confidence=options.confidence,
            ),
        }
    return {
        "cases": cases,
        "controls": controls,
        "prevalence": cases / (cases + controls),
        "resamples": options.equal_size_resamples,
        "strata": {
            name: {key: one.as_json() for key, one in part.items()} for name, part in parts.items()
        },
        "differences": {
            key: independent_differences({name: part[key] for name, part in parts.items()})
            for key in ("auroc", "average_precision")
        },
    }


def _draw_persons(
    one: Scores, label: int, wanted: int, size: int, generator: np.random.Generator
) -> IntArray:
    """Resamples x wanted positions: random persons of a class, then a random sample of each."""
    rows = np.flatnonzero(one.case == label)
    rows = rows[np.argsort(one.persons[rows], kind="stable")]
    _, start, count = np.unique(one.persons[rows], return_index=True, return_counts=True)
    person = generator.integers(0, len(start), size=(size, wanted))
    within = np.floor(generator.random((size, wanted)) * count[person]).astype(np.int_)
    return rows[start[person] + within]
