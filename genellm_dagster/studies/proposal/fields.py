"""Which fields of a series can hold a diagnosis, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from genellm_dagster.studies.proposal.context import Context
from genellm_dagster.studies.proposal.judge import NOT_DISEASES, Verdict, judge
from genellm_dagster.studies.proposal.words import plain
from genellm_dagster.studies.readings import is_missing

MAX_VALUES = 4_000
"""Distinct values of one field that are looked at; a title each for so many samples."""
_NO_CANDIDATES = frozenset({"gsm", "organism", "platform"})

_DIAGNOSIS_KEY = re.compile(
    r"\b(?:disease|diagnos\w*|illness|condition|status|state|group|phenotype|class(?:ification)?|"
    r"category|cohort|case|syndrome|subject type|patient type|sample type|type|etiology|aetiology|"
    r"infection|sepsis|sirs|shock|tb|tuberculosis|covid|outcomes?|health|pathology|indication|"
    r"adjudicat\w+|factor value|no key)\b"
)
_NEVER_KEY = re.compile(
    r"\b(?:age|sex|gender|race|racial|ethnic\w*|batch|date|array|chip|barcode|sentrix|tissue|cells?|"
    r"rna|rin|library|lane|run|instrument|protocol|treat\w*|drugs?|therap\w*|antibiotics?|steroids?|"
    r"stimul\w*|agent|doses?|vaccin\w*|bcg|times?|timepoint|days?|hours?|visit|ids?|identifier|"
    r"number|country|region|sites?|cent(?:er|re)|location|hospital|ward|weight|height|bmi|score|"
    r"sofa|apache|sapsii|saps|pelod|prism|organ|failure|wbc|counts?|neutrophils?|lymphocytes?|"
    r"monocytes?|platelets?|crp|pct|procalcitonin|lactate|smok\w*|culture|smear|gram|comorbid\w*|"
    r"history|family|hiv|diabet\w*|tst|igra|quantiferon|qft|subtype|subclass|endotype|"
    r"cluster|mars|genotype|strain|molecule|extract\w*|label|storage|volume|temperature|software|"
    r"healthy|controls?|contact|progress\w*|ancestry|blood|bmi|pregnan\w*|birth|mother|maternal|"
    r"gestation\w*|thrombocytopenia|duration|length|stay|data|quality|qc|platform|technology)\b"
)
_OUTCOME_KEY = re.compile(r"\b(?:mortality|survival|death|(?<!sirs )outcomes?|died|survived)\b")
_WEAK_KEY = re.compile(
    r"\b(?:pathogen|organism|microb\w*|virus|bacteria|agent|source|severity|mortality|survival|"
    r"death|died|outcome|event|primary|secondary)\b"
)
_YES = frozenset({"yes", "y", "true", "1", "positive", "pos", "present", "confirmed"})
_NO = frozenset({"no", "n", "false", "0", "negative", "neg", "absent", "none"})
_BESIDE_CONCEPT = frozenset(
    {
        "status", "state", "diagnosis", "diagnosed", "disease", "infection", "patient",
        "patients", "group", "confirmed", "presence", "of", "with", "at", "admission",
        "criteria", "adjudicated", "clinical", "case", "has", "is", "the", "in", "a", "final",
        "type", "category",
    }
)  # fmt: skip
_LEGEND_PAIR = re.compile(r"([A-Za-z0-9]{1,12})\s*[=:]\s*([^,;:=)\]/|]{1,60})")


@dataclass(frozen=True)
class FieldReading:
    """A field of the samples with what its values mean.

    Attributes:
        field: Name as rules use it.
        values: The value of every sample, None where missing.
        raw: The same, with the words for "missing" left as they stand.
        verdicts: Distinct value -> what it means.
        trust: How much this kind of field is trusted, 0 to 1.
    """

    field: str
    values: tuple[str | None, ...]
    raw: tuple[str | None, ...]
    verdicts: dict[str, Verdict]
    trust: float

    def of_sample(self, position: int) -> Verdict | None:
        """What the field says of one sample; None when it says nothing at all."""
        value = self.values[position]
        return None if value is None else self.verdicts.get(value)

    def labels(self) -> set[str]:
        """The labels that its values give."""
        return {verdict.label for verdict in self.verdicts.values() if verdict.label is not None}


def column_values(samples: pd.DataFrame, field: str) -> tuple[str | None, ...]:
    """Stripped values of a column; missing ones and words for it are None."""
    return tuple(None if is_missing(text) else text for text in _raw(samples, field))


def _raw(samples: pd.DataFrame, field: str) -> tuple[str | None, ...]:
    return tuple(None if pd.isna(value) else str(value).strip() for value in samples[field])


def trust_of(field: str) -> float:
    """How much a field is trusted to hold the diagnosis, by its name; 0: not looked at."""
    if field in _NO_CANDIDATES:
        return 0.0
    if field == "title":
        return 0.95
    if field == "source_name":
        return 0.95
    if field == "description":
        return 0.88
    if not field.startswith("characteristics"):
        return 0.0
    name = field.partition(":")[2].strip()
    key = plain(re.split(r"[(\[]", name)[0]) or plain(name)
    if re.search(r"\btype of control|\bcontrols?$", key) and not _is_case_control(key):
        return 0.0
    if _OUTCOME_KEY.search(key):
        return 0.88
    if _NEVER_KEY.search(key) and not _is_case_control(key):
        return 0.0
    if _WEAK_KEY.search(key) and not re.search(r"\bsirs outcomes?\b", key):
        return 0.88
    return 0.98 if _DIAGNOSIS_KEY.search(key) else 0.9


def _is_case_control(key: str) -> bool:
    return bool(
        re.search(r"\bcases? (?:or |vs |versus |and )?controls?\b|\bhealthy (?:or|vs) |"
                  r"\b(?:sepsis|disease|illness|condition) and controls?$", key)
    )  # fmt: skip


def read_field(samples: pd.DataFrame, field: str, context: Context) -> FieldReading | None:
    """Read what every value of a field means; None when the field is none to look at."""
    trust = trust_of(field)
    if not trust:
        return None
    values = column_values(samples, field)
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    if not distinct or len(distinct) > MAX_VALUES or _is_measurement(distinct):
        return None
    key = field.partition(":")[2].strip() if field.startswith("characteristics") else ""
    constant = _constant(distinct, context)
    verdicts = {value: _value_verdict(value, key, context, constant) for value in distinct}
    return FieldReading(
        field, values, _raw(samples, field), _sort_out_controls(verdicts, context), trust
    )


def _is_measurement(distinct: Sequence[str]) -> bool:
    """Say whether a field holds numbers that are no codes."""
    numbers = sum(
        re.fullmatch(r"[-+<>=.,%\d\s]+(?:[eE][-+]?\d+)?", v) is not None for v in distinct
    )
    return len(distinct) > 12 and numbers > 0.9 * len(distinct)


def _constant(distinct: Sequence[str], context: Context) -> frozenset[str]:
    if len(distinct) < 2:
        return frozenset()
    common: set[str] | None = None
    everything: set[str] = set()
    for value in distinct:
        said = set(context.reader.read(value).concepts()) - NOT_DISEASES
        common = said if common is None else common & said
        everything |= said
    common = common or set()
    # Diseases only: where all are controls, or at risk, that is what they are. And what all say
    # tells nothing only where there is something else to tell them apart.
    return frozenset(common) if everything - common else frozenset()


def _value_verdict(value: str, key: str, context: Context, constant: frozenset[str]) -> Verdict:
    meaning = _by_legend(value, key)
    if meaning is not None:
        verdict = judge(context.reader.read(meaning), context)
        if verdict.label is None and plain(meaning) in _YES | _NO:
            verdict = _yes_or_no(plain(meaning), key.split("(")[0], context)
        return _changed(verdict, 0.97, f"the field's own legend: {value.strip()} is {meaning!r}")
    answer = plain(value)
    if answer in _YES | _NO:
        return _yes_or_no(answer, key, context)
    reading = context.reader.read(value)
    verdict = judge(reading, context, constant)
    if verdict.label is not None or reading.mentions:
        return verdict
    if key and (longer := _spelt_out(value, key)):
        said = judge(context.reader.read(longer), context)
        if said.label is not None:
            return _changed(said, 0.85, f"short for {longer!r} in the field's name")
    if key and answer in {"active", "active disease"}:
        said = judge(context.reader.read(f"active {plain(key)}"), context)
        if said.concept == "tb":
            return _changed(said, 0.95, "active, in a field about tuberculosis")
    return verdict


def _changed(verdict: Verdict, factor: float, why: str) -> Verdict:
    if verdict.label is None:
        return verdict
    return Verdict(
        verdict.label, verdict.concept, verdict.sure * factor, f"{verdict.why}; {why}",
        verdict.words,
    )  # fmt: skip


def _by_legend(value: str, key: str) -> str | None:
    """What a code means where the field's name explains it: ``group (0=control, 1=sepsis)``."""
    if "(" in key and ")" not in key and ")" in value:
        # The colon of "group (0: control, 1: sepsis): 1" was taken for the end of the key.
        inside, _, code = value.rpartition(":")
        key, value = f"{key}:{inside}", code.strip()
    start = re.search(r"[(\[]|,", key)
    if start is None:
        return None
    legend = {
        match[1].lower(): match[2].strip() for match in _LEGEND_PAIR.finditer(key[start.start() :])
    }
    return legend.get(value.strip().lower()) if len(legend) > 1 else None


def _yes_or_no(answer: str, key: str, context: Context) -> Verdict:
    reading = context.reader.read(key)
    concepts = [c for c in reading.concepts() if c not in ("patient", "control")]
    strange = [w for w in reading.rest if w not in _BESIDE_CONCEPT and not w.isdigit()]
    if len(concepts) != 1 or strange:
        return Verdict(None, "", 0.0, f"{answer!r}, but to what question?")
    concept = concepts[0]
    if answer in _NO:
        if f"not:{concept}" in context.labels:
            return Verdict(context.labels[f"not:{concept}"], f"not:{concept}", 0.93, "answered no")
        return Verdict(None, "", 0.0, f"no {concept.replace('_', ' ')}, but what else?")
    verdict = judge(reading, context)
    return _changed(verdict, 0.91 if answer == "1" else 0.98, f"answered {answer!r}")


def _spelt_out(value: str, key: str) -> str | None:
    """``abdo_s`` under ``abdominal_sepsis_and_controls`` is short for its first words."""
    parts, words = plain(value).split(), plain(key).split()
    if len(parts) < 2 or not all(part.isalpha() for part in parts):
        return None
    longer: list[str] = []
    position = 0
    for part in parts:
        while position < len(words) and not words[position].startswith(part):
            position += 1
        if position == len(words):
            return None
        longer.append(words[position])
        position += 1
    return " ".join(longer)


def _sort_out_controls(verdicts: dict[str, Verdict], context: Context) -> dict[str, Verdict]:
    """Where a field parts "healthy" from "control", the control is something else."""
    said = {value: set(context.reader.read(value).concepts()) for value in verdicts}
    healthy = any("healthy" in c and "control" not in c for c in said.values())
    if not healthy:
        return verdicts
    return {
        value: Verdict(None, "control", 0.0, "a control beside samples that are called healthy")
        if verdict.concept == "healthy" and "healthy" not in said[value]
        else verdict
        for value, verdict in verdicts.items()
    }
