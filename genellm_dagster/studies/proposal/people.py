"""The sex rule and the subject rule: who a sample comes from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from genellm_dagster.studies.cohort import SexRule, SubjectRule
from genellm_dagster.studies.patterns import match_values
from genellm_dagster.studies.proposal.fields import column_values
from genellm_dagster.studies.proposal.model import Finding
from genellm_dagster.studies.proposal.times import TIME_FORMS
from genellm_dagster.studies.proposal.words import phrases, plain
from genellm_dagster.studies.readings import parse_sex

_SEX_KEY = re.compile(r"\b(?:sex|gender)\b")
_PERSON = r"(?:patient|subject|donor|individual|participant|person|volunteer|proband|case|study)"
_ID = r"(?:id|ids|no|num|number|code|identifier|name|nr)"
_SUBJECT_KEY = re.compile(
    rf"{_PERSON} ?{_ID}|(?:patient|subject|donor|individual|participant|person)|pid|"
    rf"(?:anonymi[sz]ed|unique|study|deidentified) {_PERSON} ?{_ID}|{_PERSON} {_PERSON} ?{_ID}"
)
_LOOSE_KEY = re.compile(
    r"(?:group|child|infant|person|study|sample group|anonymous|unique) ?id|id|code"
)
MAX_DISAGREEING = 0.1
"""Share of repeated people that may disagree in sex, age or label before the ids are doubted."""


@dataclass(frozen=True)
class SexProposal:
    """The sex rule, or why there is none."""

    rule: SexRule | None
    finding: Finding | None
    why_not: str


@dataclass(frozen=True)
class SubjectProposal:
    """The subject rule and the person of every sample, or why there is none."""

    rule: SubjectRule | None
    finding: Finding | None
    people: tuple[str | None, ...]
    why_not: str

    @property
    def repeated(self) -> bool:
        """Whether a person has more than one sample."""
        known = [person for person in self.people if person is not None]
        return len(set(known)) < len(known)


def infer_sex(samples: pd.DataFrame) -> SexProposal:
    """Find the field that holds the sex; codes are not guessed."""
    why_not = "no field holds the sex"
    best: Finding | None = None
    for field in samples.columns:
        name = str(field)
        key = plain(name.partition(":")[2])
        if not name.startswith("characteristics") or not _SEX_KEY.search(key):
            continue
        values = [value for value in column_values(samples, name) if value is not None]
        if not values:
            continue
        read = [value for value in values if parse_sex(value) is not None]
        if len(read) < 0.8 * len(values):
            shown = ", ".join(sorted(set(values))[:4])
            why_not = f"the values of {name!r} ({shown[:60]}) are no plain words for a sex"
            continue
        if best is None or len(read) > best.n:
            examples = tuple(dict.fromkeys(read))[:3]
            why = f"{len(read)} of {len(values)} values are words for a sex"
            best = Finding("sex", name, "", "", len(read), examples, why, 0.97)
    if best is None:
        return SexProposal(None, None, why_not)
    return SexProposal(SexRule(field=best.field), best, "")


def infer_subject(
    samples: pd.DataFrame,
    labels: Sequence[str | None],
    sexes: Sequence[str | None],
    ages: Sequence[float | None],
) -> SubjectProposal:
    """Find the field that tells people apart, or the part of the titles that does."""
    nobody: tuple[str | None, ...] = (None,) * len(samples)
    why_not = "no field names people, and the titles show no repeated ones"
    best: SubjectProposal | None = None
    for field in samples.columns:
        name = str(field)
        if not name.startswith("characteristics"):
            continue
        key = plain(name.partition(":")[2])
        loose = _LOOSE_KEY.fullmatch(key) is not None
        if not loose and not _SUBJECT_KEY.fullmatch(key):
            continue
        people = column_values(samples, name)
        doubt = _no_ids(people) or _collision(people, labels, sexes, ages)
        if not doubt and loose and not _comes_back(people):
            doubt = "ids of which none comes back may be those of samples"
        if doubt:
            why_not = f"{name!r}: {doubt}"
            continue
        found = _subject(name, None, people, "the field names people", 0.85 if loose else 0.95)
        if best is None or sum(p is not None for p in people) > sum(
            p is not None for p in best.people
        ):
            best = found
    if best is not None:
        return best
    by_title, doubt = _from_titles(samples, labels, sexes, ages)
    if by_title is not None:
        return by_title
    return SubjectProposal(None, None, nobody, doubt or why_not)


def _subject(
    field: str, pattern: str | None, people: Sequence[str | None], why: str, sure: float
) -> SubjectProposal:
    known = [person for person in people if person is not None]
    why = f"{why}: {len(set(known))} people in {len(known)} samples"
    finding = Finding(
        "subject", field, pattern or "", "", len(known), tuple(dict.fromkeys(known))[:3], why, sure
    )
    return SubjectProposal(SubjectRule(field=field, pattern=pattern), finding, tuple(people), "")


def _no_ids(people: Sequence[str | None]) -> str:
    known = [person for person in people if person is not None]
    distinct = set(known)
    if len(known) < 0.5 * len(people):
        return f"only {len(known)} of {len(people)} samples have a value"
    if len(distinct) < 3 or len(distinct) < 0.05 * len(known):
        return f"{len(distinct)} different values are too few to be people"
    worded = sum(bool(phrases().fullmatch(plain(person))) for person in distinct)
    if worded > 0.5 * len(distinct):
        return "its values are diagnoses, not ids"
    if not any(char.isdigit() for person in distinct for char in person) and len(distinct) < 10:
        return "its values look like groups, not like ids"
    return ""


def _collision(
    people: Sequence[str | None],
    labels: Sequence[str | None],
    sexes: Sequence[str | None],
    ages: Sequence[float | None],
) -> str:
    """Say why ids that come back cannot be people: two sexes, two ages, ill and healthy."""
    groups: dict[str, list[int]] = {}
    for position, person in enumerate(people):
        if person is not None:
            groups.setdefault(person, []).append(position)
    repeated = {person: group for person, group in groups.items() if len(group) > 1}
    if not repeated:
        return ""
    problems = {"sexes": 0, "ages": 0, "labels (healthy and ill)": 0}
    for group in repeated.values():
        known_ages = [age for p in group if (age := ages[p]) is not None]
        given = {labels[p] for p in group if labels[p] is not None}
        problems["sexes"] += len({sexes[p] for p in group if sexes[p] is not None}) > 1
        problems["ages"] += bool(known_ages) and max(known_ages) - min(known_ages) > 3
        problems["labels (healthy and ill)"] += "healthy" in given and len(given) > 1
    what, n = max(problems.items(), key=lambda item: item[1])
    if n > MAX_DISAGREEING * len(repeated):
        return (
            f"{n} of {len(repeated)} ids that come back have different {what}, so that a number "
            "counts anew in each group"
        )
    return ""


def _from_titles(
    samples: pd.DataFrame,
    labels: Sequence[str | None],
    sexes: Sequence[str | None],
    ages: Sequence[float | None],
) -> tuple[SubjectProposal | None, str]:
    """Read people from titles that say who and when: ``P01_D3``, ``05_0007 Day1``."""
    titles = column_values(samples, "title") if "title" in samples.columns else ()
    doubt = ""
    best: SubjectProposal | None = None
    for form in TIME_FORMS:
        for pattern in (
            rf"(?i)^(.*\d.*?)[\s_.,;:/-]*{form.pattern}",
            rf"(?i){form.pattern}[\s_.,;:/-]+(.*\d.*)$",
        ):
            people = match_values(pattern, titles, "a proposed subject rule")
            times = match_values(f"(?i){form.pattern}", titles, "a proposed subject rule")
            groups: dict[str, list[int]] = {}
            for position, person in enumerate(people):
                if person:
                    groups.setdefault(person, []).append(position)
            repeated = {p: g for p, g in groups.items() if len(g) > 1}
            inside = sum(len(group) for group in repeated.values())
            moments = {time for time in times if time is not None}
            if len(moments) > max(len(groups), 3):
                continue  # "P1 day 3": the 1 is the person, "1 day" no time
            if len(repeated) < 2 or inside < 0.3 * sum(map(len, groups.values())):
                continue
            clean = sum(len({times[p] for p in g}) == len(g) for g in repeated.values())
            if clean < 0.9 * len(repeated):
                doubt = "titles repeat a name and a time, so the names are not those of people"
                continue
            told = _collision(people, labels, sexes, ages)
            if told:
                doubt = f"titles: {told}"
                continue
            found = _subject("title", pattern, people, "titles say who and when", 0.88)
            if best is None or (inside, len(groups)) > _extent(best):
                best = found
    return best, doubt


def _comes_back(people: Sequence[str | None]) -> bool:
    counts = Counter(person for person in people if person is not None)
    return 1 < max(counts.values()) <= max(12, 0.2 * len(people))


def _extent(proposal: SubjectProposal) -> tuple[int, int]:
    """Samples of repeated people, and people."""
    counts = Counter(person for person in proposal.people if person)
    return sum(n for n in counts.values() if n > 1), len(counts)
