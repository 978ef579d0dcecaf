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


def _shuffled(bounds: tuple[float, float] | None, several: bool) -> str:
    # Of one shuffle the interval is that of patients, not of shuffles: it draws one direction in a
    # space that a few strong directions rule, so that it may fall well to either side of 0.5.
    if bounds is None or bounds[0] <= 0.5 <= bounds[1]:
        return "a coin, as it must."
    chance = "" if several else ", which one shuffle can do by the direction it happens to draw"
    if bounds[1] < 0.5:
        return f"below a coin{chance}; a leak of labels would lie above."
    also = " also" if chance else ""
    return (
        f"above a coin{chance}; a leak of labels{also} lies there; read the other numbers with "
        "that in mind."
    )


_ADDS: Mapping[str, tuple[str, str, str]] = {
    "genellm_random_backbone": (
        "With a randomly initialised backbone it reached",
        "what the language model learned from text helps.",
        "it is not shown that what the language model learned from text helps.",
    ),
    "genellm_shuffled_genes": (
        "With the names of its genes permuted it reached",
        "the names of genes help.",
        "it is not shown that the names of genes help.",
    ),
    "composition_only": (
        "The scores of blood cells alone reached",
        "genes tell more than a count of cells.",
        "it is not shown that genes tell more than a count of cells.",
    ),
}
"""Models that GeneLLM is held against: how they are led in, and what is said if it is higher, or is
not shown to be."""


def controls(content: ReportContent, stratum: str, options: ReportOptions) -> list[str]:
    """Say what the controls of the method show."""
    report = content.reports[stratum]
    models = report["models"]
    own = models.get(LANGUAGE_MODEL, {}).get("auroc")
    tests = paired_tests(content, stratum)
    more = content.controls.get(stratum, {})
    said = []
    for name, part in models.items():
        if role_of(name) != "control" or number_of(part.get("auroc")) is None:
            continue
        value = interval(part.get("auroc"))
        if "label" in name:
            said.append(_shuffled_labels(part, more.get("shuffled_labels")))
        elif name in _ADDS and number_of(own) is not None:
            begins, adds, not_shown = _ADDS[name]
            higher = shown_higher(own, part.get("auroc"), tests.get(name), options) > 0
            said.append(f"{begins} {value}: {adds if higher else not_shown}")
        elif name == "cohort_only":
            inside = report.get("within_cohorts", {}).get(name, {}).get("auroc")
            # Pooled it is below one half by how folds are made, which is no finding.
            if number_of(inside) is not None:
                said.append(
                    "Nothing but resemblance to a training cohort reached, inside cohorts, "
                    f"{interval(inside)}."
                )
        else:
            said.append(f"Control “{model_name(name)}” reached {value}.")
    return said + _batch(more.get("batch"))


def _shuffled_labels(part: Mapping[str, Any], several: Mapping[str, Any] | None) -> str:
    spread = several["auroc"] if several else {}
    bounds = bounds_of(spread)
    if not several or bounds is None:
        return (
            f"Trained on shuffled labels the same method reached {interval(part.get('auroc'))}: "
            f"{_shuffled(bounds_of(part.get('auroc')), several=False)}"
        )
    return (
        f"Trained on labels shuffled {several['permutations']} times the same method reached "
        f"{interval(spread)} on average, single ones between {decimal(spread['lowest'], 2)} and "
        f"{decimal(spread['highest'], 2)}: {_shuffled(bounds, several=True)}"
    )


def _batch(batch: Mapping[str, Any] | None) -> list[str]:
    """Say how well cohorts are told apart, and what the name of a cohort tells."""
    if not batch:
        return []
    apart = batch["cohort_from_profile"]["controls"]["auroc"]
    label = batch["label_from_cohort"]["auroc"]
    said = []
    if number_of(apart) is not None:
        said.append(
            f"The profiles of controls tell their cohort with {interval(apart)} (one half is a "
            "coin): what lies far above is batch, which a model may read."
        )
    if number_of(label) is not None:
        said.append(
            f"The name of the cohort alone tells cases from controls with {interval(label)}, "
            "where people of every cohort are known: so far do label and batch go together."
        )
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
