"""Reading the comparison between strata: its main numbers out of the JSON of ``age_comparison``.

The JSON is what :func:`genellm_dagster.evaluation.heterogeneity.compare_strata` gives. A part that
is missing there is missing here: nothing is made up for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genellm_dagster.reports.names import LANGUAGE_MODEL
from genellm_dagster.reports.numbers import number_of


@dataclass(frozen=True)
class Difference:
    """A difference between two strata, first minus second, as an interval."""

    first: str
    second: str
    value: Mapping[str, Any]


@dataclass(frozen=True)
class Overlap:
    """Genes that the signatures of two strata share, beside what chance gives.

    Attributes:
        p_more: Chance of an overlap at least as large, gene names permuted.
        p_fewer: Chance of one at most as large.
        same: Of the shared genes, how many push the same way in both; None if not told.
    """

    first: str
    second: str
    k: int
    shared: int
    genes: Sequence[str]
    expected: float | None
    p_more: float | None
    p_fewer: float | None
    same: int | None


@dataclass(frozen=True)
class Measure:
    """One measure in every stratum, with the differences between them."""

    section: str
    key: str
    strata: Mapping[str, Any]
    differences: Sequence[Difference]


def reference(comparison: Mapping[str, Any]) -> str:
    """Give the model that the comparison rests on."""
    return str(comparison.get("reference_model") or LANGUAGE_MODEL)


def differences(comparison: Mapping[str, Any]) -> list[Difference]:
    """Give the differences in AUROC on all samples, one a pair of strata."""
    return _differences(_of_reference(comparison, "discrimination").get("differences"))


def fair_differences(comparison: Mapping[str, Any]) -> list[Difference]:
    """Give the differences in AUROC at equal size and prevalence."""
    equal = _of_reference(comparison, "discrimination").get("equal_size") or {}
    return _differences((equal.get("differences") or {}).get("auroc"))


def uncertainty_differences(comparison: Mapping[str, Any]) -> list[Difference]:
    """Give the differences in the scores' entropy (bits): above zero, the first is less sure."""
    parts = _of_reference(comparison, "uncertainty").get("differences") or {}
    return _differences(parts.get("entropy"))


def overlaps(comparison: Mapping[str, Any]) -> list[Overlap]:
    """Give the overlap of top genes with its permutation null, one a pair of strata."""
    found = []
    for pair in (comparison.get("signatures") or {}).get("pairs") or []:
        shared = number_of(pair.get("overlap"))
        if shared is None:
            continue
        found.append(
            Overlap(
                first=str(pair["first"]),
                second=str(pair["second"]),
                k=int(pair["k"]),
                shared=int(shared),
                genes=[str(gene) for gene in pair.get("shared") or []],
                expected=number_of(pair.get("expected")),
                p_more=number_of(pair.get("p_at_least")),
                p_fewer=number_of(pair.get("p_at_most")),
                same=_same(pair),
            )
        )
    return found


def _same(pair: Mapping[str, Any]) -> int | None:
    agreement = pair.get("direction_agreement")
    number = number_of(agreement.get("same")) if isinstance(agreement, Mapping) else None
    return None if number is None else int(number)


def measures(comparison: Mapping[str, Any]) -> Iterator[Measure]:
    """Give every measure of the reference model that each stratum has on its own."""
    discrimination = _of_reference(comparison, "discrimination")
    yield from _measures("discrimination", discrimination, alone="auroc")
    yield from _measures("equal_size", discrimination.get("equal_size") or {})
    yield from _measures("uncertainty", _of_reference(comparison, "uncertainty"))
    yield from _measures("separability", comparison.get("separability") or {})


def _measures(section: str, tree: Mapping[str, Any], alone: str = "") -> Iterator[Measure]:
    strata: Mapping[str, Mapping[str, Any]] = tree.get("strata") or {}
    between = tree.get("differences") or {}
    if alone:
        between = {alone: between}
    for key in dict.fromkeys(key for part in strata.values() for key in part):
        values = {name: part.get(key) for name, part in strata.items()}
        # Sizes stand in the head of their section; only what has an interval is a measure.
        if any(isinstance(value, Mapping) for value in values.values()):
            yield Measure(section, key, values, _differences(between.get(key)))


def _of_reference(comparison: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    return (comparison.get(section) or {}).get(reference(comparison)) or {}


def _differences(pairs: Any) -> list[Difference]:
    return [
        Difference(str(pair["first"]), str(pair["second"]), pair)
        for pair in pairs or []
        if number_of(pair) is not None
    ]
