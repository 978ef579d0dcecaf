"""What numbers must be marked with: steps that saw other samples of a test cohort, or its labels.

Marked wherever the numbers stand, not in a list at the end: a transductive number does not say how
a single new patient would fare, and one that used test labels is no estimate at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.figures.canvas import Figure
from genellm_dagster.reports.names import LANGUAGE_MODEL, stratum_name

LABELS = "test labels"
"""Stands in the mark of every step that read them."""
_TRANSDUCTIVE = "transductive"
_SAID = re.compile(rf"\s*:\s*uses {LABELS}", re.IGNORECASE)


def uses_labels(step: str) -> bool:
    """Tell whether a step read labels of a test cohort, from the words it is marked with."""
    return LABELS in step.lower()


def short(steps: Sequence[str]) -> str:
    """Give the mark in a word or two; empty without any step."""
    if any(uses_labels(step) for step in steps):
        return f"uses {LABELS}"
    return _TRANSDUCTIVE if steps else ""


def sentence(steps: Sequence[str]) -> str:
    """Say what was used beyond the sample itself; empty without any step."""
    labels = [step for step in steps if uses_labels(step)]
    others = [step for step in steps if not uses_labels(step)]
    said = []
    if labels:
        names = _joined([_SAID.sub("", step) for step in labels])
        said.append(
            f"USES TEST LABELS, so that these numbers say nothing about a new cohort: {names}."
        )
    if others:
        said.append(f"Transductive, other samples of the test cohort took part: {_joined(others)}.")
    return " ".join(said)


def of_model(report: Mapping[str, Any], model: str) -> list[str]:
    """Give the steps that one model's scores rest on, as the evaluation recorded them."""
    return _texts((report.get("transductive") or {}).get(model))


def of_headline(content: ReportContent, stratum: str) -> list[str]:
    """Give the steps that GeneLLM's numbers of a stratum rest on."""
    return _once(
        [
            *_texts(content.marks.get(stratum)),
            *of_model(content.reports[stratum], LANGUAGE_MODEL),
        ]
    )


def of_stratum(content: ReportContent, stratum: str) -> list[str]:
    """Give the steps that some model's numbers of a stratum rest on."""
    recorded = content.reports[stratum].get("transductive") or {}
    return _once(
        [
            *_texts(content.marks.get(stratum)),
            *(step for model in recorded for step in of_model(content.reports[stratum], model)),
        ]
    )


def of_strata(content: ReportContent) -> str:
    """Say it of every stratum that has such steps, for what shows several; empty without any."""
    return " ".join(
        f"{stratum_name(stratum)}: {said}"
        for stratum in content.strata
        if (said := sentence(of_stratum(content, stratum)))
    )


def marked(figure: Figure | None, said: str) -> Figure | None:
    """Add a mark to a figure's caption."""
    if figure is None or not said:
        return figure
    return replace(figure, caption=f"{figure.caption} {said}")


def _texts(steps: Any) -> list[str]:
    return [steps] if isinstance(steps, str) else [str(step) for step in steps or ()]


def _once(steps: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(step for step in steps if step))


def _joined(steps: Sequence[str]) -> str:
    return "; ".join(steps)
