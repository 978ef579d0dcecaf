"""Tables of new samples as people have them: text, Parquet or AnnData, either way round.

The files are untrusted: sizes are looked at before anything is read whole, nothing in them is run,
and what they hold beside numbers and names is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genellm_dagster.errors import ExpressionError, GeoError
from genellm_dagster.expression.mapping import IdType
from genellm_dagster.expression.new_samples import gene_id_type
from genellm_dagster.geo.compressed import read_pieces
from genellm_dagster.geo.id_columns import as_ids
from genellm_dagster.geo.tabular import find_out, to_text
from genellm_dagster.geo.tabular_values import read_values
from genellm_dagster.workflows.sample_files import (
    MAX_BYTES,
    MAX_CELLS,
    RawTable,
    read_h5ad,
    read_parquet_table,
)

_TEXT = (".tsv", ".txt", ".tab", ".csv", ".tsv.gz", ".txt.gz", ".tab.gz", ".csv.gz")
_PARQUET, _H5AD = ".parquet", ".h5ad"
_MAX_SAMPLES = 20_000
_LONGEST_NAME = 200
# How a table is written shows in its beginning; a line may hold 60,000 genes.
_START_BYTES = 4 << 20
# Rows or columns that are genes have this share of known names, and so many times more of them.
_LEAST_KNOWN = 0.3
_TIMES_MORE = 3
_ENTREZ_NAME = re.compile(r"entrez|ncbi|gene_?id", re.IGNORECASE)
# Columns of numbers that stand beside the samples of a table of genes.
_BESIDE = re.compile(
    r"(gene_?|transcript_?)?(length|width|start|end|strand|chr(om(osome)?)?|gc(_?content)?)"
    r"|.*(detection|p[ ._-]?val|padj|\bfdr\b|std[ ._]?err|n_?beads|entrez|gene_?id).*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SampleTable:
    """New samples as a file holds them.

    Attributes:
        values: ids x samples, float32, NaN missing; ids may repeat.
        id_type: What the ids are.
        notes: What was found out, in sentences.
    """

    values: pd.DataFrame
    id_type: IdType
    notes: list[str]


def read_sample_table(path: Path) -> SampleTable:
    """Read a table of one or more samples.

    Args:
        path: Text (``.tsv``, ``.csv``, ``.txt``, ``.tab``; gzip or plain), ``.parquet`` or
            ``.h5ad``; genes x samples or samples x genes, genes by symbol, Ensembl id or (in a
            column that says so) Entrez id.

    Raises:
        ExpressionError: When the file is missing, too large, damaged or no such table, or when it
            cannot be told which way round it is.
    """
    name = path.name.lower()
    kind = next((end for end in (*_TEXT, _PARQUET, _H5AD) if name.endswith(end)), None)
    if kind is None:
        raise ExpressionError(
            f"{path} is none of {', '.join((*_TEXT[:4], _PARQUET, _H5AD))}; save the table as one."
        )
    if not path.is_file():
        raise ExpressionError(f"There is no file {path}; name the table of the new samples.")
    if path.stat().st_size > MAX_BYTES:
        raise ExpressionError(
            f"{path} is larger than {MAX_BYTES >> 30} GiB; score its samples in parts."
        )
    try:
        if kind == _H5AD:
            raw = read_h5ad(path)
        elif kind == _PARQUET:
            raw = read_parquet_table(path)
        else:
            raw = _read_text(path)
    except GeoError as error:
        raise ExpressionError(str(error)) from error
    return _the_right_way_round(raw, path)


def _read_text(path: Path) -> RawTable:
    return _parsed(to_text(b"".join(read_pieces(path, MAX_BYTES)), str(path)), path)


def _with_line_names(text: bytes, delimiter: str) -> bytes:
    """Name rows that have no name by the number of their line."""
    lines = text.removesuffix(b"\n").split(b"\n")
    return b"\n".join(
        f"line {number}{delimiter}".encode() + line for number, line in enumerate(lines, start=1)
    )


def _parsed(text: bytes, path: Path) -> RawTable:
    where = str(path)
    end = text.find(b"\n", _START_BYTES)
    start = text if end < 0 else text[:end]
    # Names of samples are not known here: the line of names is the last one above the numbers.
    written = find_out(start, lambda _: 0, where)
    if text.count(b"\n") * len(written.names) > MAX_CELLS:
        raise ExpressionError(
            f"{path} holds more than {MAX_CELLS:,} cells; score its samples in parts."
        )
    words = [place for place in range(len(written.names)) if place not in written.numeric]
    if 0 not in words and (not written.names[0] or _ENTREZ_NAME.search(written.names[0])):
        words = [0]  # row names, or ids, that are numbers
    shares = {place: _known(written.column(place), written.names[place])[1] for place in words}
    if not shares:
        return _parsed(_with_line_names(text, written.delimiter), path)
    chosen = max(shares, key=lambda place: (shares[place], -place))
    places = [place for place in written.numeric if place != chosen]
    ids, values, infinite = read_values(text, written, chosen, places, where)
    return RawTable(
        rows=ids,
        rows_name=written.names[chosen],
        columns=[written.names[place] for place in places],
        values=values,
        notes=[f"{infinite} infinite values count as missing"] if infinite else [],
    )


def _known(names: Sequence[str], heading: str = "") -> tuple[IdType, float]:
    bare = as_ids([name.strip() for name in names], "ensembl")
    return gene_id_type(bare, may_be_entrez=bool(_ENTREZ_NAME.search(heading)))


def _the_right_way_round(raw: RawTable, path: Path) -> SampleTable:
    """Turn a table so that genes are its rows."""
    row_type, in_rows = _known(raw.rows or [], raw.rows_name)
    column_type, in_columns = _known(raw.columns)
    if max(in_rows, in_columns) < _LEAST_KNOWN:
        first = next(iter(raw.rows or raw.columns), "")
        raise ExpressionError(
            f"{path} names genes neither in its rows (like {str(first)[:40]!r}) nor in its "
            "columns; name them by symbol or Ensembl id."
        )
    # By how many are known: samples called C1 to C9 are mostly genes, too.
    rows, columns = round(in_rows * len(raw.rows or [])), round(in_columns * len(raw.columns))
    if max(rows, columns) < _TIMES_MORE * min(rows, columns):
        raise ExpressionError(
            f"{path} seems to name genes in its rows ({rows} known) and in its columns "
            f"({columns}); give the samples names that are no genes."
        )
    turned = columns > rows
    if turned:
        id_type, ids, values = column_type, raw.columns, raw.values.T
        names = raw.rows or [f"line {number + 1}" for number in range(values.shape[1])]
        left: list[str] = []
    else:
        id_type, ids = row_type, raw.rows or []
        kept = [place for place, one in enumerate(raw.columns) if not _BESIDE.fullmatch(one)]
        left = [one for place, one in enumerate(raw.columns) if place not in set(kept)]
        names, values = [raw.columns[place] for place in kept], raw.values[:, kept]
    _check_names(names, path)
    table = pd.DataFrame(
        values, index=pd.Index(as_ids(ids, "ensembl"), dtype=object), columns=names, copy=False
    )
    notes = [
        f"{path.name}: {len(names)} samples in {'rows' if turned else 'columns'}, "
        f"{len(ids)} ids in {'columns' if turned else 'rows'}",
        *raw.notes,
    ]
    if left:
        notes.append(f"columns taken for no samples: {', '.join(left)}")
    return SampleTable(table, id_type, notes)


def _check_names(names: Sequence[str], path: Path) -> None:
    if not names or len(names) > _MAX_SAMPLES:
        raise ExpressionError(
            f"{path} holds {len(names)} samples, where 1 to {_MAX_SAMPLES:,} are taken; score them "
            "in parts."
        )
    bad = next((one for one in names if not one.strip() or len(one) > _LONGEST_NAME), None)
    if bad is not None:
        raise ExpressionError(
            f"{path} has a sample whose name is empty or longer than {_LONGEST_NAME} characters "
            f"({bad[:40]!r}); name each sample."
        )
