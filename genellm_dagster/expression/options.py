"""Settings of the expression tables; thresholds are theirs, functions hold none."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# The X inactivation centre's transcripts, and genes of the male-specific region of chromosome Y
# (HGNC's locations) that show in whole blood.
SEX_GENES = (
    "XIST", "TSIX", "RPS4Y1", "RPS4Y2", "DDX3Y", "EIF1AY", "KDM5D", "UTY", "USP9Y", "ZFY", "TMSB4Y",
    "NLGN4Y", "PRKY", "TXLNGY", "BCORP1", "TTTY10", "TTTY14", "TTTY15", "ANOS2P", "LINC00278",
)  # fmt: skip


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


class QcOptions(_Options):
    """When a sample or a gene leaves the table."""

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


class NormalisationOptions(_Options):
    """How a sample's values become a profile."""

    method: Literal[
        "rank_normal", "within_sample_z", "quantile", "reference_quantiles", "gene_z"
    ] = Field(
        default="rank_normal",
        description="Ranks within the sample to normal scores, or z within the sample: both score "
        "one patient alone. Quantile normalisation uses the other samples of the cohort and is "
        "transductive. Reference quantiles (by rank to the average distribution of the training "
        "samples) and gene z (log2 less the gene's training mean, over its training deviation) "
        "are learned on the training cohorts and then score one patient alone.",
    )
    scope: Literal["table", "vocabulary"] = Field(
        default="table",
        description="Among which genes a sample's values are ranked: all that its table measures, "
        "or the vocabulary's only. Ranks among all genes hold still when the vocabulary is made of "
        "genes that move together (logistic regression on three adult TB cohorts, leave one out: "
        ".87 against .86 mean AUROC); on panels the two are nearly the same.",
    )
    reference_size: int = Field(
        default=1001,
        ge=2,
        description="Quantiles kept of the reference distribution; between them it is linear.",
    )

    @property
    def transductive(self) -> list[str]:
        """What profiles must be marked with that rest on other samples of their cohort."""
        return ["quantile normalisation"] if self.method == "quantile" else []

    @property
    def learned(self) -> bool:
        """Whether the method is fitted on training cohorts before it is applied."""
        return self.method in ("reference_quantiles", "gene_z")


class HarmonisationOptions(_Options):
    """How cohorts are brought together, gene by gene; a label is never a covariate."""

    method: Literal["none", "combat", "coconut"] = Field(
        default="none",
        description="ComBat takes each cohort's location and scale out, learned without labels: "
        "where prevalence differs between cohorts some of the disease leaves with them. COCONUT "
        "learns both from each cohort's controls alone. A cohort that training never saw is "
        "harmonised by its own samples: ComBat is then transductive, COCONUT uses test labels.",
    )
    scale: bool = Field(
        default=True, description="Take out scale as well as location, in cohorts of two or more."
    )
    min_controls: int = Field(
        default=5, ge=2, description="Controls that COCONUT needs in each cohort."
    )
    tolerance: float = Field(
        default=1e-4,
        gt=0,
        description="Relative change at which the empirical Bayes estimate of a gene stands still.",
    )
    max_iterations: int = Field(
        default=1000, ge=1, description="Iterations after which a gene that still moves is refused."
    )

    @property
    def transductive(self) -> list[str]:
        """What a harmonised new cohort's results must be marked with."""
        if self.method == "combat":
            return ["ComBat of a new cohort by its own samples"]
        if self.method == "coconut":
            return ["COCONUT of a new cohort by its own controls: USES TEST LABELS"]
        return []


class VarianceOptions(_Options):
    """Share of variance that cohort, platform and label explain."""

    min_variance: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Principal components are taken, largest first, until they hold this share of "
        "the variance; the rest counts as noise and is not divided up.",
    )
    max_components: int = Field(default=50, ge=1, description="Never more components than this.")


class VocabularyOptions(_Options):
    """Which genes the model reads; chosen without labels."""

    max_genes: int = Field(
        default=128,
        ge=1,
        description="Genes of a stratum's vocabulary; each is one position of the model, and the "
        "time of the frozen prefix grows in proportion. Logistic regression on the adult TB "
        "cohorts was no better with 256.",
    )
    min_cohort_share: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="Share of the stratum's cohorts that must measure a gene.",
    )
    low_expression_share: float = Field(
        default=0.3,
        ge=0,
        lt=1,
        description="Share of the genes, lowest in mean rank over the cohorts, passed over before "
        "the liveliest are chosen: at the floor a rank is noise. Never so many that fewer than "
        "max_genes are left, so that panels lose nothing.",
    )
    exclude: tuple[str, ...] = Field(
        default=SEX_GENES,
        description="Genes never chosen. By default those that tell men from women: they vary "
        "most of all, and sex is seldom balanced between cases and controls.",
    )
    choice: Literal["most_variable", "gene_list"] = Field(
        default="most_variable",
        description="The most variable genes of all, or those of a list; a list longer than "
        "max_genes gives its most variable ones. The other settings hold for both.",
    )
    gene_list: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="The list: a name under data/gene_sets (btm, the blood transcription modules), "
        "or the path of a GMT file (Hallmark, for instance), of a text file with a symbol a line, "
        "or of a CSV file with a column gene or symbol.",
    )
    gene_sets: tuple[str, ...] = Field(
        default=(),
        description="Sets of a GMT file, by name or by the code in brackets (M37.1); none means "
        "all of them.",
    )
    min_known_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of a list's names that must be genes of HGNC, aliases included; below "
        "it the file is taken to be another one than was meant.",
    )

    @model_validator(mode="after")
    def _list_where_it_is_read(self) -> VocabularyOptions:
        if self.choice == "gene_list" and self.gene_list is None:
            raise ValueError("choice is gene_list, but gene_list names none; name one")
        if self.choice == "most_variable" and (self.gene_list is not None or self.gene_sets):
            raise ValueError(
                "gene_list and gene_sets are read only where choice is gene_list; set that too"
            )
        return self


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
