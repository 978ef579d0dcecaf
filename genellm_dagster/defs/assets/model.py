"""Group model: backbone, prefix states, cross-validation, baselines, the adapter put to use."""

from dataclasses import asdict
from typing import Any

import dagster as dg
import pandas as pd

from genellm_dagster.defs import checks, shown
from genellm_dagster.defs.partitions import STRATUM, StudyPartitions, cell_of
from genellm_dagster.defs.pipes import launcher_in
from genellm_dagster.defs.progress import reporter
from genellm_dagster.defs.resources import StoreResource, TrackingResource
from genellm_dagster.settings import Settings
from genellm_dagster.workflows.stratum import stratum_samples

GROUP = "model"


def build(parts: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Build the assets of the group."""
    study = parts.study

    @dg.asset(
        key=parts.key("backbone"),
        group_name=GROUP,
        kinds={"pytorch", "huggingface"},
        io_manager_key="json",
        description="The frozen pretrained language model, prepared once as safetensors: hash, "
        "licence, size.",
    )
    def backbone(
        settings: dg.ResourceParam[Settings], store: StoreResource
    ) -> dg.MaterializeResult[dict[str, Any]]:
        from genellm_dagster.genellm.backbone import prepare_backbone

        prepared = prepare_backbone(study.backbone or settings.backbone, store.of_study.backbones)
        facts = prepared.model_dump(mode="json")
        return dg.MaterializeResult(
            value=facts, metadata=facts, data_version=dg.DataVersion(prepared.sha256)
        )

    @dg.asset(
        key=parts.key("prefix_states"),
        group_name=GROUP,
        partitions_def=parts.cell,
        ins={
            "backbone": parts.same("backbone"),
            "tokenizer": parts.of_cell("tokenizer", STRATUM),
            "token_dataset": parts.same("token_dataset"),
        },
        kinds={"pytorch", "numpy"},
        io_manager_key="json",
        description="Activations of the frozen lower layers, computed once per token profile and "
        "found again by their content.",
    )
    def prefix_states(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        backbone: dict,
        tokenizer: dict,
        token_dataset: pd.DataFrame,
    ) -> dg.MaterializeResult[dict[str, Any]]:
        from genellm_dagster.tokenizers.protocol import token_profiles
        from genellm_dagster.workflows.sessions import sessions

        cohort, stratum = cell_of(context)
        profiles = token_profiles(token_dataset)
        done = {}
        for name, session in sessions(settings, store.of_study, backbone, tokenizer).items():
            label = f"prefix of {cohort} {stratum} ({name})"
            done[name] = asdict(session.encode(profiles, reporter(context, label)))
        return dg.MaterializeResult(value=done, metadata={"encoded": dg.MetadataValue.json(done)})

    @dg.asset(
        key=parts.key("cross_validation"),
        group_name=GROUP,
        partitions_def=parts.stratum,
        ins={
            "backbone": parts.same("backbone"),
            "sheets": parts.every("sample_sheet"),
            "tables": parts.cells_of_stratum("qc_expression"),
            "sample_overlap": parts.same("sample_overlap"),
            "tokenizer": parts.same("tokenizer"),
            "tokens": parts.cells_of_stratum("token_dataset"),
        },
        deps=[
            # What was learned and what must be marked lies beside the profiles.
            parts.key("profiles"),
            dg.AssetDep(
                parts.key("prefix_states"),
                partition_mapping=dg.MultiToSingleDimensionPartitionMapping(STRATUM),
            ),
        ],
        kinds={"pytorch", "mlflow", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        description="Out-of-fold predictions of GeneLLM, and of GeneLLM on random weights, on "
        "shuffled labels and on shuffled gene names; one MLflow run a fold.",
        check_specs=[
            checks.spec(
                parts.key("cross_validation"),
                checks.STRUCTURE,
                "Columns, range.",
                parts.stratum,
            )
        ],
    )
    def cross_validation(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        tracking: TrackingResource,
        backbone: dict,
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        sample_overlap: pd.DataFrame,
        tokenizer: dict,
        tokens: dict[tuple[str, str], pd.DataFrame],
    ) -> dg.MaterializeResult:
        from genellm_dagster.evaluation.folds import make_folds
        from genellm_dagster.files import read_json, write_json, write_parquet
        from genellm_dagster.workflows.folds import tracked_cross_validation
        from genellm_dagster.workflows.sessions import sessions

        stratum = context.partition_key
        data = stratum_samples(study, stratum, sheets, tables)
        folds = make_folds(data.samples, sample_overlap, settings.evaluation)
        result = tracked_cross_validation(
            tracking.tracker(settings),
            study,
            stratum,
            sessions(settings, store.of_study, backbone, tokenizer),
            data.samples,
            tokens,
            tokenizer,
            read_json(store.place("profiles", f"{stratum}.json"))["marks"],
            folds,
            settings,
            store.of_study,
            lambda model: reporter(context, f"folds of {stratum} ({model})"),
            launcher_in(context, settings.model.launch),
            store.of_study.checkpoints("cross_validation", stratum),
        )
        write_parquet(
            store.place("cross_validation", f"{stratum}.representations.parquet"),
            result.representations,
        )
        write_json(store.place("cross_validation", f"{stratum}.controls.json"), result.controls)
        return dg.MaterializeResult(
            value=result.predictions,
            metadata={
                **shown.table(result.predictions),
                "folds": dg.MetadataValue.json(folds.summary()),
                "losses": shown.curves(result.losses, "training loss"),
                "controls": dg.MetadataValue.json(result.controls),
                "mlflow": dg.MetadataValue.url(result.url),
            },
            check_results=[checks.structure(context.asset_key, result.predictions, "predictions")],
        )

    @dg.asset(
        key=parts.key("baseline_predictions"),
        group_name=GROUP,
        partitions_def=parts.stratum,
        ins={
            "sheets": parts.every("sample_sheet"),
            "tables": parts.cells_of_stratum("qc_expression"),
            "sample_overlap": parts.same("sample_overlap"),
            "profiles": parts.same("profiles"),
            "composition": parts.cells_of_stratum("blood_composition"),
        },
        kinds={"scikitlearn", "parquet"},
        dagster_type=dg.Any,
        io_manager_key="parquet",
        description="Out-of-fold predictions of every baseline on the same folds; baselines that "
        "cannot score these samples refuse with a reason.",
        check_specs=[
            checks.spec(
                parts.key("baseline_predictions"),
                checks.STRUCTURE,
                "Columns, range.",
                parts.stratum,
            )
        ],
    )
    def baseline_predictions(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        sample_overlap: pd.DataFrame,
        profiles: pd.DataFrame,
        composition: dict[tuple[str, str], pd.DataFrame],
    ) -> dg.MaterializeResult:
        from genellm_dagster.baselines.run import baseline_predictions as run_baselines
        from genellm_dagster.evaluation.folds import make_folds
        from genellm_dagster.expression.composition import scores_of_cells
        from genellm_dagster.files import write_json
        from genellm_dagster.workflows.confounders import batch_results
        from genellm_dagster.workflows.profiles import profiles_of
        from genellm_dagster.workflows.scales import scales_of

        stratum = context.partition_key
        data = stratum_samples(study, stratum, sheets, tables)
        folds = make_folds(data.samples, sample_overlap, settings.evaluation)
        result = run_baselines(
            lambda fold: profiles_of(profiles, fold),
            data.expression(),
            data.samples,
            folds.folds,
            settings.baselines,
            settings.evaluation.seed,
            scales=scales_of(store.of_study, data.tables),
            groups=folds.groups,
            composition=scores_of_cells(
                table for (name, _), table in composition.items() if name == stratum
            ),
        )
        batch = batch_results(
            profiles_of(profiles),
            data.samples,
            folds.groups,
            settings.baselines.cohort_only,
            settings.evaluation.confidence,
            settings.evaluation.seed,
        )
        learned = {
            "refusals": result.refusals,
            "details": result.details,
            "about": result.about,
            "batch": batch,
        }
        write_json(store.place("baseline_predictions", f"{stratum}.json"), learned)
        refused = pd.Series(result.refusals, dtype=object).rename_axis("model")
        return dg.MaterializeResult(
            value=result.predictions,
            metadata={
                **shown.table(result.predictions),
                "refused": shown.markdown(refused.reset_index(name="reason"), rows=40),
                "learned": dg.MetadataValue.json(result.details),
                "batch": dg.MetadataValue.json(batch or {}),
            },
            check_results=[checks.structure(context.asset_key, result.predictions, "predictions")],
        )

    @dg.asset(
        key=parts.key("adapter"),
        group_name=GROUP,
        partitions_def=parts.stratum,
        ins={
            "backbone": parts.same("backbone"),
            "sheets": parts.every("sample_sheet"),
            "tables": parts.cells_of_stratum("qc_expression"),
            "sample_overlap": parts.same("sample_overlap"),
            "tokenizer": parts.same("tokenizer"),
            "tokens": parts.cells_of_stratum("token_dataset"),
            "cross_validation": parts.same("cross_validation"),
        },
        deps=[parts.key("profiles")],
        kinds={"pytorch", "mlflow"},
        io_manager_key="json",
        description="The adapter trained on all folds, registered in MLflow: challenger, and "
        "champion unless it is shown worse than the one before, AUROC or calibration, on the same "
        "out-of-fold samples. Its model card lies beside it.",
    )
    def adapter(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: StoreResource,
        tracking: TrackingResource,
        backbone: dict,
        sheets: dict[str, pd.DataFrame],
        tables: dict[tuple[str, str], pd.DataFrame],
        sample_overlap: pd.DataFrame,
        tokenizer: dict,
        tokens: dict[tuple[str, str], pd.DataFrame],
        cross_validation: pd.DataFrame,
    ) -> dg.MaterializeResult[dict[str, Any]]:
        from genellm_dagster.evaluation.folds import make_folds
        from genellm_dagster.files import read_json
        from genellm_dagster.workflows.final_adapter import tracked_adapter
        from genellm_dagster.workflows.model_card import tracked_card
        from genellm_dagster.workflows.sessions import pretrained_session

        stratum = context.partition_key
        data = stratum_samples(study, stratum, sheets, tables)
        folds = make_folds(data.samples, sample_overlap, settings.evaluation)
        profiles = read_json(store.place("profiles", f"{stratum}.json"))
        tracker = tracking.tracker(settings)
        facts = tracked_adapter(
            tracker,
            study,
            stratum,
            pretrained_session(settings, store.of_study, backbone, tokenizer),
            data.samples,
            folds.groups,
            tokens,
            profiles["learned"],
            profiles["marks"],
            cross_validation,
            settings,
            store.of_study,
            reporter(context, f"adapter of {stratum}"),
            store.of_study.checkpoints("adapter", stratum),
        )
        card = tracked_card(
            tracker,
            study,
            stratum,
            facts,
            backbone,
            sheets,
            data,
            folds,
            profiles["marks"],
            cross_validation,
            settings,
            store.of_study,
        )
        return dg.MaterializeResult(
            value={**facts, "card": str(card)},
            metadata={
                "trainable": facts["trainable"],
                "share_of_backbone": facts["share"],
                "registered": f"{facts['registered_model']} version {facts['version']}",
                "aliases": ", ".join(facts["aliases"]),
                "decision": facts["promotion"]["reason"],
                "promotion": dg.MetadataValue.json(facts["promotion"]),
                "mlflow": dg.MetadataValue.url(facts["url"]),
                "folder": dg.MetadataValue.path(facts["folder"]),
                "card": dg.MetadataValue.path(str(card)),
                "open_card": dg.MetadataValue.url(card.resolve().as_uri()),
            },
        )

    return [backbone, prefix_states, cross_validation, baseline_predictions, adapter]
