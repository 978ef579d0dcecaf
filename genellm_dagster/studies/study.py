"""A study: one question, with its labels, its age strata and its cohorts."""

from __future__ import annotations

import itertools
import math
import re

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.cohort import Cohort, Label, check_cohort_name

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_name(name: str) -> str:
    """Return ``name`` when it can name a folder of the store and a partition.

    Raises:
        ValueError: When it is empty, longer than 64 characters, or holds anything but letters,
            digits, ``_`` and ``-``.
    """
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a folder; use 1 to 64 letters, digits, _ and -, "
            "beginning with a letter or digit"
        )
    return name


class Stratum(BaseModel):
    """An age range, bounds [min_age, max_age) in years."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_age: float = Field(default=0.0, ge=0, description="Youngest age, years, included.")
    max_age: float = Field(default=math.inf, gt=0, description="Oldest age, years, not included.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Stratum:
        if not self.min_age < self.max_age:
            raise ValueError(
                f"min_age {self.min_age:g} is not below max_age {self.max_age:g}; mend the bounds"
            )
        return self

    def holds(self, age_years: float) -> bool:
        """Say whether an age in years lies in the stratum; an unknown age (NaN) lies in none."""
        return self.min_age <= age_years < self.max_age


class Study(BaseModel):
    """Which labels are cases, which are controls, which cohorts, which age strata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Short name; also the study's folder in the store.")
    title: str = Field(min_length=1, description="The question in words, for the report.")
    search: str = Field(default="", description="Search in GEO for series that fit.")
    case: list[Label] = Field(min_length=1, description="Labels that are cases.")
    control: list[Label] = Field(min_length=1, description="Labels that are controls.")
    strata: dict[str, Stratum] = Field(min_length=1, description="Age ranges by name.")
    cohorts: list[str] = Field(min_length=1, description="The cohorts, by name.")
    cohort_files: dict[str, Cohort] = Field(
        default_factory=dict, description="Cohort descriptions inline; they win over data/cohorts."
    )
    rejected: dict[str, str] = Field(
        default_factory=dict,
        description="Series that were looked at and left out, each with the reason.",
    )
    auto_approve_above: float | None = Field(
        default=None,
        ge=0.5,
        le=1,
        description="Take proposed cohorts of at least this confidence without a review; none: "
        "nothing enters unreviewed.",
    )
    simulated: bool = Field(default=False, description="Whether every value is made up.")
    backbone: str | None = Field(
        default=None, description="Backbone of this study: a known name, a folder, or a hub name."
    )
    geo_root: str | None = Field(
        default=None, description="Where this study's GEO files are, when not at NCBI."
    )
    allow_single_class: bool = Field(
        default=False,
        description="Let cohorts with only cases or only controls in a stratum enter it, although "
        "label and batch are one there.",
    )

    @field_validator("name")
    @classmethod
    def _name_is_safe(cls, value: str) -> str:
        return check_name(value)

    @field_validator("strata")
    @classmethod
    def _strata_do_not_overlap(cls, value: dict[str, Stratum]) -> dict[str, Stratum]:
        for name in value:
            check_name(name)
        ordered = sorted(value.items(), key=lambda item: item[1].min_age)
        for (name, stratum), (other, later) in itertools.pairwise(ordered):
            if later.min_age < stratum.max_age:
                raise ValueError(
                    f"the strata {name!r} and {other!r} share the ages from {later.min_age:g} to "
                    f"{min(stratum.max_age, later.max_age):g}; an age may lie in one stratum only "
                    "(max_age is not included)"
                )
        return value

    @field_validator("cohorts")
    @classmethod
    def _cohorts_are_series(cls, value: list[str]) -> list[str]:
        for name in value:
            check_cohort_name(name)
        repeated = sorted({name for name in value if value.count(name) > 1})
        if repeated:
            raise ValueError(f"{repeated[0]!r} is listed twice; keep one of them")
        return value

    @field_validator("rejected")
    @classmethod
    def _rejected_are_series(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            check_cohort_name(name)
        return value

    @field_validator("cohort_files")
    @classmethod
    def _cohort_files_fit_their_names(cls, value: dict[str, Cohort]) -> dict[str, Cohort]:
        for name, cohort in value.items():
            check_fits_name(cohort, name)
        return value

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Study:
        both = sorted(set(self.case) & set(self.control))
        if both:
            raise ValueError(f"the label {both[0]!r} is both case and control; keep it in one list")
        for name in self.cohorts:
            if name not in self.cohort_files:
                raise ValueError(f"the cohort {name!r} has no description; add it to cohort_files")
            self._check_cohort(name, self.cohort_files[name])
        for name in self.rejected:
            if name in self.cohorts:
                raise ValueError(
                    f"{name!r} is both among the cohorts and among the rejected; keep it in one"
                )
        self._check_both_classes_can_come_up()
        return self

    def _check_cohort(self, name: str, cohort: Cohort) -> None:
        if not cohort.sample.label:
            raise ValueError(f"the cohort {name!r} has no label rules; add sample.label to it")
        if cohort.default_stratum is not None and cohort.default_stratum not in self.strata:
            raise ValueError(
                f"the cohort {name!r} has the default_stratum {cohort.default_stratum!r}, but the "
                f"strata are {', '.join(self.strata)}; name one of those"
            )

    def _check_both_classes_can_come_up(self) -> None:
        given = {
            rule.value for name in self.cohorts for rule in self.cohort_files[name].sample.label
        }
        for role, labels in (("case", self.case), ("control", self.control)):
            if not given & set(labels):
                raise ValueError(
                    f"no cohort has a label rule that gives a {role} label ({', '.join(labels)}); "
                    f"the rules give {', '.join(sorted(given))}, so mend {role!r} or the rules"
                )

    def stratum_of(self, age_years: float) -> str | None:
        """Return the stratum that an age in years lies in, or None (also for NaN)."""
        return next((name for name, part in self.strata.items() if part.holds(age_years)), None)

    def class_of(self, label: str) -> int | None:
        """Return 1 for a case label, 0 for a control label, None for any other."""
        if label in self.case:
            return 1
        return 0 if label in self.control else None

    def cohort(self, name: str) -> Cohort:
        """Return the description of a cohort of the study.

        Raises:
            StudyError: When the study does not have it.
        """
        if name not in self.cohort_files:
            raise StudyError(
                f"The study {self.name!r} has no cohort {name!r}; "
                f"its cohorts are {', '.join(self.cohorts)}."
            )
        return self.cohort_files[name]


def check_fits_name(cohort: Cohort, name: str) -> None:
    """Refuse a cohort description that stands under the name of another.

    Raises:
        ValueError: When ``name`` is neither the accession nor accession and platform.
    """
    check_cohort_name(name)
    if name not in {cohort.accession, f"{cohort.accession}-{cohort.platform}"}:
        raise ValueError(
            f"under the name {name!r} stands the description of {cohort.accession} on "
            f"{cohort.platform}; make name and accession agree"
        )
