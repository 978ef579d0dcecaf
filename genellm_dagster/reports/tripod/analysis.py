"""What a run says of its folds, its models and its measures."""

from __future__ import annotations

from collections.abc import Mapping

from genellm_dagster.reports import cautions
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import (
    LANGUAGE_MODEL,
    label_words,
    model_name,
)
from genellm_dagster.reports.numbers import (
    count,
    decimal,
    interval,
    listed,
    number_of,
    percent,
    plural,
    small_percent,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tables.results import MEASURES
from genellm_dagster.reports.tripod.parts import (
    NOT_REPORTED,
    by_stratum,
    known_facts,
    own_numbers,
    scored,
    some,
)


def folds(content: ReportContent, _: ReportOptions) -> str:
    """Say how samples were held out."""
    return by_stratum(
        content,
        lambda stratum: (
            cautions.folds(content.reports[stratum])
            if content.reports[stratum].get("folds")
            else ""
        ),
    )


def inputs(content: ReportContent, _: ReportOptions) -> str:
    """Say how values become input."""
    return known_facts(
        content,
        normalisation="Normalisation",
        harmonisation="harmonisation",
        tokenizer="tokenizer",
    )


def model(content: ReportContent, _: ReportOptions) -> str:
    """Say what the model is, and what it is held against."""
    facts = known_facts(content, backbone="Backbone", adapter="adapter", ensemble="members")
    trained = number_of(content.model.get("share"))
    share = f"{small_percent(trained)} of the parameters trained" if trained is not None else ""
    others = {
        model_name(name): None
        for stratum in content.strata
        for name in content.reports[stratum]["models"]
        if name != LANGUAGE_MODEL
    }
    return some([facts, share, f"held against {'; '.join(others)}" if others else ""])


def clusters(content: ReportContent, _: ReportOptions) -> str:
    """Say how cohorts enter the numbers."""
    methods = {
        str((content.reports[stratum].get("methods") or {}).get("pooled_auroc", ""))
        for stratum in content.strata
        if number_of(own_numbers(content, stratum).get("pooled_auroc")) is not None
    }
    inside = any(content.reports[s].get("within_cohorts") for s in content.strata)
    return some(
        [
            "AUROC inside each cohort and their mean" if inside else "",
            *(f"AUROC pooled over cohorts by {method}" for method in sorted(methods) if method),
        ]
    )


def measures(content: ReportContent, _: ReportOptions) -> str:
    """List the measures that there are numbers of."""
    found = [
        head
        for key, head, *_rest in MEASURES
        if any(number_of(own_numbers(content, s).get(key)) is not None for s in content.strata)
    ]
    return listed(found)


def updated(content: ReportContent, _: ReportOptions) -> str:
    """Give the temperatures of calibration."""
    found = content.model.get("temperature")
    if not isinstance(found, Mapping):
        return ""

    def say(stratum: str) -> str:
        temperature = number_of(found.get(stratum))
        if temperature is None:
            return ""
        if temperature == 1:
            return "scores as they came, not recalibrated (temperature 1)"
        return f"logits divided by a temperature of {decimal(temperature)}"

    return by_stratum(content, say)


def predicted(content: ReportContent, _: ReportOptions) -> str:
    """Count the out-of-fold scores."""
    return by_stratum(
        content,
        lambda stratum: (
            f"{count(scored(content, stratum)['gsm'].nunique())} samples scored out of fold, in "
            f"{plural(int(scored(content, stratum)['fold'].nunique()), 'fold')}"
            if len(content.predictions[stratum])
            else ""
        ),
    )


def imbalance(content: ReportContent, _: ReportOptions) -> str:
    """Give the prevalence, and the precision without it."""

    def say(stratum: str) -> str:
        half = own_numbers(content, stratum).get("average_precision_at_half")
        if number_of(half) is None:
            return ""
        return (
            f"{percent(content.reports[stratum]['prevalence'])} are cases; average precision at "
            f"one half {interval(half)}"
        )

    return by_stratum(content, say)


def fairness(content: ReportContent, _: ReportOptions) -> str:
    """Say between whom models were compared."""
    compared = [str(name) for name in content.age_comparison.get("compared") or ()]
    if len(compared) < 2:
        return ""
    names = listed([label_words(name) for name in compared])
    return (
        f"By age: a model of its own for each of the strata {names}, measured apart and compared. "
        f"By sex, ethnicity or means: {NOT_REPORTED}."
    )


def output(content: ReportContent, _: ReportOptions) -> str:
    """Say what is called a case."""

    def say(stratum: str) -> str:
        report = content.reports[stratum]
        if report.get("threshold_rule") == "training_folds":
            return "a score from 0 to 1; called a case above a threshold chosen on training folds"
        if number_of(report.get("threshold")) is None:
            return ""
        return (
            "a score from 0 to 1; called a case from "
            f"{decimal(report['threshold'], 2)} on, fixed in advance"
        )

    return by_stratum(content, say)


def _cohort_cells(content: ReportContent, stratum: str) -> str:
    frame = scored(content, stratum)
    parts = [
        f"{cohort} {count(len(part))} ({percent(part['case'].mean())} cases)"
        for cohort, part in frame.groupby("cohort", sort=False)
    ]
    return f"samples by cohort: {', '.join(parts)}" if parts else ""


def apart(content: ReportContent, _: ReportOptions) -> str:
    """Give size and prevalence by cohort."""
    return by_stratum(content, lambda stratum: _cohort_cells(content, stratum))
