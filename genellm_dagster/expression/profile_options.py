"""Settings of what becomes of an expression table on the way to profiles."""

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
