"""Every number of one model on one stratum, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.evaluation import brier, intervals, metrics, pooling, resampling, thresholds
from genellm_dagster.evaluation.bootstrap import Bootstrap
from genellm_dagster.evaluation.folds import Folds
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.metrics import FloatArray, IntArray
from genellm_dagster.evaluation.net_benefit import decisions
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.thresholds import FoldThresholds

HIGH_SPECIFICITY = 0.95
_AT_THRESHOLD = ("balanced_accuracy", "sensitivity", "specificity")
SCALARS = (
    *_AT_THRESHOLD,
    "brier",
    "ece",
    "calibration_slope",
    "calibration_intercept",
)
"""Keys whose number stands with the model and whose interval stands in ``intervals``."""


@dataclass(frozen=True)
class Samples:
    """The samples on which every model of a stratum is judged, n of them, in one order.

    Attributes:
        gsm: Their names.
        case: 1 case, 0 control.
        persons: Number of each one's person.
        cohorts: Each one's cohort.
        folds: The folds that all scores come from.
        bootstrap: The resamples that all models share.
    """

    gsm: list[str]
    case: IntArray
    persons: IntArray
    cohorts: NDArray[Any]
    folds: Folds
    bootstrap: Bootstrap

    @classmethod
    def of(cls, table: pd.DataFrame, folds: Folds, options: EvaluationOptions) -> Samples:
        """Take them from the predictions of any one model: gsm, case, cohort.

        Raises:
            EvaluationError: When one class is missing.
        """
        case = table["case"].to_numpy(dtype=np.int_)
        metrics.require_both_classes(case)
        gsm = table["gsm"].astype(str).tolist()
        persons = np.array([folds.groups[name] for name in gsm], dtype=np.int_)
        cohorts = table["cohort"].astype(str).to_numpy()
        return cls(gsm, case, persons, cohorts, folds, Bootstrap.draw(case, persons, options))


@dataclass(frozen=True)
class Judgement:
    """Numbers of one model.

    ``report``: its part of the report's ``models``. ``intervals``: of the plain numbers there.
    ``within_cohorts``: average of the AUROC inside cohorts. ``auroc``: pooled over folds.
    """

    report: dict[str, Any]
    intervals: dict[str, Any]
    within_cohorts: dict[str, Any]
    auroc: Interval


def judge(samples: Samples, score: FloatArray, options: EvaluationOptions) -> Judgement:
    """Judge one model.

    Args:
        samples: Whom it scored.
        score: Out-of-fold scores, 0..1; as probabilities too.
        options: Confidence, thresholds, bins.
    """
    case, persons, confidence = samples.case, samples.persons, options.confidence
    auroc = intervals.auroc_interval(case, score, persons, confidence)
    points = _operating_points(samples, score, options)
    at_rule = points[effective_rule(samples.folds, options)]
    plain = {**at_rule.numbers, **_calibrated(samples, score, options)}
    by_cohort = {
        str(name): _cohort(samples.cohorts == name, samples, score, confidence)
        for name in sorted(set(samples.cohorts))
    }
    report = {
        "auroc": auroc.as_json(),
        "average_precision": _precision(samples, score, auroc, at_half=False).as_json(),
        "average_precision_at_half": _precision(samples, score, auroc, at_half=True).as_json(),
        **{name: plain[name].value for name in SCALARS},
        "cohorts": {
            name: {"n": part["n"], "cases": part["cases"], "auroc": part["auroc"].as_json()}
            for name, part in by_cohort.items()
        },
        "auroc_bootstrap": _auroc_bootstrap(samples, score).as_json(),
        "sensitivity_at_95_specificity": _sensitivity(samples, score, auroc).as_json(),
        "operating_points": {name: point.as_json() for name, point in points.items()},
        "brier_decomposition": _brier_parts(samples, score, options),
        "net_benefit": decisions(case, score, persons, options.decision_thresholds, confidence),
        "pooled_auroc": pooling.pool_auroc(by_cohort, confidence),
    }
    return Judgement(
        report=report,
        intervals={name: plain[name].as_json() for name in SCALARS},
        within_cohorts=_within_cohorts(list(by_cohort.values())),
        auroc=auroc,
    )


@dataclass(frozen=True)
class _Point:
    """What thresholds gave: by fold, and balanced accuracy, sensitivity, specificity."""

    thresholds: dict[str, float]
    numbers: dict[str, Interval]

    def as_json(self) -> dict[str, Any]:
        return {
            "thresholds": self.thresholds,
            **{name: one.as_json() for name, one in self.numbers.items()},
        }


def effective_rule(folds: Folds, options: EvaluationOptions) -> str:
    """The rule of the thresholds at which sensitivity and specificity stand with a model."""
    return "fixed" if len(folds) < thresholds.FEWEST_FOLDS else options.threshold_rule


def _operating_points(
    samples: Samples, score: FloatArray, options: EvaluationOptions
) -> dict[str, _Point]:
    """Sensitivity and specificity at thresholds that no test sample helped to choose."""

    def chosen(rule: thresholds.Rule) -> FoldThresholds | None:
        return thresholds.training_thresholds(samples.folds, samples.gsm, samples.case, score, rule)

    found = {
        "training_folds": chosen(thresholds.best_balanced),
        "fixed": thresholds.fixed_threshold(samples.folds, len(score), options.threshold),
        "specificity_95": chosen(thresholds.at_specificity(HIGH_SPECIFICITY)),
    }
    return {name: _at(samples, score, part, options) for name, part in found.items()}


def _at(
    samples: Samples, score: FloatArray, chosen: FoldThresholds | None, options: EvaluationOptions
) -> _Point:
    if chosen is None:
        none = Interval(None, None, None, thresholds.TOO_FEW_FOLDS)
        return _Point({}, dict.fromkeys(_AT_THRESHOLD, none))
    at = metrics.at_threshold(samples.case, score, chosen.of_sample)
    persons = intervals.person_counts(samples.case, samples.persons)
    sensitivity, specificity = (
        Interval(share, *intervals.wilson_interval(share, count, options.confidence))
        for share, count in zip((at.sensitivity, at.specificity), persons, strict=True)
    )
    balanced = intervals.mean_of_two(sensitivity, specificity)
    numbers = zip(_AT_THRESHOLD, (balanced, sensitivity, specificity), strict=True)
    return _Point(chosen.by_fold, dict(numbers))


def _precision(samples: Samples, score: FloatArray, auroc: Interval, *, at_half: bool) -> Interval:
    case = samples.case
    point = metrics.average_precision_at_half if at_half else metrics.average_precision
    found = samples.bootstrap.interval(
        point(case, score),
        lambda counts: resampling.resampled_average_precision(case, score, counts, at_half=at_half),
        ranking=True,
    )
    prevalence = 0.5 if at_half else float(case.mean())
    return intervals.open_below(
        found, intervals.binormal_precision(float(auroc.low or 0.0), prevalence)
    )


def _auroc_bootstrap(samples: Samples, score: FloatArray) -> Interval:
    case = samples.case
    value = metrics.auroc(case, score)
    found = samples.bootstrap.interval(
        value, lambda counts: resampling.resampled_auroc(case, score, counts), ranking=True
    )
    if found.low is None or found.high is None or (found.low > 0 and found.high < 1 - 1e-12):
        return found
    persons = intervals.person_counts(case, samples.persons)
    return intervals.wider(
        found, *intervals.newcombe_interval(value, *persons, samples.bootstrap.confidence)
    )


def _sensitivity(samples: Samples, score: FloatArray, auroc: Interval) -> Interval:
    case, confidence = samples.case, samples.bootstrap.confidence
    value = metrics.sensitivity_at_specificity(case, score, HIGH_SPECIFICITY)
    found = samples.bootstrap.interval(
        value,
        lambda counts: resampling.resampled_sensitivity(case, score, counts, HIGH_SPECIFICITY),
        ranking=True,
    )
    cases, _ = intervals.person_counts(case, samples.persons)
    return intervals.open_below(
        intervals.wider(found, *intervals.wilson_interval(value, cases, confidence)),
        intervals.binormal_sensitivity(float(auroc.low or 0.0), HIGH_SPECIFICITY),
    )


def _brier_parts(
    samples: Samples, probability: FloatArray, options: EvaluationOptions
) -> dict[str, Any]:
    """The parts of the Brier score; those without a spread of their own say why."""
    case, bins = samples.case, options.ece_bins
    parts = brier.decompose(case, probability, bins)

    def interval(name: str) -> Interval:
        column = brier.PARTS.index(name)
        return samples.bootstrap.interval(
            getattr(parts, name),
            lambda counts: brier.resampled_parts(case, probability, counts, bins)[:, column],
            too_high=True,
        )

    return {
        **{name: interval(name).as_json() for name in brier.PARTS},
        "uncertainty": Interval(
            parts.uncertainty, None, None, "given by the numbers of cases and controls"
        ).as_json(),
        "within_bin": Interval(
            parts.within_bin, None, None, "what is left when the other parts are taken away"
        ).as_json(),
        "bins": bins,
    }


def _calibrated(
    samples: Samples, probability: FloatArray, options: EvaluationOptions
) -> dict[str, Interval]:
    """Brier score, calibration error, slope and intercept."""
    case = samples.case
    squared = (probability - case) ** 2
    calibration = metrics.calibration(case, probability, samples.persons)
    z = intervals.normal_quantile(options.confidence)

    def wald(value: float | None, error: float | None) -> Interval:
        if value is None or error is None:
            reason = calibration.reason or "the fit does not converge"
            return Interval(None, None, None, reason)
        return Interval(value, value - z * error, value + z * error)

    return {
        "brier": samples.bootstrap.interval(
            metrics.brier(case, probability),
            lambda counts: resampling.resampled_mean(squared, counts),
        ),
        "ece": _calibration_error(samples, probability, options),
        "calibration_slope": wald(calibration.slope, calibration.slope_error),
        "calibration_intercept": wald(calibration.intercept, calibration.intercept_error),
    }


def _calibration_error(
    samples: Samples, probability: FloatArray, options: EvaluationOptions
) -> Interval:
    """Expected calibration error; zero is inside where a calibrated model may give as much."""
    case, bins = samples.case, options.ece_bins
    value = metrics.expected_calibration_error(case, probability, bins)
    found = samples.bootstrap.interval(
        value,
        lambda counts: resampling.resampled_calibration_error(case, probability, counts, bins),
        too_high=True,
    )
    chance = resampling.calibrated_errors(
        probability, samples.persons, bins, options.bootstraps, options.seed
    )
    by_chance = value <= np.quantile(chance, 0.5 + options.confidence / 2)
    return intervals.wider(found, 0.0, value) if by_chance else found


def _cohort(
    inside: NDArray[np.bool_], samples: Samples, score: FloatArray, confidence: float
) -> dict[str, Any]:
    case, persons = samples.case[inside], samples.persons[inside]
    cases = int(case.sum())
    if 0 < cases < len(case):
        auroc = intervals.auroc_interval(case, score[inside], persons, confidence)
    else:
        auroc = Interval(None, None, None, "only cases" if cases else "only controls")
    case_persons, control_persons = intervals.person_counts(case, persons)
    return {
        "n": len(case),
        "cases": cases,
        "auroc": auroc,
        "case_persons": case_persons,
        "control_persons": control_persons,
    }


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
