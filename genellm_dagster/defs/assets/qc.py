"""Group qc: expression tables that passed quality control, by cohort and stratum."""

import dagster as dg
import pandas as pd

from genellm_dagster.defs import checks, shown
from genellm_dagster.defs.partitions import COHORT, StudyPartitions, cell_of
from genellm_dagster.defs.resources import StoreResource
from genellm_dagster.settings import Settings

GROUP = "qc"


def build(parts: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Build the assets of the group."""
    key = parts.key("qc_expression")

    @dg.asset(
        key=key,
        group_name=GROUP,
        partitions_def=parts.cell,
        ins={
            "sample_sheet": parts.of_cell("sample_sheet", COHORT),
            "gene_expression": parts.of_cell("gene_expression", COHORT),
        },
        kinds={"pandas", "parquet", "greatexpectations"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        description="The expression table of a cohort's samples in a stratum, after quality "
        "control; the summary beside it says which samples and genes left, and why.",
        check_specs=[
            checks.spec(key, checks.STRUCTURE, "Genes, samples, types.", parts.cell),
            checks.spec(key, checks.SAMPLES, "What is true of each sample.", parts.cell),
            checks.spec(key, checks.GENES, "What is true of each gene.", parts.cell),
        ],
    )
    def qc_expression(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        sample_sheet: pd.DataFrame,
        gene_expression: pd.DataFrame,
    ) -> dg.MaterializeResult:
        from genellm_dagster.expression.qc import quality_control
        from genellm_dagster.files import write_json

        cohort, stratum = cell_of(context)
        rows = sample_sheet[sample_sheet["stratum"] == stratum]
        result = quality_control(gene_expression, rows, settings.expression.qc)
        write_json(store.place("qc_expression", stratum, f"{cohort}.json"), result.summary)
        return dg.MaterializeResult(
            value=result.table,
            metadata={
                "genes": len(result.table),
                "samples": result.table.shape[1],
                "summary": dg.MetadataValue.json(result.summary),
                "each_sample": shown.markdown(result.samples),
                "distribution": shown.distribution(result.table),
            },
            check_results=[
                checks.expression_structure(key, result.table),
                checks.content(key, result.samples, "samples", name=checks.SAMPLES),
                checks.content(key, result.genes, "genes", name=checks.GENES),
            ],
        )

    return [qc_expression]
