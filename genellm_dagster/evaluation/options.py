"""Every setting of the evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from genellm_dagster.evaluation.age.options import AgeOptions


class EvaluationOptions(BaseModel):
    """Settings of folds, metrics, intervals and comparisons."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(
        default=20240607, ge=0, description="Seed of fold making and of every resampling."
    )
    k_folds: int = Field(
        default=5,
        ge=2,
        description="Folds when a stratum holds one cohort; fewer when persons are few.",
    )
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="Coverage that every interval is meant to have."
    )
    bootstraps: int = Field(
        default=2000,
        ge=100,
        le=100_000,
        description="Resamplings of persons behind bootstrap intervals.",
    )
    bootstrap_interval: Literal["percentile", "bca"] = Field(
        default="percentile",
        description="Ends of bootstrap intervals: quantiles of the resamples (percentile), or "
        "these moved for bias and acceleration (bca), the latter by a jackknife over persons.",
    )
    threshold_rule: Literal["training_folds", "fixed"] = Field(
        default="training_folds",
        description="Where sensitivity, specificity and balanced accuracy are taken: for each fold "
        "at the threshold of the best balanced accuracy on its training samples "
        "(training_folds; from three folds on), or at `threshold` for all (fixed).",
    )
    threshold: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Score at or above which a sample is called a case by the rule fixed; set "
        "beforehand, never chosen on test data.",
    )
    decision_thresholds: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(0.1, 0.25, 0.5, 0.75),
        min_length=1,
        description="Probabilities of being a case at which one would act, for which net benefit "
        "is given with its interval; the decision curve goes from .01 to .99.",
    )
    ece_bins: int = Field(
        default=10, ge=2, description="Equal-width bins of the expected calibration error."
    )
    reference_model: str = Field(
        default="genellm", description="Model that every other one is compared with, in pairs."
    )
    equal_size_resamples: int = Field(
        default=1000, ge=50, description="Resamplings at equal size and prevalence between strata."
    )
    top_genes: int = Field(
        default=20, ge=1, description="Length k of the gene signatures whose overlap is tested."
    )
    separability_resamples: int = Field(
        default=200, ge=20, description="Resamplings behind intervals of the separability measures."
    )
    separability_max_samples: int = Field(
        default=1500,
        ge=10,
        description="Samples per stratum used for distances, drawn with the seed.",
    )
    age: AgeOptions = Field(default=AgeOptions(), description="The comparison between strata.")
