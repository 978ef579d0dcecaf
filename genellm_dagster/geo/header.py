"""The header of a series matrix file: what it says about the series and its samples.

Rows of characteristics are only loosely aligned: the same row may hold the age of one sample and
the sex of the next (seandavi/GEOquery issues 25 and 109), so the key is read in every cell.
"""

from __future__ import annotations

import csv

import pandas as pd

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.numeric import unquote

NO_KEY = "(no key)"
#: Columns of ``samples`` and the header lines they are read from.
FIELDS = {
    "gsm": "geo_accession",
    "title": "title",
    "source_name": "source_name_ch1",
    "organism": "organism_ch1",
    "platform": "platform_id",
    "description": "description",
}
_CHARACTERISTICS = {
    "characteristics_ch1": "characteristics",
    "characteristics_ch2": "characteristics ch2",
}
_JOIN = " | "


def parse_header(header: bytes, where: str) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Read the header of a series matrix.

    Args:
        header: Everything before ``!series_matrix_table_begin``.
        where: The file, for sentences.

    Returns:
        What is said of the series (key without ``!Series_`` -> values), and ``samples``: one row a
        sample with gsm, title, source_name, organism, platform, description, and one column a
        characteristic, ``characteristics: <key in lower case>``. All text; missing is None.

    Raises:
        GeoError: When there are no samples, a sample appears twice, or a row does not fit them.
    """
    series: dict[str, list[str]] = {}
    rows: list[tuple[str, str]] = []
    for line in _logical_lines(header):
        key, _, rest = line.partition("\t")
        if key.startswith("!Series_"):
            series.setdefault(key.removeprefix("!Series_").strip(), []).append(
                _JOIN.join(unquote(cell) for cell in rest.split("\t"))
            )
        elif key.startswith("!Sample_"):
            rows.append((key.removeprefix("!Sample_").strip(), rest))
    gsms = _accessions(rows, series, where)
    described: dict[str, list[list[str]]] = {}
    for key, rest in rows:
        if is_used(key):
            described.setdefault(key, []).append(_cells(key, rest, len(gsms), where))
    return series, samples_table(gsms, described, series)


def is_used(key: str) -> bool:
    """Tell whether a line ``!Sample_<key>`` becomes part of the samples table."""
    return key in FIELDS.values() or key in _CHARACTERISTICS


def samples_table(
    gsms: list[str], described: dict[str, list[list[str]]], series: dict[str, list[str]]
) -> pd.DataFrame:
    """Build the samples table; see :func:`parse_header`.

    Args:
        gsms: The samples.
        described: Key without ``!Sample_`` -> its lines, each with one cell a sample.
        series: What is said of the series; its only platform is that of samples that name none.
    """
    columns: dict[str, list[str | None]] = {
        column: _joined(described.get(key, []), len(gsms)) for column, key in FIELDS.items()
    }
    columns["gsm"] = list(gsms)
    platforms = series.get("platform_id", [])
    if len(platforms) == 1:
        columns["platform"] = [value or platforms[0] for value in columns["platform"]]
    for key, prefix in _CHARACTERISTICS.items():
        columns |= _characteristics(described.get(key, []), prefix, len(gsms))
    return pd.DataFrame(columns, dtype=object)


def _logical_lines(header: bytes) -> list[str]:
    """Join what line ends inside quotes, or in the middle of a row, have torn apart."""
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError:
        text = header.decode("latin-1")
    lines: list[str] = []
    for line in text.replace("\r", " ").split("\n"):
        if line.startswith(("!", "^", "#")) or not lines:
            lines.append(line)
        elif line.strip():
            before = lines[-1]
            inside_quotes = before.count('"') % 2 == 1
            between_tabs = before.endswith("\t") or line.startswith("\t")
            lines[-1] = before + (" " if inside_quotes else "" if between_tabs else "\t") + line
    return lines


def _accessions(rows: list[tuple[str, str]], series: dict[str, list[str]], where: str) -> list[str]:
    found = [rest for key, rest in rows if key == FIELDS["gsm"]]
    gsms = [unquote(cell) for cell in found[0].split("\t")] if found else []
    gsms = gsms if any(gsms) else []
    if not gsms:
        parts = [text for text in series.get("relation", []) if text.startswith("SuperSeries of")]
        hint = (
            f" It is a SuperSeries: name its parts instead ({', '.join(parts)[:300]})."
            if parts
            else " If it is a SuperSeries, name the series it is made of instead."
        )
        raise GeoError(f"{where} holds no samples (no !Sample_geo_accession line).{hint}")
    if "" in gsms:
        raise GeoError(
            f"{where}: sample {gsms.index('') + 1} of !Sample_geo_accession has no accession; "
            "fetch the file again or report it to GEO."
        )
    refuse_duplicates(gsms, f"{where}: !Sample_geo_accession")
    return gsms


def refuse_duplicates(gsms: list[str], where: str) -> None:
    """Raise GeoError when a sample accession appears twice."""
    seen: set[str] = set()
    twice = sorted({gsm for gsm in gsms if gsm in seen or seen.add(gsm)})  # type: ignore[func-returns-value]
    if twice:
        raise GeoError(
            f"{where} names {', '.join(twice[:5])} more than once ({len(twice)} duplicate sample "
            "ids); correct the file or fetch it again."
        )


def _cells(key: str, rest: str, n_samples: int, where: str) -> list[str]:
    cells = [unquote(cell) for cell in rest.split("\t")]
    if len(cells) != n_samples:  # a tab inside quotes
        cells = [cell.strip() for cell in next(csv.reader([rest], delimiter="\t"), [])]
    while len(cells) > n_samples and not cells[-1]:
        cells.pop()
    if len(cells) != n_samples:
        raise GeoError(
            f"{where}: the line !Sample_{key} has {len(cells)} values for {n_samples} samples, so "
            "it cannot be told whose they are; fetch the file again or report it to GEO."
        )
    return cells


def _joined(rows: list[list[str]], n_samples: int) -> list[str | None]:
    if not rows:
        return [None] * n_samples
    return [_JOIN.join(filter(None, cells)) or None for cells in zip(*rows, strict=True)]


def _characteristics(
    rows: list[list[str]], prefix: str, n_samples: int
) -> dict[str, list[str | None]]:
    columns: dict[str, list[str | None]] = {}
    for row in rows:
        for sample, cell in enumerate(row):
            if not cell:
                continue
            key, colon, value = cell.partition(":")
            key, value = (" ".join(key.lower().split()), value.strip()) if colon else ("", cell)
            if not value:
                continue
            column = columns.setdefault(f"{prefix}: {key or NO_KEY}", [None] * n_samples)
            before = column[sample]
            column[sample] = value if before is None else before + _JOIN + value
    return columns
