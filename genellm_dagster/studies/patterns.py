"""Regular expressions from description files, matched so that none can hang the program.

Python's ``re`` cannot be interrupted: ``(a+)+$`` on forty letters runs for days, and no limit on
length alone prevents it. Patterns are therefore matched by the ``regex`` package, which takes a
time limit, and three limits stand before it: the length of the pattern, the product of its counted
repeats (``((a{999}){999}){999}`` would fill the memory on compilation), and the length of the text
looked at.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import regex  # type: ignore[import-untyped]

from genellm_dagster.errors import StudyError

MAX_PATTERN_CHARS = 200
MAX_REPEAT_PRODUCT = 1_000
MAX_VALUE_CHARS = 2_000
"""Rules look at this many leading characters of a value; labels and ages are far shorter."""
SECONDS_PER_RULE = 5.0
"""Time one rule may take over all samples of a cohort; a sound one needs milliseconds."""

_COUNTED_REPEAT = re.compile(r"\{(\d*)(?:,(\d*))?\}")


def check_pattern(pattern: str) -> str:
    """Return ``pattern`` when it can be used in a rule.

    Args:
        pattern: A regular expression in Python's syntax.

    Raises:
        ValueError: When it is no regular expression, or goes beyond the limits of this module.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ValueError(
            f"the pattern has {len(pattern)} characters, more than the {MAX_PATTERN_CHARS} "
            f"allowed; "
            "split it into several rules"
        )
    product = 1
    for low, high in _COUNTED_REPEAT.findall(pattern):
        # The digits are cut because int() of thousands of digits is itself slow.
        product *= max(int((high or low or "1")[:9]), 1)
    if product > MAX_REPEAT_PRODUCT:
        raise ValueError(
            f"the pattern {pattern!r} repeats up to {product} times, more than the "
            f"{MAX_REPEAT_PRODUCT} allowed; use + or *"
        )
    try:
        re.compile(pattern)
        _compiled(pattern)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise ValueError(
            f"the pattern {pattern!r} is no regular expression ({error}); mend it"
        ) from error
    return pattern


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    return regex.compile(pattern, regex.VERSION0)


def match_values(
    pattern: str, values: Sequence[str | None] | Iterable[str | None], where: str
) -> list[str | None]:
    """Search a pattern in every value.

    Args:
        pattern: A pattern that :func:`check_pattern` accepted.
        values: One value a sample, None where the sample has none.
        where: The rule in words, for the error's sentence.

    Returns:
        For each value the text of the first group, or of the whole match when the pattern has no
        group, or None where the value is missing or does not match.

    Raises:
        StudyError: When matching takes longer than ``SECONDS_PER_RULE`` altogether.
    """
    compiled = _compiled(pattern)
    deadline = time.monotonic() + SECONDS_PER_RULE
    known: dict[str, str | None] = {}
    found: list[str | None] = []
    for value in values:
        if value is None:
            found.append(None)
            continue
        text = value[:MAX_VALUE_CHARS]
        if text not in known:
            known[text] = _search(compiled, text, deadline, where)
        found.append(known[text])
    return found


def _search(compiled: Any, text: str, deadline: float, where: str) -> str | None:
    try:
        match = compiled.search(text, timeout=max(deadline - time.monotonic(), 0.001))
    except TimeoutError as error:
        raise StudyError(
            f"The pattern {compiled.pattern!r} of {where} took more than {SECONDS_PER_RULE:g} s on "
            f"the value {text[:60]!r}; write it without repeats inside repeats, such as (a+)+."
        ) from error
    if match is None:
        return None
    if compiled.groups and match.group(1) is not None:
        return str(match.group(1))
    return str(match.group(0))
