"""Tables of quality control: what it doubts, sex recorded against expressed, and every fact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import stratum_name
from genellm_dagster.reports.numbers import count, number_of
from genellm_dagster.reports.tables.cells import Column, Table, fact, plain, whole, words

# Told in tables of their own; settings, the same for all.
_ELSEWHERE = ("samples_left_out", "thresholds", "warnings", "sex")
_COMPARED: Mapping[str, tuple[str, str]] = {
    "agree": ("Agree", "Samples whose recorded sex is the one that they express"),
    "disagree": ("Disagree", "Samples whose recorded sex is not the one that they express"),
    "unknown": ("Not known", "Samples whose sex is not recorded, or could not be told"),
}
_COUNTED: Mapping[str, tuple[str, str]] = {
    "recorded": ("Recorded F / M", "Women and girls / men and boys, as the series says"),
    "expressed": ("Expressed F / M", "High in XIST / high in genes of chromosome Y"),
}


def quality(content: ReportContent) -> Table | None:
    """Lay out every plain fact of the quality control, a column a cohort and stratum."""
    cells = {
        cell: plain({key: value for key, value in summary.items() if key not in _ELSEWHERE})
        for cell, summary in content.qc.items()
    }
    heads = list(dict.fromkeys(name for known in cells.values() for name in known))
    if not heads:
        return None
    # A row a fact: there are many more facts than cohorts, and paper is narrow.
    rows = [[words(head), *(fact(known.get(head)) for known in cells.values())] for head in heads]
    columns = [
        Column("Fact"),
        *(Column(f"{cohort}, {stratum_name(stratum)}", numeric=True) for stratum, cohort in cells),
    ]
    return Table("quality", "Quality control of the expression tables", columns, rows)


def warnings(content: ReportContent) -> Table | None:
    """Lay out what quality control doubts of each cohort and stratum, a sentence a row."""
    rows = [
        [words(cohort), words(stratum_name(stratum)), words(sentence)]
        for (stratum, cohort), summary in content.qc.items()
        for sentence in _sentences(summary.get("warnings"))
    ]
    if not rows:
        return None
    return Table(
        "warnings",
        "Doubts of quality control, by cohort and stratum",
        [Column("Cohort"), Column("Stratum"), Column("Doubt")],
        rows,
    )


def sex(content: ReportContent) -> Table | None:
    """Lay out how often the recorded sex is the one that a sample expresses."""
    found = {
        cell: summary["sex"]
        for cell, summary in content.qc.items()
        if isinstance(summary.get("sex"), Mapping) and set(_COMPARED) & set(summary["sex"])
    }
    if not found:
        return None
    rows = []
    for (stratum, cohort), counts in found.items():
        # Nothing counted on either side means that nothing was compared, which is not none.
        compared = any(number_of(counts.get(key)) for key in ("agree", "disagree"))
        rows.append(
            [
                words(cohort),
                words(stratum_name(stratum)),
                *(
                    whole(counts.get(key) if compared or key == "unknown" else None)
                    for key in _COMPARED
                ),
                *(words(_two(counts, key)) for key in _COUNTED),
                words(counts.get("why_not") or _listed(counts.get("told_by"))),
            ]
        )
    return Table(
        "sex",
        "Sex as recorded against sex as expressed",
        [
            Column("Cohort"),
            Column("Stratum"),
            *(Column(*heads, numeric=True) for heads in _COMPARED.values()),
            *(Column(*heads) for heads in _COUNTED.values()),
            Column("Told by, or why it could not be told"),
        ],
        rows,
        "A sample whose sex does not fit may be another person's: its label may be as wrong.",
    )


def _two(counts: Mapping[str, Any], key: str) -> str | None:
    sides = [number_of(counts.get(f"{key}_{sex}")) for sex in ("female", "male")]
    return " / ".join(map(count, sides)) if any(sides) else None


def _sentences(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value or ()]


def _listed(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
