"""Which column of a submitter's table is which sample.

Submitters name columns by accession, by title, by a code in some field of the sample, or by a part
of these. The ways are tried from the surest to the least sure, each has to fit without any choice
left, and every match says which way it came about. What fits two ways is refused, never guessed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from genellm_dagster.errors import GeoError

_GSM = re.compile(r"(?<![A-Za-z0-9])GSM\d{1,12}(?!\d)", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
# R writes an X before names that start with a digit.
_R_NAME = re.compile(r"X\d")
# Columns that stand beside the values of a sample and are none themselves.
_BESIDE = re.compile(
    r"detection|p[ ._-]?val|adj[ ._]?p|\bpadj\b|\bfdr\b|q[ ._-]?value|n_?beads|bead_?std|stderr|"
    r"std[ ._]?(dev|err)|abs[ ._]call|fold[ ._]?change|log2?fc|base_?mean|lfc_?se",
    re.IGNORECASE,
)
# Fields that name a sample. A bare number in any other field may be an age or a score.
_NAMING = re.compile(
    r"\b(ids?|identifiers?|names?|samples?|subjects?|patients?|donors?|individuals?|library|"
    r"libraries|barcodes?|codes?|numbers?|no|labels?|title|description)\b"
)
_CHARACTERISTIC = "characteristics"
# A field is believed when it explains this share of the columns, or of the samples, that are left.
_SHARE_OF_VALUES = 0.5
_SHARE_OF_PARTS = 0.8
_MAX_TOKENS = 24
_SHOWN = 5

Tokens = tuple[str, ...]
_Found = dict[int, list[str]]


@dataclass(frozen=True)
class ColumnMatch:
    """One column of a table and its sample.

    Attributes:
        place: Position of the column.
        column: Its name as it stands.
        gsm: The sample.
        how: By what they were matched: ``accession``, ``title``, ``title, written differently``,
            the name of a field, or ``part of <field>``.
    """

    place: int
    column: str
    gsm: str
    how: str


@dataclass(frozen=True)
class Matching:
    """The columns of a table that are samples, and those that are not.

    Attributes:
        matches: In the order of the columns.
        left: Names of the columns of numbers that belong to no sample.
        others: Names of the columns of samples that are not among those asked for.
    """

    matches: tuple[ColumnMatch, ...]
    left: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleNames:
    """The names that the samples of a series go by.

    Attributes:
        gsms: The samples.
        fields: Name of a field -> sample -> its text; the title first.
    """

    gsms: tuple[str, ...]
    fields: dict[str, dict[str, str]]

    @classmethod
    def of(cls, samples: pd.DataFrame) -> SampleNames:
        """Take them from a samples table; see :mod:`genellm_dagster.geo.header`."""
        gsms = tuple(samples["gsm"])
        named = ["title", "description", "source_name"]
        named += [name for name in samples.columns if name.startswith(_CHARACTERISTIC)]
        fields = {
            field: {
                gsm: text
                for gsm, text in zip(gsms, samples[field], strict=True)
                if isinstance(text, str)
            }
            for field in named
            if field in samples.columns
        }
        return cls(gsms, fields)

    def count(self, cells: Sequence[str]) -> int:
        """Count the cells of a row that name a sample: its accession, title or a field's value."""
        return sum(
            any(gsm in self._known for gsm in _accessions(cell))
            or any(form in self._values for form in _forms(cell))
            for cell in cells
        )

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.gsms)

    @cached_property
    def _values(self) -> frozenset[Tokens]:
        return frozenset(
            form
            for field, texts in self.fields.items()
            for text in texts.values()
            for form in _values(field, text)
        )


def tokens_of(text: str) -> Tokens:
    """Return the runs of letters and of digits in a name, in lower case."""
    return tuple(token.casefold() for token in _TOKEN.findall(text))[:_MAX_TOKENS]


def match_columns(
    names: Sequence[str], numeric: Iterable[int], samples: SampleNames, where: str
) -> Matching:
    """Find the sample of each column.

    Args:
        names: The line of names.
        numeric: Positions of the columns that hold numbers.
        samples: The names that the samples go by.
        where: The file, for sentences.

    Returns:
        The matches. A column of numbers that resembles no sample is no error: submitters keep
        lengths and statistics beside the values.

    Raises:
        GeoError: When no column is a sample, when one fits several samples, or several fit one.
    """
    titles = {text.strip() for text in samples.fields.get("title", {}).values()}
    named = {place: names[place].strip() for place in sorted(numeric) if names[place].strip()}
    rest = {
        place: name for place, name in named.items() if name in titles or not _BESIDE.search(name)
    }
    others = [place for place, name in rest.items() if _is_of_another(name, samples)]
    other_names = tuple(rest.pop(place) for place in others)
    matches: dict[str, ColumnMatch] = {}
    for how, found, is_enough in _ways(rest, samples, matches):
        doubts: list[str] = []
        claimed = Counter(gsm for gsms in found.values() for gsm in gsms)
        for place, gsms in found.items():
            fitting = [gsm for gsm in gsms if gsm not in matches or matches[gsm].how == how]
            if is_enough and len(gsms) == 1 and claimed[gsms[0]] == 1 and fitting:
                matches[gsms[0]] = ColumnMatch(place, rest.pop(place), gsms[0], how)
            elif len(gsms) > 1 and fitting:
                doubts.append(f"{rest[place]!r} fits {_listed(gsms)} ({how})")
        doubts += [
            f"{_listed([repr(rest[place]) for place in found if found[place] == [gsm]])} all fit "
            f"{gsm} ({how})"
            for gsm, number in claimed.items()
            if number > 1 and gsm not in matches and sum(g == [gsm] for g in found.values()) > 1
        ]
        # A column that is no sample may resemble one; it matters while samples are missing.
        if doubts and len(matches) < len(samples.gsms):
            raise GeoError(
                f"{where}: which column is which sample cannot be told: "
                f"{'; '.join(doubts[:_SHOWN])}{'; ...' if len(doubts) > _SHOWN else ''}; "
                "name the columns by GSM in a copy of the file, or leave the series out."
            )
    if not matches:
        raise GeoError(_nothing_fits(named, samples, where))
    ordered = sorted(matches.values(), key=lambda match: match.place)
    return Matching(tuple(ordered), tuple(rest.values()), other_names)


def _ways(
    rest: Mapping[int, str], samples: SampleNames, matches: Mapping[str, ColumnMatch]
) -> Iterator[tuple[str, _Found, bool]]:
    """Yield the ways, surest first, and whether what a way explains is enough to believe it.

    ``rest`` shrinks and ``matches`` grows between them.
    """
    titles = samples.fields.get("title", {})
    accessions = {place: gsms for place, name in rest.items() if (gsms := _accessions(name))}
    yield "accession", accessions, True
    yield "title", _equal(rest, titles, lambda text: {(text.strip(),)}), True
    yield "title, written differently", _equal(rest, titles, _forms), True
    for compare, words, share in (
        (_by_value, "{}", _SHARE_OF_VALUES),
        (_by_part, "part of {}", _SHARE_OF_PARTS),
    ):
        open_samples = len(samples.gsms) - len(matches)
        if not rest or not open_samples:
            return
        found = {field: compare(rest, field, texts) for field, texts in samples.fields.items()}
        # A bare number is a name only in company: each sample, or each column, has to have one.
        bare = any(name.isdigit() for name in rest.values())
        needed = max(1.0, (1.0 if bare else share) * min(len(rest), open_samples))
        best, is_enough = _best(found, matches, needed)
        if best is None:
            continue
        against = [columns for field, columns in found.items() if _NAMING.search(field.lower())]
        if compare is _by_value:
            against.append(_by_part(rest, "title", titles))
        yield words.format(best), _with_objections(found[best], against), is_enough


def _with_objections(found: _Found, against: Iterable[_Found]) -> _Found:
    """Add to what a column fits the one sample that another field finds for it."""
    heard = {place: list(gsms) for place, gsms in found.items()}
    for columns in against:
        for place, gsms in columns.items():
            if len(gsms) == 1 and place in heard and gsms[0] not in heard[place]:
                heard[place].append(gsms[0])
    return heard


def _best(
    found: Mapping[str, _Found], matches: Mapping[str, ColumnMatch], needed: float
) -> tuple[str | None, bool]:
    """Return the field that explains most columns, and whether it explains enough of them.

    One that does not is returned when it would but for columns that fit several samples: these
    have to be told.
    """
    explained: dict[str, int] = {}
    doubtful: dict[str, int] = {}
    for field, columns in found.items():
        claimed = Counter(gsm for gsms in columns.values() for gsm in gsms)
        clear = [gsms[0] for gsms in columns.values() if len(gsms) == 1 and claimed[gsms[0]] == 1]
        explained[field] = sum(gsm not in matches for gsm in clear)
        doubtful[field] = len(columns) - len(clear)
    if not found:
        return None, False
    # Of two that explain as much the one that leaves fewer doubts, then the first.
    best = max(explained, key=lambda field: (explained[field], -doubtful[field]))
    if explained[best] >= needed:
        return best, True
    nearest = max(explained, key=lambda field: explained[field] + doubtful[field])
    is_near = doubtful[nearest] > 0 and explained[nearest] + doubtful[nearest] >= needed
    return (nearest if is_near else None), False


def _equal(
    rest: Mapping[int, str], texts: Mapping[str, str], forms: Callable[[str], Iterable[Tokens]]
) -> _Found:
    owners = _owners(texts, forms)
    return _look_up(rest, owners, forms)


def _by_value(rest: Mapping[int, str], field: str, texts: Mapping[str, str]) -> _Found:
    owners = _owners(texts, lambda text: _values(field, text))
    return _look_up(rest, owners, _forms)


def _by_part(rest: Mapping[int, str], field: str, texts: Mapping[str, str]) -> _Found:
    """Find columns whose name is part of a sample's text, or the other way round."""
    inside: dict[Tokens, dict[str, set[tuple[int, int]]]] = defaultdict(lambda: defaultdict(set))
    whole: dict[Tokens, set[str]] = defaultdict(set)
    for gsm, text in texts.items():
        own = tokens_of(text)
        for tokens in {own} | _values(field, text):
            whole[tokens].add(gsm)
            for start, end in _spans(tokens):
                is_number = all(token.isdigit() for token in tokens[start:end])
                if tokens == own or not is_number:
                    inside[tokens[start:end]][gsm].add((start, len(tokens) - end))
    naming = _NAMING.search(field) is not None
    found: _Found = {}
    numbers: dict[int, set[tuple[int, int]]] = {}
    for place, name in rest.items():
        gsms: set[str] = set()
        for tokens in _forms(name):
            if _is_telling(tokens, naming):
                gsms |= set(inside.get(tokens, ()))
                if all(token.isdigit() for token in tokens) and tokens in inside:
                    numbers[place] = set().union(*inside[tokens].values())
            hits = [
                (start, end)
                for start, end in _spans(tokens)
                if tokens[start:end] in whole and _is_telling(tokens[start:end], naming=False)
            ]
            for start, end in hits:
                # "P1 day 3" names no sample "P1" where there is one "P1 day 3".
                if not any(a <= start and end <= b and (a, b) != (start, end) for a, b in hits):
                    gsms |= whole[tokens[start:end]]
        if gsms:
            found[place] = sorted(gsms)
    # A bare number has to stand at the same place in each: "3" is not once a patient, once a day.
    from_start = (
        set.intersection(*({a for a, _ in at} for at in numbers.values())) if numbers else {0}
    )
    from_end = (
        set.intersection(*({b for _, b in at} for at in numbers.values())) if numbers else {0}
    )
    if not from_start and not from_end:
        found = {place: gsms for place, gsms in found.items() if place not in numbers}
    return found


def _spans(tokens: Tokens) -> Iterator[tuple[int, int]]:
    for start in range(len(tokens)):
        for end in range(start + 1, len(tokens) + 1):
            yield start, end


def _is_telling(tokens: Tokens, naming: bool) -> bool:
    """Tell whether a part of a name can be a name itself."""
    digits = [token for token in tokens if token.isdigit()]
    letters = sum(len(token) for token in tokens if not token.isdigit())
    if not letters:
        return naming and bool(digits)
    return bool(digits) or letters >= 3


def _owners(
    texts: Mapping[str, str], forms: Callable[[str], Iterable[Tokens]]
) -> dict[Tokens, list[str]]:
    owners: dict[Tokens, list[str]] = defaultdict(list)
    for gsm, text in texts.items():
        for form in set(forms(text)):
            owners[form].append(gsm)
    return owners


def _look_up(
    rest: Mapping[int, str],
    owners: Mapping[Tokens, list[str]],
    forms: Callable[[str], Iterable[Tokens]],
) -> _Found:
    found: _Found = {}
    for place, name in rest.items():
        gsms = dict.fromkeys(gsm for form in forms(name) for gsm in owners.get(form, ()))
        if gsms:
            found[place] = list(gsms)
    return found


def _forms(text: str) -> set[Tokens]:
    """Return the ways a name may have been written, punctuation and case aside."""
    forms = {tokens_of(text)}
    if _R_NAME.match(text):
        forms.add(tokens_of(text[1:]))
    return forms - {()}


def _values(field: str, text: str) -> set[Tokens]:
    """Return a field's text and the values inside it that may name the sample."""
    found: set[Tokens] = set()
    for part in (text, *text.split(" | ")):
        key, mark, value = part.partition(":") if ":" in part else part.partition("=")
        for said, words in ((part, field), (value, key)) if mark else ((part, field),):
            for form in _forms(said.strip()):
                bare = all(token.isdigit() for token in form)
                if not bare or _NAMING.search(words.lower()):
                    found.add(form)
    return found


def _accessions(name: str) -> list[str]:
    return list(dict.fromkeys(gsm.upper() for gsm in _GSM.findall(name)))


def _is_of_another(name: str, samples: SampleNames) -> bool:
    said = _accessions(name)
    return bool(said) and not set(said) & set(samples.gsms)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _nothing_fits(named: Mapping[int, str], samples: SampleNames, where: str) -> str:
    titles = list(samples.fields.get("title", {}).values())
    columns = _listed([repr(name) for name in named.values()]) or "none"
    return (
        f"{where}: no column of numbers could be matched with a sample (columns {columns}; titles "
        f"{_listed([repr(title) for title in titles])}); name the columns by GSM in a copy of the "
        "file, or leave the series out."
    )
