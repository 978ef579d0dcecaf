"""Which samples of a person come later than the first."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.patterns import match_values

_HOURS_PER: dict[str, float] = {"h": 1.0, "d": 24.0, "w": 168.0, "m": 730.5, "y": 8766.0}
_UNIT_WORD = re.compile(
    r"(?<![a-z])(h|hrs?|hours?|d|days?|w|wks?|weeks?|mo|months?|y|yrs?|years?)"
    r"(?![a-z])"
)
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")


def later_samples(
    cohort: Cohort, subjects: Sequence[str], timepoints: Sequence[str | None]
) -> list[str]:
    """Say of every sample whether it was taken later than its person's baseline.

    With a ``baseline`` pattern whatever does not match it comes later; without one the earliest
    time point of each person is the baseline. A sample without a time point is not later.

    Args:
        cohort: The cohort; its ``sample.timepoint`` rule must be there.
        subjects: The person of every sample.
        timepoints: The time point of every sample, None where not recorded.

    Returns:
        For every sample the reason to keep it out, or "".

    Raises:
        StudyError: When time points without a number cannot be put in order.
    """
    rule = cohort.sample.timepoint
    if rule is None:
        return [""] * len(subjects)
    if rule.baseline is not None:
        where = f"sample.timepoint.baseline in {cohort.origin}"
        matches = match_values(rule.baseline, timepoints, where)
        if timepoints and not any(match is not None for match in matches):
            seen = sorted({point for point in timepoints if point is not None})
            shown = ", ".join(map(repr, seen[:8])) or "(none recorded)"
            raise StudyError(
                f"{cohort.accession}: the baseline pattern {rule.baseline!r} of {cohort.origin} "
                f"matches none of the time points "
                f"{shown}; "
                f"mend it, `genellm cohort inspect {cohort.accession}` shows the values."
            )
        return [
            f"time point {point!r} is not the baseline" if point is not None and not hit else ""
            for point, hit in zip(timepoints, (m is not None for m in matches), strict=True)
        ]
    hours = _in_order(cohort, timepoints)
    first: dict[str, float] = defaultdict(lambda: float("inf"))
    for subject, hour in zip(subjects, hours, strict=True):
        if hour is not None:
            first[subject] = min(first[subject], hour)
    return [
        f"time point {point!r} is later than the first of subject {subject!r}"
        if hour is not None and hour > first[subject]
        else ""
        for subject, point, hour in zip(subjects, timepoints, hours, strict=True)
    ]


def _in_order(cohort: Cohort, timepoints: Sequence[str | None]) -> list[float | None]:
    """Put time points on one axis by their number and unit."""
    hours: list[float | None] = []
    with_unit: set[bool] = set()
    for point in timepoints:
        if point is None:
            hours.append(None)
            continue
        number = _NUMBER.search(point)
        # Digits part a unit from its number as blanks do: "Day1", "24h".
        unit = _UNIT_WORD.search(re.sub(r"[\d.]+", " ", point.lower()))
        if number is None:
            _refuse(cohort, point)
        value = float(number[0]) if number else 0.0
        if value != 0:
            with_unit.add(unit is not None)
        hours.append(value * (_HOURS_PER[unit[1][0]] if unit else 1.0))
    if len(with_unit) > 1:
        _refuse(cohort, next(point for point in timepoints if point is not None))
    return hours


def _refuse(cohort: Cohort, point: str) -> None:
    raise StudyError(
        f"{cohort.accession}: the time points (such as {point!r}) cannot be put in order by number "
        f"and unit; add `baseline:`, a pattern of the first one, to sample.timepoint in "
        f"{cohort.origin}."
    )
