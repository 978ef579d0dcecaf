"""Every setting of the age question."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AgeOptions(BaseModel):
    """Settings of the comparison between strata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: int = Field(
        default=5, ge=1, le=50, description="Age windows of a stratum, each overlapping the next."
    )
    min_per_class: int = Field(
        default=8,
        ge=2,
        description="People of each class that a measure along age, or adjusted for cells, needs.",
    )
    signature_resamples: int = Field(
        default=200,
        ge=20,
        description="Resamplings of people behind the stability of signatures and their overlap.",
    )
    stable_share: float = Field(
        default=0.8,
        gt=0.5,
        le=1,
        description="Share of resamplings in which a gene must be among the top to be called "
        "stable.",
    )
    rank_persistence: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="p of rank-biased overlap: the smaller, the more the first genes count; at 0.9 "
        "the first ten carry 86 % of the weight.",
    )
    permutations: int = Field(
        default=2000, ge=100, description="Permutations of gene names behind rank-biased overlap."
    )
    effect_resamples: int = Field(
        default=100,
        ge=20,
        description="Resamplings of people behind what is said of genes' effects with and without "
        "blood composition held fixed.",
    )
    gene_sets: tuple[str, ...] = Field(
        default=("btm",),
        description="GMT files that top genes are looked up in: names under data/gene_sets (btm) "
        "or paths; none leaves enrichment out.",
    )
    min_set_genes: int = Field(
        default=3,
        ge=1,
        description="Genes of a set that must be in the vocabulary for the set to be tested.",
    )
    transfer_samples: int = Field(
        default=150,
        ge=0,
        description="Samples of another stratum that GeneLLM is tried on, drawn with the seed; "
        "each costs a run of the frozen prefix. 0 leaves GeneLLM out of transfer.",
    )
    transfer_repeats: int = Field(
        default=2,
        ge=1,
        le=50,
        description="Repetitions of grouped k-fold by which a cohort is measured on itself.",
    )
    min_common_genes: int = Field(
        default=10,
        ge=2,
        description="Genes of the vocabularies that every cohort must measure for anything to be "
        "trained in one stratum, or cohort, and tested in another.",
    )
