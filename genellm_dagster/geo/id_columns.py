"""Which column of a submitter's table holds the ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from genellm_dagster.errors import GeoError

IdType = Literal["probe", "symbol", "entrez", "ensembl"]

# ENSG00000141510, with its version, or with more behind it: ENSG00000141510.17_TP53.
_ENSEMBL = re.compile(r"(ENSG\d{6,15}(?:\.\d+)?)(?:[^0-9A-Za-z.].*|)", re.IGNORECASE | re.DOTALL)
_ENTREZ = re.compile(r"[1-9]\d{0,9}")
_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9.\-@]{0,25}|\d{1,2}-[A-Z][a-z]{2}")
_NO_SYMBOL = re.compile(r"(ENS[A-Z]*\d{6}|[NX][MRP]_\d|chr[\dXYM]|uc\d{3}|ILMN_)", re.IGNORECASE)
# Names of columns, best first.
_NAMES: dict[str, tuple[str, ...]] = {
    "probe": (r"id_?ref", r"probe", r"id$", r"ilmn", r"feature", r"array", r"$"),
    "symbol": (r".*symbol", r"gene_?name", r"genes?$", r"hgnc", r"name$", r"$", r"id"),
    "entrez": (r".*entrez", r"ncbi", r"gene_?id$", r"locus", r"$", r"gene", r"id"),
    "ensembl": (r".*ens", r"gene_?id$", r"$"),
}
_ENOUGH = {"probe": 0.95, "symbol": 0.7, "entrez": 0.9, "ensembl": 0.5}
_LEAST_DISTINCT = 0.1
_SHOWN = 6


def choose_id_column(
    names: Sequence[str], columns: Mapping[int, Sequence[str]], id_type: IdType, where: str
) -> int:
    """Return the position of the column whose cells are ids of the type that the cohort says.

    Args:
        names: The line of names.
        columns: Position -> first cells of the columns that are no sample.
        id_type: What the ids of the cohort are.
        where: The file, for sentences.

    Raises:
        GeoError: When no column holds such ids.
    """
    fitting = [place for place in columns if _share(columns[place], id_type) >= _ENOUGH[id_type]]
    if not fitting:
        seen = [
            f"{names[place] or 'column ' + str(place + 1)!r} like {_first(columns[place])!r}"
            for place in list(columns)[:_SHOWN]
        ]
        raise GeoError(
            f"{where} has no column of {id_type} ids ({', '.join(seen) or 'only samples'}); "
            "correct id_type in the cohort file."
        )
    return min(fitting, key=lambda place: (_rank(names[place], id_type), place))


def as_ids(cells: Sequence[str], id_type: IdType) -> list[str]:
    """Return ids as they are looked up: an Ensembl id without what stands behind it."""
    if id_type != "ensembl":
        return list(cells)
    return [match[1] if (match := _ENSEMBL.fullmatch(cell)) else cell for cell in cells]


def _share(cells: Sequence[str], id_type: IdType) -> float:
    present = [cell for cell in cells if cell]
    if not present:
        return 0.0
    distinct = len(set(present)) / len(present)
    if id_type == "probe":
        return distinct
    # Symbols repeat, one a probe; a type of gene looks like one but repeats and repeats.
    if id_type == "symbol" and distinct < _LEAST_DISTINCT:
        return 0.0
    return sum(map(_CHECKS[id_type], present)) / len(present)


def _is_symbol(cell: str) -> bool:
    return bool(_SYMBOL.fullmatch(cell)) and not _NO_SYMBOL.match(cell)


_CHECKS: dict[str, Callable[[str], bool]] = {
    "symbol": _is_symbol,
    "entrez": lambda cell: bool(_ENTREZ.fullmatch(cell)),
    "ensembl": lambda cell: bool(_ENSEMBL.fullmatch(cell)),
}


def _rank(name: str, id_type: IdType) -> int:
    plain = name.strip().lower().replace(" ", "_")
    patterns = _NAMES[id_type]
    return next(
        (rank for rank, pattern in enumerate(patterns) if re.match(pattern, plain)), len(patterns)
    )


def _first(cells: Sequence[str]) -> str:
    return next((cell for cell in cells if cell), "")[:40]
