"""What could tell cases from controls without the disease: kinds of cells, and the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.baselines.batch import (
    CohortsToldApart,
    label_by_cohort,
    resampled,
    tell_cohorts_apart,
)
from genellm_dagster.baselines.options import CohortOnlyOptions
from genellm_dagster.baselines.signatures import Refused
from genellm_dagster.baselines.splits import persons_of
from genellm_dagster.evaluation.intervals import Interval, auroc_interval, percentile_interval

_READ = (
    "Cohorts are told apart on persons held out of folds that hold every cohort, cases and "
    "controls of a cohort weighing the same; profiles are those of the adapter in use. The AUROC "
    "is the mean over cohorts of one against the others. What the name of a cohort tells of the "
    "label is what a model that knows batch and nothing else could reach if people, not cohorts, "
    "were held out."
)


def batch_results(
    profiles: pd.DataFrame,
    samples: pd.DataFrame,
    groups: Mapping[str, int],
    options: CohortOnlyOptions | None,
    confidence: float,
    seed: int,
) -> dict[str, Any] | None:
    """Say how well cohorts are told apart by profiles, and the label by the cohort's name.

    Args:
        profiles: gsm x genes, as the models see them.
        samples: gsm, cohort, case.
        groups: Group of each gsm; samples of one group are one person or overlap.
        options: Of the control; none when it is left out.
        confidence: Coverage of the intervals.
        seed: Seed of folds and resamples.

    Returns:
        JSON-safe: n, cases, prevalence, cohorts, cohort_from_profile (all samples, controls alone,
        cases alone) and label_from_cohort, each with its interval, or null with a reason.
    """
    if options is None:
        return None
    rows = samples.set_index("gsm", drop=False)
    parts = {
        "all": rows,
        "controls": rows[rows["case"] == 0],
        "cases": rows[rows["case"] == 1],
    }
    told = {
        name: _told(profiles.loc[part.index], part, groups, options, seed)
        for name, part in parts.items()
    }
    case = rows["case"].to_numpy(dtype=int)
    return {
        "n": len(rows),
        "cases": int(case.sum()),
        "prevalence": float(case.mean()),
        "cohorts": {
            str(name): {"n": len(part), "cases": int(part["case"].sum())}
            for name, part in rows.groupby("cohort")
        },
        "cohort_from_profile": {
            name: _apart(told[name], part, confidence) for name, part in parts.items()
        },
        "label_from_cohort": _label(told["all"], case, options, confidence, seed),
        "note": _READ,
    }


def _told(
    profiles: pd.DataFrame,
    rows: pd.DataFrame,
    groups: Mapping[str, int],
    options: CohortOnlyOptions,
    seed: int,
) -> CohortsToldApart | Refused:
    return tell_cohorts_apart(
        profiles,
        rows["case"].to_numpy(dtype=int),
        rows["cohort"].to_numpy(object),
        persons_of(rows, groups).to_numpy(object),
        options,
        seed,
    )


def _apart(
    told: CohortsToldApart | Refused, rows: pd.DataFrame, confidence: float
) -> dict[str, Any]:
    found = {"n": len(rows), "cohorts": int(rows["cohort"].nunique())}
    if isinstance(told, Refused):
        return {**found, "auroc": _nothing(told.reason), "each": {}}
    person = np.unique(told.persons.astype(str), return_inverse=True)[1]
    each = {
        name: auroc_interval(
            (told.cohort == number).astype(int), told.said[:, number], person, confidence
        )
        for number, name in enumerate(told.names)
    }
    # One against the others, over the same samples: ends are averaged as if all erred together,
    # which is never too narrow.
    value, low, high = (
        float(np.mean([getattr(one, end) for one in each.values()]))
        for end in ("value", "low", "high")
    )
    return {
        **found,
        "auroc": Interval(value, low, high).as_json(),
        "each": {name: one.as_json() for name, one in each.items()},
    }


def _label(
    told: CohortsToldApart | Refused,
    case: np.ndarray,
    options: CohortOnlyOptions,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    if isinstance(told, Refused):
        return {"auroc": _nothing(told.reason)}
    value = label_by_cohort(case, told.cohort, told.fold)
    if value is None:
        return {"auroc": _nothing("no fold holds both classes")}
    draws = resampled(told.cohort, told.persons, options.bootstraps, seed)
    again = [label_by_cohort(case, told.cohort, told.fold, at) for at in draws]
    known = np.array([one for one in again if one is not None])
    return {"auroc": percentile_interval(value, known, confidence).as_json()}


def _nothing(reason: str) -> dict[str, Any]:
    return Interval(None, None, None, reason).as_json()
