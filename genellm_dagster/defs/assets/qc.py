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
            checks.spec(
                key,
                checks.QC_WARNINGS,
                "What a person should look at; it stops nothing.",
                parts.cell,
                blocking=False,
            ),
        ],
    )
    def qc_expression(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        sample_sheet: pd.DataFrame,
        gene_expression: pd.DataFrame,
    ) -> dg.MaterializeResult:
        from genellm_dagster.expression.data_docs import write_data_docs
        from genellm_dagster.expression.qc import quality_control
        from genellm_dagster.files import write_json
        from genellm_dagster.workflows.scales import scales_of

        cohort, stratum = cell_of(context)
        rows = sample_sheet[sample_sheet["stratum"] == stratum]
        ages = parts.study.strata[stratum]
        result = quality_control(
            gene_expression,
            rows,
            settings.expression.qc,
            bounds=(ages.min_age, ages.max_age),
            scale=scales_of(store.of_study, [cohort])[cohort],
        )
        write_json(store.place("qc_expression", stratum, f"{cohort}.json"), result.summary)
        docs = write_data_docs(
            {"samples": result.samples, "genes": result.genes},
            store.of_study,
            "qc_expression",
            stratum,
            cohort,
        )
        return dg.MaterializeResult(
            value=result.table,
            metadata={
                "genes": len(result.table),
                "samples": result.table.shape[1],
                **shown.data_docs(docs),
                "summary": dg.MetadataValue.json(result.summary),
                "each_sample": shown.markdown(result.samples),
                "distribution": shown.distribution(result.table),
            },
            check_results=[
                checks.expression_structure(key, result.table),
                checks.content(key, docs, "samples", name=checks.SAMPLES),
                checks.content(key, docs, "genes", name=checks.GENES),
                checks.qc_warnings(key, result.summary),
            ],
        )

    @dg.asset(
        key=parts.key("blood_composition"),
        group_name=GROUP,
        partitions_def=parts.cell,
        ins={
            "gene_expression": parts.of_cell("gene_expression", COHORT),
            "qc_expression": parts.same("qc_expression"),
        },
        kinds={"pandas", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        description="How much of each sample's blood is each kind of cell, by marker genes: scores "
        "to compare within a cohort, each of one sample alone; panels and centred values none.",
        check_specs=[
            checks.spec(
                parts.key("blood_composition"), checks.STRUCTURE, "Columns, samples.", parts.cell
            )
        ],
    )
    def blood_composition(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        gene_expression: pd.DataFrame,
        qc_expression: pd.DataFrame,
    ) -> dg.MaterializeResult:
        from genellm_dagster.expression import composition
        from genellm_dagster.workflows.scales import scales_of

        cohort, _ = cell_of(context)
        scores = composition.blood_composition(
            gene_expression[qc_expression.columns],
            options=settings.expression.composition,
            scale=scales_of(store.of_study, [cohort])[cohort],
        )
        reasons = scores["why_not"].replace("", "every kind is told").value_counts()
        return dg.MaterializeResult(
            value=scores,
            metadata={
                **shown.table(scores),
                "told": shown.markdown(reasons.rename_axis("what").reset_index(name="samples")),
            },
            check_results=[checks.structure(context.asset_key, scores, "blood_composition")],
        )

    return [qc_expression, blood_composition]
