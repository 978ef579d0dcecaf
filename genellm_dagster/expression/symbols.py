"""Approved HGNC symbols: what a name on a platform means today, or that it is not certain."""

from __future__ import annotations

import gzip
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

_KEPT = ("symbol", "entrez", "ensembl", "locus_group")
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
_MONTHS = tuple(_EXCEL_PREFIXES)
# NCBI's provisional symbol of a gene carries its Entrez id.
_LOC_SYMBOL = re.compile(r"^LOC(\d+)$", re.IGNORECASE)
_EXCEL_DAY_FIRST = re.compile(r"^(\d{1,2})[-/ ]([A-Za-z]{3})[a-z]*(?:[-/ ]\d{2,4})?$")
_EXCEL_MONTH_FIRST = re.compile(r"^([A-Za-z]{3})[a-z]*[-/ ](\d{1,2})$")
# What becomes of the same cell where a program reads the workbook instead of what it shows.
_EXCEL_ISO = re.compile(r"^\d{4}-(\d{2})-(\d{2})(?:[ T]00:00:00)?$")
# The copy on Y of a gene in the pseudoautosomal region: masked, so that X's copy has its reads.
_COPY_ON_Y = "_PAR_Y"
# Names remembered: a platform has some 30,000. No symbol is so long; files may hold anything.
_REMEMBERED = 1 << 17
_MAX_NAME = 200


@dataclass(frozen=True)
class _Lookup:
    table: pd.DataFrame
    approved: frozenset[str]
    approved_by_upper: dict[str, str]
    previous: dict[str, tuple[str, ...]]
    alias: dict[str, tuple[str, ...]]
    entrez: dict[str, str]
    ensembl: dict[str, str]


@lru_cache(maxsize=1)
def _lookup() -> _Lookup:
    columns: dict[str, list[str]] = {name: [] for name in _KEPT}
    former: dict[str, dict[str, tuple[str, ...]]] = {"previous": {}, "alias": {}}
    with gzip.open(HGNC_FILE, "rt", encoding="utf-8", newline="\n") as handle:
        handle.readline()  # where it is from
        names = handle.readline().rstrip("\n").split("\t")
        for line in handle:
            row = dict(zip(names, line.rstrip("\n").split("\t"), strict=True))
            for column, cells in columns.items():
                cells.append(sys.intern(row[column]) if column == "locus_group" else row[column])
            for column, found in former.items():
                for name in filter(None, row[column].upper().split("|")):
                    found[name] = (*found.get(name, ()), row["symbol"])
    symbols = columns["symbol"]

    def unique_ids(column: str) -> dict[str, str]:
        number = Counter(columns[column])
        pairs = zip(columns[column], symbols, strict=True)
        return {one: symbol for one, symbol in pairs if one and number[one] == 1}

    return _Lookup(
        table=pd.DataFrame(columns, dtype=object),
        approved=frozenset(symbols),
        approved_by_upper={symbol.upper(): symbol for symbol in symbols},
        previous=former["previous"],
        alias=former["alias"],
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
    return _lookup().table.copy()


def _excel_date(name: str) -> tuple[str, int] | None:
    if match := _EXCEL_DAY_FIRST.match(name):
        day, month = match.groups()
    elif match := _EXCEL_MONTH_FIRST.match(name):
        month, day = match.groups()
    elif (match := _EXCEL_ISO.match(name)) and 1 <= int(match[1]) <= len(_MONTHS):
        month, day = _MONTHS[int(match[1]) - 1], match[2]
    else:
        return None
    return (month.upper(), int(day)) if month.upper() in _EXCEL_PREFIXES else None


def is_excel_date(name: str) -> bool:
    """Tell whether a name is what Excel makes of a symbol such as SEPT2: a date."""
    return _excel_date(name.strip()) is not None


def _excel_names(name: str) -> list[str]:
    month, day = _excel_date(name) or ("", 0)
    return [f"{prefix}{day}" for prefix in _EXCEL_PREFIXES.get(month, ())]


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
        found = frozenset(symbol for name in upper for symbol in tier.get(name, ()))
        if found:
            return found
    return frozenset()


def resolve_symbol(name: str) -> tuple[str | None, str]:
    """Return the approved symbol of one name, and what kind of match it is.

    Returns:
        As :func:`approve_symbols`: the symbol or None, and one of its outcomes.
    """
    text = name.strip()
    if not text:
        return None, "empty"
    return _resolve(text) if len(text) <= _MAX_NAME else (None, "unknown")


@lru_cache(maxsize=_REMEMBERED)
def _resolve(text: str) -> tuple[str | None, str]:
    lookup = _lookup()
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
    outcomes = ("approved", "renamed", "excel_date", "ambiguous", "unknown", "empty")
    counts = dict.fromkeys(outcomes, 0)
    result: list[str | None] = []
    for name in names:
        symbol, kind = resolve_symbol(name) if isinstance(name, str) else (None, "empty")
        counts[kind] += 1
        result.append(symbol)
    return pd.Series(result, index=names.index, dtype=object, name="gene"), counts


def symbol_of_entrez(entrez: str) -> str | None:
    """Return the approved symbol of an NCBI Gene id by HGNC's own column, or None."""
    # A column of integers with one gap reads as "123.0".
    return _lookup().entrez.get(entrez.strip().removesuffix(".0"))


def symbol_of_ensembl(ensembl: str) -> str | None:
    """Return the approved symbol of an Ensembl gene id, its version ignored, or None.

    The copy on Y of a pseudoautosomal gene (``..._PAR_Y``) has none, as its reads are counted on X.
    """
    text = ensembl.strip().upper()
    return None if text.endswith(_COPY_ON_Y) else _lookup().ensembl.get(text.split(".", 1)[0])
