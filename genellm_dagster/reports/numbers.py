"""Numbers as a reader sees them: one way to write each kind, and a dash for what is not there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "–"


def number_of(value: Any) -> float | None:
    """Give the number in ``value``: a number, or the ``value`` of an interval; None if none."""
    if isinstance(value, Mapping):
        value = value.get("value")
    if value is None or isinstance(value, str | bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def bounds_of(value: Any) -> tuple[float, float] | None:
    """Give the interval's ends, or None when it has none."""
    if not isinstance(value, Mapping):
        return None
    low, high = number_of(value.get("low")), number_of(value.get("high"))
    return None if low is None or high is None else (low, high)


def decimal(value: Any, digits: int = 3) -> str:
    """Write a number with fixed digits: ``0.931``; nothing is rounded up to a perfect 1."""
    number = number_of(value)
    if number is None:
        return MISSING
    text = f"{number:.{digits}f}"
    if abs(number) < 1 and float(text) in (1.0, -1.0):
        return ("-" if number < 0 else "") + "> 0." + "9" * digits
    return text.replace("-", "−") if float(text) != 0 else f"{0:.{digits}f}"


def interval(value: Any, digits: int = 3) -> str:
    """Write ``0.931 (0.902 to 0.955)``, or the bare number when there is no interval."""
    bounds = bounds_of(value)
    text = decimal(value, digits)
    if bounds is None or text == MISSING:
        return text
    return f"{text} ({decimal(bounds[0], digits)} to {decimal(bounds[1], digits)})"


def percent(value: Any, digits: int = 0) -> str:
    """Write a share as ``62 %``."""
    number = number_of(value)
    if number is None:
        return MISSING
    return f"{100 * number:.{digits}f} %"


def small_percent(value: Any) -> str:
    """Write a share that may be far below one percent with two telling digits."""
    number = number_of(value)
    if number is None:
        return MISSING
    if number == 0:
        return "0 %"
    digits = max(0, 1 - math.floor(math.log10(abs(100 * number))))
    return f"{100 * number:.{min(digits, 8)}f} %"


def count(value: Any) -> str:
    """Write a whole number with thin groups: ``134 515 008``."""
    number = number_of(value)
    return MISSING if number is None else f"{round(number):,}".replace(",", "\u202f")


def p_value(value: Any) -> str:
    """Write a P value: ``0.03``, ``< 0.001``."""
    number = number_of(value)
    if number is None:
        return MISSING
    if number < 0.001:
        return "< 0.001"
    return f"{number:.3f}" if number < 0.1 else f"{number:.2f}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """Write ``1 cohort``, ``3 cohorts``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def listed(words: list[str]) -> str:
    """Join words as one says them: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
