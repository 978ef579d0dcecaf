"""Sensors: cohorts become partitions, GEO is searched, what changed is run.

Each reads the study's file anew: a cohort may be approved while the interface is running.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from genellm_dagster.defs.jobs import CATALOG, REFRESH
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.errors import GeneLLMError
from genellm_dagster.settings import Settings, study_as_it_is_now
from genellm_dagster.store import Store

if TYPE_CHECKING:
    from genellm_dagster.studies.study import Study

_OFTEN_SECONDS = 30
_SELDOM_SECONDS = 600
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_sensors(parts: StudyPartitions, settings: Settings) -> list[dg.SensorDefinition]:
    """Build the sensors of a study.

    Args:
        parts: Its partitions.
        settings: Where its file and its store are, and how often GEO is searched.
    """
    options = settings.discovery
    interval = timedelta(hours=options.interval_hours)
    store = Store(settings.store, parts.study.name)

    @dg.sensor(
        name="cohorts_of_the_study",
        minimum_interval_seconds=_OFTEN_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Adds a partition for each cohort that the study file names. Partitions are "
        "never deleted: their tables may still be read.",
    )
    def cohorts_of_the_study(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        study = _study_now(settings, parts)
        if isinstance(study, dg.SkipReason):
            return study
        new = _without_partition(parts, study, context.instance)
        if not new:
            return dg.SkipReason("Every cohort of the study file has its partition.")
        return dg.SensorResult(dynamic_partitions_requests=[parts.cohort.build_add_request(new)])

    @dg.sensor(
        name="geo_discovery",
        job_name=CATALOG,
        minimum_interval_seconds=_seconds(interval),
        default_status=_running_if(options.interval_hours > 0),
        description="Searches GEO for series that fit the study every "
        f"{options.interval_hours:g} hours (GENELLM_DISCOVERY__INTERVAL_HOURS). The first search "
        "comes one interval after the interface was first started, never at once.",
    )
    def geo_discovery(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if options.interval_hours == 0:
            return dg.SkipReason("GENELLM_DISCOVERY__INTERVAL_HOURS is 0: never by itself.")
        now = datetime.now(UTC)
        last = _last_search(context.cursor, store)
        if last is None:
            return dg.SensorResult(
                skip_reason=f"The first search is due at {_shown(now + interval)}.",
                cursor=now.isoformat(),
            )
        if now < last + interval:
            return dg.SkipReason(f"The next search is due at {_shown(last + interval)}.")
        if _under_way(context.instance, CATALOG):
            return dg.SkipReason("A search is under way.")
        key = f"{parts.study.name} {now.isoformat(timespec='seconds')}"
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key)], cursor=now.isoformat())

    @dg.sensor(
        name="study_refresh",
        job_name=REFRESH,
        minimum_interval_seconds=_OFTEN_SECONDS,
        default_status=_running_if(options.refresh),
        description="Runs what new cohorts, revised series and changed descriptions ask for, down "
        "to the report. Begins once the study has a report. What succeeded is not run twice; "
        "what failed is tried again the next day, or when something else changes.",
    )
    def study_refresh(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from genellm_dagster.workflows.done import pending, pending_key, read_changes, read_done

        study = _study_now(settings, parts)
        if isinstance(study, dg.SkipReason):
            return study
        done, changes = read_done(store), read_changes(store)
        if not done.cohorts or not store.report.is_file():
            return dg.SkipReason(
                "The study has no report yet; `genellm run`, `genellm refresh` or the job "
                f"{REFRESH} makes the first one."
            )
        waiting = pending(done, study, changes)
        if not waiting:
            return dg.SkipReason("Nothing has changed since the last refresh.")
        told = ", ".join(f"{name} ({why})" for name, why in waiting.items())
        if _under_way(context.instance, REFRESH):
            return dg.SkipReason(f"A refresh is under way; waiting: {told}.")
        new = _without_partition(parts, study, context.instance)
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    # What waits, with the fingerprints of its files: a revised series runs again,
                    # the same revision does not. The day: what failed is tried again tomorrow.
                    run_key=f"{pending_key(done, study, changes, waiting)} {datetime.now(UTC):%F}",
                    tags={"genellm/why": told[:500]},
                )
            ],
            dynamic_partitions_requests=[parts.cohort.build_add_request(new)] if new else [],
        )

    return [cohorts_of_the_study, geo_discovery, study_refresh]


def _study_now(settings: Settings, parts: StudyPartitions) -> "Study | dg.SkipReason":
    try:
        return study_as_it_is_now(settings, parts.study)
    except GeneLLMError as error:
        # Somebody is in the middle of editing it; the next tick reads it again.
        return dg.SkipReason(str(error))


def _without_partition(
    parts: StudyPartitions, study: "Study", instance: dg.DagsterInstance
) -> list[str]:
    known = set(parts.cohort.get_partition_keys(dynamic_partitions_store=instance))
    return [name for name in study.cohorts if name not in known]


def _last_search(cursor: str | None, store: Store) -> datetime | None:
    """Return when GEO was last searched, by this sensor or by anybody; None at the first tick."""
    from genellm_dagster.workflows.catalog import read_catalog, time_of

    if cursor is None:
        return None
    try:
        catalog = read_catalog(store)
    except GeneLLMError:
        catalog = None
    texts = [cursor, *([] if catalog is None else catalog["checked_at"].dropna())]
    return max((time for text in texts if (time := time_of(text)) is not None), default=None)


def _under_way(instance: dg.DagsterInstance, job: str) -> bool:
    return bool(instance.get_runs(dg.RunsFilter(job_name=job, statuses=_UNDER_WAY), limit=1))


def _seconds(interval: timedelta) -> int:
    return int(min(_SELDOM_SECONDS, max(_OFTEN_SECONDS, interval.total_seconds())))


def _running_if(wanted: bool) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if wanted else dg.DefaultSensorStatus.STOPPED


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
