"""The time point rule: when a sample was taken, and which time is the first."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from genellm_dagster.studies.cohort import TimepointRule
from genellm_dagster.studies.patterns import MAX_PATTERN_CHARS, match_values
from genellm_dagster.studies.proposal.fields import column_values
from genellm_dagster.studies.proposal.model import Finding
from genellm_dagster.studies.proposal.rules import escape
from genellm_dagster.studies.proposal.words import plain

MAX_TIMES = 40
"""Different time points of one series; more of them are measurements, not a plan."""
_TIME_KEY = re.compile(
    r"\b(?:times?|timepoints?|time points?|days?|hours?|visits?|weeks?|months?|sampling|"
    r"measurementtime|collection|draw)\b"
)
_NO_TIME_KEY = re.compile(
    r"\b(?:death|die|died|mortality|surviv\w*|event|onset|stay|length|duration|date|of day|free|"
    r"los|age|fever|symptoms?|illness|post symptom|until|to|hospital days|ventilat\w*|protocol|"
    r"site|tube|method|storage|volume|rna|icu days|score|treatment|gestation\w*|delay|"
    r"severity|sofa)\b"
)
_FIRST = re.compile(
    r"\b(?:baseline|admission|admitted|enrol\w*|inclusion|pre|before|acute|initial|first|"
    r"presentation|screening|entry|recruitment|diagnosis|untreated|early)\b"
)
_LAST = re.compile(
    r"\b(?:discharge|follow ?up|convalescen\w*|recover\w*|late|last|end|after|post|final)\b"
)
_NO_TIME = re.compile(r"\b(?:controls?|health\w*|normals?|volunteers?|ctrls?|hc|na)\b")
_NUMBER = re.compile(r"-?\d{1,5}(?:\.\d{1,3})?")
_UNIT = re.compile(
    r"(?<![a-z])(h|hrs?|hours?|d|days?|w|wks?|weeks?|m|mo|months?|y|years?)(?![a-z])"
)
_HOURS = {"h": 1.0, "d": 24.0, "w": 168.0, "m": 730.5, "y": 8766.0}


@dataclass(frozen=True)
class TimeForm:
    """One way in which titles write a time, as a pattern and with its number as group."""

    pattern: str
    number: str


def _form(before: str, after: str = "") -> TimeForm:
    edge = "(?![A-Za-z0-9])" if not after else ""
    return TimeForm(
        rf"(?<![A-Za-z]){before}[ _.-]*\d+{after}{edge}",
        rf"(?<![A-Za-z]){before}[ _.-]*(\d+){after}{edge}",
    )


TIME_FORMS = (
    _form("days?"),
    _form("(?:hours?|hrs?)"),
    _form("(?:weeks?|wk)"),
    _form("months?"),
    _form("(?:visit|timepoint|time ?point|time|tp)"),
    TimeForm(
        r"(?<!\d)\d+[ _-]?(?:hours?|hrs?|h|days?|weeks?|months?)(?![A-Za-z0-9])",
        r"(?<!\d)(\d+)[ _-]?(?:hours?|hrs?|h|days?|weeks?|months?)(?![A-Za-z0-9])",
    ),
    _form("[DT]"),
    _form("[HV]"),
)


@dataclass(frozen=True)
class TimeProposal:
    """The time point rule, or why there is none.

    Attributes:
        rule: The rule, or None.
        finding: Its evidence.
        times: The time of every sample as written.
        why_not: Why there is no rule.
        unordered: Why the first time point could not be told, "" when it could.
        before_illness: Values that stand for a time before the illness.
    """

    rule: TimepointRule | None
    finding: Finding | None
    times: tuple[str | None, ...]
    why_not: str
    unordered: str
    before_illness: tuple[str, ...]


def infer_times(samples: pd.DataFrame, labels: Sequence[str | None]) -> TimeProposal:
    """Find the field that says when a sample was taken, and the pattern of the first time."""
    nothing: tuple[str | None, ...] = (None,) * len(samples)
    best: tuple[int, str, tuple[str | None, ...]] | None = None
    for field in samples.columns:
        name = str(field)
        key = plain(name.partition(":")[2])
        if not name.startswith("characteristics") or not _TIME_KEY.search(key):
            continue
        if _NO_TIME_KEY.search(key):
            continue
        values = column_values(samples, name)
        distinct = {value for value in values if value is not None}
        told = [value for value in distinct if not _NO_TIME.search(plain(value))]
        if not 2 <= len(distinct) <= MAX_TIMES or not told:
            continue
        # A field named after time points is better than one that only counts days.
        named = bool(re.search(r"\btime ?points?\b|\btime\b|\bvisit\b|\bcollection\b", key))
        rank = sum(value is not None for value in values) + (len(values) if named else 0)
        if best is None or rank > best[0]:
            best = (rank, name, values)
    if best is not None:
        return _by_field(best[1], best[2], labels)
    return _by_title(samples, labels) or TimeProposal(
        None, None, nothing, "no field holds time points", "", ()
    )


def hours_of(value: str) -> float | None:
    """Put a time point on an axis of hours; the first is low, words like "discharge" are last."""
    words = plain(value)
    number = _NUMBER.search(value.replace(",", "."))
    unit = _UNIT.search(words)
    if _LAST.search(words) and not number:
        return math.inf
    if number is not None:
        hours = float(number[0].lstrip("-")) * (_HOURS[unit[1][0]] if unit else 1.0)
        return -hours if re.search(r"\b(?:pre|before)\b", words) else hours
    return -0.5 if _FIRST.search(words) else None


def _by_field(
    field: str, values: tuple[str | None, ...], labels: Sequence[str | None]
) -> TimeProposal:
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    outside = [value for value in distinct if _NO_TIME.search(plain(value))]
    ranks = {value: hours_of(value) for value in distinct if value not in outside}
    unknown = [value for value, rank in ranks.items() if rank is None]
    shown = tuple(distinct[:3])
    before = tuple(
        value for value in distinct
        if re.search(r"\b(?:baseline|pre|before|healthy)\b", plain(value))
    )  # fmt: skip
    if unknown:
        finding = Finding(
            "timepoint", field, "", "", len(distinct), shown, "the field holds times", 0.8
        )
        why = f"time points such as {unknown[0][:40]!r} cannot be put in order"
        return TimeProposal(TimepointRule(field=field), finding, values, "", why, before)
    first = set(outside) | _first_values(values, {k: v for k, v in ranks.items() if v is not None},
                                         labels)  # fmt: skip
    listed = [escape(value) for value in distinct if value in first]
    pattern = f"^{listed[0]}$" if len(listed) == 1 else f"^({'|'.join(listed)})$"
    n = sum(value in first for value in values)
    if len(pattern) > MAX_PATTERN_CHARS:
        finding = Finding("timepoint", field, "", "", n, shown, "the field holds times", 0.8)
        return TimeProposal(
            TimepointRule(field=field), finding, values, "", "too many first time points", before
        )
    why = f"the earliest of {len(distinct)} time points"
    finding = Finding("timepoint", field, pattern, "", n, shown, why, 0.9)
    rule = TimepointRule(field=field, baseline=pattern)
    return TimeProposal(rule, finding, values, "", "", before)


def _first_values(
    values: Sequence[str | None], ranks: dict[str, float], labels: Sequence[str | None]
) -> set[str]:
    """The earliest time of each label: controls are often taken once, and not on the first day."""
    first: set[str] = set()
    for label in dict.fromkeys(labels):
        own = [
            value
            for value, got in zip(values, labels, strict=True)
            if got == label and value in ranks
        ]
        if not own or (label is None and first):
            continue
        earliest = min(ranks[value] for value in own)
        if math.isfinite(earliest):
            first |= {value for value in own if ranks[value] == earliest}
    return first or {min(ranks, key=lambda value: ranks[value])}


def _by_title(samples: pd.DataFrame, labels: Sequence[str | None]) -> TimeProposal | None:
    titles = column_values(samples, "title") if "title" in samples.columns else ()
    best: tuple[int, TimeForm, list[str | None]] | None = None
    for form in TIME_FORMS:
        numbers = match_values(f"(?i){form.number}", titles, "a proposed time point rule")
        known = [number for number in numbers if number is not None]
        # Times come back from person to person; ids that look like times (T1 to T8) do not.
        distinct = len(set(known))
        if distinct < 2 or distinct > max(8, 0.2 * len(known)) or len(known) < 2 * distinct:
            continue
        # Of two ways to read a title the one with fewer times: the other number is the person.
        if len(known) >= 0.3 * len(titles) and (
            best is None or (len(known), -len(set(known))) > (best[0], -len(set(best[2]) - {None}))
        ):
            best = (len(known), form, numbers)
    if best is None:
        return None
    n, form, numbers = best
    ranks = {number: float(number) for number in numbers if number is not None}
    first = sorted(_first_values(numbers, ranks, labels), key=float)
    digits = first[0] if len(first) == 1 else f"(?:{'|'.join(first)})"
    at_first = form.number.replace(r"(\d+)", f"{digits}(?!\\d)")
    baseline = f"(?i){at_first}"
    if n < len(titles):
        baseline += f"|^(?!.*{form.pattern})"
    if len(baseline) > MAX_PATTERN_CHARS:
        return None
    shown = tuple(str(title)[:60] for title in titles[:3])
    why = f"titles of {n} samples carry a time"
    finding = Finding("timepoint", "title", baseline, "", n, shown, why, 0.85)
    rule = TimepointRule(field="title", baseline=baseline)
    return TimeProposal(rule, finding, tuple(titles), "", "", ())
