"""Ways to say something of each stratum, or nothing where the content holds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import (
    LANGUAGE_MODEL,
    stratum_name,
)
from genellm_dagster.reports.options import ReportOptions

NOT_REPORTED = "not reported"
Answer = Callable[[ReportContent, ReportOptions], str]
"""What is said to a point; empty where the content holds nothing for it."""


def by_stratum(content: ReportContent, say: Callable[[str], str]) -> str:
    """Say something of each stratum that there is something to say of."""
    said = [(stratum, say(stratum)) for stratum in content.strata]
    return " ".join(f"{stratum_name(stratum)}: {ended(text)}" for stratum, text in said if text)


def ended(text: str) -> str:
    """Give words that end a sentence."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def some(parts: Iterable[str], sep: str = "; ") -> str:
    """Join what there is, each once."""
    return sep.join(dict.fromkeys(part for part in parts if part))


def own_numbers(content: ReportContent, stratum: str) -> Mapping[str, Any]:
    """Give the numbers of the language model."""
    found: Mapping[str, Any] = content.reports[stratum]["models"].get(LANGUAGE_MODEL, {})
    return found


def scored(content: ReportContent, stratum: str) -> pd.DataFrame:
    """One row a measured sample: the language model's, else any one model's."""
    frame = content.predictions[stratum]
    own = frame[frame["model"] == LANGUAGE_MODEL]
    return own if len(own) else frame.drop_duplicates("gsm")


def sheet_rows(content: ReportContent, stratum: str) -> pd.DataFrame:
    """The sample sheets' rows of the samples that were measured."""
    own = set(scored(content, stratum)["gsm"])
    found = [sheet[sheet["gsm"].isin(own)] for sheet in content.sheets.values()]
    found = [sheet for sheet in found if len(sheet)]
    return pd.concat(found).drop_duplicates("gsm") if found else pd.DataFrame()


def known_facts(content: ReportContent, **heads: str) -> str:
    """Say facts on the model, those of them that are known, each under its head."""
    values = {key: content.model.get(key) for key in heads}
    return some([f"{heads[key]}: {value}" for key, value in values.items() if value])
