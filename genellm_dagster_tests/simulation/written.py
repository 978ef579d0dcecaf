"""A simulated study read back from its files, as the tests of its knobs look at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.geo.matrix import read_series_matrix
from genellm_dagster.simulation.geo_files import matrix_path
from genellm_dagster.simulation.options import CohortPlan, SimulationOptions, StratumTruth
from genellm_dagster.simulation.study import simulate_study
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import load_study

CHILDREN, ADULTS, SECOND = "GSE9900101", "GSE9900102", "GSE9900103"


def plan(accession: str, stratum: str, **others: Any) -> CohortPlan:
    return CohortPlan.model_validate(
        {
            "accession": accession, "platform": "GPL990003", "stratum": stratum, "title": "x",
            "cases": 80, "controls": 80, **others,
        }
    )  # fmt: skip


def study_options(*plans: CohortPlan, **others: Any) -> SimulationOptions:
    """A plain study: one kind of patient, nobody between ill and well, unless asked for."""
    plain = {"case_activity_sd": 0.1, "control_activity_sd": 0.1}
    strata = {
        "pediatric": StratumTruth(max_age=18, **plain),
        "adult": StratumTruth(min_age=18, **plain),
    }
    cohorts = plans or (plan(CHILDREN, "pediatric"), plan(ADULTS, "adult"))
    return SimulationOptions.model_validate(
        {"genes": 300, "strata": strata, "cohorts": cohorts, **others}
    )


@dataclass(frozen=True)
class Written:
    """One series as its files say.

    Attributes:
        values: Genes x gsm, log2.
        sheet: Its sample sheet, index gsm.
        fields: What the file says of each sample.
        truth: Its part of the truth.
    """

    values: pd.DataFrame
    sheet: pd.DataFrame
    fields: pd.DataFrame
    truth: dict[str, Any]

    def of(self, case: bool) -> pd.DataFrame:
        """Values of those that the file calls cases, or controls."""
        return self.values[self.sheet.index[self.sheet["case"].eq(case)]]

    @property
    def difference(self) -> pd.Series:
        return self.of(True).mean(axis=1) - self.of(False).mean(axis=1)

    @property
    def cohens_d(self) -> pd.Series:
        variance = (self.of(True).var(axis=1) + self.of(False).var(axis=1)) / 2
        return self.difference / np.sqrt(variance)

    def people(self, field: str) -> pd.Series:
        """What is true of its people, index gsm."""
        return pd.Series({gsm: one[field] for gsm, one in self.truth["people"].items()})


def write_and_read(
    folder: Path, options: SimulationOptions, seed: int = 0
) -> tuple[dict[str, Written], dict[str, Any]]:
    """Simulate a study; return its series as read back from the files, and the truth."""
    made = simulate_study(folder / f"study{len(list(folder.iterdir()))}", options, seed=seed)
    study = load_study(made.study_file, data_dir=folder)
    found = {}
    for accession in study.cohorts:
        matrix = read_series_matrix(matrix_path(made.geo_root, accession))
        sheet = build_sample_sheet(matrix.samples, study.cohort_files[accession], study)
        assert matrix.values is not None
        found[accession] = Written(
            matrix.values.astype(float),
            sheet.set_index("gsm"),
            matrix.samples,
            made.truth["cohorts"][accession],
        )
    return found, made.truth
