"""A proposal as the cohort file that a person would have written, with its evidence as comments."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

from genellm_dagster.studies.cohort import SampleRules
from genellm_dagster.studies.proposal.model import Finding, Proposal

MAX_LISTED = 20
"""Unmatched samples that are named; the rest are counted."""
_WIDTH = 96
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS_OF_YAML = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "none"})


def proposal_yaml(proposal: Proposal) -> str:
    """Write the cohort file of a proposal; it loads with ``load_cohort``."""
    cohort = proposal.cohort
    lines = _head(proposal)
    lines += [f"accession: {cohort.accession}", f"platform: {cohort.platform}"]
    if cohort.title:
        lines.append(f"title: {_scalar(cohort.title)}")
    lines += _noted(proposal, "id_type", f"id_type: {cohort.id_type}")
    if cohort.values.source != "auto":
        files = ", ".join(_scalar(name) for name in cohort.values.files)
        inside = f"source: {cohort.values.source}" + (f", files: [{files}]" if files else "")
        lines += _noted(proposal, "values", f"values: {{{inside}}}")
    elif "values" in proposal.abstained:
        lines += _comment(f"values: {proposal.abstained['values']}")
    if cohort.default_stratum is not None:
        line = f"default_stratum: {_scalar(cohort.default_stratum)}"
        lines += _noted(proposal, "default_stratum", line)
    elif "default_stratum" in proposal.abstained:
        lines += _comment(f"default_stratum: {proposal.abstained['default_stratum']}")
    if cohort.overlaps:
        for finding in _of(proposal, "overlaps"):
            lines += _comment(f"{finding.value}: {finding.why}")
        lines.append(f"overlaps: [{', '.join(cohort.overlaps)}]")
    if cohort.baseline_only:
        lines.append("baseline_only: true")
    lines += ["verified: false", "sample:"]
    lines += _sample(proposal, cohort.sample)
    if cohort.sources:
        lines += ["sources:", *(f"  - {_quoted(source)}" for source in cohort.sources)]
    lines += _tail(proposal)
    return "\n".join(lines) + "\n"


def _head(proposal: Proposal) -> list[str]:
    counts = Counter(label for label in proposal.labels if label is not None)
    told = ", ".join(f"{label} {n}" for label, n in counts.most_common()) or "none"
    lines = _comment(
        f"Proposed from the descriptions of {len(proposal.labels)} samples; nothing in it is "
        f"verified. Confidence {proposal.confidence:.2f}. Labels: {told}; without one: "
        f"{len(proposal.unmatched)}."
    )
    for warning in proposal.warnings:
        lines += _comment(f"Look at: {warning}")
    return lines


def _sample(proposal: Proposal, rules: SampleRules) -> list[str]:
    lines: list[str] = []
    if rules.label:
        lines.append("  label:")
        for rule, finding in zip(rules.label, _of(proposal, "label"), strict=True):
            lines += _comment(_evidence(finding), "    ")
            lines.append(
                f"    - {{field: {_scalar(rule.field)}, pattern: {_quoted(rule.pattern)}, "
                f"value: {_scalar(rule.value)}}}"
            )
    else:
        why = proposal.abstained.get("label", "no field tells a diagnosis")
        lines += [*_comment(f"label: {why}", "  "), "  label: []"]
    parts: tuple[tuple[str, list[str]], ...] = (
        ("age", [f"unit: {rules.age.unit}"] if rules.age else []),
        ("sex", []),
        ("subject", _optional("pattern", rules.subject.pattern if rules.subject else None)),
        ("timepoint", _optional("baseline", rules.timepoint.baseline if rules.timepoint else None)),
    )
    for name, more in parts:
        rule = getattr(rules, name)
        if rule is None:
            if name in proposal.abstained:
                lines += _comment(f"{name}: {proposal.abstained[name]}", "  ")
            continue
        for finding in _of(proposal, name):
            lines += _comment(_evidence(finding), "  ")
        if name == "timepoint" and "baseline" in proposal.abstained:
            lines += _comment(f"no baseline: {proposal.abstained['baseline']}", "  ")
        inside = ", ".join([f"field: {_scalar(rule.field)}", *more])
        lines.append(f"  {name}: {{{inside}}}")
    return lines


def _tail(proposal: Proposal) -> list[str]:
    if not proposal.unmatched:
        return []
    lines = _comment(f"{len(proposal.unmatched)} samples have no label:")
    for sample in proposal.unmatched[:MAX_LISTED]:
        lines += _comment(f"  {sample.gsm} {sample.title[:60]!r}: {sample.what}")
    if len(proposal.unmatched) > MAX_LISTED:
        lines += _comment(f"  and {len(proposal.unmatched) - MAX_LISTED} more")
    return lines


def _evidence(finding: Finding) -> str:
    parts = [f"{finding.confidence:.2f}"]
    if finding.n:
        parts.append(f"{finding.n} samples")
    parts.append(finding.why)
    if finding.examples:
        parts.append("such as " + ", ".join(repr(example) for example in finding.examples))
    return "; ".join(part for part in parts if part)


def _noted(proposal: Proposal, name: str, line: str) -> list[str]:
    notes: list[str] = []
    for finding in _of(proposal, name):
        notes += _comment(_evidence(finding))
    if name in proposal.abstained:
        notes += _comment(proposal.abstained[name])
    return [*notes, line]


def _of(proposal: Proposal, rule: str) -> list[Finding]:
    return [finding for finding in proposal.evidence if finding.rule == rule]


def _optional(name: str, value: str | None) -> list[str]:
    return [] if value is None else [f"{name}: {_quoted(value)}"]


def _comment(text: str, indent: str = "") -> list[str]:
    """Wrap a text as comment lines; nothing in it can end the comment."""
    words: Sequence[str] = "".join(c if c.isprintable() else " " for c in text).split()
    lines: list[str] = []
    line = f"{indent}#"
    for word in words:
        if len(line) + len(word) + 1 > _WIDTH and line != f"{indent}#":
            lines.append(line)
            line = f"{indent}#  "
        line += f" {word[:400]}"
    return [*lines, line]


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    return _quoted(text)


def _quoted(text: str) -> str:
    # JSON's strings are YAML's double-quoted ones, with everything beyond ASCII escaped.
    return json.dumps(text)
