"""The series of a mirror in a folder, read from the headers of their matrix files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from genellm_dagster.errors import GeoError
from genellm_dagster.geo import addresses
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.matrix import SeriesHeader, read_series_header

_MATRIX = re.compile(r"(GSE\d+)(?:-GPL\d+)?_series_matrix\.txt\.gz", re.ASCII)
_SERIES = re.compile(r"GSE\d{1,12}", re.ASCII)
# The folders of a series whose files can become values or labels.
_PARTS = ("matrix", "rnaseq_counts", "soft", "suppl")


def walk(client: GeoClient) -> tuple[list[dict[str, Any]], list[str]]:
    """Describe every series of a mirror.

    Returns:
        One row a series as :func:`genellm_dagster.geo.catalog.search_series` gives them, with
        ``changed``: the newest time of change of its files, seconds, or None, and with ``status``
        for broken ones alone; and notes.

    Raises:
        GeoError: When there is no folder ``series``.
    """
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for group in client.list_folder("series"):
        if not group.startswith("GSE"):
            continue
        try:
            accessions = client.list_folder(f"series/{group}")
        except GeoError as error:
            notes.append(f"series/{group} was left out: {error}")
            continue
        rows += [
            _described(client, accession)
            for accession in accessions
            if _SERIES.fullmatch(accession) and addresses.stub(accession) == group
        ]
    return rows, notes


def _described(client: GeoClient, accession: str) -> dict[str, Any]:
    if client.folder is None:
        raise AssertionError("only a folder is walked")
    row: dict[str, Any] = dict.fromkeys(
        ("title", "type", "samples", "platforms", "published", "updated")
    )
    row["accession"] = accession
    row["revision"], row["changed"] = _revision(client.folder / addresses.series_folder(accession))
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


def _revision(folder: Path) -> tuple[str, float | None]:
    """Return a hash that changes when a file of the series does, and the newest change."""
    files: list[tuple[str, int, int]] = []
    for part in _PARTS:
        try:
            with os.scandir(folder / part) as entries:
                for entry in entries:
                    if entry.is_file():
                        status = entry.stat()
                        name = f"{part}/{entry.name}"
                        files.append((name, status.st_size, status.st_mtime_ns))
        except OSError:
            continue
    newest = max((changed / 1e9 for _, _, changed in files), default=None)
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest(), newest


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
        "published": _day(status.removeprefix("Public on ")),
        "updated": _day(next(iter(said.get("last_update_date", [])), None)),
    }


def _day(text: Any) -> str | None:
    try:
        return datetime.strptime(str(text), "%b %d %Y").date().isoformat()
    except ValueError:
        return None
