"""Cells, columns and tables, and the ways to fill them from values of any kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genellm_dagster.reports.numbers import MISSING, bounds_of, count, decimal, number_of

# Longer lists are counted, not shown: a table cell is no place for them.
_LISTED_ITEMS, _LISTED_LETTERS = 40, 400


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, the number it is sorted by if any, and a small second line."""

    text: str
    order: float | None = None
    strong: bool = False
    small: str = ""


@dataclass(frozen=True)
class Column:
    """One column: its head, what the head means, and whether it holds numbers."""

    name: str
    meaning: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """One table; the first cell of a row is the row's head."""

    key: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


def words(text: Any, *, strong: bool = False) -> Cell:
    """Make a cell of words."""
    return Cell(MISSING if text is None or text == "" else str(text), None, strong)


def whole(value: Any) -> Cell:
    """Make a cell of a whole number."""
    return Cell(count(value), number_of(value))


def measure(value: Any, digits: int = 3) -> Cell:
    """Make a cell of a number with its interval, if it has one, on a line of its own."""
    bounds = bounds_of(value)
    ends = f"{decimal(bounds[0], digits)} to {decimal(bounds[1], digits)}" if bounds else ""
    return Cell(decimal(value, digits), number_of(value), small=ends)


def fact(value: Any) -> Cell:
    """Make a cell of a value of any kind."""
    if isinstance(value, bool):
        return words("yes" if value else "no")
    number = number_of(value)
    if number is None:
        return words(value)
    if bounds_of(value):
        return measure(value)
    return whole(number) if number == round(number) else measure(number)


def facts(key: str, caption: str, values: Mapping[str, Any]) -> Table | None:
    """Lay out any nested dictionary as two columns, names and values."""
    flat = {name: value for name, value in plain(values).items() if value not in (None, "")}
    if not flat:
        return None
    rows = [[words(name), fact(value)] for name, value in flat.items()]
    return Table(key, caption, [Column("Fact"), Column("Value")], rows)


def leaves(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every value of a nested dictionary with the keys that lead to it.

    Intervals stay whole; a list is written out when it is short, else only its length is given.
    """
    for key, value in tree.items():
        here = (*path, str(key))
        if isinstance(value, Mapping) and "value" not in value:
            yield from leaves(value, here)
        elif isinstance(value, list | tuple | set):
            texts = [str(item) for item in value]
            short = len(texts) <= _LISTED_ITEMS and sum(map(len, texts)) <= _LISTED_LETTERS
            yield here, ", ".join(texts) if short else f"{len(texts)} entries"
        else:
            yield here, value


def path_words(path: Sequence[str]) -> str:
    """Say the keys that lead to a value: ``Discrimination, at equal size``."""
    text = ", ".join(part.replace("_", " ") for part in path)
    return text[:1].upper() + text[1:]


def plain(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a nested dictionary into names and values."""
    return {path_words(path): value for path, value in leaves(summary)}
