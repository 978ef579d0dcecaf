"""Sensors: the cohorts of the study file become partitions."""

import dagster as dg

from genellm_dagster.defs.partitions import StudyPartitions


def build_sensors(parts: StudyPartitions) -> list[dg.SensorDefinition]:
    """Build the sensors of a study."""

    @dg.sensor(
        name="cohorts_of_the_study",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Adds a partition for each cohort that the study file names. Partitions are "
        "never deleted: their tables may still be read.",
    )
    def cohorts_of_the_study(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        known = set(parts.cohort.get_partition_keys(dynamic_partitions_store=context.instance))
        new = [name for name in parts.study.cohorts if name not in known]
        if not new:
            return dg.SkipReason("Every cohort of the study file has its partition.")
        return dg.SensorResult(dynamic_partitions_requests=[parts.cohort.build_add_request(new)])

    return [cohorts_of_the_study]
