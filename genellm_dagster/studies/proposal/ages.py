"""The age rule of a series, or the stratum that its words give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from genellm_dagster.studies.cohort import AgeRule
from genellm_dagster.studies.proposal.facts import SeriesFacts
from genellm_dagster.studies.proposal.fields import column_values
from genellm_dagster.studies.proposal.model import Finding
from genellm_dagster.studies.proposal.words import plain
from genellm_dagster.studies.readings import AgeUnit, named_units, parse_age_range
from genellm_dagster.studies.study import Study

MIN_READABLE = 0.9
"""Share of the recorded ages that must be readable, or the field is something else."""
_AGE_KEY = re.compile(r"\b(?:age|ages|agey|aged|agemonths|ageyears|ageyrs|agedays)\b")
_NO_AGE_KEY = re.compile(
    r"\b(?:gestation\w*|conception\w*|menstrual|group|grp|category|cat|class|bracket|bone|maternal|"
    r"mother|father|paternal|death|onset|stage|score|matched|adjusted|sample|storage|birth|dob|"
    r"sex|gender|passage|cell|array|chip|ga|corrected|bmi|range group|stratum)\b"
)
_UNIT_IN_KEY: tuple[tuple[AgeUnit, re.Pattern[str]], ...] = (
    ("months", re.compile(r"\b(?:months?|mos?|mths?|m|agemonths)\b")),
    ("weeks", re.compile(r"\b(?:weeks?|wks?|w)\b")),
    ("days", re.compile(r"\b(?:days?|d|agedays)\b")),
    ("years", re.compile(r"\b(?:years?|yrs?|y|yo|ageyears|ageyrs|agey)\b")),
)
_CHILD = re.compile(
    r"\b(?:child(?:ren|hood)?|pa?ediatrics?|infants?|neonat\w+|newborns?|toddlers?|babies|preterm|"
    r"adolescen\w+|juvenile|picu|nicu|schoolchildren|kids|boys?|girls?)\b"
)
_NEONATE = re.compile(r"\b(?:neonat\w+|newborns?|preterm)\b")
_INFANT = re.compile(r"\b(?:infants?|babies|toddlers?|under (?:two|2)|month olds?)\b")
_ADULT = re.compile(
    r"\b(?:adults?|elderly|men and women|older people|geriatric|military|soldiers|pregnan\w+|"
    r"middle aged|aged 18|over 18|18 years)\b"
)
_STRATUM_KEY = re.compile(r"\bage (?:group|class|category|cat|bracket|range)\b|\bage\b|population")


@dataclass(frozen=True)
class AgeProposal:
    """How the age is known, and what is to be thought of it.

    Attributes:
        rule: The rule, or None.
        default_stratum: The stratum of people without a recorded age, or None.
        confidence: How sure the stratum of the samples is; 0 when some have none.
        findings: At most one for the rule and one for the stratum.
        warnings: Sentences.
        abstained: Name -> why.
    """

    rule: AgeRule | None
    default_stratum: str | None
    confidence: float
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    abstained: dict[str, str]


_DOUBT = "holds numbers that cannot be taken as ages:"
_CONTRADICTED = "whose median age would be"
_DOUBTED = 0.8
"""Confidence of a stratum told by words beside ages that cannot be read."""


@dataclass(frozen=True)
class _Candidate:
    field: str
    unit: AgeUnit
    ages: tuple[float | None, ...]
    n: int
    readable: float
    confidence: float
    why: str
    examples: tuple[str, ...]


def infer_age(samples: pd.DataFrame, facts: SeriesFacts, study: Study) -> AgeProposal:
    """Find the field that holds the age, its unit, and the stratum of the others."""
    warnings: list[str] = []
    abstained: dict[str, str] = {}
    stratum, stratum_finding = _stratum_by_words(samples, facts, study, abstained)
    best: _Candidate | None = None
    for field in samples.columns:
        found = _candidate(samples, str(field), facts, warnings, abstained)
        if found is not None and (best is None or _rank(found) > _rank(best)):
            best = found
    if best is None:
        abstained.setdefault("age", "no field holds ages")
        if stratum_finding is not None and _DOUBT in abstained["age"]:
            # Words and numbers disagree, or nobody can say in which unit they agree.
            stratum_finding = replace(stratum_finding, confidence=_DOUBTED)
            if _CONTRADICTED in abstained["age"]:
                stratum = stratum_finding = None
                abstained["default_stratum"] = "the words of the series and its ages disagree"
        confidence = stratum_finding.confidence if stratum_finding else 0.0
        if stratum is None:
            abstained.setdefault(
                "default_stratum", "no ages, and neither title nor summary says how old people are"
            )
        else:
            abstained.pop("default_stratum", None)
        findings = (stratum_finding,) if stratum_finding else ()
        return AgeProposal(None, stratum, confidence, findings, tuple(warnings), abstained)
    abstained.pop("age", None)
    rule_finding = Finding(
        "age", best.field, "", best.unit, best.n, best.examples, best.why,
        round(best.confidence, 3),
    )  # fmt: skip
    missing = sum(age is None for age in best.ages)
    findings_: list[Finding] = [rule_finding]
    confidence = best.confidence
    if missing:
        by_age = _stratum_of_recorded(best, study)
        if stratum is None and by_age is not None:
            stratum, stratum_finding = by_age
        elif stratum is not None and by_age is not None and by_age[0] != stratum:
            warnings.append(
                f"The series' words say {stratum}, its recorded ages {by_age[0]}; the people "
                "without an age are left without a stratum."
            )
            stratum = stratum_finding = None
        if stratum is not None and stratum_finding is not None:
            findings_.append(stratum_finding)
            confidence = min(confidence, stratum_finding.confidence)
            abstained.pop("default_stratum", None)
        else:
            abstained.setdefault(
                "default_stratum",
                f"{missing} samples have no age and nothing says how old they are",
            )
            if missing > 0.1 * len(best.ages):
                confidence = min(confidence, 0.8)
    else:
        stratum = None
        abstained.pop("default_stratum", None)
    rule = AgeRule(field=best.field, unit=best.unit)
    return AgeProposal(
        rule, stratum, confidence, tuple(findings_), tuple(dict.fromkeys(warnings)), abstained
    )


def _rank(candidate: _Candidate) -> tuple[float, int]:
    return (round(candidate.confidence, 1), candidate.n)


def _candidate(
    samples: pd.DataFrame,
    field: str,
    facts: SeriesFacts,
    warnings: list[str],
    abstained: dict[str, str],
) -> _Candidate | None:
    if not field.startswith("characteristics"):
        return None
    key = plain(field.partition(":")[2])
    if not _AGE_KEY.search(key):
        return None
    if _NO_AGE_KEY.search(key):
        abstained.setdefault("age", f"{field!r} is not the age in years since birth, or a group")
        return None
    values = column_values(samples, field)
    recorded = [value for value in values if value is not None]
    if not recorded:
        return None
    unit = next((unit for unit, words in _UNIT_IN_KEY if words.search(_without_age(key))), None)
    bounds = [parse_age_range(value, unit or "years") for value in recorded]
    readable = sum(found is not None for found in bounds) / len(recorded)
    if readable < MIN_READABLE:
        unread = next(v for v, found in zip(recorded, bounds, strict=True) if found is None)
        abstained["age"] = (
            f"only {readable:.0%} of the values of {field!r} can be read as ages, not for example "
            f"{unread[:40]!r}"
        )
        return None
    units = [named_units(value) for value in recorded]
    own_unit = sum(map(bool, units)) / len(recorded)
    if own_unit and not set().union(*units) - {"years"}:
        # ">89" among "34 years" is meant in years too.
        own_unit = 1.0
    ages = [(low + high) / 2 for found in bounds if found is not None for low, high in [found]]
    confidence, why, trouble = _plausible(key, unit, own_unit, recorded, ages, facts)
    if trouble:
        abstained["age"] = f"{field!r} {_DOUBT} {trouble}"
        return None
    if readable < 1:
        warnings.append(
            f"{sum(found is None for found in bounds)} values of {field!r} cannot be read as ages."
        )
        confidence = min(confidence, 0.9)
    parsed = iter(bounds)
    middle: list[float | None] = []
    for value in values:
        found = next(parsed) if value is not None else None
        middle.append(None if found is None else (found[0] + found[1]) / 2)
    return _Candidate(
        field, unit or "years", tuple(middle), len(ages), readable, confidence, why,
        tuple(dict.fromkeys(value[:40] for value in recorded))[:3],
    )  # fmt: skip


def _without_age(key: str) -> str:
    return " ".join(word for word in key.split() if word not in ("age", "at", "of", "in"))


def _plausible(
    key: str,
    unit: AgeUnit | None,
    own_unit: float,
    recorded: Sequence[str],
    ages: Sequence[float],
    facts: SeriesFacts,
) -> tuple[float, str, str]:
    """Judge ages against the series' words: confidence, why, and what forbids the rule."""
    title, text = plain_text(facts.title), plain_text(facts.text)
    child = bool(_CHILD.search(title)) or (bool(_CHILD.search(text)) and not _ADULT.search(text))
    adult = bool(_ADULT.search(title)) or (bool(_ADULT.search(text)) and not _CHILD.search(text))
    old, median = max(ages), sorted(ages)[len(ages) // 2]
    distinct = len(set(recorded))
    if unit is None and 0 < own_unit < 0.95:
        # Half of the values say "months": the others may be years, or months too.
        return 0.0, "", f"{own_unit:.0%} of the values name a unit and the others do not"
    if unit is not None or own_unit:
        why = "the unit stands in the field's name" if unit else "the values name their units"
        if child and not adult and median > 21:
            return 0.0, "", f"a series about children {_CONTRADICTED} {median:.0f}"
        if adult and not child and median < 15:
            return 0.0, "", f"a series about adults {_CONTRADICTED} {median:.1f}"
        return 0.97, why, ""
    if len(recorded) >= 10 and distinct <= 4 and max(ages) < 10:
        return 0.0, "", f"only the values {', '.join(sorted(set(recorded)))[:60]}: codes, not ages"
    if _NEONATE.search(title) and not adult:
        return 0.0, "", "a series about newborns and no unit: days, weeks or months?"
    if child and not adult:
        if old > 21 or (_INFANT.search(title) and old > 3):
            return 0.0, "", f"no unit, and values up to {old:g} in a series about young children"
        if _INFANT.search(title):
            return 0.0, "", "no unit in a series about infants: months or years?"
        return (
            0.93,
            "no unit, but values that are years of childhood in a series about children",
            "",
        )
    if adult and not child and (old < 18 or median < 16):
        return 0.0, "", f"no unit, and a median of {median:g} in a series about adults"
    if old < 3 and len(recorded) >= 5:
        return 0.0, "", f"no unit and no value above {old:g}"
    if adult or child or old > 36:
        return (0.95, "no unit named, and the values are years of life", "")
    return 0.85, "no unit named; taken as years, as mostly", ""


def plain_text(text: str) -> str:
    """A longer text in plain form."""
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())


def _stratum_of_recorded(best: _Candidate, study: Study) -> tuple[str, Finding] | None:
    known = [age for age in best.ages if age is not None]
    strata = {study.stratum_of(age) for age in known}
    if len(strata) != 1 or len(known) < 0.9 * len(best.ages) or len(known) < 5:
        return None
    (stratum,) = strata
    if stratum is None:
        return None
    return stratum, Finding(
        "default_stratum", best.field, "", stratum, len(best.ages) - len(known), (),
        f"all {len(known)} recorded ages lie in it", 0.9,
    )  # fmt: skip


def _stratum_by_words(
    samples: pd.DataFrame, facts: SeriesFacts, study: Study, abstained: dict[str, str]
) -> tuple[str | None, Finding | None]:
    """Infer from words whether everybody is a child, or an adult."""
    places: list[tuple[str, str, float]] = [
        ("series title", facts.title, 0.95),
        ("series summary", f"{facts.summary}\n{facts.overall_design}", 0.88),
    ]
    for field in samples.columns:
        name = str(field)
        key = plain(name.partition(":")[2])
        if name in ("title", "source_name") or _STRATUM_KEY.search(key):
            values = [value for value in column_values(samples, name) if value is not None]
            # One word for all: a field that says it of a part tells nothing of the rest.
            if len(values) == len(samples) and all(
                _CHILD.search(plain(v)) or _ADULT.search(plain(v)) for v in values
            ):
                places.append((name, " . ".join(dict.fromkeys(values))[:4000], 0.96))
    seen: list[tuple[str, str, float, str]] = []
    for place, text, sure in places:
        words = plain_text(text)
        children, adults = _CHILD.search(words), _ADULT.search(words)
        if children and adults:
            abstained["default_stratum"] = (
                f"the {place} speaks of {children[0]!r} and of {adults[0]!r}"
            )
            return None, None
        if children:
            seen.append(("child", place, sure, children[0]))
        elif adults:
            seen.append(("adult", place, sure, adults[0]))
    if not seen or len({kind for kind, *_ in seen}) > 1:
        if seen:
            abstained["default_stratum"] = "some words say children, others adults"
        return None, None
    kind, place, sure, word = max(seen, key=lambda item: item[2])
    ages = (0.05, 1.0, 5.0, 12.0) if kind == "child" else (25.0, 40.0, 60.0, 75.0)
    strata = {study.stratum_of(age) for age in ages}
    if len(strata) != 1 or None in strata:
        abstained["default_stratum"] = f"{word!r}, but the study's strata part such people further"
        return None, None
    (stratum,) = strata
    finding = Finding(
        "default_stratum", place, "", str(stratum), len(samples), (word,),
        f"{word!r} in the {place}" if place.startswith("series") else f"{word!r} in {place}", sure,
    )  # fmt: skip
    return stratum, finding
