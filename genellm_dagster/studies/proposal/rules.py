"""Patterns that say of a field's values exactly what was read in them, as short as they can be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from genellm_dagster.studies.patterns import MAX_PATTERN_CHARS, match_values

MAX_RULES = 40
MAX_LISTED = 8
"""Values of one label that are written out; more of them are told by the words they share."""
_SPECIAL = re.compile(r"([\\.^$*+?{}\[\]|()])")

Rule = tuple[str, str]
"""A pattern and the label it gives."""


def label_patterns(
    values: Sequence[str | None],
    labels: Mapping[str, str],
    words: Mapping[str, Sequence[str]],
) -> list[Rule]:
    """Find patterns that give exactly these labels.

    Args:
        values: The field's value of every sample.
        labels: Value -> label; a value that is not in it must stay without one.
        words: Value -> the words, in plain form, that decided.

    Returns:
        Rules in the order in which they must stand: the first that matches wins. Values that no
        short enough pattern tells are left out.
    """
    present = [value for value in dict.fromkeys(values) if value is not None]
    wanted = {value: labels[value] for value in present if value in labels}
    if not wanted:
        return []
    counts = {label: sum(got == label for got in wanted.values()) for label in wanted.values()}
    if max(counts.values()) <= MAX_LISTED:
        listed = _listed(wanted)
        if listed is not None and _says(listed, present, wanted):
            return listed
    for rules in _by_words(wanted, words):
        if _fits(rules) and _says(rules, present, wanted):
            return rules
    stems = _by_stems(wanted)
    if _fits(stems) and _says(stems, present, wanted):
        return stems
    exact = _exact(wanted)[:MAX_RULES]
    return [rule for rule in exact if len(rule[0]) <= MAX_PATTERN_CHARS]


def escape(text: str) -> str:
    """Escape what has a meaning in a pattern, and nothing else."""
    return _SPECIAL.sub(r"\\\1", text)


def _fits(rules: Sequence[Rule]) -> bool:
    return 0 < len(rules) <= MAX_RULES and all(len(p) <= MAX_PATTERN_CHARS for p, _ in rules)


def _says(rules: Sequence[Rule], present: Sequence[str], wanted: Mapping[str, str]) -> bool:
    found: list[str | None] = [None] * len(present)
    for pattern, label in rules:
        matches = match_values(pattern, present, "a proposed rule")
        found = [
            old if old is not None or match is None else label
            for old, match in zip(found, matches, strict=True)
        ]
    return all(label == wanted.get(value) for value, label in zip(present, found, strict=True))


def _grouped(wanted: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for value, label in wanted.items():
        groups.setdefault(label, []).append(value)
    return groups


def _listed(wanted: Mapping[str, str]) -> list[Rule] | None:
    rules = []
    for label, group in _grouped(wanted).items():
        # Values that differ in their capitals alone are written once.
        lower = {value.lower(): value for value in reversed(group)}
        either_case = len(lower) < len(group)
        texts = [escape(value) for value in reversed(list(lower.values()))]
        inside = texts[0] if len(texts) == 1 else f"({'|'.join(texts)})"
        pattern = f"{'(?i)' if either_case else ''}^{inside}$"
        if len(pattern) > MAX_PATTERN_CHARS:
            return None
        rules.append((pattern, label))
    return rules


def _by_words(
    wanted: Mapping[str, str], words: Mapping[str, Sequence[str]]
) -> Iterator[list[Rule]]:
    phrases: dict[str, dict[str, None]] = {}
    for value, label in wanted.items():
        said = words.get(value) or ()
        if not said:
            return
        phrases.setdefault(label, {}).update(dict.fromkeys(said))
    # Labels whose words are longer stand first: "septic shock" before "sepsis".
    order = sorted(phrases, key=lambda label: -max(len(word) for word in phrases[label]))
    for before, after in ((r"(?<![A-Za-z])", r"(?![A-Za-z])"), ("", "")):
        for ordered in (order, order[::-1]):
            rules = []
            for label in ordered:
                inside = "|".join(_loosely(phrase) for phrase in _shortest(phrases[label]))
                rules.append((f"(?i){before}({inside}){after}" if before else f"(?i){inside}",
                              label))  # fmt: skip
            yield rules


def _shortest(phrases: Mapping[str, None]) -> list[str]:
    """Leave out the phrases that hold another one of the same label."""
    return [
        phrase
        for phrase in phrases
        if not any(other != phrase and f" {other} " in f" {phrase} " for other in phrases)
    ]


def _loosely(phrase: str) -> str:
    """Words with anything but letters and digits between them, or nothing ("SepticShock")."""
    return "[^A-Za-z0-9]*".join(phrase.split())


def _by_stems(wanted: Mapping[str, str]) -> list[Rule]:
    """Values alike but for their numbers are one pattern."""
    stems: dict[str, dict[str, None]] = {}
    for value, label in wanted.items():
        stem = re.sub(r"\d+", r"\\d+", escape(value))
        stems.setdefault(label, {})[stem] = None
    return [rule for label, group in stems.items() for rule in _packed(label, list(group))]


def _exact(wanted: Mapping[str, str]) -> list[Rule]:
    return [
        rule
        for label, group in _grouped(wanted).items()
        for rule in _packed(label, [escape(value) for value in group])
    ]


def _packed(label: str, texts: Sequence[str]) -> list[Rule]:
    """Put as many texts into each pattern as its length allows."""
    rules: list[Rule] = []
    start = 0
    ends = [*range(1, len(texts) + 1)]
    for end, following in pairwise([*ends, len(texts) + 1]):
        pattern = f"^({'|'.join(texts[start:end])})$"
        longer = f"^({'|'.join(texts[start:following])})$"
        if following > len(texts) or len(longer) > MAX_PATTERN_CHARS:
            rules.append((pattern, label))
            start = end
    return rules
