"""From the samples of a series to a proposed cohort."""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.cohort import Cohort, LabelRule, SampleRules
from genellm_dagster.studies.proposal.ages import AgeProposal, infer_age
from genellm_dagster.studies.proposal.context import UNASSIGNED, Context
from genellm_dagster.studies.proposal.facts import SeriesFacts
from genellm_dagster.studies.proposal.fields import column_values
from genellm_dagster.studies.proposal.labels import LabelProposal, infer_labels
from genellm_dagster.studies.proposal.model import Finding, Proposal, Unmatched
from genellm_dagster.studies.proposal.people import infer_sex, infer_subject
from genellm_dagster.studies.proposal.rules import escape
from genellm_dagster.studies.proposal.source import infer_source
from genellm_dagster.studies.proposal.times import TimeProposal, infer_times
from genellm_dagster.studies.proposal.words import plain
from genellm_dagster.studies.readings import parse_age, parse_sex
from genellm_dagster.studies.study import Study

MAX_FIELDS = 400
"""Fields of a samples table that are looked at; the widest series seen have about a hundred."""
_WHOLE_BLOOD = re.compile(
    r"\b(?:whole blood|pa?xgene|tempus|peripheral blood(?! mono| leu| lymph| t cell| cd)|"
    r"blood sample|venous blood|wb)\b"
)
_OTHER_TISSUE = re.compile(
    r"\b(?:pbmcs?|mononuclear|neutrophils?|monocytes?|granulocytes?|leu[ck]ocytes?|lymphocytes?|"
    r"[tb] cells?|nk cells?|platelets?|plasma|serum|cord blood|bone marrow|lung|liver|kidney|"
    r"spleen|heart|brain|skin|biops\w+|saliva|urine|nasal|nasopharyn\w+|swab|bal|"
    r"bronchoalveolar|cell line|thp ?1|macrophages?|dendritic|cd\d+)\b"
)
_WHITE_CELLS = re.compile(r"leu[ck]ocytes?|lymphocytes?")


def propose_cohort(samples: pd.DataFrame, facts: SeriesFacts, study: Study) -> Proposal:
    """Infer how the samples of a series are read for a study.

    What cannot be told is left out and said, never guessed: a sample without a clear label is
    listed as unmatched, an age without a clear unit gives no rule.

    Args:
        samples: The samples table of one series on one platform, as the matrix header gives it:
            one row a GSM, columns as rules name them, text or None.
        facts: What is known of the series.
        study: The study that the cohort is for; its labels and strata are used.

    Returns:
        The proposal; its cohort is always a valid description, ``verified: false``.

    Raises:
        StudyError: When there are no samples, or neither they nor the series name a platform.
    """
    if samples.empty or "gsm" not in samples.columns:
        raise StudyError(
            f"{facts.accession}: the series has no samples to propose rules for; a SuperSeries "
            "holds none, propose its SubSeries instead."
        )
    samples = samples.iloc[:, :MAX_FIELDS].reset_index(drop=True)
    source = infer_source(samples, facts)
    if not source.platform:
        raise StudyError(
            f"{facts.accession}: neither the series nor its samples name a platform; fetch the "
            "series matrix again."
        )
    context = Context.of(facts, study, _sample_words(samples))
    labels = infer_labels(samples, context)
    times = infer_times(samples, labels.labels)
    if context.challenge and times.before_illness:
        labels = _before_illness(samples, labels, times)
    age = infer_age(samples, facts, study)
    sex = infer_sex(samples)
    sexes = [parse_sex(v) for v in column_values(samples, sex.rule.field)] if sex.rule else []
    subject = infer_subject(
        samples, labels.labels, sexes or [None] * len(samples), _ages(samples, age)
    )
    abstained = source.abstained | age.abstained
    for name, rule, why in (
        ("sex", sex.rule, sex.why_not),
        ("subject", subject.rule, subject.why_not),
        ("timepoint", times.rule, times.why_not),
    ):
        if rule is None and why:
            abstained[name] = why
    if not labels.rules:
        abstained["label"] = "no field tells a diagnosis that the study or the vocabulary knows"
    warnings = [*labels.warnings, *age.warnings, *source.warnings]
    several_times = times.rule is not None and len(
        {t for t in times.times if t is not None}
    ) > 1  # fmt: skip
    baseline_only = subject.repeated or several_times
    if context.challenge:
        warnings.append(
            "The series speaks of people sampled before they fell ill, or made ill, or vaccinated, "
            "or of stimulated blood: hold every label against time and treatment."
        )
    if times.unordered:
        abstained["baseline"] = times.unordered
        baseline_only = baseline_only and subject.repeated
    rule = times.rule
    if rule is not None and (times.unordered or context.challenge):
        # Without a baseline the earliest is taken, which cannot be done with times in no order.
        abstained.setdefault("baseline", "the first time point may lie before the illness")
        rule, baseline_only = None, subject.rule is not None and subject.repeated
        abstained["timepoint"] = f"{times.rule.field!r} holds times, but {abstained['baseline']}"  # type: ignore[union-attr]
    warnings += _tissue_warnings(samples)
    evidence: list[Finding] = [*source.findings, *labels.findings, *age.findings]
    evidence += [f for f in (sex.finding, subject.finding) if f is not None]
    if rule is not None and times.finding is not None:
        evidence.append(times.finding)
    unmatched = _unmatched(samples, labels)
    confidence = _confidence(labels, age, len(unmatched), warnings, study)
    if context.challenge:
        confidence = min(confidence, 0.75)
    cohort = Cohort(
        accession=facts.accession,
        platform=source.platform,
        title=facts.title.strip()[:300],
        id_type=source.id_type,
        values=source.values,
        default_stratum=age.default_stratum,
        overlaps=source.overlaps,
        baseline_only=baseline_only and (rule is not None or subject.rule is not None),
        sample=SampleRules(
            label=labels.rules, age=age.rule, sex=sex.rule, subject=subject.rule, timepoint=rule
        ),
        sources=(
            f"https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc={facts.accession}",
            "Rules inferred from the sample descriptions of the series; hold them against the "
            f"file with `genellm cohort inspect {facts.accession}`",
        ),
    ).with_origin(f"the proposal for {facts.accession}")
    gsms = pd.Index([str(gsm) for gsm in samples["gsm"]], name="gsm")
    return Proposal(
        cohort=cohort,
        evidence=tuple(evidence),
        confidence=round(confidence, 3),
        labels=pd.Series(list(labels.labels), index=gsms, dtype=object, name="label"),
        label_confidence=pd.Series(list(labels.confidence), index=gsms, name="confidence"),
        unmatched=unmatched,
        warnings=tuple(dict.fromkeys(warnings)),
        abstained=abstained,
    )


def _sample_words(samples: pd.DataFrame) -> str:
    """What the samples say about health and experiments, for the meaning of "control"."""
    texts: dict[str, None] = {}
    for field in samples.columns:
        if str(field) in ("gsm", "organism", "platform"):
            continue
        values = [v for v in column_values(samples, str(field)) if v is not None]
        for value in list(dict.fromkeys(values))[:300]:
            if re.search(r"(?i)control|healthy|volunteer|stimulated|\blps\b|endotoxin", value):
                texts[re.sub(r"[_\d]+", " ", value[:120])] = None
    return " ; ".join(list(texts)[:400])


def _ages(samples: pd.DataFrame, age: AgeProposal) -> list[float | None]:
    if age.rule is None:
        return [None] * len(samples)
    unit = age.rule.unit
    ages = [parse_age(value, unit) for value in column_values(samples, age.rule.field)]
    return [None if value != value else value for value in ages]


def _before_illness(
    samples: pd.DataFrame, labels: LabelProposal, times: TimeProposal
) -> LabelProposal:
    """People sampled before they fell ill are no cases, whatever their diagnosis says."""
    if times.rule is None:
        return labels
    early = [value in times.before_illness for value in times.times]
    hit = [
        position
        for position, is_early in enumerate(early)
        if is_early and labels.labels[position] not in (None, "healthy")
    ]
    if not hit:
        return labels
    field = times.rule.field
    pattern = f"^({'|'.join(escape(value) for value in times.before_illness)})$"
    rule = LabelRule(field=field, pattern=pattern[:200], value=UNASSIGNED)
    why = "sampled before the illness or challenge"
    n = sum(early)
    finding = Finding("label", field, pattern, UNASSIGNED, n, times.before_illness[:3], why, 0.75)
    given = [UNASSIGNED if is_early else old for is_early, old in zip(early, labels.labels,
                                                                      strict=True)]  # fmt: skip
    sure = [
        0.75 if is_early else old for is_early, old in zip(early, labels.confidence, strict=True)
    ]
    return LabelProposal(
        (rule, *labels.rules), (finding, *labels.findings), tuple(given), tuple(sure),
        labels.reasons, labels.warnings,
    )  # fmt: skip


def _unmatched(samples: pd.DataFrame, labels: LabelProposal) -> tuple[Unmatched, ...]:
    titles = (
        column_values(samples, "title") if "title" in samples.columns else [None] * len(samples)
    )
    return tuple(
        Unmatched(str(gsm), title or "", reason)
        for gsm, title, label, reason in zip(
            samples["gsm"], titles, labels.labels, labels.reasons, strict=True
        )
        if label is None
    )


def _confidence(
    labels: LabelProposal, age: AgeProposal, n_open: int, warnings: list[str], study: Study
) -> float:
    if not labels.rules:
        return 0.0
    matter = [
        finding.confidence
        for finding in labels.findings
        if study.class_of(finding.value) is not None
    ]
    confidence = min([*(matter or [f.confidence for f in labels.findings]), age.confidence])
    share = n_open / len(labels.labels)
    if share > 0.3:
        confidence = min(confidence, 0.7)
    elif share > 0.1:
        confidence = min(confidence, 0.85)
    given = {study.class_of(label) for label in labels.labels if label is not None}
    if not given & {0, 1}:
        warnings.append("No sample gets a label that is a case or a control of the study.")
        confidence = min(confidence, 0.5)
    elif not {0, 1} <= given:
        only = "cases" if 1 in given else "controls"
        warnings.append(f"The series holds {only} only: label and batch are one in it.")
    return confidence


def _tissue_warnings(samples: pd.DataFrame) -> list[str]:
    warnings: list[str] = []
    organisms = column_values(samples, "organism") if "organism" in samples.columns else ()
    foreign = sum(v is not None and "homo sapiens" not in v.lower() for v in organisms)
    if foreign:
        warnings.append(f"{foreign} samples are not of Homo sapiens.")
    fields = [
        str(field)
        for field in samples.columns
        if field == "source_name" or re.search(r"\b(?:tissue|cell ?type|cells?)$", str(field))
    ]
    other: Counter[str] = Counter()
    for values in zip(*(column_values(samples, field) for field in fields), strict=True):
        said = [plain(value) for value in values if value is not None]
        blood = any(_WHOLE_BLOOD.search(text) for text in said)
        found = [
            match[0]
            for text in said
            if not _WHOLE_BLOOD.search(text) and (match := _OTHER_TISSUE.search(text))
        ]
        # "Leukocytes" beside "whole blood" are its white cells, not a part taken out of it.
        found = [name for name in found if not (blood and _WHITE_CELLS.fullmatch(name))]
        if found:
            other[found[0]] += 1
    if other:
        told = ", ".join(f"{name} {n}" for name, n in other.most_common(4))
        warnings.append(f"{sum(other.values())} samples are not whole blood ({told}).")
    return warnings
