"""Tables of what was found: models, cohorts, strata, genes, and what refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from genellm_dagster.reports import marks
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.figures.genes import top_of
from genellm_dagster.reports.names import (
    LANGUAGE_MODEL,
    ROLE_WORDS,
    in_order,
    model_name,
    role_of,
    stratum_name,
)
from genellm_dagster.reports.numbers import (
    MISSING,
    bounds_of,
    count,
    decimal,
    number_of,
    p_value,
    percent,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tables.cells import (
    Cell,
    Column,
    Table,
    measure,
    whole,
    words,
)

_WITHIN = "auroc_within_cohorts"
_THRESHOLD = 0.5  # of a report that does not say its own
# Key, head, meaning, digits; the order in which a clinician asks.
MEASURES: Sequence[tuple[str, str, str, int]] = (
    ("auroc", "AUROC", "Chance that a case scores above a control; 0.5 is a coin", 3),
    (_WITHIN, "Within cohorts", "Mean AUROC inside each cohort, free of their offsets", 3),
    ("pooled_auroc", "Pooled", "AUROC of the cohorts, pooled by random effects", 3),
    ("average_precision", "AP", "Average precision; a coin gets the prevalence", 3),
    ("average_precision_at_half", "AP at ½", "Average precision if half were cases", 3),
    ("balanced_accuracy", "Balanced accuracy", "Mean of sensitivity and specificity", 3),
    ("sensitivity", "Sensitivity", "Share of cases called", 3),
    ("specificity", "Specificity", "Share of controls not called", 3),
    (
        "sensitivity_at_95_specificity",
        "Sensitivity at 95 %",
        "Share of cases called where 95 % of controls are not, read off the ROC curve",
        3,
    ),
    ("brier", "Brier", "Mean squared error of the score; 0 is perfect", 3),
    ("ece", "ECE", "Expected calibration error; 0 is perfect", 3),
    ("calibration_slope", "Slope", "Calibration slope; below 1: scores are too extreme", 2),
    ("calibration_intercept", "Intercept", "Calibration intercept; 0 is perfect", 2),
)


def performance(content: ReportContent, stratum: str) -> Table:
    """Lay out every measure of every model of one stratum."""
    report = content.reports[stratum]
    models = report["models"]
    order = in_order(models, {name: number_of(part.get("auroc")) for name, part in models.items()})
    values = {
        name: {key: _with_interval(report, name, key) for key, *_ in MEASURES} for name in order
    }
    present = [
        m for m in MEASURES if any(number_of(part[m[0]]) is not None for part in values.values())
    ]
    tests = paired_tests(content, stratum)
    columns = [Column("Model")]
    columns += [Column(head, meaning, numeric=True) for _, head, meaning, _ in present]
    if tests:
        meaning = "Paired DeLong test of the AUROC against GeneLLM, Holm-corrected"
        columns.append(Column("P against GeneLLM", meaning, numeric=True))
    rows = []
    for name in order:
        own = name == LANGUAGE_MODEL
        mark = marks.short(marks.of_model(report, name))
        role = ROLE_WORDS[role_of(name)]
        row = [Cell(model_name(name), strong=own, small=f"{role}; {mark}" if mark else role)]
        row += [measure(values[name][key], digits) for key, _, _, digits in present]
        if tests:
            value = None if own else tests.get(name)
            row.append(Cell(p_value(value), value))
        rows.append(row)
    return Table(
        f"performance-{stratum}",
        f"{stratum_name(stratum)}: all models on the same folds; n = {count(report['n'])}, "
        f"{count(report['cases'])} cases, prevalence {percent(report['prevalence'])}; "
        f"below each number its 95 % interval{_marked(content, stratum)}",
        columns,
        rows,
        f"Out-of-fold scores pooled over folds. {_threshold(report)}",
    )


def _threshold(report: Mapping[str, Any]) -> str:
    """Say at which scores sensitivity and specificity hold."""
    if report.get("threshold_rule") == "training_folds":
        return (
            "Sensitivity and specificity hold, in each fold, at the score that separated its "
            "training samples best; no sample of the test side helped to choose it."
        )
    fixed = decimal(report.get("threshold", _THRESHOLD), 2)
    return f"Sensitivity and specificity hold at a score of {fixed}, fixed in advance."


def _marked(content: ReportContent, stratum: str) -> str:
    """Give the end of a caption that says what the numbers below it must be marked with."""
    said = marks.sentence(marks.of_stratum(content, stratum))
    return f". {said}" if said else ""


def _with_interval(report: Mapping[str, Any], model: str, key: str) -> Any:
    """Give a model's number, with its interval where the evaluation keeps that elsewhere."""
    if key == _WITHIN:
        return (report.get("within_cohorts") or {}).get(model, {}).get("auroc")
    value = report["models"][model].get(key)
    elsewhere = (report.get("intervals") or {}).get(model, {}).get(key)
    return elsewhere if bounds_of(value) is None and bounds_of(elsewhere) else value


def notes(report: Mapping[str, Any]) -> list[str]:
    """Give the evaluation's own remarks, in the words of this report."""
    said = []
    for note in report.get("notes") or []:
        text = str(note).replace("is in within_cohorts", "stands in the column “Within cohorts”")
        for name in sorted(report["models"], key=len, reverse=True):
            if "_" in name:
                text = text.replace(name, model_name(name))
        said.append(text)
    return said


def paired_tests(content: ReportContent, stratum: str) -> dict[str, float]:
    """Give the Holm-corrected P of each model's AUROC against GeneLLM's, by the paired DeLong test.

    From the evaluation's own comparisons, else from the column ``p_holm`` of the comparison table.
    """
    parts = content.reports[stratum].get("comparisons") or []
    tests = {
        str(part["model"]): p
        for part in parts
        if part.get("reference", LANGUAGE_MODEL) == LANGUAGE_MODEL
        and (p := number_of(part.get("p_holm"))) is not None
    }
    frame = content.comparison
    if tests or not {"stratum", "model", "p_holm"} <= set(frame.columns):
        return tests
    rows = frame[(frame["stratum"] == stratum) & frame["p_holm"].notna()]
    pairs = zip(rows["model"], rows["p_holm"], strict=True)
    return {str(name): float(value) for name, value in pairs}


def cohorts(content: ReportContent, stratum: str) -> Table | None:
    """Lay out the AUROC of each model in each cohort of one stratum."""
    models = content.reports[stratum]["models"]
    names = [name for name in models if models[name].get("cohorts")]
    names = in_order(names, {name: number_of(models[name].get("auroc")) for name in names})
    seen = list(dict.fromkeys(cohort for name in names for cohort in models[name]["cohorts"]))
    if not seen:
        return None
    rows = []
    for cohort in seen:
        parts = [models[name]["cohorts"].get(cohort) or {} for name in names]
        first = next((part for part in parts if part.get("n")), {})
        rows.append(
            [words(cohort), whole(first.get("n")), whole(first.get("cases"))]
            + [measure(part.get("auroc")) for part in parts]
        )
    columns = [
        Column("Cohort"),
        Column("Samples", numeric=True),
        Column("Cases", numeric=True),
        *(Column(model_name(name), numeric=True) for name in names),
    ]
    return Table(
        f"cohorts-{stratum}",
        f"{stratum_name(stratum)}: AUROC in each cohort, with 95 % interval"
        f"{_marked(content, stratum)}",
        columns,
        rows,
        "A dash: the cohort has one class only, or the model gave no score there.",
    )


def refusals(content: ReportContent) -> Table | None:
    """Lay out the models that gave no scores, and why."""
    rows = [
        [words(model_name(model)), words(stratum_name(stratum)), words(reason)]
        for stratum, models in content.refusals.items()
        for model, reason in models.items()
    ]
    if not rows:
        return None
    return Table(
        "refusals",
        "Models that refused, and why",
        [Column("Model"), Column("Stratum"), Column("Why")],
        rows,
        "A score whose genes are missing, or whose formula does not fit the scale of the data, "
        "refuses instead of giving a number that means something else.",
    )


def _telling(value: Any) -> str:
    number = number_of(value)
    return MISSING if number is None else f"{number:.3g}".replace("-", "−")


def _ranks(signature: pd.DataFrame) -> dict[str, int]:
    ordered = top_of(signature, len(signature))
    return {str(gene): place for place, gene in enumerate(ordered["gene"], start=1)}


def genes(content: ReportContent, stratum: str, options: ReportOptions) -> Table | None:
    """Lay out the signature of one stratum, and each gene's rank in the others."""
    signature = content.signatures.get(stratum)
    if signature is None or signature.empty:
        return None
    others = [name for name in content.signatures if name != stratum]
    ranks = {o: _ranks(content.signatures[o]) for o in others}
    has_stability = "stability" in signature
    columns = [
        Column("Gene"),
        Column("Rank", numeric=True),
        Column("Mean size", "Mean absolute attribution", numeric=True),
        Column("Mean", "Mean attribution, signed", numeric=True),
        Column("Pushes towards"),
    ]
    if has_stability:
        columns.append(Column("Stability", "Share of refits with this gene on top", numeric=True))
    columns += [Column(f"Rank, {stratum_name(o).lower()}", numeric=True) for o in others]
    rows = []
    own = _ranks(signature)
    for row in top_of(signature, options.table_genes).to_dict("records"):
        signed = number_of(row["mean_signed"])
        cells = [
            words(row["gene"]),
            whole(own[row["gene"]]),
            Cell(_telling(row["mean_abs"]), number_of(row["mean_abs"])),
            Cell(_telling(signed), signed),
            words(None if signed is None else "case" if signed >= 0 else "control"),
        ]
        if has_stability:
            cells.append(Cell(percent(row["stability"]), number_of(row["stability"])))
        cells += [whole(ranks[o].get(row["gene"])) for o in others]
        rows.append(cells)
    shown = min(options.table_genes, len(signature))
    return Table(
        f"genes-{stratum}",
        f"{stratum_name(stratum)}: the {shown} strongest of {count(len(signature))} genes",
        columns,
        rows,
    )
