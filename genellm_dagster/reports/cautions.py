"""What a reader must know before trusting a number: folds, calibration, controls, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genellm_dagster.reports import marks
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import LANGUAGE_MODEL, model_name, role_of, stratum_name
from genellm_dagster.reports.numbers import (
    bounds_of,
    count,
    decimal,
    interval,
    listed,
    number_of,
    percent,
    plural,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tables.results import paired_tests
from genellm_dagster.reports.wording import shown_higher


def folds(report: Mapping[str, Any]) -> str:
    """Say how samples were held out."""
    parts = report.get("folds", {})
    n = number_of(parts.get("n"))
    if "cohort" in str(parts.get("kind", "")):
        return (
            f"Each of {plural(int(n or 0), 'cohort')} was held out in turn: the models learned on "
            "the others and were measured on it."
        )
    return (
        f"People were split into {plural(int(n or 0), 'group')}, each held out in turn; the models "
        "had seen other people of the same cohort, which is easier than a new hospital."
    )


def calibration(content: ReportContent, stratum: str, options: ReportOptions) -> str:
    """Say whether the scores can be read as probabilities."""
    own = content.reports[stratum]["models"].get(LANGUAGE_MODEL, {})
    error = number_of(own.get("ece"))
    if error is None:
        return "The calibration of GeneLLM was not measured."
    usable = error <= options.calibrated_within
    return (
        f"GeneLLM's scores are off by {decimal(error, 2)} on average (expected calibration error), "
        + (
            "close enough to be read as rough probabilities at this prevalence, and at no other."
            if usable
            else "so they rank people but must not be read as probabilities."
        )
    )


def precision_note(content: ReportContent, stratum: str) -> str:
    """Say what average precision is worth at this prevalence."""
    report = content.reports[stratum]
    half = report["models"].get(LANGUAGE_MODEL, {}).get("average_precision_at_half")
    extra = (
        f"; at one half, GeneLLM reaches {interval(half)}" if number_of(half) is not None else ""
    )
    return (
        f"{percent(report['prevalence'])} of these samples are cases, so a coin reaches an average "
        f"precision of {decimal(report['prevalence'], 2)}{extra}."
    )


def _shuffled(bounds: tuple[float, float] | None) -> str:
    # The interval is that of patients, not of shuffles: one shuffle draws one direction in a space
    # that a few strong directions rule, so that a single run may fall well to either side of 0.5.
    if bounds is None or bounds[0] <= 0.5 <= bounds[1]:
        return "a coin, as it must."
    if bounds[1] < 0.5:
        return (
            "below a coin, which one shuffle can do by the direction it happens to draw; a leak of "
            "labels would lie above."
        )
    return (
        "above a coin, which one shuffle can do by the direction it happens to draw, and a leak of "
        "labels always does; read the other numbers with that in mind."
    )


def controls(content: ReportContent, stratum: str, options: ReportOptions) -> list[str]:
    """Say what the controls of the method show."""
    models = content.reports[stratum]["models"]
    own = models.get(LANGUAGE_MODEL, {}).get("auroc")
    tests = paired_tests(content, stratum)
    said = []
    for name, part in models.items():
        number, bounds = number_of(part.get("auroc")), bounds_of(part.get("auroc"))
        if role_of(name) != "control" or number is None:
            continue
        value = interval(part.get("auroc"))
        if "label" in name:
            said.append(
                f"Trained on shuffled labels the same method reached {value}: {_shuffled(bounds)}"
            )
        elif "random" in name and number_of(own) is not None:
            adds = shown_higher(own, part.get("auroc"), tests.get(name), options) > 0
            said.append(
                f"With a randomly initialised backbone it reached {value}: "
                + (
                    "what the language model learned from text helps."
                    if adds
                    else "it is not shown that what the language model learned from text helps."
                )
            )
        else:
            said.append(f"Control “{model_name(name)}” reached {value}.")
    return said


def limits(content: ReportContent) -> list[str]:
    """List what the numbers do not show, from the numbers and the study."""
    study = content.study
    said = [
        "These are public series, collected for other purposes: cases are clear and controls are "
        "mostly healthy. Telling sick from healthy is easier than telling one illness from "
        "another, which is what a ward needs.",
        "Nothing here was measured before the diagnosis was made, in the order patients arrive, so "
        "it says nothing about use at the bedside.",
    ]
    if content.simulated:
        said.insert(0, "The data are simulated: nothing here holds for any patient or disease.")
    for stratum in content.strata:
        report = content.reports[stratum]
        controls_n = int(report["n"]) - int(report["cases"])
        name = stratum_name(stratum)
        if "cohort" not in str(report.get("folds", {}).get("kind", "")):
            said.append(
                f"{name}: people were held out, not cohorts, so the numbers do not tell how the "
                "model does in another hospital, and they are likely too good."
            )
        if min(controls_n, int(report["cases"])) < 30:
            said.append(
                f"{name}: only {count(report['cases'])} cases and {count(controls_n)} controls; "
                "the intervals are wide, and they do not cover the choice of cohorts."
            )
    unverified = [
        cohort
        for cohort in study.cohorts
        if not getattr(study.cohort_files.get(cohort), "verified", False)
    ]
    if unverified and not content.simulated:
        said.append(
            f"The rules that read labels and ages of {listed(unverified)} were not yet checked "
            "by a person on GEO's own file."
        )
    if content.left_out:
        said.append(
            "Cohorts with one class only were left out of their stratum, because there label and "
            "laboratory cannot be told apart."
        )
    steps = [step for stratum in content.strata for step in marks.of_stratum(content, stratum)]
    if any(marks.uses_labels(step) for step in steps):
        said.append(
            "Some numbers rest on labels of the cohort that was tested (USES TEST LABELS, marked "
            "where they stand): they do not tell how the model does on a new cohort."
        )
    if content.model.get("transductive") or any(not marks.uses_labels(step) for step in steps):
        said.append(
            "Some steps use the other samples of a test cohort, though no label (transductive, "
            "listed under Method): for a single new patient they would work differently."
        )
    said.append(
        "Models were compared on the same samples that this report describes; the best of many is "
        "partly the luckiest."
    )
    return said
