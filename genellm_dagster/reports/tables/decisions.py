"""Table of what scores are worth as probabilities: parts of the Brier score, net benefit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import in_order, model_name, stratum_name
from genellm_dagster.reports.numbers import number_of, percent
from genellm_dagster.reports.tables.cells import Cell, Column, Table, measure, words

_PARTS = (
    ("reliability", "Reliability", "Part of the Brier score due to wrong probabilities; 0 is best"),
    ("resolution", "Resolution", "Part of the Brier score that telling people apart takes away"),
)


def decisions(content: ReportContent, stratum: str) -> Table | None:
    """Lay out reliability, resolution and net benefit of every model of one stratum."""
    report = content.reports[stratum]
    models = {name: part for name, part in report["models"].items() if "net_benefit" in part}
    if not models:
        return None
    order = in_order(models, {name: number_of(part.get("auroc")) for name, part in models.items()})
    first = models[order[0]]["net_benefit"]["thresholds"]
    columns = [Column("Model")]
    columns += [Column(head, meaning, numeric=True) for _, head, meaning in _PARTS]
    columns += [
        Column(
            f"Net benefit, {percent(row['threshold'])}",
            f"True positives a person, less false ones at their price, acting from a probability "
            f"of {percent(row['threshold'])} on",
            numeric=True,
        )
        for row in first
    ]
    rows = [_row(name, models[name]) for name in order]
    no_parts = [words(None) for _ in _PARTS]
    everyone = [measure(row["treat_all"]) for row in first]
    rows.append([words("Acting on everyone"), *no_parts, *everyone])
    return Table(
        f"decisions-{stratum}",
        f"{stratum_name(stratum)}: scores as probabilities, with 95 % interval; n = "
        f"{report['n']}, prevalence {percent(report['prevalence'])}",
        columns,
        rows,
        "Net benefit (Vickers and Elkin 2006) counts at the prevalence of these samples, which is "
        "that of no clinic; acting on no one has 0. A model helps only where it lies above both "
        "acting on everyone and 0.",
    )


def _row(name: str, part: Mapping[str, Any]) -> list[Cell]:
    row = [words(model_name(name))]
    row += [measure(part["brier_decomposition"][key]) for key, *_ in _PARTS]
    return row + [measure(at["net_benefit"]) for at in part["net_benefit"]["thresholds"]]
