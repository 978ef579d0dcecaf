"""Series matrix files: the samples of a series and, mostly, their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.compressed import prefetch, read_blocks
from genellm_dagster.geo.growing import text_bytes
from genellm_dagster.geo.header import parse_header, refuse_duplicates
from genellm_dagster.geo.numeric import read_numbers, unquote
from genellm_dagster.geo.options import MAX_DECOMPRESSED_BYTES

TABLE_BEGIN = b"!series_matrix_table_begin"
TABLE_END = b"!series_matrix_table_end"
ID_COLUMN = "ID_REF"
# The header of 100,000 samples with 40 fields stays far below this.
_MAX_HEADER_BYTES = 512 << 20


@dataclass(frozen=True)
class SeriesHeader:
    """What a series matrix says before its table.

    Attributes:
        series: Key without ``!Series_`` -> values, one a line.
        samples: One row a sample, see :func:`genellm_dagster.geo.header.parse_header`.
        has_values: Whether the table has rows; that of an RNA-seq series mostly has none.
    """

    series: dict[str, list[str]]
    samples: pd.DataFrame
    has_values: bool


@dataclass(frozen=True)
class SeriesMatrix:
    """A series matrix file.

    Attributes:
        series: Key without ``!Series_`` -> values, one a line.
        samples: One row a sample, in the order of the file.
        values: float32, index = ids as text (they may repeat), columns = gsm in the order of
            ``samples``, NaN = missing; None when the file holds its header only.
    """

    series: dict[str, list[str]]
    samples: pd.DataFrame
    values: pd.DataFrame | None


def read_series_header(
    path: Path, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> SeriesHeader:
    """Read what stands before the table of a series matrix file, and whether it has rows.

    Raises:
        GeoError: As :func:`read_series_matrix`, for what comes before the first row.
    """
    where = str(path)
    header, table = _split(read_blocks(path, max_decompressed_bytes), where)
    series, samples = parse_header(header, where)
    columns, rows = _table_columns(table, where)
    first = next(rows, b"")
    has_values = columns is not None and bool(first) and not first.startswith(TABLE_END)
    return SeriesHeader(series, samples, has_values)


def read_series_matrix(
    path: Path, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> SeriesMatrix:
    """Read a series matrix file, gzip or plain.

    Args:
        path: The file.
        max_decompressed_bytes: The largest content accepted.

    Raises:
        GeoError: When the file is truncated, damaged or HTML, has no samples or the same one
            twice, when its columns are not its samples, or a value is no number.
    """
    where = str(path)
    with prefetch(read_blocks(path, max_decompressed_bytes)) as blocks:
        header, table = _split(blocks, where)
        series, samples = parse_header(header, where)
        columns, rows = _table_columns(table, where)
        gsms = list(samples["gsm"])
        if columns is not None:
            _check_columns(columns, gsms, where)
        size = text_bytes(path)
        ids, values = read_numbers(rows, columns or gsms, where, TABLE_END, expected_bytes=size)
    if not ids:
        return SeriesMatrix(series, samples, None)
    frame = pd.DataFrame(
        values, index=pd.Index(ids, name=ID_COLUMN, dtype=object), columns=columns, copy=False
    )
    return SeriesMatrix(series, samples, frame if columns == gsms else frame[gsms])


def _split(blocks: Iterator[bytes], where: str) -> tuple[bytes, Iterator[bytes]]:
    """Return the header and, as blocks of whole lines, what follows the begin of the table."""
    held: list[bytes] = []
    size = 0
    for block in blocks:
        at = 0 if block.startswith(TABLE_BEGIN) else block.find(b"\n" + TABLE_BEGIN) + 1
        if at or block.startswith(TABLE_BEGIN):
            held.append(block[:at])
            rest = block[at:].partition(b"\n")[2]
            return b"".join(held), chain([rest] if rest else [], blocks)
        held.append(block)
        size += len(block)
        if size > _MAX_HEADER_BYTES:
            break
    raise GeoError(
        f"{where} is no whole series matrix file ({TABLE_BEGIN.decode()} is missing); fetch it "
        "again."
    )


def _table_columns(table: Iterator[bytes], where: str) -> tuple[list[str] | None, Iterator[bytes]]:
    """Return the names of the samples' columns (None without that line) and the rows."""
    block = next(table, b"")
    if not block:
        raise GeoError(
            f"{where} ends before its table does ({TABLE_END.decode()} is missing); the file is "
            "truncated, fetch it again."
        )
    if block.startswith(TABLE_END):
        return None, chain([block], table)
    line, _, rest = block.partition(b"\n")
    first, *columns = [unquote(cell) for cell in line.decode("utf-8", "replace").split("\t")]
    if first != ID_COLUMN:
        raise GeoError(
            f"{where}: the table starts with column {first!r} instead of {ID_COLUMN}; it is broken "
            "or off by a column, fetch the file again or report it to GEO."
        )
    return columns, chain([rest] if rest else [], table)


def _check_columns(columns: list[str], gsms: list[str], where: str) -> None:
    refuse_duplicates(columns, f"{where}: the first line of the table")
    without = [gsm for gsm in gsms if gsm not in set(columns)]
    unknown = [column for column in columns if column not in set(gsms)]
    if without or unknown:
        said = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for names, what in ((without, "without a column"), (unknown, "not among the samples"))
            if names
        ]
        raise GeoError(
            f"{where}: the columns of the table are not the samples of the header: "
            f"{'; '.join(said)}; fetch the file again or report it to GEO."
        )
