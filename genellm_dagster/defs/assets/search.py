"""Of the group model: options searched on inner folds. Its own job runs it, no other one."""

from typing import Any

import dagster as dg
import pandas as pd

from genellm_dagster.defs import shown
from genellm_dagster.defs.assets.model import GROUP
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.progress import reporter
from genellm_dagster.defs.resources import StoreResource, TrackingResource
from genellm_dagster.settings import Settings
from genellm_dagster.workflows.stratum import stratum_samples


def build(parts: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Build the assets."""
    study = parts.study

    @dg.asset(
        key=parts.key("tuned_options"),
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
        kinds={"pytorch", "optuna", "mlflow"},
        io_manager_key="json",
        description="Options of the model searched for each fold on inner folds of its training "
        "side alone, and for the adapter on all samples. Used where the setting model.tuned is on.",
    )
    def tuned_options(
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
    ) -> dg.MaterializeResult[dict[str, Any]]:
        from genellm_dagster.evaluation.folds import make_folds
        from genellm_dagster.workflows.search import tracked_search
        from genellm_dagster.workflows.sessions import pretrained_session
        from genellm_dagster.workflows.tokenizers import tokenizer_of

        stratum = context.partition_key
        data = stratum_samples(study, stratum, sheets, tables)
        session = pretrained_session(settings, store.of_study, backbone, tokenizer)
        tuned = tracked_search(
            tracking.tracker(settings),
            study,
            stratum,
            lambda fold: session.with_tokenizer(tokenizer_of(tokenizer, fold.name)),
            data.samples,
            tokens,
            make_folds(data.samples, sample_overlap, settings.evaluation),
            settings,
            store.of_study,
            lambda fold: reporter(context, f"search of {stratum} ({fold})"),
        )
        return dg.MaterializeResult(
            value=tuned.model_dump(mode="json"),
            metadata={
                "searches": shown.markdown(tuned.table(), rows=40),
                "used": settings.model.tuned,
                "mlflow": dg.MetadataValue.url(tuned.url),
            },
        )

    return [tuned_options]
