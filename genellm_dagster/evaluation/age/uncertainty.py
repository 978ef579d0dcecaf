"""Is the model as sure in each stratum: spread, entropy and disagreement of its members."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.evaluation import intervals, resampling, separability
from genellm_dagster.evaluation.age.parts import (
    FloatArray,
    common_models,
    drawn_differences,
    scores_of,
)
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.options import EvaluationOptions


def uncertainty(
    predictions: dict[str, pd.DataFrame], options: EvaluationOptions, seed: int
) -> dict[str, Any]:
    """Say how sure the scores are in each stratum.

    Args:
        predictions: Stratum to out-of-fold predictions.
        options: Settings.
        seed: Of the resamplings of persons.

    Returns:
        Model to strata and differences: entropy (bits), distance_from_half, uncertainty (of the
        ensemble, standard deviation), both also balanced (both classes weigh the same, so that
        prevalence is not mistaken for sureness), spread (standard deviation of the scores).
    """
    from genellm_dagster.baselines.run import binary_entropy

    found: dict[str, Any] = {}
    for model in common_models(predictions):
        parts: dict[str, dict[str, Interval]] = {}
        draws: dict[str, dict[str, FloatArray]] = {}
        for position, (name, table) in enumerate(predictions.items()):
            one = scores_of(table, model)
            counts = resampling.bootstrap_counts(
                one.case, one.persons, options.bootstraps, seed + position
            )
            values = {
                "entropy": binary_entropy(one.score),
                "distance_from_half": np.abs(one.score - 0.5),
            }
            if np.isfinite(one.uncertainty).all():
                values["uncertainty"] = one.uncertainty
            draws[name] = {
                key: resampling.resampled_mean(value, counts) for key, value in values.items()
            }
            mean = resampling.resampled_mean(one.score, counts)
            square = resampling.resampled_mean(one.score**2, counts)
            draws[name]["spread"] = np.sqrt(np.maximum(square - mean**2, 0.0))
            points = {key: float(value.mean()) for key, value in values.items()}
            points["spread"] = float(one.score.std())
            # Cases and controls differ in sureness, and strata in the share of cases.
            for key in [key for key in ("entropy", "uncertainty") if key in values]:
                points[f"{key}_balanced"] = separability.balanced_mean(values[key], one.case)
                draws[name][f"{key}_balanced"] = separability.resampled_balanced_mean(
                    values[key], one.case, counts
                )
            parts[name] = {
                key: intervals.percentile_interval(points[key], drawn, options.confidence)
                for key, drawn in draws[name].items()
            }
        found[model] = {
            "strata": {
                name: {key: one.as_json() for key, one in part.items()}
                for name, part in parts.items()
            },
            "differences": drawn_differences(parts, draws, options.confidence),
        }
    return found
