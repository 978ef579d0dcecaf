"""Jobs, named by what a person wants; each holds assets of one set of partitions."""

from typing import TYPE_CHECKING

import dagster as dg

from genellm_dagster.defs.partitions import StudyPartitions

if TYPE_CHECKING:
    # What define_asset_job returns has no public name.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

INGEST = "ingest_cohort"
COMPARE_COHORTS = "compare_cohorts"
QUALITY_CONTROL = "quality_control"
CHOOSE_GENES = "choose_genes"
ENCODE = "encode_profiles"
TUNE = "tune_stratum"
TRAIN = "train_stratum"
REPORTS = "rebuild_reports"
CATALOG = "refresh_catalog"
REFRESH = "refresh_study"
"""Not a job of assets: it runs the others, see ``defs.refresh``."""

_ASSETS = {
    CATALOG: ("geo_catalog",),
    INGEST: ("raw_series", "sample_sheet", "gene_expression"),
    COMPARE_COHORTS: ("sample_overlap", "backbone"),
    QUALITY_CONTROL: ("qc_expression", "blood_composition"),
    CHOOSE_GENES: ("gene_vocabulary", "profiles", "tokenizer"),
    ENCODE: ("token_dataset", "prefix_states"),
    TUNE: ("tuned_options",),
    TRAIN: (
        "cross_validation",
        "baseline_predictions",
        "adapter",
        "evaluation_report",
        "gene_attributions",
    ),
    REPORTS: ("stratum_transfer", "age_comparison", "model_comparison", "study_report"),
}
_DESCRIPTIONS = {
    CATALOG: "Search GEO for series that fit the study.",
    INGEST: "Fetch one cohort's series; sample sheet and expression table.",
    COMPARE_COHORTS: "Find people and arrays that come twice; prepare the backbone.",
    QUALITY_CONTROL: "Quality control of one cohort in one stratum; its blood by kinds of cells.",
    CHOOSE_GENES: "Choose the genes of one stratum's model without labels; make profiles and "
    "what turns them into tokens.",
    ENCODE: "Tokenize one cohort in one stratum and run the frozen prefix.",
    TUNE: "Search options of one stratum's model on inner folds of training samples alone.",
    TRAIN: "Cross-validate, run the baselines, train and register the adapter, evaluate, explain.",
    REPORTS: "Compare strata and models; write the report.",
}


def build_jobs(parts: StudyPartitions) -> "list[UnresolvedAssetJobDefinition]":
    """Build the jobs of a study."""
    return [
        dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*(parts.key(asset) for asset in assets)),
            description=_DESCRIPTIONS[name],
            executor_def=dg.in_process_executor,
        )
        for name, assets in _ASSETS.items()
    ]
