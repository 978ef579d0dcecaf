"""From the samples of a series to its sample sheet: every decision on every sample, recorded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.cohort import Cohort, LabelRule, normalise_field
from genellm_dagster.studies.patterns import match_values
from genellm_dagster.studies.readings import is_missing, parse_age, parse_age_range, parse_sex
from genellm_dagster.studies.study import Study
from genellm_dagster.studies.timepoints import later_samples

__all__ = [
    "SHEET_COLUMNS",
    "absent_fields",
    "build_sample_sheet",
    "parse_age",
    "parse_sex",
]

SHEET_COLUMNS = (
    "gsm",
    "subject",
    "age_years",
    "sex",
    "timepoint",
    "label",
    "case",
    "stratum",
    "used",
    "why_not",
)
_FIELDS_SHOWN = 40

_Values = list[str | None]


def build_sample_sheet(samples: pd.DataFrame, cohort: Cohort, study: Study) -> pd.DataFrame:
    """Apply a cohort's rules to its samples.

    Args:
        samples: The samples table of the series, one row a GSM, strings or None.
        cohort: The rules.
        study: The labels and strata.

    Returns:
        The sample sheet, one row a sample in the order of ``samples``: ``gsm``, ``subject`` (the
        GSM when no rule gives a person), ``age_years`` (years, NaN unknown), ``sex``,
        ``timepoint``, ``label``, ``case`` (1, 0 or NA), ``stratum``, ``used`` and ``why_not``
        ("" when used).

    Raises:
        StudyError: When a GSM stands twice, a rule names a field that no sample has (fields of age,
            sex and subject may be absent, see :func:`absent_fields`), or the label rules do not fit
            the samples.
    """
    gsms = _gsms(samples, cohort)
    subjects = _subjects(samples, cohort, gsms)
    labels = _labels(samples, cohort)
    ages, strata, age_problems = _ages(samples, cohort, study)
    timepoints = _timepoints(samples, cohort)
    sexes = _column(samples, cohort.sample.sex.field) if cohort.sample.sex else None
    cases = [None if label is None else study.class_of(label) for label in labels]

    why_not = [
        _label_problem(label, case, cohort) for label, case in zip(labels, cases, strict=True)
    ]
    if cohort.baseline_only:
        later = later_samples(cohort, subjects, timepoints)
        why_not = [a or b for a, b in zip(why_not, later, strict=True)]
    why_not = [a or b for a, b in zip(why_not, age_problems, strict=True)]
    if cohort.baseline_only:
        why_not = _keep_first_of_each(subjects, gsms, why_not)

    sheet = pd.DataFrame(
        {
            "gsm": gsms,
            "subject": subjects,
            "age_years": pd.Series(ages, dtype="float64"),
            "sex": pd.Series([parse_sex(v) for v in sexes or [None] * len(gsms)], dtype=object),
            "timepoint": pd.Series(timepoints, dtype=object),
            "label": pd.Series(labels, dtype=object),
            "case": pd.array([pd.NA if case is None else case for case in cases], dtype="Int8"),
            "stratum": pd.Series(strata, dtype=object),
            "used": pd.Series([not reason for reason in why_not], dtype=bool),
            "why_not": pd.Series(why_not, dtype=object),
        }
    )
    return sheet[list(SHEET_COLUMNS)]


def absent_fields(samples: pd.DataFrame, cohort: Cohort) -> list[str]:
    """Tell which rules of age, sex, subject and time point read a field that no sample has.

    Such a rule is no error (one description often serves several series) but a reader of the sheet
    must know: ages then come from ``default_stratum``, and each sample counts as its own person.

    Returns:
        One sentence a rule, empty when every field is there.
    """
    rules = cohort.sample
    consequences = (
        ("age", rules.age, "ages are taken as not recorded"),
        ("sex", rules.sex, "the sex is taken as not recorded"),
        ("subject", rules.subject, "each sample counts as a person of its own"),
        ("timepoint", rules.timepoint, "time points are taken as not recorded"),
    )
    return [
        f"No sample has the field {rule.field!r} of the {name} rule: {consequence}."
        for name, rule, consequence in consequences
        if rule is not None and _column(samples, rule.field) is None
    ]


def _gsms(samples: pd.DataFrame, cohort: Cohort) -> list[str]:
    column = _column(samples, "gsm")
    if column is None:
        raise StudyError(
            f"{cohort.accession}: the series has no samples; a SuperSeries holds none, "
            "name its SubSeries as cohorts instead."
        )
    gsms = [gsm for gsm in column if gsm is not None]
    repeated = [gsm for gsm, count in Counter(gsms).items() if count > 1]
    if repeated or len(gsms) < len(column):
        what = f"the sample {repeated[0]} stands twice" if repeated else "a sample has no accession"
        raise StudyError(
            f"{cohort.accession}: {what} in the series matrix; fetch the file again, and when GEO "
            "serves it so, leave the series out of the study."
        )
    return gsms


def _column(samples: pd.DataFrame, field: str) -> _Values | None:
    """Return a field's stripped values, or None when no sample has one."""
    wanted = normalise_field(field)
    for name in samples.columns:
        if normalise_field(str(name)) == wanted:
            values: _Values = [None if pd.isna(v) else str(v).strip() for v in samples[name]]
            return values if any(v is not None for v in values) else None
    return None


def _refuse_field(samples: pd.DataFrame, cohort: Cohort, field: str, rule: str) -> StudyError:
    there = [str(name) for name in samples.columns if _column(samples, str(name)) is not None]
    shown = ", ".join(repr(name) for name in there[:_FIELDS_SHOWN])
    more = f" and {len(there) - _FIELDS_SHOWN} more" if len(there) > _FIELDS_SHOWN else ""
    return StudyError(
        f"{cohort.accession}: no sample has the field {field!r} that {rule} in {cohort.origin} "
        f"reads; "
        f"the fields are {shown}{more}, name one of them there "
        f"(`genellm cohort inspect {cohort.accession}` shows their values)."
    )


def _labels(samples: pd.DataFrame, cohort: Cohort) -> list[str | None]:
    labels: list[str | None] = [None] * len(samples)
    idle: list[tuple[int, LabelRule]] = []
    for number, rule in enumerate(cohort.sample.label, start=1):
        name = f"label rule {number} ({rule.value})"
        values = _column(samples, rule.field)
        if values is None:
            raise _refuse_field(samples, cohort, rule.field, name)
        matches = match_values(rule.pattern, values, f"{name} in {cohort.origin}")
        if all(match is None for match in matches):
            idle.append((number, rule))
        labels = [
            label if label is not None or match is None else rule.value
            for label, match in zip(labels, matches, strict=True)
        ]
    unread = labels.count(None)
    if idle and unread:
        # A rule without work is fine where every sample has its label (one description serves
        # several series); beside unread samples it is a misspelt pattern, and nobody would notice.
        number, rule = idle[0]
        values = [value for value in _column(samples, rule.field) or [] if value is not None]
        common = pd.Series(values).value_counts().head(6)
        seen = ", ".join(f"{value!r} ({n})" for value, n in common.items())
        raise StudyError(
            f"{cohort.accession}: label rule {number} ({rule.value}) in {cohort.origin} matches "
            f"no sample "
            f"and {unread} samples are left without a label; its pattern {rule.pattern!r} looks at "
            f"{rule.field!r}, where the samples say {seen}, so mend the pattern or remove the rule "
            f"(`genellm cohort inspect {cohort.accession}` shows every field)."
        )
    return labels


def _label_problem(label: str | None, case: int | None, cohort: Cohort) -> str:
    if label is None:
        return "no label rule matches" if cohort.sample.label else "the cohort has no label rules"
    return f"label {label!r} is neither case nor control of the study" if case is None else ""


def _subjects(samples: pd.DataFrame, cohort: Cohort, gsms: Sequence[str]) -> list[str]:
    rule = cohort.sample.subject
    values = _column(samples, rule.field) if rule else None
    if rule is None or values is None:
        return list(gsms)
    values = [None if is_missing(value) else value for value in values]
    if rule.pattern is not None:
        matches = match_values(rule.pattern, values, f"sample.subject in {cohort.origin}")
        if all(match is None for match in matches):
            example = next((value for value in values if value is not None), "")
            raise StudyError(
                f"{cohort.accession}: the pattern {rule.pattern!r} of sample.subject in "
                f"{cohort.origin} "
                f"matches no value of {rule.field!r} (such as {example[:60]!r}), so the samples "
                f"of one "
                "person could land on both sides of a fold; mend the pattern or remove the rule."
            )
        values = matches
    return [gsm if is_missing(v) else str(v) for gsm, v in zip(gsms, values, strict=True)]


def _timepoints(samples: pd.DataFrame, cohort: Cohort) -> list[str | None]:
    rule = cohort.sample.timepoint
    if rule is None:
        return [None] * len(samples)
    values = _column(samples, rule.field)
    if values is None:
        if cohort.baseline_only:
            raise _refuse_field(
                samples, cohort, rule.field, "sample.timepoint, needed by baseline_only,"
            )
        return [None] * len(samples)
    return [None if is_missing(value) else value for value in values]


def _ages(
    samples: pd.DataFrame, cohort: Cohort, study: Study
) -> tuple[list[float], list[str | None], list[str]]:
    """Read ages in years, strata, and why a sample has no stratum ("" when it has one)."""
    rule = cohort.sample.age
    values = _column(samples, rule.field) if rule else None
    if rule is not None and values is None and cohort.default_stratum is None:
        raise _refuse_field(
            samples, cohort, rule.field, "sample.age, needed without default_stratum,"
        )
    ages: list[float] = []
    strata: list[str | None] = []
    problems: list[str] = []
    for value in values or [None] * len(samples):
        bounds = parse_age_range(value, rule.unit) if rule else None
        age, stratum, problem = math.nan, None, ""
        if is_missing(value):
            stratum = cohort.default_stratum
            if stratum is None:
                problem = "age not recorded and the cohort has no default_stratum"
        elif bounds is None or rule is None:
            problem = f"age {value!r} cannot be read"
        else:
            age = (bounds[0] + bounds[1]) / 2
            stratum, youngest = study.stratum_of(bounds[1]), study.stratum_of(bounds[0])
            if stratum != youngest:
                stratum, problem = None, f"age {value!r} lies on both sides of a stratum's bound"
            elif stratum is None:
                problem = f"age {age:g} years lies in no stratum of the study"
        ages.append(age)
        strata.append(stratum)
        problems.append(problem)
    return ages, strata, problems


def _keep_first_of_each(
    subjects: Sequence[str], gsms: Sequence[str], why_not: Sequence[str]
) -> list[str]:
    kept: dict[str, str] = {}
    reasons = []
    for subject, gsm, reason in zip(subjects, gsms, why_not, strict=True):
        if not reason and kept.setdefault(subject, gsm) != gsm:
            reasons.append(f"another sample of subject {subject!r} is used ({kept[subject]})")
        else:
            reasons.append(reason)
    return reasons
