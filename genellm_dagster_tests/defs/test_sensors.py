"""Sensors: cohorts become partitions, GEO is searched in time, what changed is run once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import yaml

from genellm_dagster.defs import jobs
from genellm_dagster.defs.build import build_definitions
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.sensors import build_sensors
from genellm_dagster.files import write_json, write_parquet, write_text
from genellm_dagster.settings import Settings, load_settings, study_of
from genellm_dagster.store import Store
from genellm_dagster.workflows.done import (
    CohortDone,
    Done,
    description_digest,
    write_changes,
    write_done,
)
from genellm_dagster_tests.defs.makers import a_study

NOW = datetime.now(UTC)


class Study:
    """A study in files, and the sensors of a code location that loaded it."""

    def __init__(self, folder: Path, **discovery: Any) -> None:
        self.folder = folder
        self.file = folder / "small.yaml"
        self.write("GSE1", "GSE2")
        self.settings: Settings = load_settings(
            study=str(self.file), store=folder / "store", discovery=discovery
        )
        self.store = Store(folder / "store", "small")
        self.loaded = study_of(self.settings)
        self.parts = StudyPartitions.of(self.loaded)
        made = build_sensors(self.parts, self.settings)
        self.sensors = {sensor.name: sensor for sensor in made}

    def write(self, *cohorts: str, **changes: Any) -> None:
        content = a_study(*cohorts).model_dump(mode="json", exclude_none=True)
        content["strata"] = {"pediatric": {"max_age": 18}, "adult": {"min_age": 18}}
        for name in cohorts:
            content["cohort_files"][name] |= changes
        self.file.write_text(yaml.safe_dump(content))

    def tick(
        self, sensor: str, instance: dg.DagsterInstance, cursor: str | None = None
    ) -> dg.SensorResult | dg.SkipReason:
        said = self.sensors[sensor](dg.build_sensor_context(instance=instance, cursor=cursor))
        assert isinstance(said, dg.SensorResult | dg.SkipReason)
        return said

    def has_run(self) -> None:
        """Leave what a whole run leaves, as far as the sensors look."""
        checked_at = (NOW - timedelta(hours=1)).isoformat()
        done = Done()
        for name in self.loaded.cohorts:
            done.cohorts[name] = CohortDone(
                fingerprint=f"files of {name}",
                description=description_digest(self.loaded, name),
                key="k",
                checked_at=checked_at,
            )
            for asset, end in (("raw_series", "json"), ("sample_sheet", "parquet"),
                               ("gene_expression", "parquet")):  # fmt: skip
                write_text(self.store.place(asset, f"{name}.{end}"), "")
        write_done(self.store, done)
        write_text(self.store.report, "")


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("GENELLM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_cohorts_become_partitions_once_and_are_never_deleted(
    study: Study, instance: dg.DagsterInstance
) -> None:
    name = study.parts.cohort.name or ""
    assert study.sensors["cohorts_of_the_study"].default_status is dg.DefaultSensorStatus.RUNNING
    instance.add_dynamic_partitions(name, ["GSE2", "GSE9"])
    said = study.tick("cohorts_of_the_study", instance)
    assert isinstance(said, dg.SensorResult)
    (request,) = said.dynamic_partitions_requests or []
    assert isinstance(request, dg.AddDynamicPartitionsRequest)
    assert list(request.partition_keys) == ["GSE1"]
    instance.add_dynamic_partitions(name, ["GSE1"])
    assert isinstance(study.tick("cohorts_of_the_study", instance), dg.SkipReason)


def test_cohort_approved_while_the_interface_runs_becomes_a_partition(
    study: Study, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(study.parts.cohort.name or "", ["GSE1", "GSE2"])
    study.write("GSE1", "GSE2", "GSE3")
    said = study.tick("cohorts_of_the_study", instance)
    assert isinstance(said, dg.SensorResult)
    (request,) = said.dynamic_partitions_requests or []
    assert list(request.partition_keys) == ["GSE3"]


@pytest.mark.parametrize("sensor", ["cohorts_of_the_study", "study_refresh"])
def test_study_file_in_the_middle_of_an_edit_is_read_at_the_next_tick(
    study: Study, instance: dg.DagsterInstance, sensor: str
) -> None:
    study.has_run()
    study.file.write_text("name: small\ncohorts: [GSE1")
    said = study.tick(sensor, instance)
    assert isinstance(said, dg.SkipReason)
    assert str(study.file) in (said.skip_message or "")


def test_studies_in_one_instance_do_not_share_cohorts() -> None:
    names = {StudyPartitions.of(a_study("GSE1", name=name)).cohort.name for name in ("one", "two")}
    assert len(names) == 2


def test_starting_the_interface_never_searches_at_once(
    study: Study, instance: dg.DagsterInstance
) -> None:
    said = study.tick("geo_discovery", instance)
    assert isinstance(said, dg.SensorResult)
    assert not said.run_requests
    assert said.cursor is not None
    again = study.tick("geo_discovery", instance, said.cursor)
    assert isinstance(again, dg.SkipReason)


def test_geo_is_searched_once_an_interval(study: Study, instance: dg.DagsterInstance) -> None:
    long_ago = (NOW - timedelta(hours=7)).isoformat()
    said = study.tick("geo_discovery", instance, long_ago)
    assert isinstance(said, dg.SensorResult)
    (request,) = said.run_requests or []
    assert request.run_key
    assert study.sensors["geo_discovery"].job_name == jobs.CATALOG
    assert isinstance(study.tick("geo_discovery", instance, said.cursor), dg.SkipReason)
    recently = (NOW - timedelta(hours=5)).isoformat()
    assert isinstance(study.tick("geo_discovery", instance, recently), dg.SkipReason)


def test_search_by_hand_counts_too(study: Study, instance: dg.DagsterInstance) -> None:
    long_ago = (NOW - timedelta(hours=7)).isoformat()
    by_hand = pd.DataFrame({"accession": ["GSE1"], "checked_at": [NOW.isoformat()]})
    write_parquet(study.store.place("geo_catalog.parquet"), by_hand)
    assert isinstance(study.tick("geo_discovery", instance, long_ago), dg.SkipReason)


def test_no_second_search_while_one_is_under_way(
    study: Study, instance: dg.DagsterInstance
) -> None:
    long_ago = (NOW - timedelta(hours=7)).isoformat()
    definitions = build_definitions(study.settings, study.loaded)
    run = instance.create_run_for_job(definitions.resolve_job_def(jobs.CATALOG))
    instance.report_run_canceling(run)
    said = study.tick("geo_discovery", instance, long_ago)
    assert isinstance(said, dg.SkipReason)
    assert "under way" in (said.skip_message or "")


def test_search_is_never_by_itself_when_the_interval_is_nothing(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    study = Study(tmp_path, interval_hours=0, refresh=False)
    assert study.sensors["geo_discovery"].default_status is dg.DefaultSensorStatus.STOPPED
    assert study.sensors["study_refresh"].default_status is dg.DefaultSensorStatus.STOPPED
    long_ago = (NOW - timedelta(days=7)).isoformat()
    assert isinstance(study.tick("geo_discovery", instance, long_ago), dg.SkipReason)


def test_study_that_nobody_has_run_is_not_run_by_itself(
    study: Study, instance: dg.DagsterInstance
) -> None:
    said = study.tick("study_refresh", instance)
    assert isinstance(said, dg.SkipReason)
    assert "no report yet" in (said.skip_message or "")
    study.has_run()
    study.store.report.unlink()
    assert isinstance(study.tick("study_refresh", instance), dg.SkipReason)


def test_unchanged_study_is_not_run(study: Study, instance: dg.DagsterInstance) -> None:
    study.has_run()
    assert isinstance(study.tick("study_refresh", instance), dg.SkipReason)


def _requested(said: dg.SensorResult | dg.SkipReason) -> dg.RunRequest:
    assert isinstance(said, dg.SensorResult), said
    (request,) = said.run_requests or []
    return request


def test_revised_series_runs_again_and_the_same_revision_never_does(
    study: Study, instance: dg.DagsterInstance
) -> None:
    study.has_run()
    write_changes(study.store, {"GSE2": "second version"})
    request = _requested(study.tick("study_refresh", instance))
    assert study.sensors["study_refresh"].job_name == jobs.REFRESH
    assert "GSE2 (its files changed at GEO)" in request.tags["genellm/why"]
    # Seen again in the next search: the same revision, the same key, which Dagster runs once.
    write_changes(study.store, {"GSE2": "second version"})
    assert _requested(study.tick("study_refresh", instance)).run_key == request.run_key
    write_changes(study.store, {"GSE2": "third version"})
    assert _requested(study.tick("study_refresh", instance)).run_key != request.run_key


def test_approved_cohort_is_run_with_its_partition(
    study: Study, instance: dg.DagsterInstance
) -> None:
    study.has_run()
    instance.add_dynamic_partitions(study.parts.cohort.name or "", ["GSE1", "GSE2"])
    study.write("GSE1", "GSE2", "GSE3")
    said = study.tick("study_refresh", instance)
    request = _requested(said)
    assert request.tags["genellm/why"] == "GSE3 (new)"
    assert isinstance(said, dg.SensorResult)
    (partitions,) = said.dynamic_partitions_requests or []
    assert list(partitions.partition_keys) == ["GSE3"]


def test_changed_rules_are_run(study: Study, instance: dg.DagsterInstance) -> None:
    study.has_run()
    study.write("GSE1", "GSE2", default_stratum="adult")
    told = _requested(study.tick("study_refresh", instance)).tags["genellm/why"]
    assert told == "GSE1 (its description changed), GSE2 (its description changed)"
    study.write("GSE1", "GSE2", verified=True)
    assert isinstance(study.tick("study_refresh", instance), dg.SkipReason)


def test_no_second_refresh_while_one_is_under_way(
    study: Study, instance: dg.DagsterInstance
) -> None:
    study.has_run()
    write_changes(study.store, {"GSE2": "second version"})
    definitions = build_definitions(study.settings, study.loaded)
    run = instance.create_run_for_job(definitions.resolve_job_def(jobs.REFRESH))
    instance.report_run_canceling(run)
    said = study.tick("study_refresh", instance)
    assert isinstance(said, dg.SkipReason)
    assert "GSE2" in (said.skip_message or "")


def test_damaged_catalogue_does_not_stop_the_sensors(
    study: Study, instance: dg.DagsterInstance
) -> None:
    long_ago = (NOW - timedelta(hours=7)).isoformat()
    write_text(study.store.place("geo_catalog.parquet"), "no parquet")
    write_json(study.store.place("geo_catalog", "changes.json"), [1])
    assert isinstance(study.tick("geo_discovery", instance, long_ago), dg.SensorResult)
    study.has_run()
    assert isinstance(study.tick("study_refresh", instance), dg.SkipReason)
