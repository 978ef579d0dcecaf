"""The table of one sample in a SOFT family file, and the tables of many put side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.numeric import MISSING, read_numbers, unquote

ID_COLUMN = "ID_REF"
VALUE_COLUMN = "VALUE"


@dataclass(frozen=True)
class SampleTable:
    """Values of one sample.

    Attributes:
        ids: Text, in the order of the table; the very object of the sample before when equal.
        values: float32, NaN = missing.
    """

    ids: pl.Series
    values: np.ndarray


def read_sample_table(
    table: bytes, gsm: str, where: str, before: pl.Series | None
) -> SampleTable | None:
    """Read the table of one sample.

    Args:
        table: Its line of names and its rows.
        gsm: The sample.
        where: The file, for sentences.
        before: The ids of the sample before.

    Returns:
        Ids and values; None when the table has no rows or no column of values.

    Raises:
        GeoError: When a row does not fit the names, or a value is no number.
    """
    line, _, rows = table.partition(b"\n")
    names = [unquote(cell) for cell in line.decode("utf-8", "replace").split("\t")]
    upper = [name.upper() for name in names]
    if VALUE_COLUMN not in upper or not rows.strip():
        return None
    if upper[0] != ID_COLUMN:
        raise GeoError(
            f"{where}: the table of {gsm} starts with column {names[0]!r} instead of {ID_COLUMN}; "
            "it is broken or off by a column, fetch the file again or report it to GEO."
        )
    place = upper.index(VALUE_COLUMN)
    read = _fast(rows, len(names), place, before)
    ids, values = read if read is not None else _slow(rows, len(names), place, gsm, where)
    if np.isinf(values).any():
        at = int(np.argmax(np.isinf(values)))
        raise GeoError(
            f"{where}: id {ids[at]!r} of sample {gsm} holds a number too large or infinite; "
            "correct the file or leave the series out."
        )
    if before is not None and ids is not before and before.equals(ids):
        ids = before
    return SampleTable(ids, values)


def stack_samples(tables: Mapping[str, SampleTable], where: str) -> pd.DataFrame | None:
    """Put the values of samples side by side, row by row of the same id.

    Args:
        tables: Sample -> its table.
        where: The file, for sentences.

    Returns:
        float32, ids x samples; None without samples. Samples whose ids differ are joined by id,
        missing where one lacks it.

    Raises:
        GeoError: When ids repeat and the samples do not list them in the same order.
    """
    if not tables:
        return None
    kinds: dict[int, pd.Index] = {}
    for table in tables.values():
        if id(table.ids) not in kinds:
            kinds[id(table.ids)] = _index(table.ids)
    first = next(iter(kinds))
    index = kinds[first]
    if len(kinds) > 1:
        for other in kinds.values():
            if other.has_duplicates:
                raise GeoError(
                    f"{where} repeats id {other[other.duplicated()][0]!r}, and its samples do not "
                    "list the same ids in the same order; which row is which cannot be told, leave "
                    "the series out."
                )
            index = index.union(other, sort=False)
    values = np.full((len(index), len(tables)), np.nan, dtype=np.float32)
    rows = {key: index.get_indexer(ids) for key, ids in kinds.items() if key != first}
    for column, table in enumerate(tables.values()):
        at = rows.get(id(table.ids))
        values[slice(len(table.values)) if at is None else at, column] = table.values
    return pd.DataFrame(values, index=index.rename(ID_COLUMN), columns=list(tables), copy=False)


def _index(ids: pl.Series) -> pd.Index:
    return pd.Index(ids.to_list(), name=ID_COLUMN, dtype=object)


def _fast(
    rows: bytes, n_columns: int, place: int, before: pl.Series | None
) -> tuple[pl.Series, np.ndarray] | None:
    names = [f"column_{number + 1}" for number in range(n_columns)]  # polars' own names
    id_name, value = names[0], names[place]
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(names, pl.String)
    schema[value] = pl.Float32
    frame = _frame(rows, schema, [id_name, value], list(MISSING))
    # A short row would be filled up with missing values: count what was really there.
    if frame is None or b'"' in rows or rows.count(b"\t") != frame.height * (n_columns - 1):
        return None
    ids = frame.get_column(id_name)
    if ids.null_count():  # an id may be called "NA"
        again = _frame(rows, schema, [id_name], [])
        if again is None or again.height != frame.height:
            return None
        ids = again.get_column(id_name)
    values = frame.get_column(value).to_numpy()
    if before is not None and before.equals(ids):
        return before, values
    return ids.str.strip_chars(), values


def _frame(
    rows: bytes, schema: dict[str, type[pl.DataType]], columns: list[str], missing: list[str]
) -> pl.DataFrame | None:
    try:
        return pl.read_csv(
            rows,
            has_header=False,
            separator="\t",
            quote_char=None,
            schema=schema,
            columns=columns,
            null_values=missing,
            empty_string_is_null=bool(missing),
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _slow(
    rows: bytes, n_columns: int, place: int, gsm: str, where: str
) -> tuple[pl.Series, np.ndarray]:
    lines = rows.decode("utf-8", "replace").split("\n")
    ids: list[str] = []
    kept: list[str] = []
    for line in lines:
        if not line or line.isspace():
            continue
        cells = line.split("\t")
        ids.append(unquote(cells[0]))
        if len(cells) != n_columns:
            raise GeoError(
                f"{where}: the row of id {ids[-1]!r} of sample {gsm} has {len(cells)} cells for "
                f"{n_columns} columns; the table is broken or off by a column, fetch the file "
                "again or report it to GEO."
            )
        kept.append(f"{cells[0]}\t{cells[place]}\n")
    names, values = read_numbers(["".join(kept).encode()], [gsm], where)
    return pl.Series("id", names, dtype=pl.String), values[:, 0]
