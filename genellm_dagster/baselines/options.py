"""Every setting of the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


def _ascending(strengths: tuple[float, ...]) -> tuple[float, ...]:
    if any(not strength > 0 for strength in strengths):
        raise ValueError("every value of C must be above zero")
    return tuple(sorted(set(strengths)))


class LogisticOptions(BaseModel):
    """L2 logistic regression on the profiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strengths: tuple[float, ...] = Field(
        default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        description="Values of C (inverse penalty, per standardised gene) tried on inner folds; "
        "small ones are listed because there are more genes than samples.",
        min_length=1,
    )
    inner_folds: int = Field(
        default=4, ge=2, description="Inner folds when the training fold holds a single cohort."
    )
    max_iterations: int = Field(
        default=2000, ge=10, description="Iterations allowed to the solver."
    )

    @field_validator("strengths")
    @classmethod
    def _positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return _ascending(value)


class ElasticNetOptions(BaseModel):
    """Logistic regression with an elastic-net penalty on the profiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strengths: tuple[float, ...] = Field(
        default=(3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
        description="Values of C (inverse penalty, per standardised gene) tried on inner folds.",
        min_length=1,
    )
    l1_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the absolute penalty, which leaves genes out; 1 is the lasso.",
    )
    inner_folds: int = Field(
        default=4, ge=2, description="Inner folds when the training fold holds a single cohort."
    )
    max_iterations: int = Field(
        default=1000, ge=10, description="Passes over the samples allowed to the solver."
    )
    tolerance: float = Field(
        default=1e-3, gt=0, description="Relative change of weights at which the solver stops."
    )

    @field_validator("strengths")
    @classmethod
    def _positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return _ascending(value)


class LinearSvmOptions(BaseModel):
    """Linear support vector machine on the profiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strengths: tuple[float, ...] = Field(
        default=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        description="Values of C (inverse penalty, per standardised gene) tried on inner folds.",
        min_length=1,
    )
    inner_folds: int = Field(
        default=4, ge=2, description="Inner folds when the training fold holds a single cohort."
    )
    max_iterations: int = Field(
        default=5000, ge=10, description="Iterations allowed to the solver."
    )

    @field_validator("strengths")
    @classmethod
    def _positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return _ascending(value)


class PcaOptions(BaseModel):
    """Logistic regression on principal components of the profiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: tuple[int, ...] = Field(
        default=(2, 5, 10, 20, 40),
        description="Numbers of components tried on inner folds; fewer where samples are few.",
        min_length=1,
    )
    strength: float = Field(
        default=0.1, gt=0, description="C of the logistic regression, per component of variance 1."
    )
    inner_folds: int = Field(
        default=4, ge=2, description="Inner folds when the training fold holds a single cohort."
    )
    max_iterations: int = Field(
        default=2000, ge=10, description="Iterations allowed to the solver."
    )

    @field_validator("components")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1:
            raise ValueError("every number of components must be one or more")
        return tuple(sorted(set(value)))


class ForestOptions(BaseModel):
    """A random forest on the profiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(default=200, ge=1, description="Number of trees.")
    min_samples_leaf: int = Field(
        default=3, ge=1, description="Samples a leaf must hold, so that shares are not 0 or 1 only."
    )
    threads: int = Field(
        default=1, ge=1, le=64, description="CPU threads that grow trees; results do not differ."
    )


class BoostingOptions(BaseModel):
    """Gradient-boosted trees (LightGBM), small and deterministic."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(
        default=120, ge=1, description="Number of trees; fixed, so nothing needs tuning."
    )
    learning_rate: float = Field(default=0.08, gt=0, le=1, description="Weight of each tree.")
    leaves: int = Field(
        default=7, ge=2, description="Leaves of a tree; few, because samples are few."
    )
    min_samples_leaf: int = Field(
        default=10, ge=1, description="Samples a leaf must hold; lowered on tiny training folds."
    )
    gene_share: float = Field(
        default=0.3, gt=0, le=1, description="Share of genes each tree may look at."
    )
    threads: int = Field(
        default=1, ge=1, le=64, description="CPU threads; one keeps results identical."
    )


class SingleGeneOptions(BaseModel):
    """The best single gene, chosen on the training fold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: Literal["profiles", "log2"] = Field(
        default="profiles",
        description="What the gene is read from: the profiles that every model sees, or log2 "
        "expression (whose offset between cohorts then enters the pooled result).",
    )
    min_measured_share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Share of training samples in which a candidate is measured.",
    )


class CohortOnlyOptions(BaseModel):
    """The predictor that knows cohorts alone, and how well cohorts can be told apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strength: float = Field(
        default=1e-2,
        gt=0,
        description="C of the multinomial logistic regression that tells cohorts apart, per "
        "standardised gene; fixed, because no label is involved.",
    )
    folds: int = Field(
        default=5, ge=2, description="Folds of persons on which cohorts are told apart."
    )
    bootstraps: int = Field(
        default=500,
        ge=50,
        description="Resamplings of persons behind the interval of what a cohort's name tells.",
    )
    max_iterations: int = Field(
        default=1000, ge=10, description="Iterations allowed to the solver."
    )


class BaselineOptions(BaseModel):
    """Settings of all baselines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signatures_folder: Path | None = Field(
        default=None,
        description="Folder of signature files; none means the project's data/signatures.",
    )
    signatures: tuple[str, ...] | None = Field(
        default=None, description="Names of the signatures to run; none means all of the folder."
    )
    missing_genes_allowed: int = Field(
        default=0,
        ge=0,
        description="Genes a geometric-mean signature may lack (its mean is then over the others). "
        "Zero, because the published cut and weight hold for the full set.",
    )
    class_weight: Literal["balanced", "none"] = Field(
        default="balanced",
        description="Balanced: both classes weigh the same in every fit, so that the threshold of "
        "one half does not follow the prevalence of the training cohorts.",
    )
    squash_penalty: float = Field(
        default=1.0,
        gt=0,
        description="C of the one-dimensional logistic that maps a score to 0..1.",
    )
    logistic_regression: LogisticOptions | None = Field(
        default=LogisticOptions(), description="Logistic regression; none leaves it out."
    )
    elastic_net: ElasticNetOptions | None = Field(
        default=ElasticNetOptions(), description="Elastic net; none leaves it out."
    )
    linear_svm: LinearSvmOptions | None = Field(
        default=LinearSvmOptions(), description="Linear SVM; none leaves it out."
    )
    pca_logistic: PcaOptions | None = Field(
        default=PcaOptions(), description="Logistic regression on components; none leaves it out."
    )
    random_forest: ForestOptions | None = Field(
        default=ForestOptions(), description="Random forest; none leaves it out."
    )
    gradient_boosting: BoostingOptions | None = Field(
        default=BoostingOptions(), description="Gradient boosting; none leaves it out."
    )
    single_gene: SingleGeneOptions | None = Field(
        default=SingleGeneOptions(), description="Best single gene; none leaves it out."
    )
    composition_only: bool = Field(
        default=True,
        description="Control: logistic regression on the scores of blood cells alone.",
    )
    cohort_only: CohortOnlyOptions | None = Field(
        default=CohortOnlyOptions(),
        description="Control: what resemblance to a training cohort tells; none leaves it out.",
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=64,
        description="CPU threads of the linear algebra of all fits; one keeps results identical.",
    )
