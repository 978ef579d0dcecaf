"""Platform tables: which gene a probe measures.

Reads the curated tables (``.annot.gz``), the submitters' own tables in GEO's full-table text (both
keep their table between ``!platform_table_begin`` and ``!platform_table_end``), and tables that
users wrote themselves.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import polars as pl

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.compressed import read_blocks, read_pieces
from genellm_dagster.geo.numeric import unquote
from genellm_dagster.geo.options import MAX_DECOMPRESSED_BYTES
from genellm_dagster.geo.tabular import to_text

TABLE_BEGIN = b"!platform_table_begin"
TABLE_END = b"!platform_table_end"
# Names seen in GEO's platform tables, best first, in lower case with only letters and digits.
_COLUMNS = {
    "symbol": (
        "genesymbol",
        "symbol",
        "genesymbols",
        "ilmngene",
        "hgncsymbol",
        "hugosymbol",
        "hugogenesymbol",
        "genesymbolhgnc",
        "approvedsymbol",
        "genename",
    ),
    "entrez": (
        "geneid",
        "entrezgeneid",
        "entrezgene",
        "entrezid",
        "entrez",
        "ncbigeneid",
        "locuslinkid",
    ),
    "ensembl": ("ensemblgeneid", "ensemblgene", "ensembl", "ensemblid", "ensgid"),
}
# Affymetrix exon and gene arrays: "accession // symbol // title // band // entrez /// ...".
_ASSIGNMENT = "geneassignment"
_MISSING = ["", "---", "NA", "null", "NULL", "Null"]


def read_platform_table(
    path: Path, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> pd.DataFrame:
    """Read a platform table.

    Args:
        path: A ``.annot.gz`` file or GEO's full table as text, gzip or plain.
        max_decompressed_bytes: The largest content accepted.

    Returns:
        Columns id, symbol, entrez, ensembl; text as it stands (``A///B`` is kept), missing = None.
        A column that the platform does not have is None throughout.

    Raises:
        GeoError: When the file is broken, has no table, or the table names no gene.
    """
    text = b"".join(read_blocks(path, max_decompressed_bytes))
    return parse_platform_table(_table(text, str(path)), str(path))


def parse_platform_table(table: bytes, where: str) -> pd.DataFrame:
    """Read a platform table that has been cut out of its file.

    Args:
        table: Its line of names and its rows, separated by tabs.
        where: The file, for sentences.

    Returns:
        As :func:`read_platform_table`.

    Raises:
        GeoError: When the table has no rows or names no gene.
    """
    names = [
        unquote(cell) for cell in table.partition(b"\n")[0].decode("utf-8", "replace").split("\t")
    ]
    places, assignment = _places(names, where)
    wanted = dict(places)
    if assignment is not None:
        wanted["assignment"] = assignment
    frame = read_text_columns(table, len(names), wanted, where)
    if frame.empty:
        raise GeoError(f"{where} has no rows in its platform table; fetch it again.")
    if assignment is not None:
        frame["symbol"] = frame["assignment"].map(lambda cell: _assigned(cell, 1))
        frame["entrez"] = frame["assignment"].map(lambda cell: _assigned(cell, 4))
    frame = frame.reindex(columns=["id", "symbol", "entrez", "ensembl"]).astype(object)
    return frame.where(frame.notna(), None)


def read_local_table(
    path: Path, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> pd.DataFrame:
    """Read a platform table that the user wrote, or saved from GEO.

    Args:
        path: Text, gzip or plain, separated by tabs, commas or semicolons; lines of comment start
            with ``#``, the first other line names the columns: id, and symbol, entrez or ensembl.
        max_decompressed_bytes: The largest content accepted.

    Returns:
        As :func:`read_platform_table`.

    Raises:
        GeoError: When the file is broken or its table names no gene.
    """
    text = to_text(b"".join(read_pieces(path, max_decompressed_bytes)), str(path))
    if text.startswith(TABLE_BEGIN) or b"\n" + TABLE_BEGIN in text:
        return parse_platform_table(_table(text, str(path)), str(path))
    lines = [line for line in text.decode().split("\n") if line.strip() and line[0] != "#"]
    first = lines[0] if lines else ""
    delimiter = max("\t,;", key=lambda sign: (first.count(sign), sign == "\t"))
    # A lone quote (5', 3") is a character like others where tabs separate.
    if delimiter == "\t":
        rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(lines, delimiter=delimiter)
    try:
        cells = ["\t".join(" ".join(cell.split()) for cell in row) for row in rows]
    except csv.Error as error:
        raise GeoError(f"{path} is no readable table ({error}); mend it.") from error
    return parse_platform_table("\n".join([*cells, ""]).encode(), str(path))


def read_text_columns(
    table: bytes, n_columns: int, places: Mapping[str, int], where: str
) -> pd.DataFrame:
    """Read some columns of a tab-separated table as text.

    Args:
        table: The table with its line of names; that line is skipped.
        n_columns: Number of its columns.
        places: Name to give -> position of the column. A column named ``id`` or ``entrez`` is
            read as it stands, in others GEO's words for missing become None.
        where: The file, for sentences.

    Raises:
        GeoError: When the table cannot be read.
    """
    names = [f"column_{place + 1}" for place in range(n_columns)]  # polars' own names
    try:
        frame = pl.read_csv(
            table,
            has_header=False,
            skip_rows=1,
            separator="\t",
            # Submitters' tables hold lone quotes (3", 5'): a quote is a character like others.
            quote_char=None,
            schema=dict.fromkeys(names, pl.String),
            columns=[names[place] for place in places.values()],
            truncate_ragged_lines=True,
            encoding="utf8-lossy",
        )
    except pl.exceptions.PolarsError as error:
        raise GeoError(
            f"{where} is no readable table ({str(error).splitlines()[0][:200]}); fetch it again."
        ) from error
    trimmed = frame.select(
        pl.col(names[place]).str.strip_chars().str.strip_chars('"').alias(name)
        for name, place in places.items()
    ).with_columns(
        pl.when(pl.col(name).is_in(["", "NA"] if name == "entrez" else _MISSING))
        .then(None)
        .otherwise(pl.col(name))
        .alias(name)
        for name in places
        if name != "id"
    )
    if "id" in places:
        trimmed = trimmed.filter(pl.col("id") != "")
    columns = {name: trimmed.get_column(name).to_list() for name in places}
    return pd.DataFrame(columns, dtype=object)


def _table(text: bytes, where: str) -> bytes:
    begin = 0 if text.startswith(TABLE_BEGIN) else text.find(b"\n" + TABLE_BEGIN) + 1
    if not begin and not text.startswith(TABLE_BEGIN):
        raise GeoError(
            f"{where} holds no platform table ({TABLE_BEGIN.decode()} is missing); check the "
            "platform's accession."
        )
    start = text.find(b"\n", begin) + 1
    end = text.find(b"\n" + TABLE_END, start - 1)
    if not start or end < 0:
        raise GeoError(
            f"{where} ends before its table does ({TABLE_END.decode()} is missing); the file is "
            "truncated, fetch it again."
        )
    return text[start : end + 1]


def _places(names: list[str], where: str) -> tuple[dict[str, int], int | None]:
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
    places: dict[str, int] = {}
    # Of columns that share a name the first is taken: in curated tables it is the gene's own.
    if "id" in plain:
        places["id"] = plain.index("id")
    for column, known in _COLUMNS.items():
        for name in known:
            if name in plain:
                places[column] = plain.index(name)
                break
    assignment = plain.index(_ASSIGNMENT) if _ASSIGNMENT in plain else None
    if "symbol" in places:
        assignment = None
    if "id" not in places or (len(places) == 1 and assignment is None):
        raise GeoError(
            f"{where} does not say which gene an id measures (columns {', '.join(names)[:300]}); "
            "no symbol, Entrez or Ensembl column was found, leave the cohort out or set another "
            "id_type."
        )
    return places, assignment


def _assigned(cell: str | None, part: int) -> str | None:
    if not isinstance(cell, str):
        return None
    found: dict[str, None] = {}
    for transcript in cell.split("///"):
        pieces = [piece.strip() for piece in transcript.split("//")]
        if len(pieces) > part and pieces[part] not in ("", "---"):
            found[pieces[part]] = None
    return "///".join(found) or None
