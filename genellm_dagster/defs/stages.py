"""The stages of a refresh as runs of the study's jobs."""

from typing import TYPE_CHECKING

import pandas as pd

from genellm_dagster.defs import jobs
from genellm_dagster.defs.partitions import cell_key
from genellm_dagster.files import read_json, read_parquet
from genellm_dagster.geo.records import Manifest
from genellm_dagster.studies.plan import StrataPlan

if TYPE_CHECKING:
    from genellm_dagster.defs.runs import StudyRunner


class RunnerStages:
    """Runs each stage that :func:`genellm_dagster.workflows.refresh.refresh` asks for.

    Args:
        runner: Of the study.
    """

    def __init__(self, runner: "StudyRunner") -> None:
        self.runner = runner

    def fetch(self, name: str, why: str) -> str:
        """Fetch a cohort's files and return their fingerprint."""
        self.runner.run(jobs.INGEST, f"fetch {name} ({why})", name, only=("raw_series",))
        return fingerprint_of(self.runner, name)

    def ingest(self, name: str, why: str) -> None:
        """Read a cohort's fetched files: sample sheet and expression table."""
        only = ("sample_sheet", "gene_expression")
        self.runner.run(jobs.INGEST, f"ingest {name} ({why})", name, only=only)

    def compare(self) -> None:
        """Find overlaps between cohorts; prepare the backbone."""
        self.runner.run(jobs.COMPARE_COHORTS, "compare cohorts, prepare the backbone")

    def quality_control(self, stratum: str, cohort: str) -> None:
        """Control the quality of one cell."""
        label = f"quality control {cohort} {stratum}"
        self.runner.run(jobs.QUALITY_CONTROL, label, cell_key(cohort, stratum))

    def train(self, stratum: str, cohorts: list[str]) -> None:
        """Encode the cells of a stratum; train, evaluate and explain its model."""
        self.runner.run(jobs.CHOOSE_GENES, f"genes, profiles and tokenizer {stratum}", stratum)
        for cohort in cohorts:
            label = f"tokens and frozen prefix {cohort} {stratum}"
            self.runner.run(jobs.ENCODE, label, cell_key(cohort, stratum))
        self.runner.run(jobs.TRAIN, f"train and evaluate {stratum}", stratum)

    def report(self) -> None:
        """Compare strata and models; write the report."""
        self.runner.run(jobs.REPORTS, "comparison and report")

    def plan(self) -> StrataPlan:
        """Say which cells hold samples."""
        return self.runner.plan()

    def overlaps(self) -> pd.DataFrame:
        """Return the pairs that :meth:`compare` found."""
        return overlaps_of(self.runner)


def fingerprint_of(runner: "StudyRunner", name: str) -> str:
    """Return the fingerprint of a cohort's files as they were last materialized."""
    path = runner.store.place("raw_series", f"{name}.json")
    return Manifest.model_validate(read_json(path)).fingerprint


def overlaps_of(runner: "StudyRunner") -> pd.DataFrame:
    """Return the pairs of samples that are one person or one array."""
    return read_parquet(runner.store.place("sample_overlap.parquet"))
