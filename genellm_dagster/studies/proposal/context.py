"""What a series and a study say beforehand: the labels in play and how "control" is to be taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from genellm_dagster.studies.proposal.facts import SeriesFacts
from genellm_dagster.studies.proposal.reader import Mention, Reader, broadest
from genellm_dagster.studies.proposal.words import ancestors, is_a
from genellm_dagster.studies.study import Study

UNASSIGNED = "unassigned"
_VOCABULARY = {
    "healthy": "healthy",
    "septic_shock": "septic_shock",
    "sepsis": "sepsis",
    "infection": "infection_non_sepsis",
    "noninfectious": "noninfectious_inflammation",
}
"""Labels for what a study itself has no word for."""
_HEALTHY = re.compile(
    r"(?i)\bhealthy\b|\bnormal (?:control|subject|volunteer|donor|individual|children|adult)|"
    r"\bvolunteers?\b"
)
_ILL_CONTROLS = re.compile(
    r"(?i)\b(?:p?icu|nicu|critically[- ]ill|hospitali[sz]ed|surgical|non-?\s?septic|sirs|disease|"
    r"diseased|symptomatic|febrile|trauma|non-?\s?infect(?:ious|ed|ive)|patient|inpatient|uninfected|"
    r"sick|ventilated|post-?operative)[- ](?:(?!and |or |vs|versus|healthy|normal|with|from|to |"
    r"compared|in |of )\w+[- ])?controls?\b|"
    r"\bcontrols? (?:patients|with(?! (?:septic|sepsis))|without|undergoing|were (?:patients|"
    r"hospitali[sz]ed|children undergoing))|"
    r"\b(?:patients|infants|children|neonates) without (?:sepsis|infection)"
)
_ILL = re.compile(r"(?i)\bcritically[- ]ill|intensive care|\bp?icus?\b")
_CHALLENGE = re.compile(
    r"(?i)\b(?:human )?challenge (?:study|model|trial)|\binoculat|\bexperimental(?:ly)? (?:human )?"
    r"(?:infect|endotox)|\bendotox(?:in|emia|aemia)\b|\blps (?:infusion|challenge|stimul)|"
    r"(?<!bcg )(?<!bcg-)\bvaccin(?:ation|ated|ees?)\b|\bpre-?(?:infection|illness)|"
    r"\b(?:before|prior to) (?:the )?(?:onset|infection|illness|vaccination|becoming)|"
    r"\b(?:when|once|until|if) (?:they|he|she|participants|subjects|volunteers)?\s?"
    r"(?:fell|became|become|got|developed|develop) (?:ill|sick|infected|symptom)|"
    r"\b(?:well|healthy)[- ](?:baseline|visit)|\bprospective(?:ly)?\b.{0,80}\bhealthy (?:adult|"
    r"volunteer|participant|subject|student|child|infant)"
)
_EXPERIMENT = re.compile(
    r"(?i)\b(?:un)?stimulat|\bex[- ]vivo\b|\bincubated\b|transfect|\bknock-?(?:down|out)"
)
_STIMULATED = re.compile(r"(?i)\b(?:lps|endotoxin\w*|lipopolysaccharide|stimulated)\b")
_AGAINST = re.compile(r"(?i)\b(?:against|versus|vs\.?|compared (?:with|to)|from)\b")
_NO_DISEASE = frozenset(
    {"healthy", "control", "patient", "survivor", "nonsurvivor", "contact", "convalescent",
     "reference_rna", "experiment", "sensitised"}
)  # fmt: skip


@dataclass(frozen=True)
class Context:
    """What holds for every sample of a series.

    Attributes:
        reader: Reads values with the words of this series and study.
        labels: Concept -> label, for the labels of the study.
        widened: Concept -> case label, as the study's title takes it in.
        cases: The case labels of the study.
        asked: Its case and control labels.
        disease: The one disease that the series' title speaks of, or None.
        control: How sure it is that a bare "control" is a healthy one; 0: cannot be told.
        why_control: The reason for it.
        healthy_named: Whether the series speaks of healthy people.
        critically_ill: Whether it is about intensive care and speaks of sepsis.
        challenge: Whether people were sampled before they fell ill, or were made ill.
    """

    reader: Reader
    labels: Mapping[str, str]
    widened: Mapping[str, str]
    cases: frozenset[str]
    asked: frozenset[str]
    disease: str | None
    control: float
    why_control: str
    healthy_named: bool
    critically_ill: bool
    challenge: bool

    @classmethod
    def of(cls, facts: SeriesFacts, study: Study, sample_text: str = "") -> Context:
        """Find out what a series and a study say."""
        labels, own = _study_labels(study)
        text = facts.text
        reader = Reader.of(text, own)
        healthy = bool(_HEALTHY.search(text) or _HEALTHY.search(sample_text))
        ill = _ILL_CONTROLS.search(text) or _ILL_CONTROLS.search(sample_text)
        if ill and healthy:
            sure, why = 0.0, f"the series has both healthy people and {ill[0].strip()!r}"
        elif (experiment := _EXPERIMENT.search(text)) and not healthy:
            sure, why = 0.0, f"the series speaks of an experiment ({experiment[0].strip()!r})"
        elif ill:
            sure, why = 0.0, f"the series speaks of {ill[0].strip()!r}"
        elif healthy:
            sure, why = 0.97, "the series speaks of healthy people and of no other controls"
        else:
            sure, why = 0.88, "the series says nothing else about its controls"
        mentioned = {mention.concept for mention in _mentions(reader, facts.text)}
        return cls(
            reader=reader,
            labels=labels,
            widened=_widened(study, reader, labels),
            cases=frozenset(study.case),
            asked=frozenset([*study.case, *study.control]),
            disease=_disease(reader, facts),
            control=sure,
            why_control=why,
            healthy_named=healthy,
            critically_ill=bool(_ILL.search(text)) and any(is_a(c, "sepsis") for c in mentioned),
            challenge=bool(_CHALLENGE.search(text) or _STIMULATED.search(sample_text)),
        )

    def label_of(self, concept: str) -> tuple[str, float, str]:
        """Return the label of a concept, how sure that step is, and why.

        The study's own words come first, from narrow to broad, then the common vocabulary.
        """
        chain = [concept] if concept.startswith("label:") else ancestors(concept)
        for step in chain:
            if step in self.labels:
                kind = "" if step == concept else f", a kind of {_words(step)}"
                return self.labels[step], 1.0, f"{_words(concept)}{kind}"
        if concept != "latent_tb":
            for step in chain:
                if step in self.widened:
                    label = self.widened[step]
                    return label, 0.88, f"{_words(concept)}, which the study's title takes in"
        if self.critically_ill and is_a(concept, "infection") and "sepsis" in self.labels:
            why = f"{_words(concept)} in a series of critically ill patients that is about sepsis"
            return self.labels["sepsis"], 0.8, why
        for step in chain:
            if step in _VOCABULARY:
                return _VOCABULARY[step], 1.0, _words(concept)
        return UNASSIGNED, 0.95, f"{_words(concept)}, which the study has no label for"


def _words(concept: str) -> str:
    return concept.removeprefix("label:").replace("_", " ")


def _mentions(reader: Reader, text: str) -> Iterator[Mention]:
    # Read in pieces: a value is read up to a few hundred characters.
    for sentence in re.split(r"(?<=[.;\n])\s+", text)[:80]:
        yield from reader.read(sentence).mentions


def _study_labels(study: Study) -> tuple[dict[str, str], list[str]]:
    """Tell the concepts that the study's labels stand for, and the labels that are none."""
    reader = Reader()
    labels: dict[str, str] = {}
    own: list[str] = []
    for label in [*study.case, *study.control]:
        words = label.replace("_", " ").replace("-", " ")
        reading = reader.read(words)
        plain_concepts = [c for c in reading.concepts() if c != "patient"]
        negated = reading.concepts("negated")
        if re.fullmatch(r"(?i)infect(?:ion|ed|ious)s?", words.strip()):
            labels.setdefault("any_infection", label)
        elif plain_concepts and (concept := _one(plain_concepts)):
            labels.setdefault("healthy" if concept == "control" else concept, label)
        elif len(negated) == 1 and not plain_concepts:
            labels.setdefault(f"not:{negated[0]}", label)
        else:
            labels[f"label:{label}"] = label
            own.append(label)
    return labels, own


def _one(concepts: list[str]) -> str | None:
    if set(concepts) == {"healthy", "control"}:
        return "healthy"
    return concepts[0] if len(concepts) == 1 else None


def _widened(study: Study, reader: Reader, labels: Mapping[str, str]) -> dict[str, str]:
    """Concepts that the title's case side names beside the case label: "sepsis or ... against"."""
    case_side = _AGAINST.split(study.title)[0]
    if case_side == study.title or len(study.case) != 1:
        return {}
    named = [c for c in reader.read(case_side).concepts() if c not in _NO_DISEASE]
    return {c: study.case[0] for c in named if c not in labels}


def _disease(reader: Reader, facts: SeriesFacts) -> str | None:
    """The one disease of a series' title; of several kinds of one the broadest."""
    reading = reader.read(facts.title)
    named = [c for c in reading.concepts() if c not in _NO_DISEASE]
    if reading.concepts("negated") or reading.concepts("uncertain"):
        return None
    return broadest(named) if named else None
