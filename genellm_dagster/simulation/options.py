"""How large, how hard and how untidy a simulated study is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

GENES_AT_LEAST = 200
"""Fewer do not hold the blood genes and the genes of the published signatures."""


class StratumTruth(BaseModel):
    """What the disease does in one age stratum.

    A person has a *disease activity*; a planted gene moves by its effect times that activity. How
    far the activities of cases and controls overlap bounds what any model can reach.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_age: float = Field(default=0.0, ge=0, description="Youngest age, in years, inclusive.")
    max_age: float = Field(default=120.0, gt=0, description="Oldest age, in years, exclusive.")
    planted_genes: int = Field(
        default=30,
        ge=1,
        le=80,
        description="Disease genes planted; half of them rise and half fall.",
    )
    effect: float = Field(
        default=0.9,
        ge=0,
        description="Mean absolute effect of a planted gene, in log2 units at activity 1.",
    )
    effect_spread: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Effects lie within this share around the mean, evenly.",
    )
    case_activity: float = Field(default=1.0, description="Mean disease activity of cases.")
    case_activity_sd: float = Field(
        default=0.41,
        ge=0,
        description="Spread of activity among cases; mild cases look like controls.",
    )
    control_activity: float = Field(default=0.0, description="Mean disease activity of controls.")
    control_activity_sd: float = Field(
        default=0.24,
        ge=0,
        description="Spread of activity among controls, who have minor illnesses too.",
    )
    endotypes: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Kinds of patients; each kind moves its own part of the genes.",
    )
    endotype_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the planted genes that one kind of patient moves.",
    )
    age_slope: float = Field(
        default=0.0,
        description="How much more active the disease is in a patient ten years older; the mean "
        "activity of cases holds at the middle age of the stratum.",
    )


class CohortPlan(BaseModel):
    """One series: who is in it and how its files are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accession: str = Field(description="A GSE number far above those that GEO gives out.")
    platform: str = Field(description="A GPL number far above those that GEO gives out.")
    stratum: str = Field(description="The stratum that every person of the series is in.")
    title: str = Field(description="Title of the series; 'SIMULATED' is put before it.")
    cases: int = Field(ge=0, description="People with the disease.")
    controls: int = Field(ge=0, description="Healthy people.")
    outside: int = Field(
        default=0, ge=0, description="People with a label that the study does not ask for."
    )
    unlabelled: int = Field(default=0, ge=0, description="People without any label.")
    missing_ages: int = Field(default=0, ge=0, description="People whose age is not recorded.")
    poor_arrays: int = Field(
        default=0, ge=0, description="Arrays that failed: mixed-up, noisy, with holes."
    )
    duplicates: int = Field(
        default=0,
        ge=0,
        description="Arrays of the stratum's first series that are used again, processed anew.",
    )
    repeated: int = Field(default=0, ge=0, description="Cases measured again after 24 hours.")
    repeated_twice: int = Field(
        default=0, ge=0, description="Of those, how many also after 72 hours."
    )
    ids: Literal["symbol", "affymetrix", "illumina"] = Field(
        default="symbol", description="What ID_REF holds; the last two need the platform's table."
    )
    scale: Literal["log2", "linear"] = Field(
        default="log2", description="Scale of the values in the file."
    )
    age_unit: Literal["years", "months", "none"] = Field(
        default="years",
        description="Unit the ages are given in; 'none' leaves them out of the file.",
    )
    label_in: Literal["characteristics", "title"] = Field(
        default="characteristics", description="Where a reader finds the label."
    )
    effect_scale: float = Field(
        default=1.0, ge=0, description="The effects of the stratum times this, in this series."
    )
    composition_shift: float | None = Field(
        default=None, description="In place of the study's, in this series."
    )
    mislabelled_share: float | None = Field(
        default=None, ge=0, lt=0.5, description="In place of the study's, in this series."
    )
    batches: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Batches that its arrays were processed in; each shifts the genes anew.",
    )
    batch_follows_label: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the arrays whose batch is decided by the disease: cases in the "
        "first half of the batches, controls in the second.",
    )

    @model_validator(mode="after")
    def _repeats_are_cases(self) -> CohortPlan:
        if not self.repeated_twice <= self.repeated <= self.cases:
            raise ValueError("repeated_twice <= repeated <= cases does not hold")
        if self.batch_follows_label and self.batches < 2:
            raise ValueError("batch_follows_label asks for two batches at least")
        return self


STANDARD_COHORTS: tuple[CohortPlan, ...] = (
    CohortPlan(
        accession="GSE9900001", platform="GPL990001", stratum="pediatric", ids="affymetrix",
        title="Whole blood of children with sepsis, first centre",
        cases=74, controls=40, unlabelled=2, missing_ages=2, poor_arrays=2,
    ),
    CohortPlan(
        accession="GSE9900002", platform="GPL990003", stratum="pediatric", scale="linear",
        title="Whole blood of infants and children with sepsis, second centre", age_unit="months",
        cases=50, controls=30, outside=6, missing_ages=2, poor_arrays=1, duplicates=2,
    ),
    CohortPlan(
        accession="GSE9900003", platform="GPL990003", stratum="pediatric",
        title="Course of sepsis in children over three days, whole blood",
        cases=44, controls=30, repeated=24, repeated_twice=12, missing_ages=1, poor_arrays=1,
    ),
    CohortPlan(
        accession="GSE9900004", platform="GPL990002", stratum="adult", ids="illumina",
        title="Whole blood of adults in intensive care",
        cases=78, controls=44, outside=14, unlabelled=3, missing_ages=2, poor_arrays=2,
    ),
    CohortPlan(
        accession="GSE9900005", platform="GPL990003", stratum="adult", age_unit="none",
        title="Whole blood of adults with sepsis on the ward", label_in="title",
        cases=62, controls=44, outside=4, poor_arrays=1,
    ),
)  # fmt: skip

STANDARD_STRATA: dict[str, StratumTruth] = {
    "pediatric": StratumTruth(max_age=18),
    # Adults differ among themselves: weaker effects, kinds of patients, and mild cases.
    "adult": StratumTruth(
        min_age=18, effect=0.7, case_activity=0.95, case_activity_sd=0.5,
        control_activity_sd=0.34, endotypes=3, endotype_share=0.7,
    ),
}  # fmt: skip


class SimulationOptions(BaseModel):
    """A whole simulated study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="demo", pattern=r"^[A-Za-z0-9_]+$", description="Name of the study.")
    genes: int = Field(
        default=2000, ge=GENES_AT_LEAST, le=15000, description="Genes measured in all."
    )
    seed: int = Field(
        default=0, ge=0, description="Seed of everything random, unless the call names one."
    )
    sample_share: float = Field(
        default=1.0,
        gt=0,
        le=10,
        description="Every number of people is multiplied by this (tests: 0.3).",
    )
    strata: dict[str, StratumTruth] = Field(
        default_factory=lambda: dict(STANDARD_STRATA), description="Truth of each age stratum."
    )
    cohorts: tuple[CohortPlan, ...] = Field(
        default=STANDARD_COHORTS, description="The series to write."
    )
    shared_genes: int = Field(
        default=0,
        ge=0,
        description="Planted genes that every stratum has in common, with equal effects.",
    )
    discordant_genes: int = Field(
        default=0,
        ge=0,
        description="Of the shared genes, how many move the other way in every second stratum.",
    )
    age_genes: int = Field(
        default=0,
        ge=0,
        description="Genes that follow age in everybody, without any tie to the disease; every "
        "second one falls.",
    )
    age_effect: float = Field(
        default=0.1, ge=0, description="How far such a gene moves in ten years, in log2 units."
    )
    variable_genes: int = Field(
        default=50,
        ge=0,
        description="Genes that vary widely among people without any tie to the disease.",
    )
    absent_share: float = Field(
        default=0.03,
        ge=0,
        lt=0.5,
        description="Share of the genes that one platform does not measure.",
    )
    missing_share: float = Field(
        default=0.002,
        ge=0,
        lt=0.2,
        description="Share of single values that are empty in the file.",
    )
    batch_sd: float = Field(
        default=0.25,
        ge=0,
        description="Spread of a gene's shift between series, and between the batches of one, in "
        "log2 units.",
    )
    gain_sd: float = Field(
        default=0.1,
        ge=0,
        description="Spread of a gene's gain between series, in natural-log units.",
    )
    array_sd: float = Field(
        default=0.12, ge=0, description="Spread of the brightness of whole arrays, in log2 units."
    )
    noise_sd: float = Field(
        default=0.15, ge=0, description="Noise of one measurement, in log2 units."
    )
    composition_shift: float = Field(
        default=0.0,
        description="How far activity 1 moves the neutrophil factor up and the lymphocyte factor "
        "down, in standard deviations: confounding by cell composition, off unless asked for.",
    )
    mislabelled_share: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description="Share of the cases and controls written with the other label.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> SimulationOptions:
        unknown = sorted({plan.stratum for plan in self.cohorts} - set(self.strata))
        if unknown:
            raise ValueError(f"cohorts name strata that are not described: {', '.join(unknown)}")
        if len({plan.accession for plan in self.cohorts}) < len(self.cohorts):
            raise ValueError("two cohorts have the same accession")
        if self.strata and self.shared_genes > min(s.planted_genes for s in self.strata.values()):
            raise ValueError("shared_genes is more than the planted genes of a stratum")
        if self.discordant_genes > self.shared_genes:
            raise ValueError("discordant_genes is more than shared_genes")
        return self
