"""Sentences on what cohorts differ in, before and after the steps that bring them together."""

from __future__ import annotations

from typing import Any

import pandas as pd

from genellm_dagster.expression.batch_view import BatchView
from genellm_dagster.reports import marks
from genellm_dagster.reports.names import state_words
from genellm_dagster.reports.numbers import MISSING, listed, number_of

# Below one percent an adjusted share is what chance gives.
_NOTHING = 0.01
_HARMONISED = ("combat", "coconut")


def share_words(value: Any) -> str:
    """Write a share of variance: ``68 %``; one that rounding brings to zero is ``0 %``."""
    number = number_of(value)
    if number is None:
        return MISSING
    whole = round(100 * number)
    return f"{'−' if whole < 0 else ''}{abs(whole)} %"


def share_of(view: BatchView, state: str, factor: str, column: str = "share") -> float | None:
    """Give the share of a state's variance that a factor explains; None when it is not known."""
    rows = view.shares
    found = rows[(rows["state"] == state) & (rows["factor"] == factor)]
    return None if found.empty else number_of(found[column].iloc[0])


def said(view: BatchView) -> list[str]:
    """Say what explains the variance, by rules, also when it is unwelcome.

    Returns:
        Whole sentences; one, the reason, when there is nothing to show.
    """
    if view.reason:
        return [f"Cohorts are not compared here. {_stopped(view.reason)}"]
    last = view.states[-1]
    cohort, label = share_of(view, last, "cohort"), share_of(view, last, "case")
    lines = [_course(view, "cohort", "Which cohort a sample is from explains")]
    if label is not None:
        lines.append(_course(view, "case", "Whether it is a case explains"))
        lines.append(_judged(last, cohort, label))
    return lines + _by_design(view) + _lost(view)


def _course(view: BatchView, factor: str, start: str) -> str:
    """Say a factor's share in each state, in the order of the steps."""
    parts = []
    for place, state in enumerate(view.states):
        mark = marks.short(view.marks.get(state, []))
        parts.append(
            f"{_at_least_none(share_of(view, state, factor))} of "
            f"{'that' if place else 'the variance'} of {state_words(state)}"
            f"{f' ({mark})' if mark else ''}"
        )
    return f"{start} {listed(parts)}."


def _judged(state: str, cohort: float | None, label: float) -> str:
    place = f"In the last of these, {state_words(state)},"
    if cohort is None:
        return f"{place} the cohort's share is not known."
    if max(cohort, label) < _NOTHING:
        return f"{place} neither explains as much as one percent."
    if cohort > label:
        return (
            f"{place} where a sample was measured shows more than whether it is a case: a model "
            "can mistake a laboratory for the disease, which only a cohort it has not seen tells."
        )
    return f"{place} whether a sample is a case shows more than where it was measured."


def _by_design(view: BatchView) -> list[str]:
    if not set(view.states) & set(_HARMONISED):
        return []
    return [
        "A harmonisation takes the differences between cohorts out by design, so that a small "
        "share does not show that it helps; the results on cohorts held out do."
    ]


def _lost(view: BatchView) -> list[str]:
    """Say when a harmonisation took some of the label with the cohorts."""
    if len(view.states) < 2 or view.states[-1] not in _HARMONISED:
        return []
    before, after = (share_of(view, state, "case") for state in view.states[-2:])
    if before is None or after is None or before - after < _NOTHING:
        return []
    return [
        f"The label's share fell from {share_words(before)} to {share_words(after)} with the "
        "harmonisation: where prevalence differs between cohorts some of the disease leaves with "
        "them."
    ]


def _at_least_none(value: float | None) -> str:
    # An adjusted share lies a little below zero where there is no effect.
    if value is None or pd.isna(value):
        return "an unknown share"
    return "less than 1 %" if value < _NOTHING else share_words(value)


def _stopped(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
