"""Builds the samples tables of made-up series from groups of samples with their truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from genellm_dagster.studies.proposal import SeriesFacts
from genellm_dagster.studies.study import Study
from genellm_dagster_tests.studies.makers import cohort_of, study_of

CANNOT_TELL = "?"
"""Truth of samples of which nobody can tell whether they are a case or a control."""


@dataclass(frozen=True)
class Group:
    """Samples alike: how many, their label in truth, and what they say.

    A text may hold ``{i}`` (number within the group), ``{n}`` (number within the series), ``{p}``
    (person) and ``{t}`` (time); a list is dealt out in turn.
    """

    n: int
    truth: str
    says: dict[str, Any]
    times: Sequence[str] = ()


@dataclass(frozen=True)
class MadeSeries:
    """A made-up series with its truth."""

    name: str
    study: str
    title: str
    groups: tuple[Group, ...]
    summary: str = ""
    ages: dict[str, Any] | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> SeriesFacts:
        return SeriesFacts(
            **{
                "accession": "GSE900",
                "platform": "GPL570",
                "title": self.title,
                "summary": self.summary,
                "ids": ("1007_s_at", "1053_at", "117_at"),
                **self.more,
            }
        )

    def samples(self) -> pd.DataFrame:
        rows: list[dict[str, str | None]] = []
        person = 0
        for group in self.groups:
            for i in range(group.n):
                person += 1
                for t in group.times or ("",):
                    row: dict[str, str | None] = {
                        "gsm": f"GSM{1000 + len(rows)}",
                        "title": f"sample {len(rows) + 1}",
                        "source_name": "Whole blood",
                        "organism": "Homo sapiens",
                        "platform": "GPL570",
                        "description": None,
                    }
                    for key, said in group.says.items():
                        value = said[i % len(said)] if isinstance(said, list) else said
                        name = key if key in row else f"characteristics: {key}"
                        row[name] = (
                            None
                            if value is None
                            else str(value).format(i=i + 1, n=len(rows) + 1, p=person, t=t)
                        )
                    rows.append(row)
        frame = pd.DataFrame(rows, dtype=object)
        return frame.where(frame.notna(), None)

    def truth(self) -> list[str]:
        return [
            group.truth
            for group in self.groups
            for _ in range(group.n)
            for _ in group.times or ("",)
        ]


def study_named(name: str) -> Study:
    """A study by the name that the made-up series use."""
    case, control, title = {
        "sepsis": (["sepsis", "septic_shock"], ["healthy"], "Sepsis against healthy controls"),
        "sepsis_sirs": (
            ["sepsis", "septic_shock"],
            ["noninfectious_inflammation"],
            "Sepsis against inflammation without infection",
        ),
        "tb": (["tb"], ["latent_tb", "healthy"], "Active tuberculosis against latent or health"),
        "bacterial_viral": (["bacterial"], ["viral"], "Bacterial against viral infection"),
        "malaria": (["malaria"], ["healthy"], "Malaria against health"),
        "dengue": (["severe_dengue"], ["dengue"], "Severe dengue against dengue fever"),
        "sle": (["sle"], ["healthy"], "Lupus against health"),
        "kawasaki": (["kawasaki"], ["infection"], "Kawasaki disease against infection"),
        "covid": (["covid19"], ["healthy"], "COVID-19 against health"),
        "mortality": (["nonsurvivor"], ["survivor"], "Who dies of sepsis"),
        "preeclampsia": (["preeclampsia"], ["healthy"], "Preeclampsia against healthy pregnancy"),
    }[name]
    rules = [{"field": "title", "pattern": label, "value": label} for label in (*case, *control)]
    return study_of(cohort_of({"label": rules}), name=name, title=title, case=case, control=control)
