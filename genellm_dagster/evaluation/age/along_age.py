"""Does a model do better at one age than at another, with age as it is rather than in strata?

Three readings: AUROC in overlapping windows of age; a logistic model of the label in which the
score's slope may change with age (the interaction is tested); and the mean change of a case's
placement, the share of controls of its own cohort that it is scored above, with its age (regression
of placement values: Pepe, Biometrics 56 (2000) 352; Cai, Biostatistics 5 (2004) 45). The last one
is there also where cases and controls are told apart without fault and a logistic model has no
finite slope.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.evaluation import intervals, resampling
from genellm_dagster.evaluation.age.parts import FloatArray, IntArray, common_models, persons_of
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.options import EvaluationOptions

_DECADE = 10.0
_LARGEST_ERROR = 50.0
"""A standard error above this, on the logit scale, is a slope that runs away."""


def along_age(
    predictions: Mapping[str, pd.DataFrame],
    samples: Mapping[str, pd.DataFrame],
    models: list[str],
    options: EvaluationOptions,
    seed: int,
) -> dict[str, Any]:
    """Follow the performance of models along age, in each stratum.

    Strata are not pooled: each has models of its own, whose scores are on no common scale.

    Args:
        predictions: Stratum to out-of-fold predictions.
        samples: Stratum to its samples: gsm, and age_years where it is recorded.
        models: Which models.
        options: Settings.
        seed: Of the resamplings.

    Returns:
        Model to stratum: n, cases, without_age, and, or a reason, windows (from, to, median, n,
        cases, people, auroc), interaction (log odds ratio of score x decade, p, n) and
        placement_per_decade.
    """
    wanted = [model for model in common_models(predictions) if model in models]
    return {
        model: {
            stratum: _of_stratum(table, samples[stratum], model, options, seed + place)
            for place, (stratum, table) in enumerate(predictions.items())
        }
        for model in wanted
    }


def _of_stratum(
    table: pd.DataFrame, samples: pd.DataFrame, model: str, options: EvaluationOptions, seed: int
) -> dict[str, Any]:
    rows = table.loc[table["model"] == model].sort_values("gsm")
    ages = (
        samples.set_index("gsm")["age_years"].astype(float)
        if "age_years" in samples
        else pd.Series(dtype=float)
    )
    rows = rows.assign(age=ages.reindex(rows["gsm"]).to_numpy())
    known = rows.loc[rows["age"].notna()].reset_index(drop=True)
    found: dict[str, Any] = {
        "n": len(known),
        "cases": int(known["case"].sum()),
        "without_age": len(rows) - len(known),
    }
    people = persons_of(known) if len(known) else np.empty(0, dtype=np.int_)
    counts = _people(known["case"].to_numpy(np.int_), people)
    if min(counts) < options.age.min_per_class or known["age"].nunique() < 2:
        why = (
            "no sample has a recorded age"
            if known.empty
            else f"{counts[0]} cases and {counts[1]} controls have a recorded age"
            if min(counts) < options.age.min_per_class
            else "everybody is of one age"
        )
        nothing = Interval(None, None, None, why).as_json()
        return {
            **found, "reason": why, "windows": [], "interaction": nothing,
            "placement_per_decade": nothing,
        }  # fmt: skip
    return {
        **found,
        "windows": _windows(known, people, options),
        "interaction": _interaction(known, people, options),
        "placement_per_decade": _placement(known, people, options, seed),
    }


def _people(case: IntArray, people: IntArray) -> tuple[int, int]:
    return intervals.person_counts(case, people)


def _windows(
    known: pd.DataFrame, people: IntArray, options: EvaluationOptions
) -> list[dict[str, Any]]:
    """Windows of equally many samples, each half over the next; equal ages stay together."""
    age = np.sort(known["age"].to_numpy())
    number = options.age.windows
    width = 2 * len(age) / (number + 1)
    found: list[dict[str, Any]] = []
    for place in range(number):
        start = round(place * width / 2)
        end = min(len(age), max(start + 1, round(place * width / 2 + width))) - 1
        low, high = float(age[start]), float(age[end])
        inside = known["age"].between(low, high).to_numpy()
        if found and (found[-1]["from"], found[-1]["to"]) == (low, high):
            continue
        case = known.loc[inside, "case"].to_numpy(np.int_)
        counts = _people(case, people[inside])
        if min(counts) < options.age.min_per_class:
            why = f"{counts[0]} cases and {counts[1]} controls in the window"
            auroc = Interval(None, None, None, why)
        else:
            score = known.loc[inside, "score"].to_numpy(np.float64)
            auroc = intervals.auroc_interval(case, score, people[inside], options.confidence)
        found.append(
            {
                "from": low,
                "to": high,
                "median": float(known.loc[inside, "age"].median()),
                "n": len(case),
                "cases": int(case.sum()),
                "prevalence": float(case.mean()),
                "people": len(np.unique(people[inside])),
                "auroc": auroc.as_json(),
            }
        )
    return found


def _interaction(
    known: pd.DataFrame, people: IntArray, options: EvaluationOptions
) -> dict[str, Any]:
    """Change of the score's slope (logit on logit) with each ten years of age, by statsmodels.

    Cohorts have intercepts of their own; errors are clustered by person.
    """
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    score = np.clip(known["score"].to_numpy(np.float64), 1e-6, 1 - 1e-6)
    logit = np.log(score / (1 - score))
    logit = logit - logit.mean()
    age = (known["age"] - known["age"].mean()).to_numpy(np.float64) / _DECADE
    cohorts = pd.get_dummies(known["cohort"].astype(str), drop_first=True).to_numpy(np.float64)
    design = np.column_stack([logit * age, logit, age, np.ones(len(age)), cohorts])
    case = known["case"].to_numpy(np.float64)
    empty = {"p": None, "n": len(case)}
    if np.linalg.matrix_rank(design) < design.shape[1]:
        why = "age, score and cohort cannot be told apart"
        return {**Interval(None, None, None, why).as_json(), **empty}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = GLM(case, design, family=Binomial())
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": people}, maxiter=100)
    separated = any(issubclass(one.category, PerfectSeparationWarning) for one in said)
    slope, error = float(fit.params[0]), float(fit.bse[0])
    runs_away = not np.isfinite(slope + error) or float(np.max(fit.bse)) > _LARGEST_ERROR
    if separated or runs_away or not fit.converged:
        why = "cases and controls are told apart without fault, so that no slope is finite"
        return {**Interval(None, None, None, why).as_json(), **empty}
    half = intervals.normal_quantile(options.confidence) * error
    return {
        **Interval(slope, slope - half, slope + half).as_json(),
        "p": float(fit.pvalues[0]),
        "n": len(case),
    }


def _placement(
    known: pd.DataFrame, people: IntArray, options: EvaluationOptions, seed: int
) -> dict[str, Any]:
    """Slope of the cases' placement on their age, per ten years; interval over people."""
    case = known["case"].to_numpy(np.int_)
    cohort = np.unique(known["cohort"].astype(str), return_inverse=True)[1]
    score, age = (known[name].to_numpy(np.float64) for name in ("score", "age"))
    is_case = case == 1
    same = (cohort[is_case][:, None] == cohort[~is_case][None, :]).astype(np.float64)
    gap = score[is_case][:, None] - score[~is_case][None, :]
    above = same * ((gap > 0) + 0.5 * (gap == 0))
    counts = resampling.bootstrap_counts(case, people, options.age.signature_resamples, seed)
    weights = np.vstack([np.ones(len(case)), counts]).astype(np.float64)
    compared = weights[:, ~is_case] @ same.T
    placement = np.divide(
        weights[:, ~is_case] @ above.T, compared, out=np.zeros_like(compared), where=compared > 0
    )
    weight = weights[:, is_case] * (compared > 0)
    slopes = _slopes(placement, age[is_case] / _DECADE, weight, cohort[is_case])
    known_slopes = slopes[1:][np.isfinite(slopes[1:])]
    used = int((weight[0] > 0).sum())
    if not np.isfinite(slopes[0]) or not len(known_slopes):
        why = "no cohort holds controls and cases of different ages"
        return {**Interval(None, None, None, why).as_json(), "n": used}
    return {
        **intervals.percentile_interval(
            float(slopes[0]), known_slopes, options.confidence
        ).as_json(),
        "n": used,
    }


def _slopes(value: FloatArray, age: FloatArray, weight: FloatArray, cohort: IntArray) -> FloatArray:
    """Weighted least squares slope of each row of ``value`` on age, within cohorts."""
    joint, spread = np.zeros(len(value)), np.zeros(len(value))
    for one in np.unique(cohort):
        here = cohort == one
        total = weight[:, here].sum(axis=1)
        safe = np.where(total > 0, total, 1.0)
        middle = (weight[:, here] @ age[here]) / safe
        away = age[here][None, :] - middle[:, None]
        mean = (weight[:, here] * value[:, here]).sum(axis=1) / safe
        joint += (weight[:, here] * away * (value[:, here] - mean[:, None])).sum(axis=1)
        spread += (weight[:, here] * away**2).sum(axis=1)
    result: FloatArray = np.divide(
        joint, spread, out=np.full(len(value), np.nan), where=spread > 1e-9
    )
    return result
