"""The start of each matrix file of a series: what is said of the samples, and the first ids.

Enough to propose how a series is read, at the cost of its header: a matrix of 100 MB is left after
its first rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from genellm_dagster.errors import GeoError
from genellm_dagster.geo import addresses
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.compressed import HtmlError
from genellm_dagster.geo.header import parse_header
from genellm_dagster.geo.http import MissingFileError
from genellm_dagster.geo.matrix import ID_COLUMN, TABLE_BEGIN, TABLE_END
from genellm_dagster.geo.numeric import unquote
from genellm_dagster.geo.places import counts_places, matrix_names, supplementary_names

_IDS = 500
# The header of 100,000 samples with 40 fields, and 500 rows of as many, stay below this.
_MAX_START_BYTES = 512 << 20
_COUNTS_ID = b"GeneID"


@dataclass(frozen=True)
class SeriesStart:
    """What one matrix file says before and at the start of its table.

    Attributes:
        series: Key without ``!Series_`` -> values, one a line.
        samples: One row a sample; see :mod:`genellm_dagster.geo.header`.
        ids: The first ids of the table, at most 500; empty when it has no rows.
        has_values: Whether the table has rows; that of an RNA-seq series mostly has none.
    """

    series: dict[str, list[str]]
    samples: pd.DataFrame
    ids: tuple[str, ...]
    has_values: bool

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platforms of the samples, sorted; mostly one, as GEO keeps one file for each."""
        return tuple(sorted(set(self.samples["platform"].dropna())))


@dataclass(frozen=True)
class SeriesStarts:
    """The starts of all matrix files of a series.

    Attributes:
        accession: The series.
        files: Name of the file -> its start, for those that could be read.
        problems: Name of the file -> why it could not be read.
        supplementary: Names of the submitter's own files.
        has_ncbi_counts: Whether NCBI has counted this series; looked up only when a file has no
            values.
    """

    accession: str
    files: dict[str, SeriesStart]
    problems: dict[str, str] = field(default_factory=dict)
    supplementary: tuple[str, ...] = ()
    has_ncbi_counts: bool = False


def read_series_starts(client: GeoClient, accession: str) -> SeriesStarts:
    """Read the start of each matrix file of a series; a broken file hides no other.

    Args:
        client: Where to read from.
        accession: The series.

    Raises:
        GeoError: When there is no such series, or GEO does not answer.
    """
    folder = addresses.matrix_folder(accession)
    files: dict[str, SeriesStart] = {}
    problems: dict[str, str] = {}
    for name in matrix_names(client, accession):
        try:
            with client.content(f"{folder}/{name}") as pieces:
                files[name] = read_start(pieces, name)
        except GeoError as error:
            problems[name] = str(error)
    header_only = any(not start.has_values for start in files.values())
    return SeriesStarts(
        accession=accession,
        files=files,
        problems=problems,
        supplementary=supplementary_names(client, accession),
        has_ncbi_counts=header_only and has_ncbi_counts(client, accession),
    )


def has_ncbi_counts(client: GeoClient, accession: str) -> bool:
    """Tell whether NCBI has a count table of the series, by reading its first bytes."""
    for place in counts_places(client, accession, addresses.counts_name(accession)):
        try:
            with client.content(place) as pieces:
                if next(pieces, b"").startswith(_COUNTS_ID):
                    return True
        except (MissingFileError, HtmlError):
            continue
    return False


def read_start(pieces: Iterator[bytes], where: str) -> SeriesStart:
    """Read the start of a series matrix from pieces of its content, and no more of them.

    Args:
        pieces: The content, decompressed, cut anywhere.
        where: The file, for sentences.

    Raises:
        GeoError: When the header is broken or missing, or the table does not start as one.
    """
    text = bytearray()
    begin = rows = -1
    for piece in pieces:
        seen = max(0, len(text) - len(TABLE_BEGIN) - 1)
        text += piece
        if begin < 0:
            begin = _line_start(text, TABLE_BEGIN, seen)
            seen = begin
        if begin >= 0:
            rows = text.count(b"\n", begin)
            if rows > _IDS + 2 or _line_start(text, TABLE_END, max(seen, 0)) >= 0:
                break
        if len(text) > _MAX_START_BYTES:
            break
    if begin < 0:
        raise GeoError(
            f"{where} is no whole series matrix file ({TABLE_BEGIN.decode()} is missing); fetch it "
            "again."
        )
    series, samples = parse_header(bytes(text[:begin]).replace(b"\r\n", b"\n"), where)
    ids, ended = _first_ids(bytes(text[begin:]), where)
    if not ended and len(ids) < _IDS:
        raise GeoError(
            f"{where} ends before its table does ({TABLE_END.decode()} is missing after "
            f"{len(ids)} rows); the file is truncated, fetch it again."
        )
    return SeriesStart(series, samples, tuple(ids[:_IDS]), bool(ids))


def _line_start(text: bytearray, mark: bytes, start: int) -> int:
    """Return where a line that begins with ``mark`` starts, or -1."""
    if start == 0 and text.startswith(mark):
        return 0
    at = text.find(b"\n" + mark, start)
    return at + 1 if at >= 0 else -1


def _first_ids(table: bytes, where: str) -> tuple[list[str], bool]:
    lines = re.split(rb"\r?\n", table)[1:]
    whole, ended = lines[:-1], False
    marks = [n for n, line in enumerate(lines) if line.startswith(TABLE_END)]
    if marks:
        whole, ended = lines[: marks[0]], True
    names = [
        unquote(line.partition(b"\t")[0].decode("utf-8", "replace"))
        for line in whole
        if line and not line.isspace()
    ]
    if names and names[0] != ID_COLUMN:
        raise GeoError(
            f"{where}: the table starts with column {names[0]!r} instead of {ID_COLUMN}; it is "
            "broken or off by a column, fetch the file again or report it to GEO."
        )
    return names[1:], ended
