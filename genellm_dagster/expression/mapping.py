"""From a table's ids to approved symbols, with every id that gets lost counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.options import MappingOptions
from genellm_dagster.expression.symbols import (
    approved_symbols,
    is_excel_date,
    resolve_symbol,
    symbol_of_ensembl,
    symbol_of_entrez,
)

IdType = Literal["probe", "symbol", "entrez", "ensembl"]

_SEVERAL = "///"
_PROTEIN_CODING = "protein-coding gene"
# The kinds of names a platform gives, in the order in which they are asked.
_KINDS = ("entrez", "symbol", "ensembl")
_WAYS = ("entrez", "approved", "renamed", "excel_date", "ensembl", "kept")
_LOSSES = ("not_in_table", "without_annotation", "unknown", "ambiguous", "several_genes")


@dataclass(frozen=True)
class GeneMap:
    """Which rows of a table are which genes.

    Attributes:
        rows: Positions of the table's rows, ascending; a row of several genes may stand repeatedly.
        genes: The gene of each of ``rows``.
        counts: ids total, not_in_table, without_annotation, unknown, ambiguous, several_genes,
            mapped; each id is counted once.
        mapped_by: How the mapped ids were read: entrez, approved, renamed (former symbols and
            aliases), excel_date (repaired), ensembl, kept (unknown names kept by the options).
        excel_dates: Ids whose symbol is a date of Excel's: repaired, ambiguous, unknown.
    """

    rows: np.ndarray
    genes: np.ndarray
    counts: dict[str, int]
    mapped_by: dict[str, int] = field(default_factory=dict)
    excel_dates: dict[str, int] = field(default_factory=dict)


@lru_cache(maxsize=1)
def _protein_coding() -> frozenset[str]:
    table = approved_symbols()
    return frozenset(table.loc[table["locus_group"] == _PROTEIN_CODING, "symbol"])


def _annotation(
    ids: list[str], id_type: IdType, id_table: pd.DataFrame | None
) -> Iterator[tuple[str, str, str] | None]:
    """Entrez ids, symbols and Ensembl ids that the platform gives each id; "" where it gives none.

    None stands for an id that the platform does not hold.
    """
    if id_type == "probe" and id_table is None:
        raise ExpressionError(
            "The ids are probes, but there is no platform table to name their genes; fetch the "
            "series again, or set the cohort's id_type to symbol, entrez or ensembl."
        )
    place_of: dict[str, int] = {}
    columns: list[list[str]] = [[], [], []]
    if id_table is not None and id_type != "symbol":
        key = "id" if "id" in id_table.columns else id_type
        if key not in id_table.columns:
            raise ExpressionError(
                f"The platform table has no column {key!r} (it has "
                f"{', '.join(map(str, id_table.columns))}), so its ids cannot be found; set the "
                "cohort's id_type to what the ids are."
            )
        table = id_table[id_table[key].notna()]
        columns = [_texts(table, column) for column in _KINDS]
        # Of rows that share an id the first counts, so the last is entered first.
        keys = [name.strip() for name in reversed(_texts(table, key))]
        place_of = dict(zip(keys, reversed(range(len(keys))), strict=True))
    for one in ids:
        place = place_of.get(one)
        if id_type == "probe":
            yield None if place is None else _names(columns, place)
        else:
            names = ("", "", "") if place is None else _names(columns, place)
            own = _KINDS.index(id_type)
            yield (*names[:own], one, *names[own + 1 :])  # type: ignore[misc]


def _names(columns: list[list[str]], place: int) -> tuple[str, str, str]:
    entrez, symbol, ensembl = columns
    return entrez[place], symbol[place], ensembl[place]


def _texts(table: pd.DataFrame, column: str) -> list[str]:
    if column not in table.columns:
        return [""] * len(table)
    cells = table[column]
    return list(cells.astype(str).where(cells.notna(), ""))


def map_ids(
    ids: pd.Index,
    id_type: IdType,
    id_table: pd.DataFrame | None,
    options: MappingOptions | None = None,
) -> GeneMap:
    """Find the gene of each id.

    Entrez ids come first where they are known, since they keep their meaning while symbols change
    owners; then symbols, then Ensembl ids. Ids of all three are resolved to approved HGNC symbols.

    Args:
        ids: The row names of a table; repeats allowed.
        id_type: What they are.
        id_table: Columns id (or the id_type's name), symbol, entrez, ensembl, as far as known;
            several genes of an id are separated by ``///``. Needed for probes.
        options: What becomes of ids of several genes and of unknown symbols.

    Raises:
        ExpressionError: When the platform table is missing or unfit, or when fewer ids reach a
            gene than the options ask for.
    """
    options = options or MappingOptions()
    clean = [str(one).strip() for one in ids]
    rows: list[int] = []
    genes: list[str] = []
    outcomes: Counter[str] = Counter()
    dates: Counter[str] = Counter()
    for row, names in enumerate(_annotation(clean, id_type, id_table)):
        if names is None:
            outcomes["not_in_table"] += 1
            continue
        found, how, date = _find(*names, options)
        if len(found) > 1:
            found = _settled(found, options)
            how = how if found else "several_genes"
        rows += [row] * len(found)
        genes += found
        outcomes[how] += 1
        if date:
            dates[date] += 1
    mapped = sum(outcomes[way] for way in _WAYS)
    if mapped == 0 or mapped < options.min_mapped_share * len(clean):
        example = clean[0] if clean else "none"
        raise ExpressionError(
            f"Only {mapped} of {len(clean)} ids (such as {example!r}) name a gene when read as "
            f"{id_type}; mend the cohort's id_type or its platform."
        )
    return GeneMap(
        rows=np.array(rows, dtype=np.int64),
        genes=np.array(genes, dtype=object),
        counts={
            "total": len(clean),
            **{reason: outcomes[reason] for reason in _LOSSES},
            "mapped": mapped,
        },
        mapped_by={way: outcomes[way] for way in _WAYS},
        excel_dates={kind: dates[kind] for kind in ("repaired", "ambiguous", "unknown")},
    )


def _split(cell: str) -> list[str]:
    """The names in a cell, each once."""
    if _SEVERAL not in cell:
        names = [cell.strip()]
    else:
        names = list(dict.fromkeys(name.strip() for name in cell.split(_SEVERAL)))
    return [name for name in names if name not in ("", "---")]


def _find(
    entrez: str, symbol: str, ensembl: str, options: MappingOptions
) -> tuple[tuple[str, ...], str, str]:
    """Find the genes of one id by the first of its kinds of names that leads to any.

    Returns:
        The genes, how they were found or why there is none, and what became of Excel's dates.
    """
    if genes := _genes_of(entrez, symbol_of_entrez):
        return genes, "entrez", ""
    symbols = _split(symbol)
    resolved = [resolve_symbol(name) for name in symbols]
    kinds = [kind for _, kind in resolved]
    date = _excel_outcome(symbols, kinds)
    if genes := _genes(found for found, _ in resolved):
        # Of several names the least certain one says how the id was read.
        how = next(kind for kind in ("excel_date", "renamed", "approved") if kind in kinds)
        return genes, how, date
    if genes := _genes_of(ensembl, symbol_of_ensembl):
        return genes, "ensembl", date
    if "ambiguous" in kinds:
        return (), "ambiguous", date
    if symbols and options.unknown_symbols == "keep":
        return tuple(symbols), "kept", date
    named = symbols or _split(entrez) or _split(ensembl)
    return (), "unknown" if named else "without_annotation", date


def _genes_of(cell: str, symbol_of: Callable[[str], str | None]) -> tuple[str, ...]:
    if _SEVERAL in cell:
        return _genes(map(symbol_of, _split(cell)))
    found = symbol_of(cell)
    return () if found is None else (found,)


def _genes(found: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(symbol for symbol in found if symbol is not None))


def _excel_outcome(symbols: list[str], kinds: list[str]) -> str:
    if "excel_date" in kinds:
        return "repaired"
    lost = [kind for name, kind in zip(symbols, kinds, strict=True) if is_excel_date(name)]
    return next((kind for kind in ("ambiguous", "unknown") if kind in lost), "")


def _settled(genes: tuple[str, ...], options: MappingOptions) -> tuple[str, ...]:
    """Apply the rule for ids of several genes."""
    if options.multi_gene == "all":
        return genes
    if options.multi_gene == "first":
        return genes[:1]
    if options.multi_gene == "drop":
        return ()
    kept = tuple(gene for gene in genes if gene in _protein_coding())
    return kept if len(kept) == 1 else ()
