"""The numeric block of GEO's tables: an id and one number a sample, separated by tabs.

Blocks of whole lines are parsed by polars; what polars cannot read is read again line by line,
either to understand it after all or to say which id and which sample is wrong.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn

import numpy as np
import polars as pl

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.growing import GrowingTable

#: What GEO's submitters write for a value that is missing.
MISSING = ("NA", "null", "NULL", "Null", "")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_A_NUMBER = re.compile(r"[+-]?nan", re.IGNORECASE)
_QUOTED = re.compile(rb'\t"([^"\t\n]*)"(?=[\t\n]|\Z)')
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
# Blocks parsed at once: what polars does in one thread is filled by the other block.
_PARSERS = 2
_Parsed = tuple[list[str], np.ndarray]


def unquote(cell: str) -> str:
    """Return a cell without surrounding white space and quotes; doubled quotes inside are one."""
    cell = cell.strip()
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        cell = cell[1:-1].replace('""', '"').strip()
    return cell


def read_numbers(
    blocks: Iterable[bytes],
    columns: Sequence[str],
    where: str,
    end_mark: bytes | None = None,
    expected_bytes: int = 0,
) -> tuple[list[str], np.ndarray]:
    """Read rows of an id and one number a column.

    Args:
        blocks: Whole lines, without the line of column names.
        columns: Names of the numeric columns, unique.
        where: The file, for sentences.
        end_mark: The line that ends the table; without it the table ends with the file.
        expected_bytes: About how many bytes the blocks hold, to make room for their numbers once.

    Returns:
        The ids, as text and in the order of the file (they may repeat), and a float32 array of
        shape (rows, columns), missing values as NaN.

    Raises:
        GeoError: For a row with too few or too many values, a value that is no finite number
            (naming id and column), or a missing ``end_mark``.
    """
    parser = _Parser(columns, where)
    ids: list[str] = []
    table = GrowingTable(len(columns))
    rows = _Rows(blocks, end_mark)

    def take(parsed: _Parsed, size: int) -> None:
        names, values = parsed
        ids.extend(names)
        table.add(values, expected_rows=expected_bytes / size * len(names))

    with ThreadPoolExecutor(_PARSERS, thread_name_prefix="geo-read") as pool:
        coming: deque[tuple[Future[_Parsed], int]] = deque()
        for text in rows:
            if not ids:  # most tables of one sample are one block
                take(parser.parse(text), len(text))
                continue
            coming.append((pool.submit(parser.parse, text), len(text)))
            if len(coming) > _PARSERS:
                future, size = coming.popleft()
                take(future.result(), size)
        for future, size in coming:
            take(future.result(), size)
    if not rows.ended and end_mark is not None:
        raise GeoError(
            f"{where} ends before its table does ({end_mark.decode()} is missing after "
            f"{len(ids):,} rows); the file is truncated, fetch it again."
        )
    return ids, table.whole()


class _Rows:
    """The blocks of a table up to its end mark; ``ended`` tells, afterwards, whether it was met."""

    def __init__(self, blocks: Iterable[bytes], end_mark: bytes | None) -> None:
        self._blocks = iter(blocks)
        self._end_mark = end_mark
        self.ended = end_mark is None

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            text = block if self._end_mark is None else self._before_end(block, self._end_mark)
            if text and not text.isspace():
                yield text
            if self.ended and self._end_mark is not None:
                for _ in self._blocks:  # to the last byte: the rest of the file must be sound, too
                    pass

    def _before_end(self, block: bytes, end_mark: bytes) -> bytes:
        if end_mark[:1] not in block:  # one byte is looked for at many times the speed
            return block
        at = 0 if block.startswith(end_mark) else block.find(b"\n" + end_mark) + 1
        if not at and not block.startswith(end_mark):
            return block
        self.ended = True
        return block[:at]


class _Parser:
    def __init__(self, columns: Sequence[str], where: str) -> None:
        self._columns = list(columns)
        self._where = where
        # Positions, not the file's names: a sample may not be called like the id column.
        self._names = [f"value_{position}" for position in range(len(self._columns))]
        self._schema: dict[str, type[pl.DataType]] = {"id": pl.String}
        self._schema |= dict.fromkeys(self._names, pl.Float32)
        # Each word that polars looks for in every cell costs time: only those that were met.
        self._missing: list[str] = []

    def parse(self, text: bytes) -> _Parsed:
        parsed = self._parse_fast(text)
        if parsed is None:
            parsed = self._parse_slowly(text)
        ids, values = parsed
        if np.isinf(values).any():
            row, column = np.argwhere(np.isinf(values))[0]
            self._refuse(ids[row], int(column), "a number too large or infinite")
        return ids, values

    def _parse_fast(self, text: bytes) -> _Parsed | None:
        frame = self._frame(text)
        if frame is None and (met := [w for w in MISSING if w and w.encode() in text]):
            self._missing = sorted({*self._missing, *met})
            frame = self._frame(text)
        if frame is None and b'\t"' in text:
            frame = self._frame(_QUOTED.sub(rb"\t\1", text))
        # A short row would be filled up with missing values: count what was really there.
        if frame is None or _count(text, b"\t") != frame.height * len(self._columns):
            return None
        names = frame.get_column("id")
        if names.null_count():
            # "NA" may be an id, and a missing value in no id: ids are taken as they stand.
            ids = [unquote(line.split("\t", 1)[0]) for line in _lines(text)]
            if len(ids) != frame.height:
                return None
        else:
            ids = [unquote(name) for name in names.to_list()]
        # Columns by place: to select eight hundred by name takes longer than to copy them.
        values = frame[:, 1:].to_numpy(order="fortran")
        return ids, values if values.dtype == np.float32 else values.astype(np.float32)

    def _frame(self, text: bytes) -> pl.DataFrame | None:
        try:
            return pl.read_csv(
                text,
                has_header=False,
                separator="\t",
                # Polars panics on a lone quote, and would let one swallow the rows behind it.
                quote_char=None,
                schema=self._schema,
                null_values=self._missing,
            )
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return None

    def _parse_slowly(self, text: bytes) -> _Parsed:
        ids: list[str] = []
        rows: list[list[float]] = []
        for line in _lines(text):
            name, *cells = [unquote(cell) for cell in line.split("\t")]
            if len(cells) != len(self._columns):
                raise GeoError(
                    f"{self._where}: the row of id {name!r} has {len(cells)} values for "
                    f"{len(self._columns)} samples; the table is broken or off by a column, fetch "
                    "the file again or report it to GEO."
                )
            ids.append(name)
            rows.append([self._number(name, place, cell) for place, cell in enumerate(cells)])
        with np.errstate(over="ignore"):  # what overflows float32 is refused by the caller
            values = np.asarray(rows, dtype=np.float64).astype(np.float32)
        return ids, values.reshape(len(rows), len(self._columns))

    def _number(self, name: str, place: int, cell: str) -> float:
        if cell in MISSING or _NOT_A_NUMBER.fullmatch(cell):
            return float("nan")
        if _NUMBER.fullmatch(cell) is None:
            comma = _DECIMAL_COMMA.fullmatch(cell) is not None
            self._refuse(name, place, f"{cell[:60]!r}" + (" (a decimal comma)" if comma else ""))
        return float(cell)

    def _refuse(self, name: str, place: int, what: str) -> NoReturn:
        raise GeoError(
            f"{self._where}: id {name!r} of sample {self._columns[place]} holds {what}, which is "
            "no number; correct the file or leave the series out."
        )


def _count(text: bytes, byte: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == byte[0]))


def _lines(text: bytes) -> list[str]:
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        decoded = text.decode("latin-1")
    return [line for line in decoded.split("\n") if line and not line.isspace()]
