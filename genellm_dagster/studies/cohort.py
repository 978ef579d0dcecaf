"""A cohort: one series as curated for use, and the rules that read its samples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from genellm_dagster.studies.patterns import check_pattern

SAMPLE_FIELDS = ("gsm", "title", "source_name", "organism", "platform", "description")
"""What every sample has beside its characteristics, as named in the samples table."""
CHARACTERISTICS = "characteristics: "

_SERIES = re.compile(r"GSE\d{1,9}")
_PLATFORM = re.compile(r"GPL\d{1,9}")
_COHORT = re.compile(r"GSE\d{1,9}(-GPL\d{1,9})?")


def check_cohort_name(name: str) -> str:
    """Return ``name`` when it names a cohort: ``GSE123``, or ``GSE123-GPL4``.

    Raises:
        ValueError: When it does not.
    """
    if not _COHORT.fullmatch(name):
        raise ValueError(f"{name!r} names no series; write it like GSE65682 or GSE65682-GPL13667")
    return name


def series_of(name: str) -> str:
    """Return the series of a cohort's name: GSE1 of GSE1-GPL570."""
    return name.split("-", 1)[0]


def normalise_field(field: str) -> str:
    """Bring the name of a field to the form of the samples table's columns.

    Characteristics are matched without regard to case and to the width of blanks; the other fields
    are taken as they are.
    """
    prefix, colon, key = field.partition(":")
    if colon and prefix.strip().lower() == CHARACTERISTICS.strip(": "):
        return CHARACTERISTICS + " ".join(key.lower().split())
    return field.strip()


def _check_field(field: str) -> str:
    normalised = normalise_field(field)
    is_characteristic = normalised.startswith(CHARACTERISTICS) and normalised != CHARACTERISTICS
    if normalised in SAMPLE_FIELDS or is_characteristic:
        return field
    raise ValueError(
        f"{field!r} is no field of a sample; use {', '.join(SAMPLE_FIELDS)} or 'characteristics: "
        f"KEY'"
    )


def _check_series(accession: str) -> str:
    if not _SERIES.fullmatch(accession):
        raise ValueError(f"{accession!r} is no accession of a series; write it like GSE65682")
    return accession


def _check_platform(accession: str) -> str:
    if not _PLATFORM.fullmatch(accession):
        raise ValueError(f"{accession!r} is no accession of a platform; write it like GPL570")
    return accession


def _check_file_name(name: str) -> str:
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\x00" in name:
        raise ValueError(f"{name!r} is no name of a file; write the name alone, without folders")
    return name


FileName = Annotated[str, AfterValidator(_check_file_name)]
SampleField = Annotated[str, AfterValidator(_check_field)]
Pattern = Annotated[str, AfterValidator(check_pattern)]
SeriesAccession = Annotated[str, AfterValidator(_check_series)]
PlatformAccession = Annotated[str, AfterValidator(_check_platform)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    field: SampleField = Field(description="Column of the samples table that the rule reads.")


class LabelRule(_Rule):
    """Gives ``value`` as label to the samples whose field matches ``pattern``."""

    pattern: Pattern = Field(description="Regular expression searched in the field's value.")
    value: Label = Field(description="The label that a matching sample gets.")


class SubjectRule(_Rule):
    """Says which person a sample comes from; without it each sample is a person of its own."""

    pattern: Pattern | None = Field(
        default=None,
        description="Regular expression: its first group (or the match) is the person's id; the "
        "whole value when left out.",
    )


class TimepointRule(_Rule):
    """Says when a sample was taken."""

    baseline: Pattern | None = Field(
        default=None,
        description="Regular expression that the first time point matches; when left out the "
        "earliest by its number and unit is taken.",
    )


class AgeRule(_Rule):
    """Says how old the person was."""

    unit: Literal["years", "months", "weeks", "days"] = Field(
        default="years", description="Unit of numbers that carry none themselves."
    )


class SexRule(_Rule):
    """Says where the sex of the person stands."""


class SampleRules(BaseModel):
    """The rules that read one sample of a cohort."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: tuple[LabelRule, ...] = Field(
        default=(),
        description="In order: the first that matches wins. Empty only for a cohort without "
        "labels, which can be predicted but not learned from.",
    )
    age: AgeRule | None = Field(default=None, description="Age; none: no sample has one.")
    sex: SexRule | None = Field(default=None, description="Sex; none: no sample has one.")
    subject: SubjectRule | None = Field(default=None, description="Person; none: one a sample.")
    timepoint: TimepointRule | None = Field(default=None, description="Time point of a sample.")


class ValueSource(BaseModel):
    """Where the expression values of a series are taken from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["auto", "matrix", "ncbi_counts", "supplementary", "soft"] = Field(
        default="auto",
        description="The series matrix; NCBI's RNA-seq counts; matrices that the submitter added; "
        "the SOFT family file. auto takes the matrix, and NCBI's counts where it holds its header "
        "only.",
    )
    files: tuple[FileName, ...] = Field(
        default=(),
        description="Names of the submitter's files (source: supplementary), each with some of "
        "the samples.",
    )
    sheet: str | None = Field(
        default=None, description="Sheet of an Excel file; none: the only one that holds a table."
    )

    @model_validator(mode="after")
    def _files_belong_to_supplementary(self) -> ValueSource:
        if (self.source == "supplementary") != bool(self.files):
            raise ValueError(
                "files are named for source: supplementary and for no other; name them or change "
                "the source"
            )
        return self


class Cohort(BaseModel):
    """One series as curated for use: how its ids, labels, ages and people are read.

    Examples:
        >>> Cohort(accession="GSE1", platform="GPL570", sample={"label": []}).id_type
        'probe'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accession: SeriesAccession = Field(description="The series, like GSE65682.")
    platform: PlatformAccession = Field(description="The platform, like GPL13667.")
    title: str = Field(default="", description="The cohort in words, for the report.")
    id_type: Literal["probe", "symbol", "entrez", "ensembl"] = Field(
        default="probe", description="What the ids of the expression values are."
    )
    platform_table: str | None = Field(
        default=None,
        description="Path of the user's own table of the platform, relative to this file: tab or "
        "comma separated, its first line names the columns (id, and symbol, entrez or ensembl).",
    )
    values: ValueSource = Field(
        default=ValueSource(), description="Where the expression values come from."
    )
    scale: Literal["log2", "linear", "counts", "centred"] | None = Field(
        default=None, description="Scale of the values; none: found out from their quantiles."
    )
    default_stratum: str | None = Field(
        default=None,
        description="Stratum of the samples whose age is not recorded, and of no other.",
    )
    overlaps: tuple[SeriesAccession, ...] = Field(
        default=(), description="Series known to share people with this one."
    )
    baseline_only: bool = Field(
        default=False, description="Keep out later time points and repeats of a person."
    )
    expected_labels: dict[Label, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Samples a label must have, within 5 %; ingestion stops otherwise.",
    )
    expected_subjects: dict[Label, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        description="People that the samples of a label must come from, within 5 %; ingestion "
        "stops otherwise.",
    )
    verified: bool = Field(
        default=False,
        description="Whether the expected numbers were once found in GEO's own file; the first "
        "ingestion that finds them sets it.",
    )
    sample: SampleRules = Field(description="The rules that read a sample.")
    sources: tuple[str, ...] = Field(
        default=(), description="What the rules rest on, with addresses."
    )

    _origin: str = PrivateAttr(default="")
    _file: Path | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)

    @field_validator("sources", mode="before")
    @classmethod
    def _one_source_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _rules_fit_together(self) -> Cohort:
        given = {rule.value for rule in self.sample.label}
        for key, expected in (
            ("expected_labels", self.expected_labels),
            ("expected_subjects", self.expected_subjects),
        ):
            unknown = sorted(set(expected) - given)
            if unknown:
                raise ValueError(
                    f"{key} names {unknown[0]!r}, which no label rule gives; "
                    "mend the name or add the rule"
                )
        if self.expected_subjects and self.sample.subject is None:
            raise ValueError("expected_subjects counts people; add sample.subject")
        if self.baseline_only and self.sample.timepoint is None and self.sample.subject is None:
            raise ValueError(
                "baseline_only needs to know what comes later; add sample.timepoint or "
                "sample.subject"
            )
        return self

    @property
    def origin(self) -> str:
        """Where the description stands, in words for a sentence."""
        return self._origin or f"the description of {self.accession}"

    @property
    def file(self) -> Path | None:
        """The file that holds this description and no other; none where it stands inline."""
        return self._file

    @property
    def folder(self) -> Path | None:
        """The folder that relative paths of the description start from; none without a file."""
        return self._folder

    def with_origin(
        self, origin: str, *, file: Path | None = None, folder: Path | None = None
    ) -> Cohort:
        """Return the same cohort that knows which file it was read from.

        Args:
            origin: Where the description stands, in words for a sentence.
            file: Its own file, when it has one.
            folder: Where its relative paths start; the folder of ``file`` when left out.
        """
        copy = self.model_copy()
        copy._origin = origin
        copy._file = file
        copy._folder = folder if folder is not None or file is None else file.parent
        return copy
