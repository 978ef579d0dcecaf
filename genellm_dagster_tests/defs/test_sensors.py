"""The sensor that turns the cohorts of the study file into partitions."""

from __future__ import annotations

import dagster as dg

from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.sensors import build_sensors
from genellm_dagster_tests.defs.makers import a_study


def test_cohorts_become_partitions_once_and_are_never_deleted() -> None:
    parts = StudyPartitions.of(a_study("GSE1", "GSE2"))
    (sensor,) = build_sensors(parts)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(parts.cohort.name or "", ["GSE2", "GSE9"])
        said = sensor(dg.build_sensor_context(instance=instance))
        assert isinstance(said, dg.SensorResult)
        (request,) = said.dynamic_partitions_requests or []
        assert isinstance(request, dg.AddDynamicPartitionsRequest)
        assert list(request.partition_keys) == ["GSE1"]
        instance.add_dynamic_partitions(parts.cohort.name or "", ["GSE1"])
        assert isinstance(sensor(dg.build_sensor_context(instance=instance)), dg.SkipReason)


def test_studies_in_one_instance_do_not_share_cohorts() -> None:
    names = {StudyPartitions.of(a_study("GSE1", name=name)).cohort.name for name in ("one", "two")}
    assert len(names) == 2
