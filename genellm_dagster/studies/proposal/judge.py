"""From what a value says to the label it means, or to the reason why it cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from genellm_dagster.studies.proposal.context import UNASSIGNED, Context
from genellm_dagster.studies.proposal.reader import Reading, broadest, narrowest
from genellm_dagster.studies.proposal.words import PARENTS, ancestors, is_a

_COMORBID = frozenset(
    {"hiv", "diabetes", "asthma", "copd", "cancer", "ards", "stroke", "heart_disease",
     "neurological", "other_parasite"}
)  # fmt: skip
"""What people have beside the disease that a series is about."""
NOT_DISEASES = frozenset(
    {"healthy", "control", "contact", "patient", "survivor", "nonsurvivor", "convalescent",
     "reference_rna", "experiment", "sensitised"}
)  # fmt: skip
"""Concepts that are no illness to be told from others."""
_PLACES = frozenset({"pneumonia", "meningitis", "urinary_infection", "respiratory_infection"})
"""Where an infection is; what causes it says more."""
_NEUTRAL = frozenset(
    {
        "a", "an", "age", "and", "at", "baseline", "bcg", "blood", "by", "cell", "cells",
        "child", "children", "adult", "adults", "infant", "infants", "boy", "girl", "collected",
        "community", "control", "day", "days", "donor", "donors", "draw", "endemic", "female",
        "for", "from", "gender", "group", "h", "hour", "hours", "hr", "i", "id", "ii", "iii",
        "individual", "individuals", "in", "male", "man", "matched", "men", "month", "negative",
        "no", "number", "of", "old", "only", "p", "participant", "participants", "pax",
        "paxgene", "pediatric", "paediatric", "peripheral", "person", "persons", "positive",
        "rep", "replicate", "repl", "rna", "s", "sample", "samples", "series", "set", "sex",
        "sub", "subject", "subjects", "t", "the", "time", "timepoint", "tube", "unrelated",
        "untreated", "vaccinated", "visit", "volunteer", "volunteers", "wb", "wbl", "week",
        "weeks", "whole", "with", "woman", "women", "x", "y", "year", "years", "yr", "r", "n",
        "b", "c", "d", "e", "f", "g", "j", "k", "l", "m", "o", "q", "u", "v", "w", "z",
        "sequencing", "seq", "expression", "array", "profile", "exp", "arm", "study", "london",
        "south", "africa", "usa", "uk", "india", "test", "training", "validation", "discovery",
    }
)  # fmt: skip
"""Words that do not change what a control is."""


@dataclass(frozen=True)
class Verdict:
    """What a value means.

    Attributes:
        label: The label; None when it cannot be told.
        concept: What it was read as, "" when nothing.
        sure: How sure the step from the words to the label is.
        why: The reason in words.
        words: The words that decided, in plain form.
        denied: What the value says the person does not have.
        final: Whether no other field may say it instead: the value itself leaves it open.
    """

    label: str | None
    concept: str
    sure: float
    why: str
    words: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    final: bool = False


def judge(reading: Reading, context: Context, constant: frozenset[str] = frozenset()) -> Verdict:
    """Decide what a value means for the study.

    Args:
        reading: What the value says.
        context: What holds for the whole series.
        constant: Concepts that every value of the field names, which therefore tell nothing.
    """
    said = [c for c in reading.concepts() if c not in constant]
    if all(c in _COMORBID and c not in context.labels for c in said):
        # "Sepsis alone", "sepsis with ARDS": what all have is the disease, not what some have too.
        said = reading.concepts()
    sure = min((m.sure for m in reading.mentions if m.concept in said), default=0.0)
    telling = [c for c in said if c != "patient"] or said
    words = tuple(m.words for m in reading.mentions if m.concept in telling and not m.flags)

    def verdict(concept: str, factor: float, why: str = "") -> Verdict:
        label, step, reason = context.label_of(concept)
        told = f"{reason}; {why}" if why else reason
        return Verdict(label, concept, sure * factor * step, told, words)

    denied = tuple(reading.concepts("negated"))

    def unknown(why: str, concept: str = "", final: bool = False) -> Verdict:
        return Verdict(None, concept, 0.0, why, words, denied, final)

    if "reference_rna" in said:
        return Verdict(UNASSIGNED, "reference_rna", 0.95 * sure, "reference RNA, no person", words)
    if "experiment" in said:
        return unknown("an experiment with blood or cells, not a person as they were", final=True)
    outcomes = [c for c in said if c in ("survivor", "nonsurvivor")]
    if outcomes and {"survivor", "nonsurvivor"} & set(context.labels):
        return verdict(outcomes[0], 1.0) if len(outcomes) == 1 else unknown("two outcomes at once")
    over = [c for c in reading.concepts("past") if c not in NOT_DISEASES]
    if "convalescent" in said or (over and "healthy" not in said):
        return Verdict(
            UNASSIGNED, "convalescent", 0.9 * max(sure, 0.9), "after the illness, not in it", words
        )
    if reading.concepts("uncertain"):
        return unknown("the diagnosis is only suspected", final=True)
    if "contact" in said and "latent_tb" not in said:
        return Verdict(
            UNASSIGNED, "contact", 0.9 * sure, "exposed or at risk, no plain control", words
        )  # fmt: skip
    diseases = [c for c in said if c not in NOT_DISEASES]
    main = [c for c in diseases if c not in _COMORBID or c in context.labels]
    beside = 1.0 if len(main) == len(diseases) or not main else 0.97
    diseases = main or diseases
    caused = [c for c in diseases if c not in _PLACES or c in context.labels]
    if any(is_a(c, "any_infection") and c != "infection" for c in caused):
        diseases = caused
    if not diseases:
        return _without_disease(reading, said, context, verdict, unknown)
    if "ill_control" in diseases and len(diseases) > 1:
        # "Febrile control, adenovirus": what the control has says more than that it is one.
        diseases = [c for c in diseases if c != "ill_control"]
        said = [*said, "control"]
    if "healthy" in said:
        if "latent_tb" in diseases:
            return verdict("latent_tb", 0.95)
        return unknown(f"both healthy and {', '.join(diseases)}", final=True)
    if "control" in said:
        chosen = narrowest(diseases)
        if chosen is None or chosen == context.disease or _is_case(chosen, context):
            return unknown(
                f"a control, but of what kind? it also says {', '.join(diseases)}", final=True
            )
        return verdict(chosen, 0.87, "called a control, which is not a healthy one")
    return _of_diseases(reading, diseases, context, verdict, unknown, beside)


class _Verdict(Protocol):
    def __call__(self, concept: str, factor: float, why: str = "") -> Verdict: ...


class _Unknown(Protocol):
    def __call__(self, why: str, concept: str = "", final: bool = False) -> Verdict: ...


def _is_case(concept: str, context: Context) -> bool:
    return context.label_of(concept)[0] in context.cases


def _without_disease(
    reading: Reading, said: Sequence[str], context: Context, verdict: _Verdict, unknown: _Unknown
) -> Verdict:
    negated = [c for c in reading.concepts("negated") if c not in _COMORBID]
    if "sensitised" in said:
        return unknown("a positive test without a diagnosis: latent infection, or not")
    if "healthy" in said:
        return verdict("healthy", 0.9 if "patient" in said else 1.0)
    if "control" in said:
        if "patient" in said or context.control == 0:
            why = "control patients may be ill" if "patient" in said else context.why_control
            return unknown(f"a control, healthy or not: {why}", "control")
        strange = [w for w in reading.rest if not w.isdigit() and w not in _NEUTRAL]
        if negated:
            return verdict("healthy", 0.78, f"a control; {context.why_control}")
        factor = context.control * (0.88 if strange else 1.0)
        return verdict("healthy", factor, f"a control; {context.why_control}")
    for concept in negated:
        if f"not:{concept}" in context.labels:
            return Verdict(context.labels[f"not:{concept}"], f"not:{concept}", 0.95, "negated")
    if negated:
        return unknown(f"it says only what the person does not have ({', '.join(negated)})")
    if context.control == 0 and said:
        return unknown(f"a patient, but of which group? {context.why_control}")
    if "patient" in said and context.disease is not None:
        return verdict(context.disease, 0.84, "a patient of a series about this one disease")
    if "survivor" in said or "nonsurvivor" in said:
        if context.disease is not None:
            return verdict(context.disease, 0.84, "an outcome in a series about this one disease")
        return unknown("an outcome, but the series' title names no single disease")
    return unknown("no word of a diagnosis")


def _of_diseases(
    reading: Reading,
    diseases: Sequence[str],
    context: Context,
    verdict: _Verdict,
    unknown: _Unknown,
    beside: float,
) -> Verdict:
    if diseases == ["ill_control"]:
        return verdict("ill_control", 0.9, "a control under treatment, which is not a healthy one")
    if len(diseases) == 1:
        return verdict(diseases[0], beside)
    if reading.alternatives:
        either = broadest(diseases)
        if either is not None:
            return verdict(either, 0.96 * beside, "one or the other")
    else:
        chosen = narrowest(diseases)
        if chosen is not None:
            return verdict(chosen, 0.99 * beside)
    labels = {context.label_of(c)[0] for c in diseases}
    if len(labels) == 1 and labels != {UNASSIGNED}:
        return verdict(diseases[0], 0.94 * beside)
    if reading.alternatives:
        return unknown(f"either of {', '.join(diseases)}", final=True)
    septic = [c for c in diseases if is_a(c, "sepsis")]
    if septic and (chosen := narrowest(septic)):
        others = [c for c in diseases if c not in septic]
        infections = all(is_a(c, "infection") for c in others)
        return verdict(chosen, (0.96 if infections else 0.87) * beside)
    if "tb" in diseases and "latent_tb" not in diseases:
        if all(is_a(c, "infection") for c in diseases):
            return verdict("tb", 0.92 * beside)
        return unknown(f"several diseases at once ({', '.join(diseases)})", final=True)
    common = [a for a in ancestors(diseases[0]) if all(is_a(c, a) for c in diseases)]
    if common and common[0] in PARENTS and common[0] != "any_infection":
        return verdict(common[0], 0.9 * beside)
    return unknown(f"several diseases at once ({', '.join(diseases)})", final=True)
