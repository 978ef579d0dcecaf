"""The catalogue of series: what a search found put on what is known, and how far each has come."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from genellm_dagster.errors import StoreError
from genellm_dagster.files import read_parquet, write_parquet
from genellm_dagster.geo import catalog as geo_catalog
from genellm_dagster.store import Store
from genellm_dagster.studies.cohort import series_of
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.done import NEW
from genellm_dagster.workflows.proposals import Proposed, read_proposals

FOUND, PROPOSED, APPROVED, REJECTED, INGESTED = (
    "found", "proposed", "approved", "rejected", "ingested",
)  # fmt: skip
KEPT = ("first_seen", "checked_at", "revised_at", "confidence", "note")
"""What the catalogue knows beside a search's own columns. Times are UTC, ISO 8601."""
UNREADABLE, NO_PROPOSAL, UNREVIEWED, GONE = (
    "unreadable", "not proposed", "approved without review", "the search finds it no longer",
)  # fmt: skip
NEWS = (
    "news", "accession", "title", "samples", "published", "confidence", "note", "next",
)  # fmt: skip
REVISED = "revised"
_BETWEEN = "; "
_OF_INGESTED = (("sample_sheet", ".parquet"), ("gene_expression", ".parquet"))


def read_catalog(store: Store) -> pd.DataFrame | None:
    """Return the catalogue of a study, None before the first search.

    A catalogue that an earlier version wrote gets the columns that it lacks, empty.

    Raises:
        StoreError: When it is damaged.
    """
    path = store.place("geo_catalog.parquet")
    if not path.exists():
        return None
    return _in_form(read_parquet(path))


def update_statuses(store: Store, study: Study) -> None:
    """Bring the statuses of a written catalogue up to date, after an approval or an ingestion."""
    try:
        catalog = read_catalog(store)
    except StoreError:
        # The next search tells; nothing that people or runs did depends on it.
        return
    if catalog is not None:
        write_parquet(store.place("geo_catalog.parquet"), with_status(catalog, study, store))


def merge_catalog(
    previous: pd.DataFrame | None, found: pd.DataFrame, now: datetime, whole: bool
) -> pd.DataFrame:
    """Put what a search found on top of what is known.

    Args:
        previous: The catalogue so far; None before the first search.
        found: What :func:`~genellm_dagster.geo.catalog.search_series` returned.
        now: The time of the search.
        whole: Whether the whole search was asked, so that what it does not name is gone.

    Returns:
        One row a series, by accession number: the columns of ``found`` and those of ``KEPT``. A
        series whose ``revision`` differs from the one known has ``revised_at`` set to ``now``. Of
        a series that cannot be read now what was known stays, and the note says so.
    """
    at = stamp(now)
    rows: dict[str, dict[str, Any]] = {}
    if previous is not None:
        rows = {row["accession"]: row for row in rows_of(_in_form(previous))}
    seen = set()
    for new in rows_of(found):
        accession, status = new["accession"], str(new.pop("status"))
        seen.add(accession)
        row = rows.get(accession) or {"first_seen": at, "note": None, "revised_at": None}
        readable = not status.startswith(UNREADABLE)
        if readable:
            if row.get("revision") and new.get("revision") != row["revision"]:
                row["revised_at"] = at
            row |= new
        else:
            row = {**new, **{key: value for key, value in row.items() if value is not None}}
        why = None if readable else status.removeprefix(UNREADABLE).lstrip(": ")
        row["note"] = noted(noted(row.get("note"), UNREADABLE, why), GONE, None)
        rows[accession] = row | {"checked_at": at, "status": FOUND}
    if whole:
        for accession in rows.keys() - seen:
            row = rows[accession]
            row["note"] = noted(row.get("note"), GONE, now.date().isoformat())
    return _in_form(pd.DataFrame(list(rows.values()), columns=_columns(rows.values())))


def with_status(catalog: pd.DataFrame, study: Study, store: Store) -> pd.DataFrame:
    """Say of each series how far it has come; what is on disk decides, nothing is remembered.

    Args:
        catalog: The catalogue.
        study: Whose cohorts and rejections count.
        store: Where proposals and tables lie.
    """
    proposals = read_proposals(store)
    of_series: dict[str, list[Proposed]] = {}
    for proposal in proposals.values():
        of_series.setdefault(series_of(proposal.name), []).append(proposal)
    cohorts: dict[str, list[str]] = {}
    for name in study.cohorts:
        cohorts.setdefault(series_of(name), []).append(name)
    rejected = {series_of(name) for name in study.rejected}

    def status(accession: str) -> str:
        if accession in cohorts:
            return INGESTED if all(_is_ingested(store, c) for c in cohorts[accession]) else APPROVED
        if accession in rejected:
            return REJECTED
        return PROPOSED if accession in of_series else FOUND

    catalog = catalog.copy()
    catalog["status"] = [status(accession) for accession in catalog["accession"]]
    catalog["confidence"] = [
        max((one.confidence for one in of_series.get(accession, ())), default=None)
        for accession in catalog["accession"]
    ]
    return _in_form(catalog)


def catalog_news(
    catalog: pd.DataFrame,
    waiting: Mapping[str, str],
    proposals: Mapping[str, str],
    options: str = "",
) -> pd.DataFrame:
    """Pick what waits for a person, or for a refresh.

    Args:
        catalog: The catalogue.
        waiting: Cohorts of the study that a refresh would ingest, with the reason.
        proposals: Names of the proposed cohorts, each with what it would give.
        options: What the commands need behind them, like ``--study mine``.

    Returns:
        Columns of ``NEWS``; ``news`` is revised, approved, proposed or found, ``next`` the command
        to go on with. First what was revised, then proposals by confidence, then finds by date.
    """
    of_study: dict[str, str] = {}
    for name, why in waiting.items():
        of_study.setdefault(series_of(name), why)
    rows: list[dict[str, Any]] = []
    for row in rows_of(catalog):
        accession, status = str(row["accession"]), str(row["status"])
        just_revised = row["revised_at"] is not None and row["revised_at"] == row["checked_at"]
        if status in (APPROVED, INGESTED):
            if accession not in of_study:
                continue
            why, then = of_study[accession], "genellm refresh"
            news = APPROVED if why == NEW else REVISED
            note = "; ".join(filter(None, [why if news == REVISED else None, row["note"]]))
        elif status == REJECTED or (status == FOUND and GONE in (row["note"] or "")):
            continue
        else:
            news, note = REVISED if just_revised else status, row["note"] or ""
            own = [one for one in proposals if series_of(one) == accession]
            then = _next(accession, note, own)
            note = "; ".join(filter(None, [*(proposals[one] for one in own), note]))
        rows.append(
            {
                "news": news,
                "accession": accession,
                "title": row["title"] or "",
                "samples": row["samples"],
                "published": row["published"],
                "confidence": row["confidence"],
                "note": note,
                "next": f"{then} {options}".rstrip(),
            }
        )
    order = {REVISED: 0, APPROVED: 1, PROPOSED: 2, FOUND: 3}
    rows.sort(key=lambda row: row["published"] or "", reverse=True)
    rows.sort(key=lambda row: (order[row["news"]], -(row["confidence"] or 0.0)))
    return pd.DataFrame(rows, columns=list(NEWS)).astype({"samples": "Int64"})


def _next(accession: str, note: str, proposals: list[str]) -> str:
    if proposals:
        return f"genellm cohort approve {proposals[0]}"
    if UNREADABLE in note or NO_PROPOSAL in note:
        return f"genellm cohort inspect {accession}"
    return f"genellm cohort propose {accession}"


def _is_ingested(store: Store, name: str) -> bool:
    return all(store.place(asset, f"{name}{end}").is_file() for asset, end in _OF_INGESTED)


def noted(note: str | None, kind: str, text: str | None) -> str | None:
    """Replace the part of a note that is of one kind; None takes it away."""
    parts = [part for part in (note or "").split(_BETWEEN) if part and not part.startswith(kind)]
    if text is not None:
        parts.append(f"{kind}: {text}".replace(_BETWEEN, ", "))
    return _BETWEEN.join(parts) or None


def _columns(rows: Collection[Mapping[str, Any]]) -> list[str]:
    named = dict.fromkeys([*geo_catalog.COLUMNS, *KEPT])
    return list(named | dict.fromkeys(key for row in rows for key in row))


def _in_form(catalog: pd.DataFrame) -> pd.DataFrame:
    catalog = catalog.reindex(columns=_columns([dict.fromkeys(catalog.columns)]))
    catalog = catalog.astype({"samples": "Int64", "confidence": "float64"})
    for name in catalog.columns.difference(["samples", "confidence"]):
        column = catalog[name].astype(object)
        catalog[name] = column.where(column.notna(), None)
    order = catalog["accession"].str.removeprefix("GSE").astype(int)
    return catalog.loc[order.sort_values().index].reset_index(drop=True)


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, what is missing as None."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def stamp(now: datetime) -> str:
    """Return a time as the catalogue writes it."""
    return now.astimezone(UTC).isoformat(timespec="seconds")


def time_of(text: object) -> datetime | None:
    """Read a time of the catalogue; None when it is none."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
