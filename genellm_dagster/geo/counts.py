"""NCBI's own RNA-seq count tables and the gene table that goes with them.

Source: https://www.ncbi.nlm.nih.gov/geo/info/rnaseqcounts.html.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.compressed import prefetch, read_blocks
from genellm_dagster.geo.growing import text_bytes
from genellm_dagster.geo.header import refuse_duplicates
from genellm_dagster.geo.numeric import read_numbers, unquote
from genellm_dagster.geo.options import MAX_DECOMPRESSED_BYTES
from genellm_dagster.geo.platform import read_text_columns

ID_COLUMN = "GeneID"


def read_rnaseq_counts(
    path: Path, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> pd.DataFrame:
    """Read a raw count table.

    Returns:
        Counts as float32, index = Entrez gene id as text, columns = gsm.

    Raises:
        GeoError: When the file is broken, is no count table, names a sample or gene twice, or
            holds a negative or non-numeric value.
    """
    where = str(path)
    with prefetch(read_blocks(path, max_decompressed_bytes)) as blocks:
        line, _, rest = next(blocks, b"").partition(b"\n")
        first, *columns = [unquote(cell) for cell in line.decode("utf-8", "replace").split("\t")]
        if first != ID_COLUMN or not columns:
            raise GeoError(
                f"{where} is no count table of NCBI (its first column is {first[:60]!r}, not "
                f"{ID_COLUMN}); fetch it again."
            )
        refuse_duplicates(columns, f"{where}: the first line")
        rows, size = chain([rest] if rest else [], blocks), text_bytes(path)
        ids, values = read_numbers(rows, columns, where, expected_bytes=size)
    if not ids:
        raise GeoError(f"{where} holds no gene; fetch it again.")
    if (values < 0).any():
        row, column = np.argwhere(values < 0)[0]
        raise GeoError(
            f"{where}: gene {ids[row]} of sample {columns[column]} has a negative count; the "
            "table holds no raw counts, leave the series out."
        )
    index = pd.Index(ids, name=ID_COLUMN, dtype=object)
    if index.has_duplicates:
        raise GeoError(
            f"{where} names gene {index[index.duplicated()][0]} more than once; fetch it again."
        )
    return pd.DataFrame(values, index=index, columns=columns, copy=False)


def read_count_annotation(
    path: Path, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> pd.DataFrame:
    """Read the gene table of NCBI's counts.

    Returns:
        Columns entrez, symbol, ensembl; text, missing = None.

    Raises:
        GeoError: When the file is broken or lacks GeneID or Symbol.
    """
    text = b"".join(read_blocks(path, max_decompressed_bytes))
    names = [unquote(cell) for cell in _first_line(text).split("\t")]
    wanted = {"entrez": "GeneID", "symbol": "Symbol", "ensembl": "EnsemblGeneID"}
    places = {new: names.index(old) for new, old in wanted.items() if old in names}
    if not {"entrez", "symbol"} <= set(places):
        raise GeoError(
            f"{path} is no gene table of NCBI's counts (columns {', '.join(names)[:200]}); "
            "fetch it again."
        )
    table = read_text_columns(text, len(names), places, str(path))
    return table.reindex(columns=list(wanted)).astype(object)


def _first_line(text: bytes) -> str:
    return text.partition(b"\n")[0].decode("utf-8", "replace")
