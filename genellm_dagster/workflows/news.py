"""What waits for a person after a search, in words and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from genellm_dagster.settings import Settings, study_as_it_is_now
from genellm_dagster.store import Store
from genellm_dagster.studies.loading import known_cohorts
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.catalog import catalog_news, read_catalog, rows_of
from genellm_dagster.workflows.done import pending, read_changes, read_done
from genellm_dagster.workflows.proposals import read_proposals

_SHOWN = 40
_SHOWN_CHARS = 60


@dataclass(frozen=True)
class News:
    """What a study's catalogue has to tell.

    Attributes:
        study: Name of the study.
        table: What waits, see :func:`~genellm_dagster.workflows.catalog.catalog_news`.
        catalog: The whole catalogue.
    """

    study: str
    table: pd.DataFrame
    catalog: pd.DataFrame

    def shown(self) -> pd.DataFrame:
        """Return the head of the table as a person reads it: texts, cut to a width."""
        head = self.table.head(_SHOWN)
        rows = [
            {
                "news": row["news"],
                "series": row["accession"],
                "title": _cut(row["title"]),
                "samples": "" if row["samples"] is None else str(row["samples"]),
                "confidence": "" if row["confidence"] is None else f"{row['confidence']:.2f}",
                "next": row["next"],
                "note": _cut(row["note"] or ""),
            }
            for row in rows_of(head)
        ]
        return pd.DataFrame(rows)

    def lines(self) -> list[str]:
        """Return what is said below the table."""
        counts = self.catalog["status"].value_counts()
        told = ", ".join(f"{n} {status}" for status, n in counts.items()) or "none"
        lines = [f"{len(self.catalog)} series for {self.study}: {told}"]
        if len(self.table) > _SHOWN:
            lines.append(f"{len(self.table) - _SHOWN} more wait; --json gives all of them.")
        return lines

    def to_json(self) -> str:
        """Return the whole catalogue as JSON, an object a series; ``news`` and ``next``."""
        told: dict[Any, Any] = {row["accession"]: row for row in rows_of(self.table)}
        rows = []
        for row in rows_of(self.catalog):
            own = told.get(row["accession"], {})
            rows.append({**row, "news": own.get("news"), "next": own.get("next")})
        return json.dumps(rows, indent=2, default=str)


def study_news(settings: Settings, study: Study, options: str = "") -> News:
    """Read what the last search left.

    Args:
        settings: Where the store is.
        study: The study; its file is read again, since a search may approve cohorts.
        options: What the commands to go on with need behind them, like ``--study mine``.

    Raises:
        StoreError: When the catalogue cannot be read.
    """
    study = study_as_it_is_now(settings, study)
    store = Store(settings.store, study.name)
    catalog = read_catalog(store)
    if catalog is None:
        catalog = pd.DataFrame(columns=["accession", "status"])
    waiting = pending(read_done(store), study, read_changes(store))
    ready = dict.fromkeys(known_cohorts(settings.data_dir), "its cohort file is there")
    proposals = ready | {name: one.told for name, one in read_proposals(store).items()}
    table = catalog_news(catalog, waiting, proposals, options)
    return News(study.name, table, catalog)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
