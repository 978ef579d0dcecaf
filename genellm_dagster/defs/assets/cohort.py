"""Group cohort: what is known of each sample, its expression, and who is in the study twice."""

import dagster as dg
import pandas as pd

from genellm_dagster.defs import checks, shown
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.resources import StoreResource
from genellm_dagster.settings import Settings

GROUP = "cohort"


def build(parts: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Build the assets of the group."""
    study = parts.study

    @dg.asset(
        key=parts.key("sample_sheet"),
        group_name=GROUP,
        partitions_def=parts.cohort,
        ins={"raw_series": parts.same("raw_series")},
        kinds={"pandas", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        description="One row a sample of the cohort, with every decision on it: label, age, "
        "stratum, and why it is not used when it is not.",
        check_specs=[
            checks.spec(
                parts.key("sample_sheet"),
                checks.STRUCTURE,
                "Columns and types.",
                parts.cohort,
            ),
            checks.spec(
                parts.key("sample_sheet"),
                checks.CONTENT,
                "Values that can be true.",
                parts.cohort,
            ),
        ],
    )
    def sample_sheet(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        raw_series: dict,
    ) -> dg.MaterializeResult:
        from genellm_dagster.expression.data_docs import write_data_docs
        from genellm_dagster.geo.options import NCBI_ROOT
        from genellm_dagster.geo.records import Manifest
        from genellm_dagster.geo.series import read_samples
        from genellm_dagster.studies.curation import absent_fields, build_sample_sheet
        from genellm_dagster.studies.verification import verify_cohort

        name = context.partition_key
        cohort = study.cohort(name)
        folder = store.place("raw_series", name)
        limit = settings.geo.max_decompressed_bytes
        manifest = Manifest.model_validate(raw_series)
        samples = read_samples(folder, manifest, limit)
        sheet = build_sample_sheet(samples, cohort, study)
        verification = verify_cohort(sheet, cohort, manifest.root == NCBI_ROOT)
        docs = write_data_docs({"sheet": sheet}, store.of_study, "sample_sheet", name)
        return dg.MaterializeResult(
            value=sheet,
            metadata={
                **shown.sample_sheet(sheet),
                **shown.data_docs(docs),
                "fields_no_sample_has": ", ".join(absent_fields(samples, cohort)) or "none",
                "expected_numbers": shown.markdown(verification.table, rows=40),
                "verification": verification.note,
            },
            check_results=[
                checks.structure(context.asset_key, sheet, "sample_sheet"),
                checks.content(context.asset_key, docs, "sheet"),
            ],
        )

    @dg.asset(
        key=parts.key("gene_expression"),
        group_name=GROUP,
        partitions_def=parts.cohort,
        ins={"raw_series": parts.same("raw_series")},
        kinds={"pandas", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        description="The cohort's expression table: approved HGNC symbols x samples, log2, "
        "float32.",
        check_specs=[
            checks.spec(
                parts.key("gene_expression"),
                checks.STRUCTURE,
                "Genes, samples, types.",
                parts.cohort,
            ),
        ],
    )
    def gene_expression(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        raw_series: dict,
    ) -> dg.MaterializeResult:
        from genellm_dagster.expression.build import build_expression
        from genellm_dagster.files import write_json
        from genellm_dagster.geo.records import Manifest
        from genellm_dagster.geo.series import read_series

        name = context.partition_key
        manifest = Manifest.model_validate(raw_series)
        limit = settings.geo.max_decompressed_bytes
        series = read_series(store.place("raw_series", name), manifest, limit)
        result = build_expression(
            series.values, series.id_table, study.cohort(name), series.kind, settings.expression
        )
        report = {**result.report, "series": series.report}
        write_json(store.place("gene_expression", f"{name}.json"), report)
        return dg.MaterializeResult(
            value=result.table,
            metadata={
                "genes": len(result.table),
                "samples": result.table.shape[1],
                "mapping_and_scale": dg.MetadataValue.json(report),
                "distribution": shown.distribution(result.table),
            },
            check_results=[checks.expression_structure(context.asset_key, result.table)],
        )

    @dg.asset(
        key=parts.key("sample_overlap"),
        group_name=GROUP,
        ins={
            "sheets": parts.every("sample_sheet"),
            "tables": parts.every("gene_expression"),
        },
        kinds={"pandas", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        description="Pairs of samples that are one person or one array, across the study's "
        "cohorts; no fold may separate them.",
        check_specs=[
            checks.spec(parts.key("sample_overlap"), checks.STRUCTURE, "Columns and types.")
        ],
    )
    def sample_overlap(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        sheets: dict[str, pd.DataFrame],
        tables: dict[str, pd.DataFrame],
    ) -> dg.MaterializeResult:
        from genellm_dagster.expression.overlap import comparable, find_overlaps

        declared = {name: list(study.cohort(name).overlaps) for name in study.cohorts}
        options = settings.expression.overlap
        pairs = find_overlaps(tables, sheets, declared, options)
        counts = {str(name): int(n) for name, n in pairs["reason"].value_counts().items()}
        not_compared = comparable(tables, options)
        return dg.MaterializeResult(
            value=pairs,
            metadata={
                **shown.table(pairs),
                "reasons": dg.MetadataValue.json(counts),
                "compared_by_expression": dg.MetadataValue.text(str(not_compared)),
            },
            check_results=[checks.structure(context.asset_key, pairs, "sample_overlap")],
        )

    return [sample_sheet, gene_expression, sample_overlap]
