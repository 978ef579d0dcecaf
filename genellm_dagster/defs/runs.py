"""Runs of a study's jobs in this process, stage by stage, as the command line needs them."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from filelock import FileLock, Timeout

from genellm_dagster.defs import jobs
from genellm_dagster.defs.io_managers import asset_path
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.stages import RunnerStages, fingerprint_of
from genellm_dagster.errors import GeneLLMError, SettingsError
from genellm_dagster.files import read_json, read_parquet, write_text
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.records import Manifest
from genellm_dagster.settings import PROJECT_ROOT, Settings, geo_root_of
from genellm_dagster.store import Store
from genellm_dagster.studies.plan import StrataPlan, samples_by_stratum
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.catalog import update_statuses
from genellm_dagster.workflows.done import (
    CohortDone,
    Done,
    SettingsDigests,
    cell_digest,
    cohort_digest,
    compared_key,
    description_digest,
    now_utc,
    read_done,
    report_digest,
    stratum_digest,
    write_done,
)
from genellm_dagster.workflows.refresh import CohortNow, Outcome, Remote, refresh, remote_of

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
            raise SettingsError(_not_writable(settings, error)) from error
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


def add_partitions(instance: dg.DagsterInstance, study: Study) -> None:
    """Give each cohort of a study its partition; none is ever deleted."""
    parts = StudyPartitions.of(study)
    known = set(parts.cohort.get_partition_keys(dynamic_partitions_store=instance))
    instance.add_dynamic_partitions(
        parts.cohort.name or "", [name for name in study.cohorts if name not in known]
    )


class StudyRunner:
    """Runs the jobs of a study, one partition after the other.

    Whatever it runs is remembered with what it was made from, so that a refresh after it runs only
    what changed.

    Args:
        settings: All settings.
        study: The study.
        definitions: The code location of that study.
        instance: Where runs are recorded.
        announce: Called with a line of text before each run.
        tags: Put on every run.
    """

    def __init__(
        self,
        settings: Settings,
        study: Study,
        definitions: dg.Definitions,
        instance: dg.DagsterInstance,
        announce: Callable[[str], None],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.study = study
        self.instance = instance
        self.announce = announce
        self.tags = dict(tags or {})
        self.parts = StudyPartitions.of(study)
        self.definitions = definitions
        self.store = Store(settings.store, study.name)
        self.stages = RunnerStages(self)
        self.digests = SettingsDigests.of(settings, study)
        # Dagster's own event lines would drown the progress; what fails is reported below.
        logging.getLogger("dagster").setLevel(logging.CRITICAL)

    def ingest(self) -> StrataPlan:
        """Fetch every cohort, up to quality control.

        Returns:
            The cells that hold samples.
        """
        add_partitions(self.instance, self.study)
        done = read_done(self.store)
        for cohort in self.study.cohorts:
            done.cohorts.pop(cohort, None)
            write_done(self.store, done)
            checked_at = now_utc()
            self.run(jobs.INGEST, f"ingest {cohort}", cohort)
            done.cohorts[cohort] = self._ingested(cohort, checked_at)
            write_done(self.store, done)
        plan = self.plan()
        self.stages.compare()
        done.compared = compared_key(done, self.study, self.digests)
        for stratum, cohorts in plan.cells.items():
            for cohort in cohorts:
                done.cells.pop(f"{stratum}/{cohort}", None)
                write_done(self.store, done)
                self.stages.quality_control(stratum, cohort)
                done.cells[f"{stratum}/{cohort}"] = cell_digest(done, cohort, self.digests)
        write_done(self.store, done)
        update_statuses(self.store, self.study)
        return plan

    def catalog(self) -> None:
        """Search GEO for series that fit the study."""
        self.run(jobs.CATALOG, "search GEO")

    def train(self, plan: StrataPlan, strata: list[str]) -> None:
        """Tokenize, cross-validate, train, evaluate and explain strata."""
        for stratum in strata:
            done = read_done(self.store)
            done.strata.pop(stratum, None)
            write_done(self.store, done)
            self.stages.train(stratum, plan.cells[stratum])
            if done.cohorts.keys() >= set(plan.cells[stratum]):
                pairs = self.stages.overlaps()
                key = stratum_digest(done, plan, stratum, pairs, self.digests)
                done.strata[stratum] = key
                write_done(self.store, done)

    def tune(self, stratum: str | None) -> list[Any]:
        """Search options of a stratum, or of each that has samples; return what was found."""
        found = []
        for name in [stratum] if stratum is not None else self.plan().cells:
            self.run(jobs.TUNE, f"search options of {name}", name)
            found.append(read_json(self.store.place("tuned_options", f"{name}.json")))
        return found

    def report(self) -> Path:
        """Compare strata and models and write the report; return its path."""
        self.stages.report()
        done = read_done(self.store)
        if done.cohorts.keys() >= set(self.study.cohorts):
            done.report = report_digest(done, self.study, self.digests)
            write_done(self.store, done)
        return self.store.report

    def refresh(self) -> Outcome:
        """Run what is not up to date, down to the report, and nothing else.

        Raises:
            GeneLLMError: When cohorts cannot be ingested, or another refresh is at work.
        """
        lock = FileLock(self.store.place("refresh.lock"))
        try:
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except OSError as error:
            if not isinstance(error, Timeout):
                raise SettingsError(_not_writable(self.settings, error)) from error
            raise GeneLLMError(
                f"Another refresh of {self.study.name!r} is at work ({lock.lock_file}); wait "
                "until it has ended."
            ) from error
        try:
            add_partitions(self.instance, self.study)
            done = read_done(self.store)
            return refresh(
                self.stages,
                self.study,
                self.digests,
                done,
                self._cohorts_now(done),
                lambda changed: write_done(self.store, changed),
            )
        finally:
            lock.release()
            update_statuses(self.store, self.study)

    def plan(self) -> StrataPlan:
        """Read the sample sheets and say which cells hold samples."""
        sheets = {
            name: read_parquet(self._file("sample_sheet", name)) for name in self.study.cohorts
        }
        return samples_by_stratum(sheets, self.study)

    def run(
        self, job: str, label: str, partition: str | None = None, only: Sequence[str] = ()
    ) -> None:
        """Run a job to its end.

        Args:
            job: Its name.
            label: What is announced, and named when it fails.
            partition: Of the job's partitions, one.
            only: Of the job's assets, these; all of them when empty.

        Raises:
            GeneLLMError: What a person can mend; a defect comes as :class:`StepFailedError`.
        """
        self.announce(label)
        result = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=partition,
            raise_on_error=False,
            run_config=_QUIET,
            tags=self.tags,
            asset_selection=[self.parts.key(asset) for asset in only] or None,
        )
        if not result.success:
            raise _error_of(result, label)

    def _file(self, asset: str, partition: str) -> Path:
        return asset_path(self.settings.store, self.parts.key(asset), partition, ".parquet")

    def _ingested(self, name: str, checked_at: str) -> CohortDone:
        fingerprint = fingerprint_of(self, name)
        description = description_digest(self.study, name)
        return CohortDone(
            fingerprint=fingerprint,
            description=description,
            key=cohort_digest(fingerprint, description, self.digests),
            checked_at=checked_at,
        )

    def _cohorts_now(self, done: Done) -> dict[str, CohortNow]:
        now = {}
        with GeoClient(geo_root_of(self.settings, self.study), self.settings.geo) as client:
            for name in self.study.cohorts:
                remote: Remote = "unknown"
                if name in done.cohorts:
                    self.announce(f"hold {name} against GEO")
                    manifest = read_json(self.store.place("raw_series", f"{name}.json"))
                    remote, _ = remote_of(client, Manifest.model_validate(manifest))
                now[name] = CohortNow(description_digest(self.study, name), remote)
        return now


def _not_writable(settings: Settings, error: OSError) -> str:
    return (
        f"The store {settings.store} cannot be written to ({error.strerror}); name another "
        "folder with GENELLM_STORE."
    )


def _error_of(result: dg.ExecuteInProcessResult, label: str) -> GeneLLMError:
    for event in result.all_events:
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            check: Any = event.event_specific_data
            if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
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
