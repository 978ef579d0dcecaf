"""The card of one registered adapter: what it is, what it is for, how far it can be trusted.

After Mitchell et al., "Model cards for model reporting", FAT* 2019 (doi 10.1145/3287560.3287596):
details, intended use, factors, metrics, data, caveats. Numbers are those of the cross-validation,
which is known when an adapter is registered; the study's report holds the other models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genellm_dagster.errors import GeneLLMError
from genellm_dagster.files import write_text
from genellm_dagster.reports import cautions, marks
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.figures.curves import calibration_figure, roc_figure
from genellm_dagster.reports.names import (
    LANGUAGE_MODEL,
    age_words,
    label_words,
    model_name,
    stratum_name,
)
from genellm_dagster.reports.numbers import (
    count,
    decimal,
    interval,
    listed,
    number_of,
    percent,
    small_percent,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.page import render_page
from genellm_dagster.reports.tables import results
from genellm_dagster.reports.tables.cells import Column, Table, facts, whole, words
from genellm_dagster.reports.wording import LOGISTIC


@dataclass(frozen=True)
class ModelCard:
    """What the card of one adapter shows.

    Attributes:
        content: As for the report, with the evaluation, predictions and marks of this stratum.
        stratum: The adapter's.
        adapter: Facts that the asset ``adapter`` gives: ``registered_model, version, aliases,
            trainable, total, share, temperature, members, promotion``.
        backbone: ``name, sha256, licence, source, pretrained``.
        recipe: How a sample becomes input, and what of the adapter is trained: names and values,
            shown as they are.
    """

    content: ReportContent
    stratum: str
    adapter: Mapping[str, Any]
    backbone: Mapping[str, Any]
    recipe: Mapping[str, Any]

    @property
    def ages(self) -> str:
        """The stratum's ages in words; empty where the study no longer has the stratum."""
        known = self.content.study.strata.get(self.stratum)
        return age_words(known) if known else ""


def render_model_card(card: ModelCard, options: ReportOptions | None = None) -> str:
    """Render the card of an adapter.

    Args:
        card: What to show.
        options: The report's; the defaults when left out.

    Returns:
        A whole HTML document; the same card gives the same bytes.

    Raises:
        GeneLLMError: When the adapter's stratum was not evaluated.
    """
    options = options or ReportOptions()
    content, stratum = card.content, card.stratum
    if stratum not in content.reports:
        raise GeneLLMError(
            f"The adapter of {stratum} of {content.study.name} has no out-of-fold numbers; "
            "materialize cross_validation first."
        )
    report, predictions = content.reports[stratum], content.predictions[stratum]
    mark = marks.sentence(marks.of_headline(content, stratum))
    simulated = content.simulated
    promotion = dict(card.adapter.get("promotion") or {})
    return render_page(
        "model_card.html",
        {
            "study": content.study,
            "simulated": simulated,
            "generated_at": content.generated_at,
            "name": str(card.adapter["registered_model"]),
            "version": str(card.adapter["version"]),
            "stratum": stratum_name(stratum),
            "ages": card.ages,
            "intended": _intended(card),
            "not_intended": _not_intended(card),
            "facts": facts("adapter", "The adapter", _adapter(card)),
            "backbone": facts("backbone", "The frozen language model", _backbone(card.backbone)),
            "recipe": facts("recipe", "From a sample to a score", card.recipe),
            "data": _data(card),
            "headline": _headline(card),
            "mark": mark,
            "folds": cautions.folds(report),
            "precision": cautions.precision_note(content, stratum),
            "calibration": cautions.calibration(content, stratum, options),
            "temperature": _temperature(card.adapter.get("temperature")),
            "without": _without(report),
            "controls": cautions.controls(content, stratum, options),
            "performance": results.performance(content, stratum),
            "notes": results.notes(report),
            "cohorts": results.cohorts(content, stratum),
            "roc": marks.marked(
                roc_figure(stratum, predictions, report, simulated=simulated),
                marks.sentence(marks.of_stratum(content, stratum)),
            ),
            "calibration_figure": marks.marked(
                calibration_figure(stratum, predictions, report, options, simulated=simulated), mark
            ),
            "reason": str(promotion.pop("reason", "")),
            "promotion": facts("promotion", "The decision in numbers", promotion),
            "steps": [
                *map(str, content.model.get("transductive") or ()),
                *marks.of_stratum(content, stratum),
            ],
            "limits": cautions.limits(content),
            "software": facts("software", "What this adapter was made with", content.software),
        },
    )


def write_model_card(card: ModelCard, path: Path, options: ReportOptions | None = None) -> None:
    """Render the card and write it, whole or not at all.

    Args:
        card: What to show.
        path: The HTML file.
        options: The report's.
    """
    write_text(path, render_model_card(card, options))


def _labels(card: ModelCard) -> tuple[str, str]:
    study = card.content.study
    return (
        listed([label_words(label) for label in study.case]),
        listed([label_words(label) for label in study.control]),
    )


def _intended(card: ModelCard) -> list[str]:
    cases, controls = _labels(card)
    ages = f" ({card.ages})" if card.ages else ""
    return [
        f"Research on gene expression: a score from 0 to 1 of how much a sample{ages} looks like a "
        f"case ({cases}) rather than a control ({controls}).",
        f"Samples measured as these were: {listed(_platforms(card)) or 'platforms not recorded'}; "
        "samples of which too few genes are known are refused.",
    ]


def _not_intended(card: ModelCard) -> list[str]:
    cases, controls = _labels(card)
    known = card.content.study.strata
    others = [label_words(name) for name in known if name != card.stratum]
    said = [
        "Diagnosis, treatment, or any other decision about a person.",
        f"Telling {cases} from anything but {controls}.",
        "Reading a score as the probability of disease where another share of people is ill than "
        f"here ({percent(card.content.reports[card.stratum]['prevalence'])}).",
    ]
    if others:
        said.append(
            f"People of other strata ({listed(others)}), who have adapters of their own if any."
        )
    if card.content.simulated:
        said.insert(0, "Any real sample: it was trained on simulated data.")
    return said


def _platforms(card: ModelCard) -> list[str]:
    known = card.content.study.cohort_files
    used = card.content.predictions[card.stratum]["cohort"].astype(str).unique()
    return sorted({known[name].platform for name in used if name in known})


def _adapter(card: ModelCard) -> dict[str, Any]:
    own = card.adapter
    return {
        "registered as": f"{own['registered_model']} version {own['version']}",
        "aliases": list(own.get("aliases") or ()),
        "study": card.content.study.name,
        "stratum": f"{stratum_name(card.stratum)}{f' ({card.ages})' if card.ages else ''}",
        "trainable parameters": own.get("trainable"),
        "parameters of the backbone": own.get("total"),
        "share trained": "" if number_of(own.get("share")) is None else small_percent(own["share"]),
        "members of the ensemble": own.get("members"),
        "run of MLflow": own.get("run_id"),
    }


def _backbone(backbone: Mapping[str, Any]) -> dict[str, Any]:
    heads = {
        "name": "name",
        "licence": "licence",
        "sha256": "SHA-256 of the weights",
        "source": "source",
        "pretrained": "pretrained",
    }
    return {head: backbone.get(key) for key, head in heads.items()}


def _data(card: ModelCard) -> Table:
    frame = card.content.predictions[card.stratum]
    own = frame[frame["model"] == LANGUAGE_MODEL]
    known, report = card.content.study.cohort_files, card.content.reports[card.stratum]
    rows = [
        [
            words(cohort),
            words(known[str(cohort)].platform if cohort in known else None),
            whole(len(part)),
            whole(int(part["case"].sum())),
            words(percent(part["case"].mean())),
        ]
        for cohort, part in own.groupby("cohort", sort=False)
    ]
    simulated = "SIMULATED data. " if card.content.simulated else ""
    return Table(
        "data",
        f"{simulated}What it was trained on: n = {count(report['n'])}, {count(report['cases'])} "
        f"cases, prevalence {percent(report['prevalence'])}",
        [
            Column("Cohort"),
            Column("Platform"),
            Column("Samples", numeric=True),
            Column("Cases", numeric=True),
            Column("Prevalence"),
        ],
        rows,
    )


def _headline(card: ModelCard) -> str:
    report = card.content.reports[card.stratum]
    own = report["models"].get(LANGUAGE_MODEL, {}).get("auroc")
    inside = (report.get("within_cohorts") or {}).get(LANGUAGE_MODEL, {}).get("auroc")
    within = f", {interval(inside)} inside cohorts" if number_of(inside) is not None else ""
    return (
        f"AUROC {interval(own)} out of fold{within}; n = {count(report['n'])}, "
        f"{count(report['cases'])} cases (prevalence {percent(report['prevalence'])})."
    )


def _temperature(value: Any) -> str:
    if number_of(value) is None:
        return "No temperature of calibration is on record."
    if value == 1:
        return "Logits are not divided by a temperature: it is 1."
    return f"Logits are divided by a temperature of {decimal(value)} for a calibrated score."


def _without(report: Mapping[str, Any]) -> str:
    """Say what a reader misses here, and where it stands."""
    if LOGISTIC in report["models"]:
        return ""
    return (
        f"{model_name(LOGISTIC)} and the other baselines were measured apart from this adapter: "
        "the study's report holds them, on the same folds. P values here are corrected for the "
        "models of this table alone."
    )
