"""What the strata of a study could show of a difference in AUROC, from their sizes alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import pandas as pd

from genellm_dagster.errors import StoreError
from genellm_dagster.files import read_parquet
from genellm_dagster.simulation.power import STANDARD, Plan, Sizes, seen_table
from genellm_dagster.store import Store
from genellm_dagster.studies.plan import after_quality_control, samples_by_stratum

if TYPE_CHECKING:
    from genellm_dagster.settings import Settings
    from genellm_dagster.studies.study import Study

AUROCS = (0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
PREVALENCES = (0.5, 0.7, 0.9)


def what_a_study_could_show(
    settings: Settings,
    study: Study,
    aurocs: Sequence[float] = AUROCS,
    difference: float = 0.05,
    plan: Plan = STANDARD,
) -> pd.DataFrame:
    """Take every pair of strata that has been ingested and say which differences it could show.

    Power is asked of true AUROC values that somebody supposes, not of the observed ones: from
    those it would say no more than their p value.

    Args:
        settings: Where the store is.
        study: The study.
        aurocs: True AUROC of the better stratum, each asked for in turn.
        difference: For the power to see it.
        plan: What is asked of the comparison.

    Returns:
        ``better`` and ``other`` (strata, with their numbers of cases and controls), ``auroc`` (of
        the better), ``power``, ``smallest_difference`` (None where none is seen).

    Raises:
        StoreError: When there are no two strata in the store.
    """
    sizes = _persons(settings, study)
    if len(sizes) < 2:
        raise StoreError(
            f"{settings.store / study.name} holds {len(sizes)} strata of {study.name} after "
            f"quality control and a difference takes two; run `genellm ingest --study "
            f"{settings.study}` first."
        )
    tables = []
    for pair in permutations(sizes, 2):
        better, other = pair
        table = seen_table(aurocs, (sizes[better], sizes[other]), difference, plan)
        words = [f"{name} ({sizes[name].cases} + {sizes[name].controls})" for name in pair]
        table.insert(0, "better", words[0])
        table.insert(1, "other", words[1])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _persons(settings: Settings, study: Study) -> dict[str, Sizes]:
    """Stratum to its persons after quality control; a person measured twice is one."""
    store = Store(settings.store, study.name)
    places = {name: store.place("sample_sheet", f"{name}.parquet") for name in study.cohorts}
    for path in places.values():
        if not path.exists():
            raise StoreError(
                f"{path} is missing; run `genellm ingest --study {settings.study}` first."
            )
    sheets = {name: read_parquet(path) for name, path in places.items()}
    cells = samples_by_stratum(sheets, study)
    found: dict[str, Sizes] = {}
    for stratum, cohorts in cells.cells.items():
        kept = {}
        for cohort in cohorts:
            path = store.place("qc_expression", stratum, f"{cohort}.parquet")
            # Cohorts that quality control refused have no table.
            if path.exists():
                kept[cohort] = list(read_parquet(path).columns)
        samples, _ = after_quality_control(cells, study, stratum, kept)
        persons = samples.groupby("case")["subject"].nunique()
        found[stratum] = Sizes(int(persons.get(1, 0)), int(persons.get(0, 0)))
    return found
