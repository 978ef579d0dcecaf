"""Group tokens: the genes of each stratum's model, and profiles as the backbone reads them."""

from typing import Any

import dagster as dg
import pandas as pd

from genellm_dagster.defs import checks, shown
from genellm_dagster.defs.partitions import STRATUM, StudyPartitions, cell_of
from genellm_dagster.defs.resources import StoreResource
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
        dagster_type=dg.Any,
        io_manager_key="parquet",
        check_specs=[
            checks.spec(
                parts.key("gene_vocabulary"), checks.STRUCTURE, "Columns and types.", parts.stratum
            )
        ],
        description="The genes of the model, chosen without labels: measured in enough cohorts, "
        "then the most variable inside cohorts.",
    )
    def gene_vocabulary(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
    ) -> dg.MaterializeResult:
        from genellm_dagster.expression.vocabulary import choose_vocabulary

        data = stratum_samples(study, context.partition_key, sheets, tables)
        found = choose_vocabulary(data.tables, settings.expression.vocabulary)
        return dg.MaterializeResult(
            value=found.table,
            metadata={**shown.table(found.table), "choice": dg.MetadataValue.json(found.report)},
            check_results=[checks.structure(context.asset_key, found.table, "gene_vocabulary")],
        )

    @dg.asset(
        key=parts.key("profiles"),
        group_name=GROUP,
        partitions_def=parts.stratum,
        ins={
            "sheets": parts.every("sample_sheet"),
            "tables": parts.cells_of_stratum("qc_expression"),
            "sample_overlap": parts.same("sample_overlap"),
            "gene_vocabulary": parts.same("gene_vocabulary"),
        },
        kinds={"pandas", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        check_specs=[
            checks.spec(parts.key("profiles"), checks.STRUCTURE, "Columns, samples.", parts.stratum)
        ],
        description="Samples as the models see them: one set for all folds, or one a fold where "
        "normalisation or harmonisation are learned, as they must be, on its training side.",
    )
    def profiles(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        sample_overlap: pd.DataFrame,
        gene_vocabulary: pd.DataFrame,
    ) -> dg.MaterializeResult:
        from genellm_dagster.evaluation.folds import make_folds
        from genellm_dagster.files import write_json
        from genellm_dagster.reports.figures.batch import batch_figure
        from genellm_dagster.workflows.profiles import FOLD, stratum_profiles, view_of_stratum
        from genellm_dagster.workflows.scales import table_marks

        stratum = context.partition_key
        data = stratum_samples(study, stratum, sheets, tables)
        folds = make_folds(data.samples, sample_overlap, settings.evaluation)
        genes = gene_vocabulary["gene"].tolist()
        marks = table_marks(store.of_study, data.tables)
        made = stratum_profiles(data, genes, folds, settings.expression, marks)
        view = view_of_stratum(data, genes, made, study, sheets, settings.expression)
        beside = {"learned": made.learned, "marks": made.marks, "batch": view.as_json()}
        write_json(store.place("profiles", f"{stratum}.json"), beside)
        return dg.MaterializeResult(
            value=made.table,
            metadata={
                "samples": len(data.samples),
                "genes": len(genes),
                "sets": ", ".join(made.table[FOLD].unique()),
                "transductive": "; ".join(made.marks) or "nothing",
                "variance_explained": shown.markdown(view.shares, rows=40),
                "cohorts_before_and_after": shown.drawing(
                    batch_figure(stratum, view, settings.report, simulated=study.simulated)
                ),
            },
            check_results=[checks.structure(context.asset_key, made.table, "profiles")],
        )

    @dg.asset(
        key=parts.key("tokenizer"),
        group_name=GROUP,
        partitions_def=parts.stratum,
        ins={
            "sheets": parts.every("sample_sheet"),
            "tables": parts.cells_of_stratum("qc_expression"),
            "sample_overlap": parts.same("sample_overlap"),
            "profiles": parts.same("profiles"),
        },
        kinds={"json"},
        io_manager_key="json",
        description="What turns profiles into tokens: one tokenizer for all folds, or one a fold "
        "where it learns, as it must, from the profiles of its training side.",
    )
    def tokenizer(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        sample_overlap: pd.DataFrame,
        profiles: pd.DataFrame,
    ) -> dg.MaterializeResult[dict[str, Any]]:
        from genellm_dagster.evaluation.folds import make_folds
        from genellm_dagster.workflows.tokenizers import kept_of_expression, stratum_tokenizers

        data = stratum_samples(study, context.partition_key, sheets, tables)
        folds = make_folds(data.samples, sample_overlap, settings.evaluation)
        made = stratum_tokenizers(profiles, folds, settings.tokenizer)
        return dg.MaterializeResult(
            value=made,
            metadata={
                "kind": settings.tokenizer.kind,
                "sets": ", ".join(made),
                "kept_of_expression": shown.markdown(kept_of_expression(profiles, folds, made)),
            },
        )

    @dg.asset(
        key=parts.key("token_dataset"),
        group_name=GROUP,
        partitions_def=parts.cell,
        ins={
            "profiles": parts.of_cell("profiles", STRATUM),
            "tokenizer": parts.of_cell("tokenizer", STRATUM),
        },
        kinds={"pandas", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        check_specs=[
            checks.spec(
                parts.key("token_dataset"), checks.STRUCTURE, "Columns, tokens.", parts.cell
            )
        ],
        description="Token profiles: which genes of the vocabulary a sample has, in reading order, "
        "and how far each is moved from its symbol's embedding. Absent genes have no token. "
        "`genellm tokens show GSM` prints one.",
    )
    def token_dataset(
        context: dg.AssetExecutionContext,
        profiles: pd.DataFrame,
        tokenizer: dict,
    ) -> dg.MaterializeResult:
        from genellm_dagster.workflows.tokenizers import tokenizer_of, tokens_of

        cohort, _ = cell_of(context)
        genes = tokenizer_of(tokenizer)["genes"]
        tokens = tokens_of(profiles, cohort, tokenizer)
        lengths = tokens["genes"].map(len)
        return dg.MaterializeResult(
            value=tokens,
            metadata={
                "samples": tokens["gsm"].nunique(),
                "tokens": int(lengths.sum()),
                "fewest_tokens_of_a_sample": int(lengths.min()) if len(tokens) else 0,
                "vocabulary": len(genes),
                "examples": shown.tokens(tokens, genes),
            },
            check_results=[checks.structure(context.asset_key, tokens, "token_dataset")],
        )

    return [gene_vocabulary, profiles, tokenizer, token_dataset]
