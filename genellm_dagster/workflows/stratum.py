"""The samples of one stratum with their tables, put together from assets of its cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from genellm_dagster.studies.plan import LeftOut, after_quality_control, samples_by_stratum
from genellm_dagster.studies.study import Study


@dataclass(frozen=True)
class StratumSamples:
    """One stratum after quality control.

    Attributes:
        samples: gsm, cohort, subject, case, stratum, age_years.
        tables: Cohort to its expression table, these samples only.
        left_out: Cohorts that quality control left with one class.
    """

    samples: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    left_out: list[LeftOut]

    def expression(self) -> pd.DataFrame:
        """Return gsm x genes, log2, NaN where a cohort lacks the gene."""
        together = pd.concat([table.T for table in self.tables.values()])
        return together.reindex(self.samples["gsm"])


def samples_of_strata(
    study: Study,
    strata: Iterable[str],
    sheets: Mapping[str, pd.DataFrame],
    tables: Mapping[tuple[str, str], pd.DataFrame],
) -> dict[str, StratumSamples]:
    """Put strata together, those apart that the study has no data for any more.

    Args:
        study: The study.
        strata: Strata that have results, perhaps of an earlier state of the study.
        sheets: Cohort to its sample sheet.
        tables: (stratum, cohort) to its expression table after QC.
    """
    with_data = samples_by_stratum(sheets, study).cells
    return {
        name: stratum_samples(study, name, sheets, tables) for name in strata if name in with_data
    }


def stratum_samples(
    study: Study,
    stratum: str,
    sheets: Mapping[str, pd.DataFrame],
    tables: Mapping[tuple[str, str], pd.DataFrame],
) -> StratumSamples:
    """Put one stratum together.

    Args:
        study: The study.
        stratum: Which stratum.
        sheets: Cohort to its sample sheet.
        tables: (stratum, cohort) to its expression table after QC.
    """
    plan = samples_by_stratum(sheets, study)
    own = {cohort: table for (name, cohort), table in tables.items() if name == stratum}
    kept = {cohort: list(table.columns) for cohort, table in own.items()}
    samples, left_out = after_quality_control(plan, study, stratum, kept)
    chosen = {
        str(cohort): own[str(cohort)][rows["gsm"].tolist()]
        for cohort, rows in samples.groupby("cohort", sort=False)
    }
    return StratumSamples(samples, chosen, left_out)
