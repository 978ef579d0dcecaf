"""Group evaluation: what the numbers say, in each stratum, between strata, and in one report."""

from typing import Any

import dagster as dg
import pandas as pd

from genellm_dagster.defs import checks, shown
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.progress import reporter
from genellm_dagster.defs.resources import StoreResource, TrackingResource
from genellm_dagster.settings import Settings
from genellm_dagster.workflows.stratum import samples_of_strata, stratum_samples

GROUP = "evaluation"


def build(parts: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Build the assets of the group."""
    study = parts.study

    @dg.asset(
        key=parts.key("evaluation_report"),
        group_name=GROUP,
        partitions_def=parts.stratum,
        ins={
            "sheets": parts.every("sample_sheet"),
            "tables": parts.cells_of_stratum("qc_expression"),
            "sample_overlap": parts.same("sample_overlap"),
            "cross_validation": parts.same("cross_validation"),
            "baseline_predictions": parts.same("baseline_predictions"),
        },
        deps=[parts.key("profiles")],
        kinds={"json"},
        io_manager_key="json",
        description="Every model's numbers on the same out-of-fold samples, each with interval, n "
        "and prevalence.",
    )
    def evaluation_report(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        sample_overlap: pd.DataFrame,
        cross_validation: pd.DataFrame,
        baseline_predictions: pd.DataFrame,
    ) -> dg.MaterializeResult[dict[str, Any]]:
        from genellm_dagster.baselines.signatures import load_signatures
        from genellm_dagster.evaluation.comparison import compare_models
        from genellm_dagster.evaluation.folds import make_folds
        from genellm_dagster.evaluation.report import evaluate
        from genellm_dagster.files import read_json
        from genellm_dagster.workflows.profiles import marks_of_models
        from genellm_dagster.workflows.scales import table_marks

        stratum = context.partition_key
        data = stratum_samples(study, stratum, sheets, tables)
        folds = make_folds(data.samples, sample_overlap, settings.evaluation)
        predictions = pd.concat([cross_validation, baseline_predictions], ignore_index=True)
        report = evaluate(
            study.name,
            stratum,
            predictions,
            folds,
            settings.evaluation,
            transductive=marks_of_models(
                predictions["model"].unique(),
                load_signatures(settings.baselines.signatures_folder),
                read_json(store.place("profiles", f"{stratum}.json"))["marks"],
                table_marks(store.of_study, data.tables),
            ),
        )
        table = compare_models([report])
        auroc = table.set_index("model")["auroc"]
        return dg.MaterializeResult(
            value=report,
            metadata={
                "n": report["n"],
                "cases": report["cases"],
                "prevalence": report["prevalence"],
                "models": shown.markdown(
                    table[["model", "auroc", "auroc_low", "auroc_high", "brier", "p_holm"]], rows=40
                ),
                "auroc": shown.bars(auroc, "AUROC"),
            },
        )

    @dg.asset(
        key=parts.key("gene_attributions"),
        group_name=GROUP,
        partitions_def=parts.stratum,
        ins={
            "backbone": parts.same("backbone"),
            "sheets": parts.every("sample_sheet"),
            "tables": parts.cells_of_stratum("qc_expression"),
            "tokenizer": parts.same("tokenizer"),
            "tokens": parts.cells_of_stratum("token_dataset"),
            "profiles": parts.same("profiles"),
            "adapter": parts.same("adapter"),
        },
        kinds={"pytorch", "shap", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        check_specs=[
            checks.spec(
                parts.key("gene_attributions"), checks.STRUCTURE, "The signature.", parts.stratum
            )
        ],
        description="SHAP values of the adapter's logit by sample and gene; beside them lie the "
        "signature with its stability, that of logistic regression, and how exact they are.",
    )
    def gene_attributions(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        backbone: dict,
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        tokenizer: dict,
        tokens: dict[tuple[str, str], pd.DataFrame],
        profiles: pd.DataFrame,
        adapter: dict,
    ) -> dg.MaterializeResult:
        from genellm_dagster.files import write_json, write_parquet
        from genellm_dagster.workflows.explanation import explain_stratum, planted_genes
        from genellm_dagster.workflows.profiles import profiles_of
        from genellm_dagster.workflows.sessions import pretrained_session

        stratum = context.partition_key
        data = stratum_samples(study, stratum, sheets, tables)
        found = explain_stratum(
            pretrained_session(settings, store.of_study, backbone, tokenizer),
            store.place("adapter", stratum),
            data.samples,
            tokens,
            profiles_of(profiles),
            settings,
            reporter(context, f"attributions of {stratum}"),
            planted_genes(study, stratum),
        )
        signature = found.signature
        for name, table in {
            "signature": signature,
            "logistic_regression": found.logistic_signature,
            "samples": found.samples,
            "inputs": found.inputs,
        }.items():
            write_parquet(store.place("gene_attributions", f"{stratum}.{name}.parquet"), table)
        write_json(store.place("gene_attributions", f"{stratum}.json"), found.facts)
        top = signature.head(settings.evaluation.top_genes).set_index("gene")["mean_abs"]
        return dg.MaterializeResult(
            value=found.values,
            metadata={
                "explained_samples": len(found.values),
                "how_exact": dg.MetadataValue.json(found.facts),
                "signature": shown.markdown(signature, rows=settings.evaluation.top_genes),
                **(
                    {"note": found.note}
                    if found.note
                    else {"top_genes": shown.bars(top, "mean |SHAP value| of the logit")}
                ),
            },
            check_results=[checks.structure(context.asset_key, signature, "gene_signature")],
        )

    @dg.asset(
        key=parts.key("stratum_transfer"),
        group_name=GROUP,
        ins={
            "backbone": parts.same("backbone"),
            "sheets": parts.every("sample_sheet"),
            "tables": parts.every("qc_expression"),
            "sample_overlap": parts.same("sample_overlap"),
            "gene_vocabulary": parts.every("gene_vocabulary"),
            "adapter": parts.every("adapter"),
        },
        kinds={"pytorch", "scikitlearn", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        check_specs=[
            checks.spec(parts.key("stratum_transfer"), checks.STRUCTURE, "Columns, ranges.")
        ],
        description="Models trained in one stratum, or one cohort, on people of the others: every "
        "baseline on common genes, and each stratum's adapter.",
    )
    def stratum_transfer(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        backbone: dict,
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        sample_overlap: pd.DataFrame,
        gene_vocabulary: dict[str, pd.DataFrame],
        adapter: dict[str, dict],
    ) -> dg.MaterializeResult:
        from genellm_dagster.files import write_json
        from genellm_dagster.workflows.scales import scales_of
        from genellm_dagster.workflows.transfer import scorer_of_stratum, transfer_between

        data = samples_of_strata(study, adapter, sheets, tables)
        found = transfer_between(
            data,
            {name: gene_vocabulary[name]["gene"].tolist() for name in data},
            sample_overlap,
            scales_of(store.of_study, {cohort for one in data.values() for cohort in one.tables}),
            settings,
            lambda stratum: scorer_of_stratum(settings, store.of_study, backbone, stratum),
            reporter(context, "transfer between strata"),
        )
        about = {"about": found.about, "missing": found.missing}
        write_json(store.place("stratum_transfer.json"), about)
        return dg.MaterializeResult(
            value=found.table,
            metadata={**shown.table(found.table), "about": dg.MetadataValue.json(about)},
            check_results=[checks.structure(context.asset_key, found.table, "stratum_transfer")],
        )

    @dg.asset(
        key=parts.key("age_comparison"),
        group_name=GROUP,
        ins={
            "sheets": parts.every("sample_sheet"),
            "tables": parts.every("qc_expression"),
            "blood_composition": parts.every("blood_composition"),
            "cross_validation": parts.every("cross_validation"),
            "baseline_predictions": parts.every("baseline_predictions"),
            "stratum_transfer": parts.same("stratum_transfer"),
            "profiles": parts.every("profiles"),
            "gene_attributions": parts.every("gene_attributions"),
        },
        kinds={"json"},
        io_manager_key="json",
        description="Does the disease look the same in each stratum: discrimination at equal size, "
        "uncertainty, separability, signatures, transfer, along age, beyond blood composition.",
    )
    def age_comparison(
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        blood_composition: dict[tuple[str, str], pd.DataFrame],
        cross_validation: dict[str, pd.DataFrame],
        baseline_predictions: dict[str, pd.DataFrame],
        stratum_transfer: pd.DataFrame,
        profiles: dict[str, pd.DataFrame],
        gene_attributions: dict[str, pd.DataFrame],
    ) -> dg.MaterializeResult[dict[str, Any]]:
        from genellm_dagster.evaluation.heterogeneity import compare_strata
        from genellm_dagster.expression.cell_markers import load_markers
        from genellm_dagster.expression.composition import scores_of_cells
        from genellm_dagster.expression.gene_lists import read_gene_sets
        from genellm_dagster.files import read_json, read_parquet
        from genellm_dagster.workflows.explanation import planted_in_common
        from genellm_dagster.workflows.profiles import profiles_of

        data = samples_of_strata(study, cross_validation, sheets, tables)
        transfer = read_json(store.place("stratum_transfer.json"))
        comparison = compare_strata(
            study.name,
            {
                name: pd.concat(
                    [cross_validation[name], baseline_predictions[name]], ignore_index=True
                )
                for name in data
            },
            {
                name: read_parquet(
                    store.place("cross_validation", f"{name}.representations.parquet")
                )
                for name in data
            },
            {name: gene_attributions[name] for name in data},
            {name: part.samples for name, part in data.items()},
            settings.evaluation,
            settings.evaluation.seed,
            profiles={name: profiles_of(profiles[name]) for name in data},
            gene_sets={name: read_gene_sets(name) for name in settings.evaluation.age.gene_sets},
            composition={
                name: scores_of_cells(
                    table for (stratum, _), table in blood_composition.items() if stratum == name
                )
                for name in data
            },
            markers=load_markers(settings.expression.composition.markers).all_genes,
            transfer=stratum_transfer,
            transfer_missing=transfer["missing"],
            transfer_about=transfer["about"],
        )
        planted = planted_in_common(
            study,
            {
                name: read_parquet(store.place("gene_attributions", f"{name}.signature.parquet"))
                for name in data
            },
        )
        if planted is not None:
            comparison["signatures"]["planted"] = planted
        return dg.MaterializeResult(
            value=comparison,
            metadata={
                "note": comparison["note"] or "none",
                "discrimination": dg.MetadataValue.json(comparison["discrimination"]),
                "signatures": dg.MetadataValue.json(comparison["signatures"]),
            },
        )

    @dg.asset(
        key=parts.key("model_comparison"),
        group_name=GROUP,
        ins={"evaluation_report": parts.every("evaluation_report")},
        kinds={"mlflow", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        check_specs=[
            checks.spec(parts.key("model_comparison"), checks.STRUCTURE, "Columns, ranges.")
        ],
        description="Every model of the study side by side, with its newest MLflow run.",
    )
    def model_comparison(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        tracking: TrackingResource,
        evaluation_report: dict[str, dict],
    ) -> dg.MaterializeResult:
        from genellm_dagster.evaluation.comparison import compare_models

        runs = tracking.tracker(settings).runs(study.name)
        table = compare_models(list(evaluation_report.values()), runs)
        return dg.MaterializeResult(
            value=table,
            metadata={**shown.table(table), "all": shown.markdown(table, rows=60)},
            check_results=[checks.structure(context.asset_key, table, "model_comparison")],
        )

    @dg.asset(
        key=parts.key("study_report"),
        group_name=GROUP,
        ins={
            "sheets": parts.every("sample_sheet"),
            "tables": parts.every("qc_expression"),
            "cross_validation": parts.every("cross_validation"),
            "baseline_predictions": parts.every("baseline_predictions"),
            "evaluation_report": parts.every("evaluation_report"),
            "adapter": parts.every("adapter"),
            "backbone": parts.same("backbone"),
            "age_comparison": parts.same("age_comparison"),
            "model_comparison": parts.same("model_comparison"),
        },
        deps=[
            dg.AssetDep(parts.key("gene_attributions"), partition_mapping=dg.AllPartitionMapping())
        ],
        kinds={"html"},
        description="One HTML file that a clinician can read and a reviewer can check.",
    )
    def study_report(
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        cross_validation: dict[str, pd.DataFrame],
        baseline_predictions: dict[str, pd.DataFrame],
        evaluation_report: dict[str, dict],
        adapter: dict[str, dict],
        backbone: dict,
        age_comparison: dict,
        model_comparison: pd.DataFrame,
    ) -> dg.MaterializeResult[None]:
        from genellm_dagster.reports.html import write_report
        from genellm_dagster.workflows.report_content import report_content

        data = samples_of_strata(study, evaluation_report, sheets, tables)
        content = report_content(
            study,
            settings,
            store.of_study,
            sheets,
            data,
            {
                name: pd.concat([cross_validation[name], baseline_predictions[name]])
                for name in data
            },
            {name: evaluation_report[name] for name in data},
            {name: adapter[name] for name in data},
            backbone,
            age_comparison,
            model_comparison[model_comparison["stratum"].isin(list(data))],
        )
        path = store.of_study.report
        write_report(content, path, settings.report)
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.path(str(path)),
                "open": dg.MetadataValue.url(path.resolve().as_uri()),
                "megabytes": path.stat().st_size / 1e6,
            }
        )

    return [
        evaluation_report,
        gene_attributions,
        stratum_transfer,
        age_comparison,
        model_comparison,
        study_report,
    ]
