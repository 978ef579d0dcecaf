"""Group geo: what GEO has, and the files of the study's cohorts as GEO serves them."""

from datetime import UTC, datetime

import dagster as dg
import pandas as pd

from genellm_dagster.defs import checks, shown
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.resources import GeoResource, StoreResource
from genellm_dagster.settings import Settings, study_as_it_is_now

GROUP = "geo"


def build(parts: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Build the assets of the group."""
    study = parts.study

    @dg.asset(
        key=parts.key("geo_catalog"),
        group_name=GROUP,
        kinds={"geo", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        check_specs=[checks.spec(parts.key("geo_catalog"), checks.STRUCTURE, "Columns, status.")],
        description=(
            f"Every series that the search of the study finds: `{study.search}`. In a file mirror: "
            "every series that it holds. Kept from search to search, with what became of each: "
            "found, proposed, approved, rejected, ingested."
        ),
    )
    def geo_catalog(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        geo: dg.ResourceParam[GeoResource],
    ) -> dg.MaterializeResult:
        from genellm_dagster.workflows.discovery import discover

        with geo.client(settings) as client:
            # Cohorts are approved while this code location is loaded.
            now = study_as_it_is_now(settings, study)
            discovery = discover(client, settings, now, announce=context.log.info)
        return dg.MaterializeResult(
            value=discovery.catalog,
            metadata=shown.discovery(discovery),
            check_results=[checks.structure(context.asset_key, discovery.catalog, "geo_catalog")],
        )

    @dg.asset(
        key=parts.key("raw_series"),
        group_name=GROUP,
        partitions_def=parts.cohort,
        kinds={"geo", "gzip"},
        dagster_type=dg.Any,
        io_manager_key="json",
        description="The files of a cohort's series as GEO serves them, with a manifest: address, "
        "size, sha256, time.",
        check_specs=[
            checks.spec(
                parts.key("raw_series"),
                checks.FILES,
                "Each file is whole.",
                parts.cohort,
            )
        ],
    )
    def raw_series(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        geo: dg.ResourceParam[GeoResource],
        store: StoreResource,
    ) -> dg.MaterializeResult:
        from genellm_dagster.geo.series import fetch_series

        name = context.partition_key
        folder = store.place("raw_series", name)
        with geo.client(settings) as client:
            manifest = fetch_series(client, study.cohort(name), folder)
        files = pd.DataFrame(record.model_dump() for record in manifest.files)
        return dg.MaterializeResult(
            value=manifest.model_dump(mode="json"),
            data_version=dg.DataVersion(manifest.fingerprint),
            metadata={
                **shown.table(files[["name", "role", "size", "fetched_at", "address"]]),
                "fetched": dg.MetadataValue.timestamp(datetime.now(UTC)),
                "not_usable": dg.MetadataValue.json(manifest.problems),
            },
            check_results=[checks.files_are_whole(context.asset_key, folder, manifest)],
        )

    return [geo_catalog, raw_series]
