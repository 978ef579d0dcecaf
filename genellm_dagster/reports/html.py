"""The study report as one HTML file: everything its template shows, made from the content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genellm_dagster.errors import GeneLLMError
from genellm_dagster.expression.batch_view import BatchView
from genellm_dagster.files import write_text
from genellm_dagster.reports import age, attributions, batch, cautions, marks, wording
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.figures.batch import batch_figure
from genellm_dagster.reports.figures.canvas import Figure
from genellm_dagster.reports.figures.curves import calibration_figure, roc_figure, scores_figure
from genellm_dagster.reports.figures.decisions import decision_figure
from genellm_dagster.reports.figures.forest import cohort_figure, forest_figure
from genellm_dagster.reports.figures.genes import genes_figure
from genellm_dagster.reports.figures.maps import map_figure
from genellm_dagster.reports.names import LANGUAGE_MODEL, age_words, model_name, stratum_name
from genellm_dagster.reports.numbers import (
    bounds_of,
    count,
    decimal,
    number_of,
    percent,
    small_percent,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.page import render_page
from genellm_dagster.reports.tables import age as age_tables
from genellm_dagster.reports.tables import quality, results, samples, strata
from genellm_dagster.reports.tables.batch import explained
from genellm_dagster.reports.tables.cells import facts
from genellm_dagster.reports.tables.decisions import decisions
from genellm_dagster.reports.tripod.table import tripod

# Said in a sentence or a list of their own, so not again in the table of facts.
_MODEL_SAID = ("transductive",)


def render_report(content: ReportContent, options: ReportOptions | None = None) -> str:
    """Render the report of a study.

    The same content gives the same bytes: nothing is read from the clock or the machine.

    Args:
        content: What to show.
        options: How much of it; the defaults when left out.

    Returns:
        A whole HTML document.

    Raises:
        GeneLLMError: When no stratum was measured, so that there is nothing to report.
    """
    options = options or ReportOptions()
    if not content.strata:
        raise GeneLLMError(
            f"Study {content.study.name} has no evaluation report for any stratum; materialize "
            "evaluation_report first."
        )
    return render_page("report.html", _view(content, options))


def write_report(content: ReportContent, path: Path, options: ReportOptions | None = None) -> None:
    """Render the report and write it, whole or not at all.

    Args:
        content: What to show.
        path: The HTML file.
        options: How much to show.
    """
    write_text(path, render_report(content, options))


def _view(content: ReportContent, options: ReportOptions) -> dict[str, Any]:
    """Give the template all that it shows."""
    sentences = wording.summary(content, options)
    return {
        "study": content.study,
        "generated_at": content.generated_at,
        "simulated": content.simulated,
        "sentences": sentences,
        "parts": [_part(content, stratum, options) for stratum in content.strata],
        "tables": {
            "labels": samples.labels(content),
            "samples": samples.samples(content),
            "left_out": samples.left_out(content),
            "quality": quality.quality(content),
            "warnings": quality.warnings(content),
            "sex": quality.sex(content),
            "sources": samples.cohort_sources(content),
            "refusals": results.refusals(content),
            "strata": strata.by_stratum(content),
            "overlap": strata.overlap(content),
            "transfer": strata.transfer(content),
            "between_cohorts": age_tables.between_cohorts(content),
            "along_age": age_tables.along_age(content),
            "beyond_cells": age_tables.beyond_cells(content),
            "gene_sets": age_tables.gene_sets(content),
            "model": facts("model", "The model, as trained", _model_facts(content.model)),
            "software": facts("software", "What this report was made with", content.software),
            "tripod": tripod(content, options),
        },
        "figures": _figures(content, options),
        "overlap": wording.genes_shared(content, options),
        "note": content.age_comparison.get("note"),
        "age_said": age.said(content.age_comparison, options.significance),
        "trained": _trained(content.model),
        "batches": [_batch(content, stratum, options) for stratum in content.strata],
        "marked": marks.of_strata(content),
        "steps": _steps(content),
        "data_docs": content.data_docs,
        "limits": cautions.limits(content),
    }


def _figures(content: ReportContent, options: ReportOptions) -> dict[str, Figure | None]:
    simulated, said = content.simulated, marks.of_strata(content)
    reports = {stratum: content.reports[stratum] for stratum in content.strata}
    signatures = {
        stratum: content.signatures[stratum]
        for stratum in content.strata
        if stratum in content.signatures and len(content.signatures[stratum])
    }
    scored = {
        stratum: content.predictions[stratum]
        for stratum in content.strata
        if (content.predictions[stratum]["model"] == LANGUAGE_MODEL).any()
    }
    return {
        "forest": marks.marked(forest_figure(reports, simulated=simulated), said),
        "cohorts": marks.marked(cohort_figure(reports, simulated=simulated), said),
        "genes": genes_figure(signatures, options, simulated=simulated) if signatures else None,
        "scores": marks.marked(scores_figure(scored, reports, simulated=simulated), said)
        if scored
        else None,
    }


def _part(content: ReportContent, stratum: str, options: ReportOptions) -> dict[str, Any]:
    """Give the template all that it shows of one stratum."""
    report, predictions = content.reports[stratum], content.predictions[stratum]
    simulated = content.simulated
    embedding = content.embeddings.get(stratum)
    own = predictions[predictions["model"] == LANGUAGE_MODEL]
    scores = dict(zip(own["gsm"].astype(str), own["score"].astype(float), strict=True))
    value = report["models"].get(LANGUAGE_MODEL, {}).get("auroc")
    bounds = bounds_of(value)
    rival = report["models"].get(wording.LOGISTIC, {}).get("auroc")
    known = content.study.strata.get(stratum)
    said = marks.sentence(marks.of_headline(content, stratum))
    all_said = marks.sentence(marks.of_stratum(content, stratum))
    return {
        "id": re.sub(r"[^A-Za-z0-9-]+", "-", stratum),
        "name": stratum_name(stratum),
        "ages": age_words(known) if known else "",
        "headline": decimal(value),
        "headline_mark": said,
        "headline_interval": f"{decimal(bounds[0])} to {decimal(bounds[1])}" if bounds else "",
        "rival": ""
        if number_of(rival) is None
        else f"{model_name(wording.LOGISTIC)} on the same folds: {decimal(rival)}",
        "n": count(report["n"]),
        "cases": count(report["cases"]),
        "prevalence": percent(report["prevalence"]),
        "folds": cautions.folds(report),
        "precision": cautions.precision_note(content, stratum),
        "calibration": cautions.calibration(content, stratum, options),
        "controls": cautions.controls(content, stratum, options),
        "performance": results.performance(content, stratum),
        "notes": results.notes(report),
        "cohorts": results.cohorts(content, stratum),
        "decisions": decisions(content, stratum),
        "decision_figure": marks.marked(
            decision_figure(stratum, report, simulated=simulated), all_said
        ),
        "genes": results.genes(content, stratum, options),
        "attributions": _attributions(content, stratum, options),
        "roc": marks.marked(
            roc_figure(stratum, predictions, report, simulated=simulated), all_said
        ),
        "calibration_figure": marks.marked(
            calibration_figure(stratum, predictions, report, options, simulated=simulated), said
        ),
        "map": None
        if embedding is None or embedding.empty
        else marks.marked(
            map_figure(stratum, embedding, options, simulated=simulated, scores=scores), said
        ),
    }


def _attributions(
    content: ReportContent, stratum: str, options: ReportOptions
) -> dict[str, Any] | None:
    """Give the template what is known of single samples; none where it was not kept."""
    found = content.attributions.get(stratum)
    if found is None:
        return None
    signature = content.signatures[stratum]
    drawn = attributions.figures(stratum, found, signature, options, content.simulated)
    return {"said": attributions.said(found), "figures": drawn}


def _batch(content: ReportContent, stratum: str, options: ReportOptions) -> dict[str, Any]:
    """Give the template what cohorts of a stratum differ in; no sentence when it was not made."""
    found = content.batch.get(stratum)
    shown: dict[str, Any] = {"name": stratum_name(stratum), "said": [], "figure": None}
    if not found:
        return {**shown, "table": None}
    view = BatchView.from_json(found)
    return {
        **shown,
        "said": batch.said(view),
        "figure": batch_figure(stratum, view, options, simulated=content.simulated),
        "table": explained(stratum, view),
    }


def _steps(content: ReportContent) -> dict[str, list[str]]:
    """Give every step that used other samples of a test cohort, those apart that used labels."""
    steps = list(content.model.get("transductive") or [])
    for stratum in content.strata:
        for step in marks.of_stratum(content, stratum):
            if step not in steps:
                steps.append(f"{stratum_name(stratum)}: {step}")
    return {
        "labels": [step for step in steps if marks.uses_labels(step)],
        "others": [step for step in steps if not marks.uses_labels(step)],
    }


def _trained(model: Mapping[str, Any]) -> str:
    """Say how little is trained."""
    if number_of(model.get("trainable")) is None or number_of(model.get("total")) is None:
        return ""
    share = model.get("share")
    if number_of(share) is None:
        share = float(model["trainable"]) / float(model["total"])
    return (
        f"{count(model['trainable'])} of {count(model['total'])} parameters are trained "
        f"({small_percent(share)})."
    )


def _model_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    heads = {
        "trainable": "trainable parameters",
        "total": "all parameters",
        "share": "share trained",
        "hash": "SHA-256 of the weights",
        "licence": "licence of the backbone",
        "head_layers": "head layers",
    }
    facts = {heads.get(key, key): part for key, part in model.items() if key not in _MODEL_SAID}
    if "share trained" in facts:
        facts["share trained"] = small_percent(facts["share trained"])
    return facts
