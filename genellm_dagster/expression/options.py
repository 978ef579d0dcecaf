"""Settings of the expression tables; thresholds are theirs, functions hold none."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
    VarianceOptions,
    VocabularyOptions,
)
from genellm_dagster.expression.qc_options import QcOptions


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MappingOptions(_Options):
    """How ids become approved symbols."""

    multi_gene: Literal["one_protein_coding", "drop", "first", "all"] = Field(
        default="one_protein_coding",
        description="What becomes of a probe that names several genes (A///B): kept when exactly "
        "one of them is protein-coding, as the others are then mostly hosted RNAs; dropped; given "
        "to the first one; given to each of them.",
    )
    unknown_symbols: Literal["drop", "keep"] = Field(
        default="drop",
        description="Names that HGNC does not know: dropped and counted, or kept as they stand. "
        "Ambiguous names are never kept.",
    )
    min_mapped_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of ids that must reach a symbol; below it the cohort's id_type or its "
        "platform is taken to be wrong and the table is refused.",
    )


class ScaleOptions(_Options):
    """Bounds of GEO2R's rule and of the recognition of centred values."""

    log_max_q99: float = Field(
        default=100,
        gt=0,
        description="Values whose 99th percentile is above this are not log2 (GEO2R).",
    )
    log_max_range: float = Field(
        default=50,
        gt=0,
        description="Values with a positive first quartile and a range above this are not log2 "
        "(GEO2R).",
    )
    centred_min_negative_share: float = Field(
        default=0.2, ge=0, le=1, description="Centred values have at least this share below zero."
    )
    centred_max_row_median: float = Field(
        default=0.5,
        gt=0,
        description="Rows are centred when their absolute median is, for the typical row, at most "
        "this multiple of the row's own interquartile range.",
    )
    linear_floor_quantile: float = Field(
        default=0.01,
        ge=0,
        le=0.5,
        description="Linear values below this quantile of the positive values of the same sample, "
        "zeros and negative values included, are raised to it before the logarithm.",
    )
    counts: Literal["log2_cpm", "tmm"] = Field(
        default="log2_cpm",
        description="Read counts to log2 counts per million of the sample's own library, or of one "
        "scaled by TMM against the cohort (transductive; about 3 GB for 1000 samples of 39,000 "
        "ids). TMM adds one number to all log2 values of a sample: profiles by rank or by z within "
        "the sample are the same with both, signatures and gene z are not.",
    )

    @property
    def transductive(self) -> list[str]:
        """The steps, as set, that let other samples of a cohort of counts take part."""
        return ["TMM of read counts"] if self.counts == "tmm" else []


class CompositionOptions(_Options):
    """When marker genes tell how much of a blood sample is one kind of cell."""

    markers: str = Field(
        default="blood",
        min_length=1,
        description="Kinds of cells and their genes: a name under data/markers, or the path of a "
        "YAML file.",
    )
    min_genes: int = Field(
        default=2000,
        ge=1,
        description="Genes that a sample needs: among the genes of a panel, chosen for a disease, "
        "a rank tells of the choice.",
    )
    min_markers: int = Field(default=2, ge=1, description="Markers of a class that a sample needs.")
    min_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of a class's markers that a sample needs.",
    )
    min_share_of_sample: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share, of the markers that its cohort's table holds, that a sample needs. "
        "Markers differ in level: with one value in 20 missing at random, scores moved by 0.1 to "
        "0.4 of their standard deviation (0.7 for the two markers of CD8 T cells).",
    )


class OverlapOptions(_Options):
    """When two samples are one array, measured on expression."""

    min_common_genes: int = Field(
        default=500,
        ge=2,
        description="Fewer common genes call no identity. In simulated cohorts of 60 and 100, 1000 "
        "common genes found all copies, 500 nine in ten, 350 two in three, 150 one in five. With "
        "the 353 of GSE22098 two pairs of people of different age or sex, neighbours in the "
        "series, pass for one.",
    )
    max_genes: int = Field(
        default=3000,
        ge=2,
        description="The most variable common genes that are compared, for speed.",
    )
    min_similarity: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Correlation from which two samples may be one array, of within-sample normal "
        "scores less each gene's mean and what the cohort shares. Of four TB series, strangers of "
        "two series reached 0.23 and re-processed copies lay between 0.16 and 0.58, so that the "
        "tail of either sample decides, not this bound.",
    )
    max_false_share: float = Field(
        default=0.001,
        gt=0,
        lt=1,
        description="Expected share of strangers among the pairs called one array, were the tail "
        "of a sample's other correlations known exactly. In a cohort of 30 it is learned from few, "
        "hence far below the one in a hundred that is wanted. Two people who alone share an "
        "artefact look like one array, as a pair of GSE107991 that is called beside true copies.",
    )
    max_copies: int = Field(
        default=3,
        ge=1,
        description="How many samples of one cohort may be copies of a sample; so many of its "
        "highest correlations say nothing of strangers.",
    )
    min_samples_to_resolve: int = Field(
        default=50,
        ge=2,
        description="Samples that each of two cohorts declared to share people needs before "
        "expression alone may say who is shared; smaller ones, where twins were missed, are paired "
        "as a whole.",
    )
    certain_similarity: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Correlation, with main directions left in, from which two samples are one "
        "array where both cohorts are too small to show how alike strangers are.",
    )
    low_expression_share: float = Field(
        default=0.4,
        ge=0,
        lt=1,
        description="Share of the genes, lowest in level, compared only where fewer than "
        "max_genes others are common: what is at the floor does not survive another normalisation.",
    )
    min_background: int = Field(
        default=8,
        ge=4,
        description="Samples a cohort needs before it shows how alike strangers are.",
    )
    block: int = Field(
        default=1024,
        ge=64,
        description="Samples of one cohort cleaned together and compared at once; bounds memory "
        "and time.",
    )


class ExpressionOptions(_Options):
    """Every setting of the room."""

    mapping: MappingOptions = Field(default=MappingOptions(), description="Ids to symbols.")
    scale: ScaleOptions = Field(default=ScaleOptions(), description="Log scale.")
    collapse: Literal["median", "mean", "highest_mean", "highest_variance"] = Field(
        default="median",
        description="How several probes become one gene: by a value of each sample alone (median, "
        "mean), or by the probe that the whole cohort chooses (highest mean or variance, "
        "transductive).",
    )
    qc: QcOptions = Field(default=QcOptions(), description="Quality control.")
    normalisation: NormalisationOptions = Field(
        default=NormalisationOptions(), description="Values to profiles."
    )
    harmonisation: HarmonisationOptions = Field(
        default=HarmonisationOptions(), description="Cohorts on one scale."
    )
    variance: VarianceOptions = Field(
        default=VarianceOptions(), description="What explains the variance of profiles."
    )
    vocabulary: VocabularyOptions = Field(
        default=VocabularyOptions(), description="Genes of a stratum."
    )
    composition: CompositionOptions = Field(
        default=CompositionOptions(), description="Kinds of cells by their markers."
    )
    overlap: OverlapOptions = Field(
        default=OverlapOptions(), description="One person or array in two cohorts."
    )

    @property
    def learned_on_folds(self) -> bool:
        """Whether profiles are learned, so that each fold has its own."""
        return self.normalisation.learned or self.harmonisation.method != "none"

    @property
    def transductive_collapse(self) -> list[str]:
        """What a table must be marked with whose genes are probes that the whole cohort chose."""
        steps = []
        if self.collapse in ("highest_mean", "highest_variance"):
            steps.append(f"collapse by {self.collapse.replace('_', ' ')}")
        return steps
