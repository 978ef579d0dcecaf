"""The assets, jobs, sensors and resources of one study, put together."""

import dagster as dg

from genellm_dagster.defs.assets import cohort, evaluation, geo, model, qc, search, tokens
from genellm_dagster.defs.io_managers import JsonIOManager, ParquetIOManager
from genellm_dagster.defs.jobs import build_jobs
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.refresh import build_refresh_job
from genellm_dagster.defs.resources import GeoResource, StoreResource, TrackingResource
from genellm_dagster.defs.sensors import build_sensors
from genellm_dagster.settings import Settings, geo_root_of, load_settings, study_of
from genellm_dagster.studies.study import Study

_GROUPS = (geo, cohort, qc, tokens, model, search, evaluation)


def build_definitions(
    settings: Settings | None = None, study: Study | None = None
) -> dg.Definitions:
    """Build the code location.

    Args:
        settings: All settings; read from environment and file when not given.
        study: The study; the one that the settings name when not given.
    """
    settings = settings or load_settings()
    study = study or study_of(settings)
    parts = StudyPartitions.of(study)
    store = str(settings.store)
    return dg.Definitions(
        assets=[asset for group in _GROUPS for asset in group.build(parts)],
        jobs=[*build_jobs(parts), build_refresh_job(parts)],
        sensors=build_sensors(parts, settings),
        resources={
            "settings": settings,
            "store": StoreResource(folder=store, study=study.name),
            "geo": GeoResource(root=geo_root_of(settings, study)),
            "tracking": TrackingResource(store=store),
            "parquet": ParquetIOManager(store=store, cohorts=study.cohorts),
            "json": JsonIOManager(store=store, cohorts=study.cohorts),
        },
    )
