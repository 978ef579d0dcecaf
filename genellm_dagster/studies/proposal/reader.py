"""What one value says of a diagnosis: the concepts in it, negated or not, and how sure that is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from genellm_dagster.studies.proposal.words import (
    CLEAR_ABBREVIATIONS,
    CONTEXT_ABBREVIATIONS,
    PARENTS,
    concept_of_group,
    flags_around,
    is_a,
    phrases,
    plain,
)

_DEFINITION = re.compile(r"([A-Za-z][A-Za-z0-9,' /-]{2,60}?)\s*[(\[]([A-Z][A-Za-z0-9]{0,6})[)\]]")
_EQUATION = re.compile(r"\b([A-Z][A-Za-z0-9]{0,6})\s*[=:]\s*([A-Za-z][A-Za-z' -]{2,40})")
_Take = Callable[[int, int, str, float], None]
_MAX_KNOWN = 20_000
_FIRM = 1.0
_ABBREVIATED = 0.97
_BY_CONTEXT = 0.93
_DEFINED = 0.95


@dataclass(frozen=True)
class Mention:
    """One concept as a value speaks of it.

    Attributes:
        concept: Its name.
        words: The words in plain form.
        flags: ``negated``, ``uncertain``, ``past``.
        sure: How sure it is that these words mean it.
    """

    concept: str
    words: str
    flags: frozenset[str]
    sure: float


@dataclass(frozen=True)
class Reading:
    """All that one value says.

    Attributes:
        plain: The value in plain form.
        mentions: The concepts in the order of the text.
        rest: The words that no concept took.
        alternatives: Whether an "or" stands between concepts.
    """

    plain: str
    mentions: tuple[Mention, ...]
    rest: tuple[str, ...]
    alternatives: bool

    def concepts(self, flag: str | None = None) -> list[str]:
        """Concepts without any flag, or those that carry ``flag``; each once, in order."""
        found = [
            mention.concept
            for mention in self.mentions
            if (not mention.flags if flag is None else flag in mention.flags)
        ]
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Reader:
    """Reads values with the words of one series and one study.

    Attributes:
        text: Title, summary and design of the series.
        definitions: Short forms that this text explains, lower case -> concept.
        own_labels: Words of study labels that are no known concept -> the label.
    """

    text: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)
    own_labels: Mapping[str, str] = field(default_factory=dict)
    _known: dict[str, Reading] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, text: str, own_labels: Sequence[str] = ()) -> Reader:
        """Make a reader; ``own_labels`` are the study's labels that no concept stands for."""
        words = {plain(label.replace("_", " ").replace("-", " ")): label for label in own_labels}
        bare = cls(text=text)
        return cls(text=text, definitions=_definitions(text, bare), own_labels=words)

    def read(self, value: str) -> Reading:
        """Read one value."""
        if value not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[value] = self._read(value)
        return self._known[value]

    def _read(self, value: str) -> Reading:
        text = plain(value)
        taken = [False] * len(text)
        found: list[tuple[int, Mention]] = []

        def take(start: int, end: int, concept: str, sure: float) -> None:
            flags = frozenset(flags_around(text, start, end))
            found.append((start, Mention(concept, text[start:end], flags, sure)))
            taken[start:end] = [True] * (end - start)

        for words, label in self.own_labels.items():
            for match in re.finditer(rf"\b{re.escape(words)}s?\b", text):
                take(*match.span(), f"label:{label}", _FIRM)
        for match in phrases().finditer(text):
            concept = concept_of_group(match.lastgroup or "")
            if any(taken[match.start() : match.end()]):
                continue
            if concept == "nothing":
                taken[match.start() : match.end()] = [True] * (match.end() - match.start())
                continue
            short = match[0] in CLEAR_ABBREVIATIONS
            take(*match.span(), concept, _ABBREVIATED if short else _FIRM)
        for match in re.finditer(r"[a-z]+(?: \d+)?", text):
            if not any(taken[match.start() : match.end()]):
                self._take_short(match, take)
        rest = "".join(" " if used else char for char, used in zip(text, taken, strict=True))
        found.sort(key=lambda item: item[0])
        return Reading(
            plain=text,
            mentions=tuple(mention for _, mention in found),
            rest=tuple(rest.split()),
            alternatives=bool(re.search(r"\bor\b", rest)),
        )

    def _take_short(self, match: re.Match[str], take: _Take) -> None:
        word = match[0].split()[0]
        end = match.start() + len(word)
        if word in self.definitions:
            take(match.start(), end, self.definitions[word], _DEFINED)
        elif word in CONTEXT_ABBREVIATIONS:
            concept, needed = CONTEXT_ABBREVIATIONS[word]
            if re.search(needed, self.text, re.IGNORECASE):
                take(match.start(), end, concept, _BY_CONTEXT)


def _definitions(text: str, reader: Reader) -> dict[str, str]:
    """Short forms that a text explains itself: "septic shock (SS)", "HC = healthy controls"."""
    pairs = [(match[2], match[1]) for match in _DEFINITION.finditer(text)]
    pairs += [(match[1], match[2]) for match in _EQUATION.finditer(text)]
    known: dict[str, str] = {}
    contradicted: set[str] = set()
    for short, meaning in pairs:
        # Only the last words before the bracket are what it stands for.
        reading = reader.read(" ".join(meaning.split()[-4:]))
        concepts = [c for c in reading.concepts() if c != "patient"]
        if "control" in concepts and len(concepts) > 1:
            concepts.remove("control")
        if len(concepts) != 1 or concepts[0] not in PARENTS:
            continue
        key = short.lower()
        if known.setdefault(key, concepts[0]) != concepts[0]:
            contradicted.add(key)
    return {key: concept for key, concept in known.items() if key not in contradicted}


def narrowest(concepts: Sequence[str]) -> str | None:
    """Return the concept that is a kind of every other one, or None."""
    for concept in concepts:
        if all(is_a(concept, other) for other in concepts):
            return concept
    return None


def broadest(concepts: Sequence[str]) -> str | None:
    """Return the concept that every other one is a kind of, or None."""
    for concept in concepts:
        if all(is_a(other, concept) for other in concepts):
            return concept
    return None
