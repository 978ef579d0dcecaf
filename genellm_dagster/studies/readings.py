"""Ages, sexes and missing words as people write them in GEO."""

from __future__ import annotations

import itertools
import math
import re
from typing import Literal

AgeUnit = Literal["years", "months", "weeks", "days"]

MISSING_WORDS = frozenset(
    {
        "", "-", "--", ".", "?", "na", "n/a", "n.a.", "nan", "null", "none", "unknown", "unk",
        "missing", "not available", "not applicable", "not recorded", "not provided", "not known",
        "not determined", "nd", "n.d.", "undetermined",
    }
)  # fmt: skip
"""Lower-case words that stand for "not recorded"."""

OLDEST_YEARS = 125.0
"""Beyond the longest documented human life (122 years); an age above it is a mistake of unit."""

_DAYS_PER_YEAR = 365.25
_YEARS_PER: dict[AgeUnit, float] = {
    "years": 1.0,
    "months": 1 / 12,
    "weeks": 7 / _DAYS_PER_YEAR,
    "days": 1 / _DAYS_PER_YEAR,
}
_UNIT_WORDS: dict[str, AgeUnit] = {
    **dict.fromkeys(("y", "yr", "yrs", "year", "years", "yo", "y.o.", "yo.", "a"), "years"),
    **dict.fromkeys(("m", "mo", "mos", "mth", "mths", "month", "months"), "months"),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), "weeks"),
    **dict.fromkeys(("d", "day", "days"), "days"),
}
_UNIT = "(?:" + "|".join(sorted(map(re.escape, _UNIT_WORDS), key=len, reverse=True)) + ")"
_NUMBER = r"\d{1,6}(?:[.,]\d{1,6})?"
_NOISE = re.compile(r"\bold\b|\bof age\b|\bage[ds]?\b|[()\[\]]|\band\b")
_SPELLED = re.compile(
    r"(?<=\d)[ -](years?|yrs?|y|months?|weeks?|days?)[ -]?(?:olds?|/o)?$|(?<=y)/o$"
)
_ISO = re.compile(r"p(?=\d)(?:(\d{1,3})y)?(?:(\d{1,4})m)?(?:(\d{1,4})w)?(?:(\d{1,5})d)?")
_PART = re.compile(rf"({_NUMBER})\s*({_UNIT})?\.?(?![a-z0-9])|({_NUMBER})\s*({_UNIT})(?=\d)")
_RANGE = re.compile(
    rf"({_NUMBER})\s*({_UNIT})?\.?\s*(?:-|–|—|to|\.\.)\s*({_NUMBER})\s*({_UNIT})?\.?"
)
_BEYOND = re.compile(rf"(?:>=|>|≥|over|above)\s*({_NUMBER})\s*({_UNIT})?\.?")
_OR_MORE = re.compile(rf"({_NUMBER})\s*({_UNIT})?\.?\s*(?:\+|or older|or more|and older|and over)")
_BELOW = re.compile(rf"(?:<=|<|≤|under|below)\s*({_NUMBER})\s*({_UNIT})?\.?")

_SEXES: dict[str, Literal["female", "male"]] = {
    **dict.fromkeys(("f", "female", "woman", "women", "girl", "females"), "female"),
    **dict.fromkeys(("m", "male", "man", "men", "boy", "males"), "male"),
}


def is_missing(text: str | None) -> bool:
    """Say whether a value stands for "not recorded"."""
    return text is None or text.strip().lower() in MISSING_WORDS


def parse_age_range(text: str | None, unit: AgeUnit) -> tuple[float, float] | None:
    """Read an age as the range that it leaves open.

    Args:
        text: The value as written: ``34``, ``2,5``, ``18 months``, ``2y3m``, ``P2Y3M``, ``20-30``,
            ``>89``, ``<1``.
        unit: Unit of numbers that carry none themselves.

    Returns:
        Youngest and oldest age in years, equal for a plain age. ``>89`` and ``89+`` are taken as 89
        (the usual way to hide a high age), ``<1`` as 0 to 1. None when it is missing or unreadable.
    """
    if text is None or is_missing(text):
        return None
    plain = " ".join(_NOISE.sub(" ", _written_out(text.strip().lower())).split())
    if match := _RANGE.fullmatch(plain):
        low_unit = match[2] or match[4]
        bounds = (_years(match[1], low_unit, unit), _years(match[3], match[4] or match[2], unit))
    elif match := (_BEYOND.fullmatch(plain) or _OR_MORE.fullmatch(plain)):
        bounds = (_years(match[1], match[2], unit),) * 2
    elif match := _BELOW.fullmatch(plain):
        bounds = (0.0, _years(match[1], match[2], unit))
    else:
        age = _sum_of_parts(plain, unit)
        if age is None:
            return None
        bounds = (age, age)
    low, high = bounds
    return (low, high) if 0 <= low <= high <= OLDEST_YEARS else None


def parse_age(text: str | None, unit: AgeUnit) -> float:
    """Read an age in years; the middle of a range, NaN when it is missing or unreadable.

    Args:
        text: The value as written, see :func:`parse_age_range`.
        unit: Unit of numbers that carry none themselves.

    Examples:
        >>> parse_age("18 months", "years")
        1.5
        >>> parse_age("20-30", "years")
        25.0
    """
    bounds = parse_age_range(text, unit)
    return math.nan if bounds is None else (bounds[0] + bounds[1]) / 2


def parse_sex(text: str | None) -> Literal["female", "male"] | None:
    """Read a sex; None for anything that is not plainly one (0 and 1 are not guessed)."""
    return None if text is None else _SEXES.get(text.strip().lower().rstrip("."))


def named_units(text: str) -> frozenset[AgeUnit]:
    """Tell the units that an age names itself: months for ``18 months``, none for ``34``."""
    plain = _NOISE.sub(" ", _written_out(text.strip().lower()))
    words = re.findall(rf"\d\s*({_UNIT})(?![a-z])", plain)
    return frozenset(_UNIT_WORDS[word] for word in words)


def _written_out(text: str) -> str:
    """Write ISO durations (``P2Y3M``) and ``34-year-old`` as ages are written mostly."""
    if (match := _ISO.fullmatch(text)) and any(match.groups()):
        parts = zip(match.groups(), ("y", "mo", "w", "d"), strict=True)
        return " ".join(f"{number}{unit}" for number, unit in parts if number)
    return _SPELLED.sub(lambda match: f" {match[1]}" if match[1] else "", text)


def _years(number: str, unit_word: str | None, unit: AgeUnit) -> float:
    name = _UNIT_WORDS[unit_word] if unit_word else unit
    return float(number.replace(",", ".")) * _YEARS_PER[name]


def _sum_of_parts(text: str, unit: AgeUnit) -> float | None:
    """Add up ``2 years 3 months``: each part but a lone one needs its unit, from large to small."""
    parts: list[tuple[str, str | None]] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            return None
        parts.append((match[1] or match[3], match[2] or match[4]))
        position = match.end()
        while position < len(text) and text[position] in " ,;":
            position += 1
    if not parts:
        return None
    if len(parts) > 1:
        sizes = [_YEARS_PER[_UNIT_WORDS[word]] if word else math.nan for _, word in parts]
        # NaN compares false, so a part without a unit is refused here as well.
        if not all(later < earlier for earlier, later in itertools.pairwise(sizes)):
            return None
    return sum(_years(number, word, unit) for number, word in parts)
