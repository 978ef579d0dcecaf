"""From a table's ids to approved symbols, with every id that gets lost counted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.options import MappingOptions
from genellm_dagster.expression.symbols import (
    approve_symbols,
    approved_symbols,
    symbols_of_ensembl,
    symbols_of_entrez,
)

IdType = Literal["probe", "symbol", "entrez", "ensembl"]

_SEVERAL = "///"
_PROTEIN_CODING = "protein-coding gene"


@dataclass(frozen=True)
class GeneMap:
    """Which rows of a table are which genes.

    Attributes:
        rows: Positions of the table's rows, ascending; a row of several genes may stand repeatedly.
        genes: The gene of each of ``rows``.
        counts: ids total, not_in_table, without_annotation, unknown, ambiguous, several_genes,
            mapped; each id is counted once.
    """

    rows: np.ndarray
    genes: np.ndarray
    counts: dict[str, int]


@lru_cache(maxsize=1)
def _protein_coding() -> frozenset[str]:
    table = approved_symbols()
    return frozenset(table.loc[table["locus_group"] == _PROTEIN_CODING, "symbol"])


def _split(cells: pd.Series) -> pd.Series:
    """One row a named gene: the index holds the position of the id that names it."""
    names = cells.dropna().astype(str).str.split(_SEVERAL, regex=False).explode().str.strip()
    return names[(names != "") & (names != "---")]


def _annotation(
    ids: pd.Series, id_type: IdType, id_table: pd.DataFrame | None
) -> tuple[pd.DataFrame, int]:
    """The names that the platform gives each id, and how many ids it does not hold."""
    if id_type == "probe" and id_table is None:
        raise ExpressionError(
            "The ids are probes, but there is no platform table to name their genes; fetch the "
            "series again, or set the cohort's id_type to symbol, entrez or ensembl."
        )
    names = pd.DataFrame(index=ids.index, columns=["entrez", "symbol", "ensembl"], dtype=object)
    missing = 0
    if id_table is not None and id_type != "symbol":
        key = "id" if "id" in id_table.columns else id_type
        if key not in id_table.columns:
            raise ExpressionError(
                f"The platform table has no column {key!r} (it has "
                f"{', '.join(map(str, id_table.columns))}), so its ids cannot be found; set the "
                "cohort's id_type to what the ids are."
            )
        known = id_table.dropna(subset=[key]).copy()
        known.index = pd.Index(known[key].astype(str).str.strip())
        known = known[~known.index.duplicated()]
        positions = known.index.get_indexer(pd.Index(ids))
        missing = int((positions < 0).sum())
        for column in names.columns.intersection(known.columns):
            cells = known[column].to_numpy(dtype=object)
            names[column] = pd.Series(cells[positions], index=ids.index).where(positions >= 0, None)
    if id_type != "probe":
        names[id_type] = ids
        missing = 0
    return names, missing


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
    clean = pd.Series(pd.Index(ids).astype(str).str.strip(), dtype=object)
    names, not_in_table = _annotation(clean, id_type, id_table)
    genes: dict[int, list[str]] = {}
    ambiguous: set[int] = set()
    unknown: set[int] = set()

    def take(found: pd.Series) -> None:
        hits = found.dropna()
        for position, gene in zip(hits.index, hits, strict=True):
            known = genes.setdefault(int(position), [])
            if gene not in known:
                known.append(gene)

    def rest(column: str) -> pd.Series:
        cells = names[column]
        return _split(cells[~cells.index.isin(list(genes))])

    take(symbols_of_entrez(rest("entrez")))
    symbols = rest("symbol")
    unique = pd.Series(symbols.unique(), dtype=object)
    approved = approve_symbols(unique)[0]
    lookup = dict(zip(unique, approved, strict=True))
    outcome = {name: _outcome(name) for name, gene in lookup.items() if gene is None}
    take(symbols.map(lookup))
    take(symbols_of_ensembl(rest("ensembl")))
    for position, name in zip(symbols.index.to_numpy(), symbols, strict=True):
        if position not in genes and name in outcome:
            (ambiguous if outcome[name] == "ambiguous" else unknown).add(int(position))
    unknown -= ambiguous
    if options.unknown_symbols == "keep":
        take(symbols[symbols.index.isin(list(unknown))])
        unknown.clear()

    several = _settle_several(genes, options)
    rows = np.array([row for row in sorted(genes) for _ in genes[row]], dtype=np.int64)
    flat = np.array([gene for row in sorted(genes) for gene in genes[row]], dtype=object)
    lost = len(genes) + several + len(ambiguous) + len(unknown) + not_in_table
    counts = {
        "total": len(clean),
        "not_in_table": not_in_table,
        "without_annotation": len(clean) - lost,
        "unknown": len(unknown),
        "ambiguous": len(ambiguous),
        "several_genes": several,
        "mapped": len(genes),
    }
    if len(genes) == 0 or len(genes) < options.min_mapped_share * len(clean):
        example = clean.iloc[0] if len(clean) else "none"
        raise ExpressionError(
            f"Only {len(genes)} of {len(clean)} ids (such as {example!r}) name a gene when read as "
            f"{id_type}; mend the cohort's id_type or its platform."
        )
    return GeneMap(rows=rows, genes=flat, counts=counts)


def _outcome(name: str) -> str:
    counts = approve_symbols([name])[1]
    return next(kind for kind, number in counts.items() if number)


def _settle_several(genes: dict[int, list[str]], options: MappingOptions) -> int:
    """Apply the rule for ids of several genes in place; return how many ids it dropped."""
    if options.multi_gene == "all":
        return 0
    dropped = 0
    for row in [row for row, found in genes.items() if len(found) > 1]:
        kept = genes[row][:1] if options.multi_gene == "first" else []
        if options.multi_gene == "one_protein_coding":
            kept = [gene for gene in genes[row] if gene in _protein_coding()]
        if len(kept) == 1:
            genes[row] = kept
        else:
            del genes[row]
            dropped += 1
    return dropped
