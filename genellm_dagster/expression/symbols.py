"""Approved HGNC symbols: what a name on a platform means today, or that it is not certain."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

HGNC_FILE = Path(__file__).parent / "data" / "hgnc.tsv.gz"

# What Excel makes of a symbol: SEPT2 -> "2-Sep", MARCH3 -> "3-Mar" (Ziemann, Genome Biology 2016),
# with the prefixes of symbols that each month swallows.
_EXCEL_PREFIXES = {
    "JAN": ("JAN",),
    "FEB": ("FEB",),
    "MAR": ("MARCH", "MARC", "MAR"),
    "APR": ("APR",),
    "MAY": ("MAY",),
    "JUN": ("JUN",),
    "JUL": ("JUL",),
    "AUG": ("AUG",),
    "SEP": ("SEPT", "SEP"),
    "OCT": ("OCT",),
    "NOV": ("NOV",),
    "DEC": ("DEC",),
}
# NCBI's provisional symbol of a gene carries its Entrez id.
_LOC_SYMBOL = re.compile(r"^LOC(\d+)$", re.IGNORECASE)
_EXCEL_DAY_FIRST = re.compile(r"^(\d{1,2})[-/ ]([A-Za-z]{3})[a-z]*(?:[-/ ]\d{2,4})?$")
_EXCEL_MONTH_FIRST = re.compile(r"^([A-Za-z]{3})[a-z]*[-/ ](\d{1,2})$")


@dataclass(frozen=True)
class _Lookup:
    approved: frozenset[str]
    approved_by_upper: dict[str, str]
    previous: dict[str, frozenset[str]]
    alias: dict[str, frozenset[str]]
    entrez: dict[str, str]
    ensembl: dict[str, str]


@lru_cache(maxsize=1)
def _hgnc() -> pd.DataFrame:
    return pd.read_csv(
        HGNC_FILE,
        sep="\t",
        skiprows=1,
        dtype=str,
        keep_default_na=False,
        quoting=csv.QUOTE_NONE,
    )


@lru_cache(maxsize=1)
def _lookup() -> _Lookup:
    table = _hgnc()

    def by_name(column: str) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for symbol, names in zip(table["symbol"], table[column], strict=True):
            for name in filter(None, names.split("|")):
                found.setdefault(name.upper(), set()).add(symbol)
        return {name: frozenset(symbols) for name, symbols in found.items()}

    def unique_ids(column: str) -> dict[str, str]:
        known = table.loc[table[column] != "", [column, "symbol"]]
        single = known.drop_duplicates(column, keep=False)
        return dict(zip(single[column], single["symbol"], strict=True))

    return _Lookup(
        approved=frozenset(table["symbol"]),
        approved_by_upper={symbol.upper(): symbol for symbol in table["symbol"]},
        previous=by_name("previous"),
        alias=by_name("alias"),
        entrez=unique_ids("entrez"),
        ensembl=unique_ids("ensembl"),
    )


def hgnc_version() -> str:
    """Return the line that says which HGNC table is packaged, from where and when."""
    with gzip.open(HGNC_FILE, "rt", encoding="utf-8") as handle:
        return handle.readline().lstrip("# ").strip()


def approved_symbols() -> pd.DataFrame:
    """Return every approved symbol: columns symbol, entrez, ensembl, locus_group.

    Strings; "" where HGNC gives none. Sorted by symbol. ``locus_group`` is one of HGNC's groups:
    protein-coding gene, non-coding RNA, pseudogene, phenotype, other.
    """
    return _hgnc()[["symbol", "entrez", "ensembl", "locus_group"]].copy()


def _excel_names(name: str) -> list[str]:
    if match := _EXCEL_DAY_FIRST.match(name):
        day, month = match.groups()
    elif match := _EXCEL_MONTH_FIRST.match(name):
        month, day = match.groups()
    else:
        return []
    return [f"{prefix}{int(day)}" for prefix in _EXCEL_PREFIXES.get(month.upper(), ())]


def _candidates(names: list[str], lookup: _Lookup) -> frozenset[str]:
    """Genes that one of the names means: as approved symbol, else a previous one, else an alias.

    A previous symbol outranks an alias, since platform tables were written with the symbols that
    were approved then: SEPT2 on a chip is SEPTIN2, although literature also calls SEPTIN6 so.
    """
    upper = [name.upper() for name in names]
    approved = {
        lookup.approved_by_upper[name] for name in upper if name in lookup.approved_by_upper
    }
    if approved:
        return frozenset(approved)
    for tier in (lookup.previous, lookup.alias):
        found = frozenset().union(*(tier.get(name, frozenset()) for name in upper))
        if found:
            return found
    return frozenset()


def _resolve(name: object, lookup: _Lookup) -> tuple[str | None, str]:
    """Return the approved symbol and what kind of match it was."""
    if not isinstance(name, str) or not name.strip():
        return None, "empty"
    text = name.strip()
    if text in lookup.approved:
        return text, "approved"
    kind, found = "renamed", _candidates([text], lookup)
    if not found and (match := _LOC_SYMBOL.match(text)) and match[1] in lookup.entrez:
        found = frozenset({lookup.entrez[match[1]]})
    if not found:
        kind, found = "excel_date", _candidates(_excel_names(text), lookup)
    if not found:
        return None, "unknown"
    return (next(iter(found)), kind) if len(found) == 1 else (None, "ambiguous")


def approve_symbols(symbols: Iterable[object]) -> tuple[pd.Series, dict[str, int]]:
    """Give each name its approved HGNC symbol where that is certain.

    An approved symbol is itself, whatever else it once named. Any other name is looked up, case
    ignored, among previous symbols, then aliases, and taken only when it belongs to one gene. What
    Excel turned into a date ("2-Sep") is repaired when one gene fits; a provisional symbol of NCBI
    (LOC and an Entrez id) follows that id.

    Args:
        symbols: Names; a Series keeps its index.

    Returns:
        Approved symbols (object, None where there is no certain one), and counts of the names by
        outcome: approved, renamed, excel_date, ambiguous, unknown, empty.
    """
    names = symbols if isinstance(symbols, pd.Series) else pd.Series(list(symbols), dtype=object)
    lookup = _lookup()
    # Not pd.unique: it takes "" and a NUL character for one.
    resolved = {name: _resolve(name, lookup) for name in dict.fromkeys(names)}
    outcomes = ("approved", "renamed", "excel_date", "ambiguous", "unknown", "empty")
    counts = dict.fromkeys(outcomes, 0)
    result: list[str | None] = []
    for name in names:
        symbol, kind = resolved[name] if name == name else (None, "empty")
        counts[kind] += 1
        result.append(symbol)
    return pd.Series(result, index=names.index, dtype=object, name="gene"), counts


def symbols_of_entrez(ids: pd.Series) -> pd.Series:
    """Map NCBI Gene ids to approved symbols by HGNC's own column; None where unknown."""
    lookup = _lookup().entrez
    # A column of integers with one gap reads as "123.0".
    bare = [str(one).strip().removesuffix(".0") for one in ids]
    return pd.Series([lookup.get(one) for one in bare], index=ids.index, dtype=object)


def symbols_of_ensembl(ids: pd.Series) -> pd.Series:
    """Map Ensembl gene ids (version suffix ignored) to approved symbols; None where unknown."""
    lookup = _lookup().ensembl
    bare = [str(one).strip().split(".", 1)[0].upper() for one in ids]
    return pd.Series([lookup.get(one) for one in bare], index=ids.index, dtype=object)
