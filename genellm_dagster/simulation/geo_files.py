"""Writing what GEO serves: series matrices and platform annotation, in GEO's folders, gzipped."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genellm_dagster.files import atomic_path

_COMPRESSION = 6


def stub(accession: str) -> str:
    """Return GEO's folder of an accession: the last three digits become ``nnn``."""
    return f"{accession[:3]}{accession[3:][:-3]}nnn"


def matrix_path(root: Path, series: str) -> Path:
    """Return where a series matrix lies below a GEO root."""
    return root / "series" / stub(series) / series / "matrix" / f"{series}_series_matrix.txt.gz"


def annotation_path(root: Path, platform: str) -> Path:
    """Return where a platform's annotation lies below a GEO root."""
    return root / "platforms" / stub(platform) / platform / "annot" / f"{platform}.annot.gz"


def write_gzip(path: Path, lines: Iterable[str]) -> None:
    """Write lines as gzip without name or time, so that equal text gives equal bytes."""
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=_COMPRESSION, fileobj=raw, mtime=0) as packed,
    ):
        packed.write(("\n".join(lines) + "\n").encode("utf-8"))


def _quoted(values: Iterable[object]) -> str:
    return "\t".join(f'"{value}"' for value in values)


def write_series_matrix(
    path: Path,
    series: Sequence[tuple[str, str]],
    samples: Sequence[tuple[str, Sequence[str]]],
    ids: Sequence[str],
    values: np.ndarray,
    number_format: str,
) -> None:
    """Write a series matrix file.

    Args:
        path: The file, ``.txt.gz``.
        series: Header lines (``!Series_`` left out) and their values; a key may come repeatedly.
        samples: Sample lines (``!Sample_`` left out) with one value a sample; one of them is
            ``geo_accession``.
        ids: One ID_REF a row.
        values: Rows x samples; NaN is written as an empty cell.
        number_format: How a number is written, for instance ``%.4f``.
    """
    accessions = next(cells for key, cells in samples if key == "geo_accession")
    lines = [f"!Series_{key}\t{_quoted([value])}" for key, value in series]
    lines.append("")
    lines += [f"!Sample_{key}\t{_quoted(cells)}" for key, cells in samples]
    lines.append("!series_matrix_table_begin")
    lines.append(_quoted(["ID_REF", *accessions]))
    for name, row in zip(ids, values.tolist(), strict=True):
        cells = "\t".join("" if cell != cell else number_format % cell for cell in row)
        lines.append(f'"{name}"\t{cells}')
    lines.append("!series_matrix_table_end")
    write_gzip(path, lines)


def write_annotation(path: Path, platform: str, title: str, table: pd.DataFrame) -> None:
    """Write a platform's ``.annot.gz``.

    Args:
        path: The file.
        platform: Its GPL accession.
        title: Its title.
        table: Columns ``id``, ``symbol``, ``entrez``, strings; "" where a probe has none.
    """
    lines = [
        "^Annotation",
        f"!Annotation_platform = {platform}",
        f"!Annotation_platform_title = {title}",
        "!Annotation_platform_organism = Homo sapiens",
        "#ID = ID from Platform data table",
        "#Gene symbol = Entrez Gene symbol",
        "#Gene ID = Entrez Gene identifier",
        "!platform_table_begin",
        "ID\tGene symbol\tGene ID",
    ]
    rows = zip(table["id"], table["symbol"], table["entrez"], strict=True)
    lines += ["\t".join(row) for row in rows]
    lines.append("!platform_table_end")
    write_gzip(path, lines)
