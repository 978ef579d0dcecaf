"""Tables of the samples: what there was, what was kept, and why the rest was not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import label_words, stratum_name
from genellm_dagster.reports.numbers import number_of
from genellm_dagster.reports.tables.cells import Column, Table, whole, words


def samples(content: ReportContent) -> Table:
    """Lay out, for each cohort and stratum, how many samples there are and what became of them."""
    left = {(row["cohort"], row["stratum"]): row for row in content.left_out}
    rows = []
    for cohort, sheet in content.sheets.items():
        for stratum in [*content.study.strata, None]:
            mask = sheet["stratum"].isna() if stratum is None else sheet["stratum"] == stratum
            part = sheet[mask]
            if part.empty:
                continue
            used = part[part["used"].astype(bool)]
            entered = _entered(content, stratum, cohort)
            if stratum is None:
                became = "No stratum: not used"
            elif (cohort, stratum) in left:
                became = f"Left out: {left[cohort, stratum]['reason']}"
            elif entered:
                became = "Entered"
            else:
                became = "Not used" if used.empty else "Not measured"
            cases = int((used["case"].astype("Int8") == 1).sum())
            rows.append(
                [
                    words(cohort),
                    words(stratum_name(stratum) if stratum else "(none)"),
                    whole(len(part)),
                    whole(len(used)),
                    whole(cases),
                    whole(len(used) - cases),
                    whole(entered),
                    words(became),
                    words(why_not(part, content.qc.get((str(stratum), cohort), {}))),
                ]
            )
    return Table(
        "samples",
        "Every sample of every cohort, by stratum, and what became of it",
        [
            Column("Cohort"),
            Column("Stratum"),
            Column("Samples", "As listed by GEO", numeric=True),
            Column("Usable", "By the rules of the study", numeric=True),
            Column("Cases", numeric=True),
            Column("Controls", numeric=True),
            Column("Measured", "After quality control, with a score of GeneLLM", numeric=True),
            Column("Outcome"),
            Column("Why samples were not used"),
        ],
        rows,
    )


def _entered(content: ReportContent, stratum: str | None, cohort: str) -> int:
    frame = content.predictions.get(stratum) if stratum else None
    return 0 if frame is None else int(frame.loc[frame["cohort"] == cohort, "gsm"].nunique())


def why_not(part: pd.DataFrame, qc: Mapping[str, Any]) -> str:
    """Count the reasons why samples of one cohort and stratum were not used."""
    reasons = part.loc[~part["used"].astype(bool), "why_not"].fillna("").tolist()
    reasons += [f"quality control: {row['reasons']}" for row in qc.get("samples_left_out") or []]
    counted = pd.Series([reason or "no reason given" for reason in reasons]).value_counts()
    return "; ".join(f"{n} × {reason}" for reason, n in counted.items())


def left_out(content: ReportContent) -> Table | None:
    """Lay out the cohorts that did not enter a stratum."""
    if not content.left_out:
        return None
    rows = []
    for row in content.left_out:
        cases, n = number_of(row.get("cases")), number_of(row.get("n"))
        controls = None if cases is None or n is None else n - cases
        rows.append(
            [
                words(row["cohort"]),
                words(stratum_name(str(row["stratum"]))),
                whole(n),
                whole(cases),
                whole(controls),
                words(row["reason"]),
            ]
        )
    return Table(
        "left-out",
        "Cohorts left out of a stratum",
        [
            Column("Cohort"),
            Column("Stratum"),
            Column("Samples", numeric=True),
            Column("Cases", numeric=True),
            Column("Controls", numeric=True),
            Column("Why"),
        ],
        rows,
    )


def cohort_sources(content: ReportContent) -> Table:
    """Lay out where each cohort comes from and what its reading rests on."""
    rows = []
    for cohort in content.study.cohorts:
        file = content.study.cohort_files.get(cohort)
        verified = bool(getattr(file, "verified", False))
        rows.append(
            [
                words(cohort),
                words(getattr(file, "title", None)),
                words(getattr(file, "platform", None)),
                words(getattr(file, "default_stratum", None)),
                words("yes" if verified else "no: rules not yet checked on GEO's own file"),
                words(_text(getattr(file, "sources", None))),
            ]
        )
    return Table(
        "sources",
        "The cohorts and how their descriptions were read",
        [
            Column("Cohort"),
            Column("Title"),
            Column("Platform"),
            Column("Stratum if age is not recorded"),
            Column("Reading verified"),
            Column("Rests on"),
        ],
        rows,
    )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return "; ".join(map(str, value)) if isinstance(value, Iterable) else str(value)


def labels(content: ReportContent) -> Table | None:
    """Lay out how many samples carry each label, over all cohorts."""
    if not content.sheets:
        return None
    sheets = pd.concat([sheet[["label", "used"]] for sheet in content.sheets.values()])
    roles = {
        **dict.fromkeys(content.study.case, "case"),
        **dict.fromkeys(content.study.control, "control"),
    }
    rows = []
    for label, part in sheets.assign(label=sheets["label"].fillna("")).groupby("label"):
        rows.append(
            [
                words(label_words(str(label)) or "(no rule matched)"),
                words(roles.get(str(label), "neither")),
                whole(len(part)),
                whole(int(part["used"].astype(bool).sum())),
            ]
        )
    return Table(
        "labels",
        "Labels that were read from GEO",
        [
            Column("Label"),
            Column("Counts as"),
            Column("Samples", numeric=True),
            Column("Usable", numeric=True),
        ],
        rows,
    )
