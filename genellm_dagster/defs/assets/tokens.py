"""Group tokens: the genes of each stratum's model, and profiles as the backbone reads them."""

import dagster as dg
import pandas as pd

from genellm_dagster.defs import shown
from genellm_dagster.defs.partitions import STRATUM, StudyPartitions
from genellm_dagster.settings import Settings
from genellm_dagster.workflows.stratum import stratum_samples

GROUP = "tokens"


def build(parts: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Build the assets of the group."""
    study = parts.study

    @dg.asset(
        key=parts.key("gene_vocabulary"),
        group_name=GROUP,
        partitions_def=parts.stratum,
        ins={
            "sheets": parts.every("sample_sheet"),
            "tables": parts.cells_of_stratum("qc_expression"),
        },
        kinds={"pandas", "parquet"},
        io_manager_key="parquet",
        description="The genes of the model, chosen without labels: measured in enough cohorts, "
        "then the most variable inside cohorts.",
    )
    def gene_vocabulary(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
    ) -> dg.MaterializeResult[pd.DataFrame]:
        from genellm_dagster.expression.vocabulary import choose_genes

        data = stratum_samples(study, context.partition_key, sheets, tables)
        genes = choose_genes(data.tables, settings.expression.vocabulary)
        return dg.MaterializeResult(value=genes, metadata=shown.table(genes))

    @dg.asset(
        key=parts.key("token_dataset"),
        group_name=GROUP,
        partitions_def=parts.cell,
        ins={
            "qc_expression": parts.same("qc_expression"),
            "gene_vocabulary": parts.of_cell("gene_vocabulary", STRATUM),
        },
        kinds={"pandas", "parquet"},
        io_manager_key="parquet",
        description="Token profiles: which genes of the vocabulary a sample has, in reading order, "
        "and how far each is moved from its symbol's embedding. Absent genes have no token.",
    )
    def token_dataset(
        settings: dg.ResourceParam[Settings],
        qc_expression: pd.DataFrame,
        gene_vocabulary: pd.DataFrame,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        from genellm_dagster.expression.profiles import build_profiles
        from genellm_dagster.tokenizers.value import ValueTokenizer

        genes = gene_vocabulary["gene"].tolist()
        profiles = build_profiles(qc_expression, genes, settings.expression.normalisation)
        tokens = ValueTokenizer(genes, settings.tokenizer).transform(profiles)
        lengths = tokens["genes"].map(len)
        return dg.MaterializeResult(
            value=tokens,
            metadata={
                "samples": len(tokens),
                "tokens": int(lengths.sum()),
                "fewest_tokens_of_a_sample": int(lengths.min()),
                "vocabulary": len(genes),
                "examples": shown.tokens(tokens, genes),
            },
        )

    return [gene_vocabulary, token_dataset]
