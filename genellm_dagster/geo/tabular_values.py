"""The numbers of a submitter's table, once it is known how the table is written."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.tabular import (
    COMMA_NUMBER,
    INFINITE,
    MISSING,
    NUMBER,
    THOUSANDS,
    Written,
)

_QUOTED = re.compile(rb'"[^"\n]*"')
_SIGNS = {".": "point", ",": "comma"}


def read_values(
    text: bytes, written: Written, id_place: int, places: Sequence[int], where: str
) -> tuple[list[str], np.ndarray, int]:
    """Read the ids and some columns of numbers.

    Args:
        text: What :func:`to_text` returned.
        written: What :func:`find_out` found.
        id_place: Position of the column of ids.
        places: Positions of the columns to read, in the order wanted.
        where: The file, for sentences.

    Returns:
        The ids as text, in the order of the file (they may repeat); float32 values, ids x places,
        missing as NaN; and how many were infinite (a log of zero) and are missing now.

    Raises:
        GeoError: For a row of another width, or a value that is no number (naming id and column).
    """
    start = 0
    for _ in range(written.body_at):
        start = text.index(b"\n", start) + 1
    body = text[start:]
    read = _fast(body, written, id_place, places)
    ids, values = read if read is not None else _slow(body, written, id_place, places, where)
    infinite = int(np.isinf(values).sum())
    if infinite:
        values = np.where(np.isinf(values), np.float32(np.nan), values)
    if "" in ids:  # blank rows, as Excel leaves them at the end of a sheet
        blank = np.array([not name for name in ids]) & np.isnan(values).all(axis=1)
        ids = [name for name, drop in zip(ids, blank, strict=True) if not drop]
        values = values[~blank]
    return ids, values, infinite


def _fast(
    body: bytes, written: Written, id_place: int, places: Sequence[int]
) -> tuple[list[str], np.ndarray] | None:
    if written.thousands or written.decimal == written.delimiter:
        return None
    names = [f"column_{number}" for number in range(len(written.names))]
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(names, pl.String)
    schema |= dict.fromkeys([names[place] for place in places], pl.Float32)
    wanted = [names[place] for place in places]
    frame = _frame(body, written, schema, wanted, list(MISSING))
    # Ids as they stand: one may be called "NA".
    ids = _frame(body, written, schema, [names[id_place]], [])
    bare = _QUOTED.sub(b"", body) if written.quotes and b'"' in body else body
    delimiters = bare.count(written.delimiter.encode())
    if (
        frame is None
        or ids is None
        or frame.height != ids.height
        # A short row would be filled up with missing values: count what was really there.
        or delimiters != frame.height * (len(names) - 1)
    ):
        return None
    values = np.ascontiguousarray(frame.select(wanted).to_numpy(), dtype=np.float32)
    return ids.get_column(names[id_place]).str.strip_chars().to_list(), values


def _frame(
    body: bytes,
    written: Written,
    schema: dict[str, type[pl.DataType]],
    columns: list[str],
    missing: list[str],
) -> pl.DataFrame | None:
    try:
        return pl.read_csv(
            body,
            has_header=False,
            separator=written.delimiter,
            quote_char='"' if written.quotes else None,
            schema=schema,
            columns=columns,
            null_values=missing,
            empty_string_is_null=bool(missing),
            decimal_comma=written.decimal == ",",
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _slow(
    body: bytes, written: Written, id_place: int, places: Sequence[int], where: str
) -> tuple[list[str], np.ndarray]:
    reader = csv.reader(
        io.StringIO(body.decode(), newline=""),
        delimiter=written.delimiter,
        quoting=csv.QUOTE_MINIMAL if written.quotes else csv.QUOTE_NONE,
    )
    ids: list[str] = []
    rows: list[list[float]] = []
    width = len(written.names)
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            while len(row) > width and not row[-1].strip():
                row.pop()
            if len(row) != width:
                raise GeoError(
                    f"{where}: the row of {row[0][:60]!r} has {len(row)} cells for {width} "
                    "columns; mend it in a copy of the file, or leave it out."
                )
            name = " ".join(row[id_place].split())
            ids.append(name)
            rows.append([_number(row[at], written, name, at, where) for at in places])
    except csv.Error as error:
        raise GeoError(f"{where} is no readable table ({error}); leave it out.") from error
    with np.errstate(over="ignore"):  # what overflows float32 is counted by the caller
        values = np.asarray(rows, dtype=np.float64).astype(np.float32)
    return ids, values.reshape(len(rows), len(places))


def _number(cell: str, written: Written, name: str, place: int, where: str) -> float:
    text = cell.strip()
    if text in MISSING:
        return float("nan")
    if written.decimal == "," and COMMA_NUMBER.fullmatch(text):
        text = text.replace(",", ".")
    elif written.thousands and THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    if NUMBER.fullmatch(text) is None and INFINITE.fullmatch(text) is None:
        raise GeoError(
            f"{where}: {name!r} of column {written.names[place]!r} holds {cell[:60]!r}, which is "
            f"no number (the table has a decimal {_SIGNS[written.decimal]}); correct it in a copy "
            "of the file, or leave it out."
        )
    return float(text)
