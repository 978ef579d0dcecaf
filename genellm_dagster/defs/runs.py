"""Runs of a study's jobs in this process, stage by stage, as the command line needs them."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from genellm_dagster.defs import jobs
from genellm_dagster.defs.io_managers import asset_path
from genellm_dagster.defs.partitions import StudyPartitions, cell_key
from genellm_dagster.errors import GeneLLMError, SettingsError
from genellm_dagster.files import read_parquet, write_text
from genellm_dagster.settings import PROJECT_ROOT, Settings
from genellm_dagster.store import Store
from genellm_dagster.studies.plan import StrataPlan, samples_by_stratum
from genellm_dagster.studies.study import Study

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class StepFailedError(GeneLLMError):
    """A step failed with an error that is no sentence for users: a defect, with its traceback."""


def dagster_home(settings: Settings) -> Path:
    """Return the folder of the Dagster instance, made when missing.

    ``DAGSTER_HOME`` wins. Otherwise the instance lies in the store, configured as the project's
    ``dagster.yaml`` says, with its relative folders made absolute.

    Raises:
        SettingsError: When ``DAGSTER_HOME`` is no folder, or the store cannot be written to.
    """
    if os.environ.get("DAGSTER_HOME"):
        named = Path(os.environ["DAGSTER_HOME"])
        if not named.is_absolute() or not named.is_dir():
            raise SettingsError(
                f"DAGSTER_HOME is {named}, which is no absolute path of a folder that is there; "
                "make the folder, or unset DAGSTER_HOME to keep runs in the store."
            )
        return named
    home = settings.store.absolute() / "dagster"
    config = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    for place in (
        config["storage"]["sqlite"],
        config["local_artifact_storage"]["config"],
        config["compute_logs"]["config"],
    ):
        place["base_dir"] = str(home / Path(place["base_dir"]).name)
    text = yaml.safe_dump(config, sort_keys=False)
    file = home / "dagster.yaml"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        try:
            write_text(file, text)
        except OSError as error:
            raise SettingsError(
                f"The store {settings.store} cannot be written to ({error.strerror}); name another "
                "folder with GENELLM_STORE."
            ) from error
    return home


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance that the UI shows too."""
    home = dagster_home(settings)
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]


class StudyRunner:
    """Runs the jobs of a study, one partition after the other.

    Args:
        settings: All settings.
        study: The study.
        definitions: The code location of that study.
        instance: Where runs are recorded.
        announce: Called with a line of text before each run.
    """

    def __init__(
        self,
        settings: Settings,
        study: Study,
        definitions: dg.Definitions,
        instance: dg.DagsterInstance,
        announce: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.study = study
        self.instance = instance
        self.announce = announce
        self.parts = StudyPartitions.of(study)
        self.definitions = definitions
        # Dagster's own event lines would drown the progress; what fails is reported below.
        logging.getLogger("dagster").setLevel(logging.CRITICAL)

    def ingest(self) -> StrataPlan:
        """Fetch every cohort, up to quality control.

        Returns:
            The cells that hold samples.
        """
        known = set(self.parts.cohort.get_partition_keys(dynamic_partitions_store=self.instance))
        self.instance.add_dynamic_partitions(
            self.parts.cohort.name or "", [c for c in self.study.cohorts if c not in known]
        )
        for cohort in self.study.cohorts:
            self._run(jobs.INGEST, f"ingest {cohort}", cohort)
        plan = self.plan()
        self._run(jobs.COMPARE_COHORTS, "compare cohorts, prepare the backbone")
        for stratum, cohorts in plan.cells.items():
            for cohort in cohorts:
                key = cell_key(cohort, stratum)
                self._run(jobs.QUALITY_CONTROL, f"quality control {cohort} {stratum}", key)
        return plan

    def catalog(self) -> None:
        """Search GEO for series that fit the study."""
        self._run(jobs.CATALOG, "search GEO")

    def train(self, plan: StrataPlan, strata: list[str]) -> None:
        """Tokenize, cross-validate, train, evaluate and explain strata."""
        for stratum in strata:
            self._run(jobs.CHOOSE_GENES, f"choose genes {stratum}", stratum)
            for cohort in plan.cells[stratum]:
                key = cell_key(cohort, stratum)
                self._run(jobs.ENCODE, f"tokens and frozen prefix {cohort} {stratum}", key)
            self._run(jobs.TRAIN, f"train and evaluate {stratum}", stratum)

    def report(self) -> Path:
        """Compare strata and models and write the report; return its path."""
        self._run(jobs.REPORTS, "comparison and report")
        return Store(self.settings.store, self.study.name).report

    def plan(self) -> StrataPlan:
        """Read the sample sheets and say which cells hold samples."""
        sheets = {
            name: read_parquet(self._file("sample_sheet", name)) for name in self.study.cohorts
        }
        return samples_by_stratum(sheets, self.study)

    def _file(self, asset: str, partition: str) -> Path:
        return asset_path(self.settings.store, self.parts.key(asset), partition, ".parquet")

    def _run(self, job: str, label: str, partition: str | None = None) -> None:
        self.announce(label)
        result = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=partition,
            raise_on_error=False,
            run_config=_QUIET,
        )
        if not result.success:
            raise _error_of(result, label)


def _error_of(result: dg.ExecuteInProcessResult, label: str) -> GeneLLMError:
    for event in result.all_events:
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            check: Any = event.event_specific_data
            if not check.passed:
                return GeneLLMError(
                    f"The check {check.check_name} of {check.asset_key.to_user_string()} failed "
                    f"({check.description}); mend the cohort file or leave the cohort out."
                )
    mendable = _names_below(GeneLLMError)
    for event in result.all_events:
        if event.event_type_value in {"STEP_FAILURE", "PIPELINE_FAILURE"}:
            error = getattr(event.event_specific_data, "error", None)
            while error is not None:
                if error.cls_name in mendable:
                    return GeneLLMError(error.message.split(": ", 1)[1].strip())
                if error.cause is None:
                    return StepFailedError(f"{label} failed: {error.to_string()}")
                error = error.cause
    return StepFailedError(f"{label} failed without an error; look at the run in the Dagster UI.")


def _names_below(kind: type[Exception]) -> set[str]:
    """Return the names of an error and of its subclasses, which rooms add of their own."""
    return {kind.__name__}.union(*(_names_below(one) for one in kind.__subclasses__()))
