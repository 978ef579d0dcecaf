"""The evaluation report of one stratum: every model's numbers with interval, n and prevalence.

The primary AUROC pools the out-of-fold scores of all folds, which are all on a probability scale;
the average of the AUROC inside each cohort stands beside it, because pooling also counts the
comparison of a case of one cohort with a control of another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.baselines.signatures import developed_on as signature_origins
from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation import intervals, metrics, resampling
from genellm_dagster.evaluation.delong import delong_test, holm
from genellm_dagster.evaluation.folds import Folds
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.options import EvaluationOptions

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int_]

_SCALARS = (
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "brier",
    "ece",
    "calibration_slope",
    "calibration_intercept",
)


def evaluate(
    study: str,
    stratum: str,
    predictions: pd.DataFrame,
    folds: Folds,
    options: EvaluationOptions,
    *,
    developed_on: Mapping[str, Sequence[str]] | None = None,
    transductive: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Judge every model on the same out-of-fold predictions.

    Args:
        study: Name of the study.
        stratum: Name of the stratum.
        predictions: gsm, cohort, subject, case, fold, model, score (0..1) of one stratum; the same
            samples for every model.
        folds: The folds they come from; their groups say who is one person.
        options: Threshold, resamples, confidence, seed, reference model.
        developed_on: Model to the series it was developed on, to be said beside its numbers; none
            means as the project's signature files say.
        transductive: Model to the steps by which its scores used other samples of a test cohort,
            or its labels, to be said wherever its numbers are.

    Returns:
        JSON-safe: study, stratum, n, cases, prevalence, folds, models; then persons, threshold,
        confidence, intervals (of the plain numbers), within_cohorts, comparisons, transductive,
        methods, notes.
        The numbers of a model that have their interval elsewhere are plain numbers or null.

    Raises:
        EvaluationError: When models were given different samples, a score is not within 0..1, or
            one class is missing.
    """
    models = [str(model) for model in pd.unique(predictions["model"])]
    if not models:
        raise EvaluationError(
            f"There is no prediction for stratum {stratum} of {study}; materialize its models."
        )
    tables = {model: _model_table(model, predictions, folds) for model in models}
    first = tables[models[0]]
    for model, table in tables.items():
        if not table[["gsm", "case"]].equals(first[["gsm", "case"]]):
            raise EvaluationError(
                f"{model} and {models[0]} were judged on different samples of stratum {stratum}; "
                "materialize both again."
            )
    case = first["case"].to_numpy(dtype=np.int_)
    metrics.require_both_classes(case)
    persons = np.array([folds.groups[gsm] for gsm in first["gsm"]], dtype=np.int_)
    counts = resampling.bootstrap_counts(case, persons, options.bootstraps, options.seed)
    scores = {model: table["score"].to_numpy(dtype=np.float64) for model, table in tables.items()}
    cohorts = first["cohort"].astype(str).to_numpy()
    found = {
        model: _judge(case, score, persons, counts, cohorts, options)
        for model, score in scores.items()
    }
    return {
        "study": study,
        "stratum": stratum,
        "n": len(case),
        "cases": int(case.sum()),
        "prevalence": float(case.mean()),
        "folds": folds.summary(),
        "models": {model: parts["report"] for model, parts in found.items()},
        "persons": len(np.unique(persons)),
        "threshold": options.threshold,
        "confidence": options.confidence,
        "intervals": {model: parts["intervals"] for model, parts in found.items()},
        "within_cohorts": {model: parts["within_cohorts"] for model, parts in found.items()},
        "comparisons": _comparisons(case, scores, persons, options),
        "transductive": {
            model: list(steps) for model, steps in (transductive or {}).items() if steps
        },
        "methods": dict(intervals.METHODS),
        "notes": _notes(
            folds,
            cohorts,
            case,
            found,
            signature_origins() if developed_on is None else developed_on,
        ),
    }


def _model_table(model: str, predictions: pd.DataFrame, folds: Folds) -> pd.DataFrame:
    table = predictions.loc[predictions["model"] == model].sort_values("gsm", ignore_index=True)
    if table["gsm"].duplicated().any():
        double = table.loc[table["gsm"].duplicated(), "gsm"].iloc[0]
        raise EvaluationError(
            f"{model} predicts {double} twice; materialize its predictions again."
        )
    score = table["score"].to_numpy(dtype=np.float64)
    if not (np.isfinite(score).all() and (score >= 0).all() and (score <= 1).all()):
        raise EvaluationError(
            f"{model} gave a score that is not within 0..1; materialize its predictions again."
        )
    if table["case"].isna().any():
        raise EvaluationError(f"{model} was given samples without a label; they cannot be judged.")
    if set(table["gsm"]) != set(folds.groups):
        odd = min(set(table["gsm"]) ^ set(folds.groups))
        raise EvaluationError(
            f"The predictions of {model} and the folds do not hold the same samples ({odd}, for "
            "one); materialize them again."
        )
    return table


def _judge(
    case: IntArray,
    score: FloatArray,
    persons: IntArray,
    counts: NDArray[np.float32],
    cohorts: NDArray[Any],
    options: EvaluationOptions,
) -> dict[str, Any]:
    confidence = options.confidence
    auroc = intervals.auroc_interval(case, score, persons, confidence)
    plain = _plain_numbers(case, score, persons, counts, options)
    by_cohort = {
        str(name): _cohort(
            case[cohorts == name], score[cohorts == name], persons[cohorts == name], confidence
        )
        for name in sorted(set(cohorts))
    }
    report = {
        "auroc": auroc.as_json(),
        "average_precision": _precision(
            case, score, counts, auroc, options, at_half=False
        ).as_json(),
        "average_precision_at_half": _precision(
            case, score, counts, auroc, options, at_half=True
        ).as_json(),
        **{name: plain[name].value for name in _SCALARS},
        "cohorts": {
            name: {"n": part["n"], "cases": part["cases"], "auroc": part["auroc"].as_json()}
            for name, part in by_cohort.items()
        },
    }
    return {
        "report": report,
        "intervals": {name: plain[name].as_json() for name in _SCALARS},
        "within_cohorts": _within_cohorts(list(by_cohort.values())),
    }


def _precision(
    case: IntArray,
    score: FloatArray,
    counts: NDArray[np.float32],
    auroc: Interval,
    options: EvaluationOptions,
    *,
    at_half: bool,
) -> Interval:
    value = (
        metrics.average_precision_at_half(case, score)
        if at_half
        else metrics.average_precision(case, score)
    )
    return intervals.bounded_precision_interval(
        value,
        resampling.resampled_average_precision(case, score, counts, at_half=at_half),
        auroc_low=float(auroc.low or 0.0),
        prevalence=0.5 if at_half else float(case.mean()),
        confidence=options.confidence,
    )


def _plain_numbers(
    case: IntArray,
    score: FloatArray,
    persons: IntArray,
    counts: NDArray[np.float32],
    options: EvaluationOptions,
) -> dict[str, Interval]:
    confidence = options.confidence
    at = metrics.at_threshold(case, score, options.threshold)
    case_persons, control_persons = intervals.person_counts(case, persons)
    sensitivity = Interval(
        at.sensitivity, *intervals.wilson_interval(at.sensitivity, case_persons, confidence)
    )
    specificity = Interval(
        at.specificity, *intervals.wilson_interval(at.specificity, control_persons, confidence)
    )
    squared = (score - case) ** 2
    calibration = metrics.calibration(case, score, persons)
    z = intervals.normal_quantile(confidence)

    def wald(value: float | None, error: float | None) -> Interval:
        if value is None or error is None:
            reason = calibration.reason or "the fit does not converge"
            return Interval(None, None, None, reason)
        return Interval(value, value - z * error, value + z * error)

    return {
        "balanced_accuracy": intervals.mean_of_two(sensitivity, specificity),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "brier": intervals.percentile_interval(
            metrics.brier(case, score), resampling.resampled_mean(squared, counts), confidence
        ),
        "ece": intervals.percentile_interval(
            metrics.expected_calibration_error(case, score, options.ece_bins),
            resampling.resampled_calibration_error(case, score, counts, options.ece_bins),
            confidence,
        ),
        "calibration_slope": wald(calibration.slope, calibration.slope_error),
        "calibration_intercept": wald(calibration.intercept, calibration.intercept_error),
    }


def _cohort(
    case: IntArray, score: FloatArray, persons: IntArray, confidence: float
) -> dict[str, Any]:
    cases = int(case.sum())
    if 0 < cases < len(case):
        auroc = intervals.auroc_interval(case, score, persons, confidence)
    else:
        auroc = Interval(None, None, None, "only cases" if cases else "only controls")
    return {"n": len(case), "cases": cases, "auroc": auroc}


def _within_cohorts(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Average of the cohorts' AUROC, weighted by cases x controls / n, by square-and-add."""
    used = [part for part in parts if part["auroc"].value is not None]
    if not used:
        empty = Interval(None, None, None, "no cohort holds both classes")
        return {"auroc": empty.as_json(), "cohorts": 0}
    weight = np.array([part["cases"] * (part["n"] - part["cases"]) / part["n"] for part in used])
    weight = weight / weight.sum()
    value, low, high = (
        np.array([getattr(part["auroc"], end) for part in used]) for end in ("value", "low", "high")
    )
    average = float(weight @ value)
    interval = Interval(
        average,
        max(0.0, average - float(np.linalg.norm(weight * (value - low)))),
        min(1.0, average + float(np.linalg.norm(weight * (high - value)))),
    )
    return {"auroc": interval.as_json(), "cohorts": len(used)}


def _comparisons(
    case: IntArray, scores: dict[str, FloatArray], persons: IntArray, options: EvaluationOptions
) -> list[dict[str, Any]]:
    """Paired DeLong of every model against the reference, Holm-adjusted over the others."""
    reference = options.reference_model
    others = [model for model in scores if model != reference]
    if reference not in scores or not others:
        return []
    z = intervals.normal_quantile(options.confidence)
    tests = [delong_test(case, scores[reference], scores[model], persons) for model in others]
    adjusted = holm([test.p for test in tests])
    return [
        {
            "reference": reference,
            "model": model,
            "auroc_difference": {
                "value": test.difference,
                "low": test.difference - z * test.standard_error,
                "high": test.difference + z * test.standard_error,
            },
            "p": test.p,
            "p_holm": p_holm,
        }
        for model, test, p_holm in zip(others, tests, adjusted, strict=True)
    ]


def _notes(
    folds: Folds,
    cohorts: NDArray[Any],
    case: IntArray,
    found: dict[str, dict[str, Any]],
    developed_on: Mapping[str, Sequence[str]],
) -> list[str]:
    notes = [
        "AUROC pools the out-of-fold scores of all folds; the average inside cohorts is in "
        "within_cohorts.",
        "Calibration intercept is taken with the slope held at one.",
    ]
    present = set(cohorts)
    for name in sorted(present):
        inside = case[cohorts == name]
        if inside.min() == inside.max():
            kind = "cases" if inside[0] else "controls"
            notes.append(f"{name} holds only {kind}: label and cohort are one there.")
    dropped = sum(len(fold.dropped) for fold in folds)
    if dropped:
        notes.append(
            f"{dropped} training places were left empty: their samples overlap the test side."
        )
    for model, series in developed_on.items():
        seen = [name for name in series if name.split(" ")[0] in present]
        if model in found and seen:
            notes.append(f"{model} was developed on {', '.join(seen)}: flattered there.")
    return notes
