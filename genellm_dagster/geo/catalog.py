"""The series that a study's search finds.

Over http(s) NCBI's E-utilities answer (https://www.ncbi.nlm.nih.gov/books/NBK25499/); a root that
is a folder cannot be searched, so all of its series are listed.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import Any

import pandas as pd

from genellm_dagster.errors import GeoError
from genellm_dagster.geo import addresses
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.matrix import SeriesHeader, read_series_header
from genellm_dagster.studies.study import Study

COLUMNS = ["accession", "title", "type", "samples", "platforms", "published", "updated", "status"]
FOUND = "found"
_HUMAN_SERIES = '"Homo sapiens"[Organism] AND gse[ETYP]'
_MATRIX = re.compile(r"(GSE\d+)(?:-GPL\d+)?_series_matrix\.txt\.gz", re.ASCII)
_SERIES = re.compile(r"GSE\d+", re.ASCII)


def search_series(client: GeoClient, study: Study, since: date | None = None) -> pd.DataFrame:
    """Find the series of a study.

    Args:
        client: Over http(s) its ``eutils`` are asked; a folder is walked, reading headers only.
        study: Its ``search`` is the question, in Entrez's words. A folder answers none: all of
            its series are listed.
        since: Only series published on this day or later.

    Returns:
        One row a series, sorted by accession number: accession, title, type, samples (Int64),
        platforms (joined by ``;``), published and updated (ISO dates or None; E-utilities do not
        tell ``updated``), status: ``found``, or ``unreadable: why`` for a broken file of a folder.

    Raises:
        GeoError: When the search is refused or cannot be asked.
    """
    rows = _walk(client) if client.folder is not None else _ask(client, study, since)
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"samples": "Int64"})
    if since is not None:
        recent = table["published"].isna() | (table["published"] >= since.isoformat())
        table = table[recent]
    order = table["accession"].str.removeprefix("GSE").astype(int)
    return table.loc[order.sort_values().index].reset_index(drop=True)


def search_term(study: Study, since: date | None = None) -> str:
    """Return the term sent to esearch: the study's search among human series."""
    term = f"({study.search}) AND {_HUMAN_SERIES}"
    if since is not None:
        term += f' AND ("{since:%Y/%m/%d}"[PDAT] : "3000"[PDAT])'
    return term


def _ask(client: GeoClient, study: Study, since: date | None) -> list[dict[str, Any]]:
    if not study.search.strip():
        raise GeoError(f"the study {study.name} has no search; write one in its study file.")
    found = _entrez(
        client,
        "esearch.fcgi",
        {"term": search_term(study, since), "usehistory": "y", "retmax": "0"},
    ).get("esearchresult", {})
    try:
        count = int(found["count"])
        history = {"WebEnv": str(found["webenv"]), "query_key": str(found["querykey"])}
    except (KeyError, TypeError, ValueError) as error:
        reason = found.get("ERROR", "no count") if isinstance(found, dict) else "no result"
        raise GeoError(
            f"NCBI cannot answer the search of the study {study.name} ({str(reason)[:200]}); "
            "correct its search."
        ) from error
    rows: dict[str, dict[str, Any]] = {}
    for start in range(0, count, client.options.page_size):
        page = _entrez(
            client,
            "esummary.fcgi",
            {**history, "retstart": str(start), "retmax": str(client.options.page_size)},
        ).get("result")
        if not isinstance(page, dict) or not page.get("uids"):
            raise GeoError(
                f"NCBI's answer breaks off after {start:,} of {count:,} series of the study "
                f"{study.name}; try again later."
            )
        for uid in page["uids"]:
            row = _summary(page.get(uid, {}))
            if row is not None:
                rows[row["accession"]] = row
    return list(rows.values())


def _entrez(client: GeoClient, program: str, question: dict[str, str]) -> dict[str, Any]:
    options = client.options
    form = {"db": "gds", "retmode": "json", "tool": options.tool, **question}
    if options.email:
        form["email"] = options.email
    if options.api_key is not None:
        # In the body of a POST, never in an address: addresses end up in logs and errors.
        form["api_key"] = options.api_key.get_secret_value()
    address = f"{options.eutils.rstrip('/')}/{program}"
    text = client.http.text(address, form=form)
    try:
        answer = json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        raise GeoError(
            f"{address} answers with something else than JSON ({error}); try again later."
        ) from error
    if not isinstance(answer, dict) or "error" in answer:
        reason = answer.get("error") if isinstance(answer, dict) else type(answer).__name__
        raise GeoError(f"{address} refuses the question ({str(reason)[:200]}); try again later.")
    return answer


def _summary(entry: Any) -> dict[str, Any] | None:
    accession = str(entry.get("accession", "")) if isinstance(entry, dict) else ""
    if not _SERIES.fullmatch(accession):
        return None
    platforms = [part.strip() for part in str(entry.get("gpl", "")).split(";") if part.strip()]
    samples = str(entry.get("n_samples", ""))
    return {
        "accession": accession,
        "title": entry.get("title") or None,
        "type": entry.get("gdstype") or None,
        "samples": int(samples) if samples.isdigit() else None,
        "platforms": ";".join(f"GPL{part.removeprefix('GPL')}" for part in platforms) or None,
        "published": _day(entry.get("pdat"), "%Y/%m/%d"),
        "updated": None,
        "status": FOUND,
    }


def _walk(client: GeoClient) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for group in client.list_folder("series"):
        if not group.startswith("GSE"):
            continue
        rows += [
            _described(client, accession)
            for accession in client.list_folder(f"series/{group}")
            if _SERIES.fullmatch(accession) and addresses.stub(accession) == group
        ]
    return rows


def _described(client: GeoClient, accession: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"accession": accession, "status": FOUND}
    if client.folder is None:
        raise AssertionError("only a folder is walked")
    try:
        folder = addresses.matrix_folder(accession)
        names = [name for name in client.list_folder(folder) if _MATRIX.fullmatch(name)]
        if not names:
            raise GeoError("it has no series matrix file")
        limit = client.options.max_decompressed_bytes
        headers = [read_series_header(client.folder / folder / name, limit) for name in names]
    except GeoError as error:
        # One broken series must not hide the others; the catalogue says which and why.
        return row | {"status": f"unreadable: {error}"}
    return row | _from_headers(headers)


def _from_headers(headers: list[SeriesHeader]) -> dict[str, Any]:
    said = headers[0].series
    gsms = {gsm for header in headers for gsm in header.samples["gsm"]}
    platforms = {gpl for header in headers for gpl in header.samples["platform"].dropna()}
    status = " ".join(said.get("status", []))
    return {
        "title": " ".join(said.get("title", [])) or None,
        "type": ";".join(dict.fromkeys(said.get("type", []))) or None,
        "samples": len(gsms),
        "platforms": ";".join(sorted(platforms)) or None,
        "published": _day(status.removeprefix("Public on "), "%b %d %Y"),
        "updated": _day(next(iter(said.get("last_update_date", [])), None), "%b %d %Y"),
    }


def _day(text: Any, pattern: str) -> str | None:
    try:
        return datetime.strptime(str(text), pattern).date().isoformat()
    except ValueError:
        return None
