"""What this run says to each point of TRIPOD+AI, or that it says nothing.

The points are those of Collins et al., "TRIPOD+AI statement: updated guidance for reporting
clinical prediction models that use regression or machine learning methods", BMJ 2024;385:e078378
(27 items, 52 with their parts). Their topics, in this project's own short words, lie in
``points.json``. Every answer is drawn from the content of the report by a rule written here; where
the content holds nothing for a point, it is "not reported".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files

from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tables.cells import Cell, Column, Table, words
from genellm_dagster.reports.tripod import analysis, findings, study
from genellm_dagster.reports.tripod.parts import NOT_REPORTED, Answer

_SOURCE = "TRIPOD+AI: Collins et al., BMJ 2024;385:e078378; topics in our own words."


def points() -> list[dict[str, str]]:
    """Give every point: ``item`` (its number), ``section`` and ``topic``, in order."""
    place = files("genellm_dagster.reports.tripod") / "points.json"
    found: list[dict[str, str]] = json.loads(place.read_text(encoding="utf-8"))
    return found


def tripod(content: ReportContent, options: ReportOptions) -> Table:
    """Lay out every point with what this run says to it.

    Args:
        content: What the report shows.
        options: How much of it is judged by its words.
    """
    asked = points()
    rows, answered = [], 0
    for place, point in enumerate(asked):
        answer = _ANSWERS.get(point["item"])
        said = answer(content, options) if answer else ""
        answered += bool(said)
        rows.append(
            [
                Cell(point["item"], float(place)),
                Cell(point["topic"], small=point["section"]),
                words(said or NOT_REPORTED),
            ]
        )
    simulated = "SIMULATED data. " if content.simulated else ""
    return Table(
        "tripod",
        f"{simulated}TRIPOD+AI: what this run says to {answered} of {len(asked)} points; to the "
        "others it says nothing, and they are not reported",
        [Column("Item"), Column("Topic"), Column("This run")],
        rows,
        _SOURCE,
    )


_ANSWERS: Mapping[str, Answer] = {
    "1": study.title,
    "2": study.summary,
    "4": study.question,
    "5a": study.sources,
    "6a": study.places,
    "6b": study.eligible,
    "7": study.quality,
    "8a": study.outcome,
    "9a": study.preselected,
    "9b": study.measured,
    "10": study.size,
    "11": study.missing,
    "12a": analysis.folds,
    "12b": analysis.inputs,
    "12c": analysis.model,
    "12d": analysis.clusters,
    "12e": analysis.measures,
    "12f": analysis.updated,
    "12g": analysis.predicted,
    "13": analysis.imbalance,
    "14": analysis.fairness,
    "15": analysis.output,
    "16": analysis.apart,
    "18e": study.data,
    "18f": study.code,
    "20a": findings.flow,
    "20b": findings.people,
    "20c": findings.shifts,
    "21": findings.analyses,
    "22": findings.specified,
    "23a": findings.performance,
    "23b": findings.heterogeneity,
    "25": findings.meaning,
    "26": findings.limits,
    "27a": findings.refused,
}
"""What is said to a point; a point without a rule here is one that no run knows anything of."""
