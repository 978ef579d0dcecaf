"""The label rules of a series: which fields to read, in which order, and how sure each rule is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from genellm_dagster.studies.cohort import LabelRule
from genellm_dagster.studies.patterns import match_values
from genellm_dagster.studies.proposal.context import UNASSIGNED, Context
from genellm_dagster.studies.proposal.fields import FieldReading, read_field
from genellm_dagster.studies.proposal.judge import Verdict
from genellm_dagster.studies.proposal.model import Finding
from genellm_dagster.studies.proposal.rules import label_patterns
from genellm_dagster.studies.proposal.words import is_a

MAX_FIELDS = 4
"""Fields that may take part: one that leads, and others for the samples it leaves open."""
_EXAMPLES = 3
_CONTRADICTED = 0.85
"""Highest confidence of a rule that another field speaks against for some samples."""
_CHALLENGED = 0.75
_OUTCOMES = frozenset({"survivor", "nonsurvivor"})
_NOT_ASKED = 0.4
"""Weight of a label that is neither case nor control of the study, when fields are compared."""


@dataclass(frozen=True)
class LabelProposal:
    """The label rules and what they give.

    Attributes:
        rules: In order, the first that matches wins.
        findings: One a rule.
        labels: The label of every sample.
        confidence: The confidence of every label, 0 where there is none.
        reasons: For every sample without a label what stood in the way.
        warnings: Sentences.
    """

    rules: tuple[LabelRule, ...]
    findings: tuple[Finding, ...]
    labels: tuple[str | None, ...]
    confidence: tuple[float, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def infer_labels(samples: pd.DataFrame, context: Context) -> LabelProposal:
    """Find the rules that read the labels of a series."""
    readings = [
        reading
        for field in samples.columns
        if (reading := read_field(samples, str(field), context)) is not None
    ]
    chosen: list[Verdict | None] = [None] * len(samples)
    source: list[FieldReading | None] = [None] * len(samples)
    order = _choose(readings, context, chosen, source)
    warnings = _hold_against_others(readings, chosen, source)
    groups = _refine(readings, chosen, source) + [(reading, None) for reading in order]
    rules: list[LabelRule] = []
    findings: list[Finding] = []
    labels: list[str | None] = [None] * len(samples)
    confidence = [0.0] * len(samples)
    for reading, only in groups:
        _add_rules(reading, only, chosen, source, context, rules, findings, labels, confidence)
    for position, label in enumerate(labels):
        expected = chosen[position]
        if label is not None and expected is not None and label != expected.label:
            # Never seen, but a rule must not say more than was read.
            confidence[position] = min(confidence[position], 0.5)
    return LabelProposal(
        tuple(rules),
        tuple(findings),
        tuple(labels),
        tuple(confidence),
        tuple(
            "" if label else _reason(readings, source[position], position)
            for position, label in enumerate(labels)
        ),
        tuple(warnings),
    )


def _sure(reading: FieldReading, verdict: Verdict) -> float:
    return reading.trust * verdict.sure


def _choose(
    readings: Sequence[FieldReading],
    context: Context,
    chosen: list[Verdict | None],
    source: list[FieldReading | None],
) -> list[FieldReading]:
    """Take the field that tells most, then others for what it leaves open."""
    order: list[FieldReading] = []
    while len(order) < MAX_FIELDS:
        best, best_score, best_found = None, 0.0, {}
        for reading in readings:
            if reading in order:
                continue
            found = {
                position: verdict
                for position in range(len(chosen))
                if chosen[position] is None
                and (verdict := reading.of_sample(position)) is not None
                and verdict.label is not None
                and _may_fill(position, verdict, order)
            }
            score = sum(
                _sure(reading, verdict) * (1.0 if verdict.label in context.asked else _NOT_ASKED)
                for verdict in found.values()
            )
            if not reading.field.startswith("characteristics"):
                # Where both tell the same, the field made for it is read.
                score *= 0.9
            if not order:
                # A field that tells samples apart is worth more than one that says one word of all.
                score *= 1.0 + 0.25 * min(len({v.label for v in found.values()}) - 1, 2)
            if score > best_score:
                best, best_score, best_found = reading, score, found
        if best is None:
            break
        order.append(best)
        for position, verdict in best_found.items():
            chosen[position], source[position] = verdict, best
    return order


def _may_fill(position: int, verdict: Verdict, order: Sequence[FieldReading]) -> bool:
    """Whether what earlier fields said of a sample leaves room for this verdict."""
    for earlier in order:
        said = earlier.of_sample(position)
        if said is None or said.label is not None:
            continue
        if said.final:
            return False
        if said.denied and (
            verdict.sure < 0.9 or any(_related(verdict.concept, denied) for denied in said.denied)
        ):
            return False
        if said.concept == "control" and verdict.concept == "healthy" and "control" in "".join(
            verdict.words
        ) and len(verdict.words) == 1:  # fmt: skip
            return False
    return True


def _related(one: str, other: str) -> bool:
    return is_a(one, other) or is_a(other, one) if _known(one) and _known(other) else one == other


def _known(concept: str) -> bool:
    return ":" not in concept and bool(concept)


def _agree(one: Verdict, other: Verdict) -> bool:
    if one.label == other.label or {one.concept, other.concept} & _OUTCOMES:
        return True
    if not (_known(one.concept) and _known(other.concept)):
        return False
    if _related(one.concept, other.concept):
        return True
    septic = [is_a(c, "sepsis") for c in (one.concept, other.concept)]
    infected = [is_a(c, "any_infection") for c in (one.concept, other.concept)]
    return any(septic) and all(infected)


def _hold_against_others(
    readings: Sequence[FieldReading],
    chosen: list[Verdict | None],
    source: list[FieldReading | None],
) -> list[str]:
    """Give up values that another field contradicts, and trust the rest of them less."""
    warnings: list[str] = []
    for reading in readings:
        if len(reading.labels()) < 2:
            continue
        against: Counter[tuple[str, str]] = Counter()
        total: Counter[tuple[str, str]] = Counter()
        for position, verdict in enumerate(chosen):
            leading = source[position]
            if verdict is None or leading is None or leading is reading:
                continue
            key = (leading.field, leading.values[position] or "")
            other = reading.of_sample(position)
            total[key] += 1
            if (
                other is not None
                and other.label is not None
                and _sure(reading, other) >= 0.8
                and not _agree(verdict, other)
            ):
                against[key] += 1
        for position, verdict in enumerate(chosen):
            leading = source[position]
            if verdict is None or leading is None or leading is reading:
                continue
            key = (leading.field, leading.values[position] or "")
            other = reading.of_sample(position)
            if not against[key] or other is None:
                continue
            if other.concept == "convalescent" and reading.trust > 0.9:
                chosen[position], source[position] = other, reading
            elif against[key] > 0.5 * total[key]:
                chosen[position], source[position] = None, None
            else:
                chosen[position] = replace(verdict, sure=min(verdict.sure, _CONTRADICTED))
        if against:
            (field, value), n = against.most_common(1)[0]
            warnings.append(
                f"{sum(against.values())} samples are contradicted by {reading.field!r}: for "
                f"example {value[:60]!r} of {field!r} ({n}); look at both fields."
            )
    return warnings


def _refine(
    readings: Sequence[FieldReading],
    chosen: list[Verdict | None],
    source: list[FieldReading | None],
) -> list[tuple[FieldReading, frozenset[str] | None]]:
    """Let a second field say more exactly what the first one says broadly."""
    groups: list[tuple[FieldReading, frozenset[str] | None]] = []
    for reading in readings:
        for label in sorted(reading.labels() - {UNASSIGNED}):
            hits = [
                position
                for position in range(len(chosen))
                if (said := reading.of_sample(position)) is not None and said.label == label
            ]
            gains = []
            fits = True
            for position in hits:
                now, said = chosen[position], reading.of_sample(position)
                if now is None or said is None or now.label == said.label:
                    continue
                narrower = _known(said.concept) and _known(now.concept) and (
                    is_a(said.concept, now.concept)
                    or (is_a(said.concept, "sepsis") and is_a(now.concept, "infection"))
                )  # fmt: skip
                fits = fits and narrower and _sure(reading, said) >= 0.85
                gains.append(position)
            if gains and fits and all(chosen[position] is not None for position in hits):
                for position in hits:
                    chosen[position], source[position] = reading.of_sample(position), reading
                groups.append((reading, frozenset({label})))
    after = [
        (reading, frozenset({UNASSIGNED}))
        for reading in readings
        if any(
            source[p] is reading and v is not None and v.concept == "convalescent"
            for p, v in enumerate(chosen)
        )
    ]
    return after + groups


def _add_rules(
    reading: FieldReading,
    only: frozenset[str] | None,
    chosen: Sequence[Verdict | None],
    source: Sequence[FieldReading | None],
    context: Context,
    rules: list[LabelRule],
    findings: list[Finding],
    labels: list[str | None],
    confidence: list[float],
) -> None:
    """Turn what was chosen from one field into rules, and note what each of them reads."""
    open_samples = [p for p in range(len(chosen)) if labels[p] is None]
    wanted: dict[str, str] = {}
    for position in open_samples:
        verdict, value = chosen[position], reading.values[position]
        if value is None or verdict is None or source[position] is not reading:
            continue
        if verdict.label is not None and (only is None or verdict.label in only):
            wanted[value] = verdict.label
    visible = [reading.raw[p] if labels[p] is None else None for p in range(len(chosen))]
    # A value that must not be read for one sample is read for none.
    for position in open_samples:
        value = reading.values[position]
        if value in wanted and source[position] is not reading:
            del wanted[value]
    words = {value: reading.verdicts[value].words for value in wanted}
    for pattern, label in label_patterns(visible, wanted, words):
        matches = match_values(pattern, visible, "a proposed rule")
        read = [p for p in open_samples if matches[p] is not None and labels[p] is None]
        if not read:
            continue
        sure = min(_sure(reading, verdict) for p in read if (verdict := chosen[p]) is not None)
        if context.challenge and label != "healthy":
            sure = min(sure, _CHALLENGED)
        for position in read:
            labels[position], confidence[position] = label, sure
        rules.append(LabelRule(field=reading.field, pattern=pattern, value=label))
        findings.append(_finding(reading, rules[-1], read, chosen, sure))


def _finding(
    reading: FieldReading,
    rule: LabelRule,
    read: Sequence[int],
    chosen: Sequence[Verdict | None],
    sure: float,
) -> Finding:
    examples = list(dict.fromkeys(str(reading.values[position]) for position in read))
    reasons = Counter(verdict.why for p in read if (verdict := chosen[p]) is not None)
    return Finding(
        rule="label",
        field=reading.field,
        pattern=rule.pattern,
        value=rule.value,
        n=len(read),
        examples=tuple(example[:80] for example in examples[:_EXAMPLES]),
        why="; ".join(why for why, _ in reasons.most_common(2)),
        confidence=round(sure, 3),
    )


def _reason(readings: Sequence[FieldReading], leading: FieldReading | None, position: int) -> str:
    said = [
        (reading.trust, reading.field, reading.values[position], verdict)
        for reading in readings
        if (verdict := reading.of_sample(position)) is not None
    ]
    spoken = [item for item in said if item[3].why != "no word of a diagnosis"]
    for _, field, value, verdict in sorted(spoken, key=lambda item: -item[0])[:1]:
        if verdict.label is None:
            return f"{field} {str(value)[:60]!r}: {verdict.why}"
        return f"{field} {str(value)[:60]!r}: another field speaks against it"
    shown = ", ".join(f"{field} {str(value)[:40]!r}" for _, field, value, _ in said[:2])
    return f"no word of a diagnosis ({shown})" if shown else "nothing to read"
