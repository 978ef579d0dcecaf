"""What every part of the comparison uses: one model's scores in a stratum, and differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.evaluation import intervals
from genellm_dagster.evaluation.intervals import Interval

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int_]


@dataclass(frozen=True)
class Scores:
    """One model's out-of-fold scores in one stratum."""

    case: IntArray
    score: FloatArray
    uncertainty: FloatArray
    persons: IntArray


def scores_of(table: pd.DataFrame, model: str) -> Scores:
    """Take one model's scores out of a table of predictions, in the order of gsm."""
    rows = table.loc[table["model"] == model].sort_values("gsm")
    return Scores(
        rows["case"].to_numpy(dtype=np.int_),
        rows["score"].to_numpy(dtype=np.float64),
        rows["uncertainty"].to_numpy(dtype=np.float64),
        persons_of(rows),
    )


def persons_of(rows: pd.DataFrame) -> IntArray:
    """Number the persons of samples: subjects of a cohort."""
    names = (rows["cohort"].astype(str) + "|" + rows["subject"].astype(str)).to_numpy(str)
    return np.unique(names, return_inverse=True)[1].astype(np.int_)


def common_models(predictions: Mapping[str, pd.DataFrame]) -> list[str]:
    """Models that every stratum has, in the order of the first."""
    tables = list(predictions.values())
    if not tables:
        return []
    common = [str(model) for model in pd.unique(tables[0]["model"])]
    return [m for m in common if all(m in set(table["model"]) for table in tables)]


def pairs_of(
    parts: Mapping[str, Any], subtract: Callable[[str, str], Interval]
) -> list[dict[str, Any]]:
    """Differences between strata, first minus second, one a pair."""
    return [
        {"first": first, "second": second, **subtract(first, second).as_json()}
        for first, second in combinations(parts, 2)
    ]


def independent_differences(parts: Mapping[str, Interval]) -> list[dict[str, Any]]:
    """Differences of independent estimates (square-and-add), one a pair of strata."""
    return pairs_of(parts, lambda a, b: intervals.square_and_add(parts[a], parts[b]))


def drawn_differences(
    parts: dict[str, dict[str, Interval]],
    draws: dict[str, dict[str, FloatArray]],
    confidence: float,
) -> dict[str, list[dict[str, Any]]]:
    """Differences of independent strata from their bootstrap draws, measure by measure."""
    if not parts:
        return {}
    keys = [
        key for key in next(iter(parts.values())) if all(key in part for part in parts.values())
    ]

    def subtract(key: str) -> Callable[[str, str], Interval]:
        def difference(first: str, second: str) -> Interval:
            value = float(parts[first][key].value or 0.0) - float(parts[second][key].value or 0.0)
            drawn = draws[first][key] - draws[second][key]
            return intervals.percentile_interval(value, drawn, confidence)

        return difference

    return {key: pairs_of(parts, subtract(key)) for key in keys}
