"""Group geo: what GEO has, and the files of the study's cohorts as GEO serves them."""

from datetime import UTC, datetime

import dagster as dg
import pandas as pd

from genellm_dagster.defs import checks, shown
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.resources import GeoResource, StoreResource
from genellm_dagster.settings import Settings

GROUP = "geo"


def build(parts: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Build the assets of the group."""
    study = parts.study

    @dg.asset(
        key=parts.key("geo_catalog"),
        group_name=GROUP,
        kinds={"geo", "parquet"},
        io_manager_key="parquet",
        description=(
            f"Every series that the search of the study finds: `{study.search}`. In a file mirror: "
            "every series that it holds."
        ),
    )
    def geo_catalog(
        settings: dg.ResourceParam[Settings], geo: GeoResource
    ) -> dg.MaterializeResult[pd.DataFrame]:
        from genellm_dagster.geo.catalog import search_series

        with geo.client(settings) as client:
            catalog = search_series(client, study)
        return dg.MaterializeResult(value=catalog, metadata=shown.table(catalog))

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
        geo: GeoResource,
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
            },
            check_results=[checks.files_are_whole(context.asset_key, folder, manifest)],
        )

    return [geo_catalog, raw_series]
