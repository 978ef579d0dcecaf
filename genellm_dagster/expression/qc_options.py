"""Settings of quality control."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class QcOptions(BaseModel):
    """When a sample or a gene leaves the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_sample_missing: float = Field(
        default=0.3, ge=0, le=1, description="Largest share of missing genes of a kept sample."
    )
    max_gene_missing: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Largest share of samples in which a kept gene is missing.",
    )
    outlier_deviations: float = Field(
        default=5,
        gt=0,
        description="Robust deviations (MAD x 1.4826) from the cohort's median beyond which a "
        "sample is an outlier of a measure.",
    )
    min_median_shift: float = Field(
        default=0.5,
        ge=0,
        description="Smallest shift of a sample's median, in log2 units, that can make it an "
        "intensity outlier: after quantile normalisation the MAD is nearly zero.",
    )
    max_correlation: float = Field(
        default=0.9,
        ge=-1,
        le=1,
        description="A sample whose median rank correlation with the others is above this is no "
        "correlation outlier, however alike the others are.",
    )
    pca_components: int = Field(
        default=5, ge=1, description="Components of the robust PCA distance."
    )
    outlier_votes: int = Field(
        default=2,
        ge=1,
        le=3,
        description="How many of the measures intensity, correlation and PCA distance must agree "
        "before a sample is left out; fewer are recorded only.",
    )
    min_genes_for_outliers: int = Field(
        default=500,
        ge=1,
        description="On smaller tables outliers are recorded, not left out: a panel of disease "
        "genes shows the disease, not the quality of an array.",
    )
    min_samples_for_outliers: int = Field(
        default=8, ge=3, description="Fewer samples give no background to be an outlier of."
    )
    drop_constant_genes: bool = Field(
        default=False,
        description="Leave out genes with one value in all samples. Off: a gene at the floor in "
        "everyone is measured, and absent would say something else.",
    )
    min_spread_change: float = Field(
        default=0.25,
        ge=0,
        description="Smallest change of a sample's interquartile range, as a share of the cohort's "
        "median one, that can make it an intensity outlier by its spread.",
    )
    min_residual_change: float = Field(
        default=0.25,
        ge=0,
        description="Rise, as a share of the cohort's median, of what principal components leave "
        "of a sample that can make it an outlier.",
    )
    max_floor_share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="A sample with a larger share of its values at its lowest, or at its highest, "
        "value has measured nothing and is left out.",
    )
    min_floor_shift: float = Field(
        default=0.1,
        ge=0,
        description="Smallest rise of the share of a sample's values at its lowest value, against "
        "the cohort's median, that is remarked.",
    )
    max_saturated: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of a sample's values that share its highest value, above which the "
        "sample is saturated.",
    )
    saturation: Literal["remark", "leave_out"] = Field(
        default="remark", description="What becomes of a saturated sample."
    )
    sex_mismatch: Literal["remark", "leave_out"] = Field(
        default="remark",
        description="What becomes of a sample whose recorded sex is not the one it expresses. Its "
        "label may be as wrong as its sex, or the record of sex alone is.",
    )
    min_samples_for_sex: int = Field(
        default=8, ge=4, description="Fewer samples do not show two groups to tell sex by."
    )
    min_sex_group: int = Field(
        default=2,
        ge=1,
        description="Samples of either sex without which a cohort counts as of one sex: a lone "
        "sample that differs may as well be a bad array.",
    )
    min_y_genes: int = Field(
        default=2,
        ge=1,
        description="Genes of chromosome Y that a cohort must measure before sex is told.",
    )
    min_sex_shift: float = Field(
        default=1,
        gt=0,
        description="Log2 units by which the medians of XIST, and of at least min_y_genes Y genes, "
        "must each differ between the two groups, in opposite ways.",
    )
    min_sex_gene_separation: float = Field(
        default=2.5,
        gt=0,
        description="The same in standard deviations within the groups.",
    )
    min_sex_separation: float = Field(
        default=5,
        gt=0,
        description="Distance between the groups' medians of XIST less the mean Y gene, in "
        "standard deviations within the groups. Halves of one bell curve are 2.2 apart, and of 20 "
        "draws 4.5 in one of a hundred; the sexes of four TB series 8.6 to 27.",
    )
    sex_margin: float = Field(
        default=0.15,
        ge=0,
        lt=0.5,
        description="Share of the way between the two groups' medians, to either side of the "
        "middle, within which a sample's sex stays unknown.",
    )
    age_outside: Literal["remark", "leave_out"] = Field(
        default="leave_out",
        description="What becomes of a sample whose recorded age lies outside its stratum.",
    )
    max_rounds: int = Field(
        default=20,
        ge=1,
        description="Quality control is repeated on what it kept until nothing more leaves, so "
        "that a second application changes nothing; after so many rounds it stops and warns.",
    )
    few_samples: int = Field(
        default=20, ge=0, description="A warning tells of fewer kept samples than this."
    )
    few_of_a_class: int = Field(
        default=10,
        ge=0,
        description="A warning tells of fewer kept cases, or controls, than this. Classes are only "
        "counted: no sample is kept or left out for its label.",
    )
    small_class_share: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="A warning tells of a class with a smaller share of the kept samples.",
    )
    much_left_out: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="A warning tells when a larger share of the samples, or of the genes, leaves.",
    )
