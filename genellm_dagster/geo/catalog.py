"""The series that a study's search finds.

Over http(s) NCBI's E-utilities answer (https://www.ncbi.nlm.nih.gov/books/NBK25499/); a root that
is a folder cannot be searched, so all of its series are listed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.eutils import LostHistoryError, TooLargeAnswerError, ask_entrez
from genellm_dagster.geo.walk import walk
from genellm_dagster.studies.study import Study

COLUMNS = [
    "accession",
    "title",
    "type",
    "samples",
    "platforms",
    "published",
    "updated",
    "revision",
    "status",
]
FOUND = "found"
_HUMAN_SERIES = '"Homo sapiens"[Organism] AND gse[ETYP]'
_SERIES = re.compile(r"GSE\d{1,12}", re.ASCII)
_PLATFORM = re.compile(r"(?:GPL)?(\d{1,12})", re.ASCII)
# GEO holds a quarter of a million series.
_MAX_SERIES = 1_000_000
_MAX_SAMPLES = 10_000_000
_MAX_TEXT = 1_000
logger = logging.getLogger(__name__)


def search_series(client: GeoClient, study: Study, since: date | None = None) -> pd.DataFrame:
    """Find the series of a study.

    Args:
        client: Over http(s) its ``eutils`` are asked; a folder is walked, reading headers only.
        study: Its ``search`` is the question, in Entrez's words. A folder answers none: all of
            its series are listed.
        since: Only series published or updated on this day or later; in a folder also those whose
            files arrived or changed since.

    Returns:
        One row a series, sorted by accession number: accession, title, type, samples (Int64),
        platforms (joined by ``;``), published and updated (ISO dates or None; E-utilities do not
        tell ``updated``), revision: SHA-256 of what is told of the series, or in a folder of its
        files' names, sizes and dates; status: ``found``, or ``unreadable: why`` for a broken
        file of a folder. ``attrs["skipped"]`` counts entries that could not be understood,
        ``attrs["notes"]`` lists what else is worth knowing, and ``attrs["complete"]`` is False
        when a series may be missing here that is there.

    Raises:
        GeoError: When the search is refused or cannot be asked.
    """
    if client.folder is not None:
        rows, notes = walk(client)
        complete = not notes
        recent = [row for row in rows if since is None or _is_recent(row, since)]
        found = _Found({row["accession"]: {"status": FOUND, **row} for row in recent}, notes=notes)
    else:
        found = _ask(client, study, since)
        complete = not found.skipped
    ordered = sorted(found.rows.values(), key=lambda row: int(row["accession"][3:]))
    table = pd.DataFrame(ordered, columns=COLUMNS).astype({"samples": "Int64"})
    if found.skipped:
        found.notes.append(f"{found.skipped:,} entries of NCBI's answer could not be understood")
    for note in found.notes:
        logger.warning("search of the study %s: %s", study.name, note)
    table.attrs = {"skipped": found.skipped, "notes": found.notes, "complete": complete}
    return table


def search_term(study: Study, since: date | None = None, *, updates: bool = True) -> str:
    """Return the term sent to esearch: the study's search among human series.

    Args:
        study: Its ``search``.
        since: Ask for series published on this day or later.
        updates: Ask for those updated since, too.
    """
    term = f"({study.search}) AND {_HUMAN_SERIES}"
    if since is not None:
        fields = ("PDAT", "UDAT") if updates else ("PDAT",)
        ranges = [f'"{since:%Y/%m/%d}"[{name}] : "3000"[{name}]' for name in fields]
        term += f" AND ({' OR '.join(f'({part})' for part in ranges) if updates else ranges[0]})"
    return term


@dataclass
class _Found:
    """What the answers held."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Search:
    """A search that NCBI keeps for us."""

    count: int
    history: dict[str, str]
    translation: str


def _ask(client: GeoClient, study: Study, since: date | None) -> _Found:
    if not study.search.strip():
        raise GeoError(f"the study {study.name} has no search; write one in its study file.")
    notes: list[str] = []
    term = search_term(study, since)
    search = _search(client, study, term)
    if since is not None and not re.search(r"UDAT|update date", search.translation, re.IGNORECASE):
        # Entrez drops fields that it does not know without a word, and then finds far too much.
        notes.append("NCBI does not search by the date of updates; series are found by publication")
        term = search_term(study, since, updates=False)
        search = _search(client, study, term)
    try:
        found = _read_pages(client, study, search)
    except LostHistoryError:
        # NCBI keeps a search for a while only.
        found = _read_pages(client, study, _search(client, study, term))
    found.notes += notes
    return found


def _search(client: GeoClient, study: Study, term: str) -> _Search:
    answer = ask_entrez(client, "esearch.fcgi", {"term": term, "usehistory": "y", "retmax": "0"})
    result = answer.get("esearchresult")
    found = result if isinstance(result, dict) else {}
    try:
        count = int(found["count"])
        history = {"WebEnv": str(found["webenv"]), "query_key": str(found["querykey"])}
    except (KeyError, TypeError, ValueError) as error:
        raise GeoError(
            f"NCBI cannot answer the search of the study {study.name} (no count); correct its "
            "search."
        ) from error
    if not 0 <= count <= _MAX_SERIES:
        raise GeoError(
            f"NCBI says that the search of the study {study.name} finds {count:,} series; narrow "
            "it."
        )
    return _Search(count, history, str(found.get("querytranslation", term)))


def _read_pages(client: GeoClient, study: Study, search: _Search) -> _Found:
    found = _Found()
    for page, expected in _pages(client, study, search):
        uids = [uid for uid in page["uids"] if isinstance(uid, str)][:expected]
        rows = [row for uid in uids if (row := _summary(page.get(uid))) is not None]
        found.rows |= {row["accession"]: row for row in rows}
        found.skipped += expected - len(rows)
    return found


def _pages(
    client: GeoClient, study: Study, search: _Search
) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each page with the number of entries that it should have."""
    start, size = 0, client.options.page_size
    while start < search.count:
        question = {**search.history, "retstart": str(start), "retmax": str(size)}
        expected = min(size, search.count - start)
        try:
            page = ask_entrez(client, "esummary.fcgi", question).get("result")
        except TooLargeAnswerError:
            if size == 1:
                page = {"uids": ["too large"]}
            else:
                size = max(1, size // 2)
                continue
        if not isinstance(page, dict) or not page.get("uids") or not isinstance(page["uids"], list):
            raise GeoError(
                f"NCBI's answer breaks off after {start:,} of {search.count:,} series of the study "
                f"{study.name}; try again later."
            )
        yield page, expected
        start += size
        size = min(size * 2, client.options.page_size)


def _summary(entry: Any) -> dict[str, Any] | None:
    """Read what esummary tells of one series; None when it is no series."""
    accession = entry.get("accession") if isinstance(entry, dict) else None
    if not isinstance(accession, str) or not _SERIES.fullmatch(accession):
        return None
    row = {
        "accession": accession,
        "title": _text(entry.get("title")),
        "type": _text(entry.get("gdstype")),
        "samples": _count(entry.get("n_samples")),
        "platforms": ";".join(_platforms(entry.get("gpl"))) or None,
        "published": _day(entry.get("pdat")),
        "updated": None,
        "status": FOUND,
    }
    facts = [
        *row.values(),
        sorted(_platforms(entry.get("gpl"))),
        sorted(part.strip() for part in str(entry.get("suppfile", "")).split(",")),
        sorted(_samples(entry.get("samples"))),
    ]
    row["revision"] = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return row


def _samples(listed: Any) -> list[list[str]]:
    known = (
        [sample for sample in listed if isinstance(sample, dict)] if type(listed) is list else []
    )
    return [[str(sample.get("accession")), str(sample.get("title"))] for sample in known]


def _platforms(text: Any) -> list[str]:
    parts = [_PLATFORM.fullmatch(part.strip()) for part in str(text or "").split(";")]
    return [f"GPL{part[1]}" for part in parts if part is not None]


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    printable = "".join(mark if mark.isprintable() else " " for mark in value[: 4 * _MAX_TEXT])
    return " ".join(printable.split())[:_MAX_TEXT] or None


def _count(value: Any) -> int | None:
    text = str(value)
    in_digits = text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if in_digits and int(text) <= _MAX_SAMPLES else None


def _day(text: Any) -> str | None:
    try:
        return datetime.strptime(str(text), "%Y/%m/%d").date().isoformat()
    except ValueError:
        return None


def _is_recent(row: dict[str, Any], since: date) -> bool:
    days = [row["published"], row["updated"]]
    if row["changed"] is not None:
        days.append(datetime.fromtimestamp(row["changed"], UTC).date().isoformat())
    told = [day for day in days if day is not None]
    # What is not dated, as a broken file, is always shown.
    return row["published"] is None or max(told) >= since.isoformat()
