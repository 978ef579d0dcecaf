"""Reading the comparison between strata: its main numbers out of the JSON of ``age_comparison``.

The JSON is what :func:`genellm_dagster.evaluation.heterogeneity.compare_strata` gives. A part that
is missing there is missing here: nothing is made up for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genellm_dagster.reports.names import LANGUAGE_MODEL, label_words, model_name
from genellm_dagster.reports.numbers import (
    bounds_of,
    count,
    decimal,
    interval,
    number_of,
    p_value,
    percent,
)


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


def said(comparison: Mapping[str, Any], significance: float) -> list[str]:
    """Say what transfer, age and blood cells tell, also that they tell nothing.

    Args:
        comparison: The JSON of ``age_comparison``.
        significance: P value below which a change is called shown.
    """
    sentences = [
        *_transfer_said(comparison),
        *_along_age_said(comparison, significance),
        *_cells_said(comparison),
        *_rankings_said(comparison, significance),
        *_planted_said(comparison),
    ]
    return [f"{one[:1].upper()}{one[1:]}" for one in sentences]


def _transfer_said(comparison: Mapping[str, Any]) -> Iterator[str]:
    """What a model loses by being trained in another stratum, paired on the same people."""
    named = (reference(comparison), "logistic_regression")
    for cell in comparison.get("transfer") or []:
        if cell.get("model") not in named or cell["trained_on"] == cell["tested_on"]:
            continue
        trained, tested = label_words(str(cell["trained_on"])), label_words(str(cell["tested_on"]))
        head = f"{model_name(str(cell['model']))} trained on the {trained} stratum"
        if number_of(cell.get("auroc")) is None:
            why = (cell.get("auroc") or {}).get("reason", "no reason is given")
            yield f"{head} was not tried on the {tested} one: {why}."
            continue
        text = f"{head} reaches AUROC {interval(cell['auroc'])} in the {tested} one"
        text += f" (n = {count(cell['n'])}, prevalence {percent(cell.get('prevalence'))})"
        cost = cell.get("at_home_minus_transferred")
        bounds = bounds_of(cost)
        if bounds is None:
            yield f"{text}."
        elif bounds[0] > 0:
            yield f"{text}, less than the model trained there (by {interval(cost)})."
        elif bounds[1] < 0:
            yield f"{text}, more than the model trained there (difference {interval(cost)})."
        else:
            yield (
                f"{text}; no difference from the model trained there is shown ({interval(cost)})."
            )


def _along_age_said(comparison: Mapping[str, Any], significance: float) -> Iterator[str]:
    strata = (comparison.get("along_age") or {}).get(reference(comparison)) or {}
    for stratum, part in strata.items():
        name = label_words(str(stratum))
        test = part.get("interaction") or {}
        p = number_of(test.get("p"))
        slope = part.get("placement_per_decade") or {}
        if p is None and bounds_of(slope) is None:
            why = part.get("reason") or test.get("reason") or "no reason is given"
            yield f"whether performance changes with age within the {name} stratum: {why}."
            continue
        bounds = bounds_of(slope)
        numbers = []
        if p is not None:
            numbers.append(f"test of score by age, P {_equals(p)}")
        if bounds is not None:
            numbers.append(f"AUROC of a case per ten years of age {interval(slope)}")
        shown = (
            p < significance if p is not None else bool(bounds and (bounds[0] > 0 or bounds[1] < 0))
        )
        verdict = "changes with age" if shown else "shows no change with age"
        yield (
            f"within the {name} stratum performance {verdict} ({'; '.join(numbers)}; "
            f"n = {count(part.get('n'))})."
        )


def _equals(p: float) -> str:
    return p_value(p) if p_value(p).startswith("<") else f"= {p_value(p)}"


def _cells_said(comparison: Mapping[str, Any]) -> Iterator[str]:
    parts = (comparison.get("composition") or {}).get("strata") or {}
    for stratum, part in parts.items():
        name = label_words(str(stratum))
        if part.get("reason"):
            yield f"blood cells could not be held fixed in the {name} stratum: {part['reason']}."
            continue
        before = count((part.get("unadjusted") or {}).get("associated"))
        kept = part.get("kept") or {}
        if number_of(kept) is None:
            yield (
                f"in the {name} stratum no gene goes with the disease at a false discovery rate of "
                f"5 % (n = {count(part.get('n'))})."
            )
            continue
        bounds = bounds_of(kept)
        ends = f" ({percent(bounds[0])} to {percent(bounds[1])})" if bounds else ""
        yield (
            f"in the {name} stratum {before} genes go with the disease, and {percent(kept)}{ends} "
            f"of them still do when the kinds of blood cells are held fixed "
            f"(n = {count(part.get('n'))})."
        )
    for pair in (comparison.get("composition") or {}).get("pairs") or []:
        first, second = label_words(str(pair["first"])), label_words(str(pair["second"]))
        values = [
            (pair.get(kind) or {}).get("effect_correlation") for kind in ("unadjusted", "adjusted")
        ]
        if all(number_of(one) is not None for one in values):
            yield (
                f"the disease's effects on genes correlate by {interval(values[0], 2)} between "
                f"{first} and {second}, and by {interval(values[1], 2)} with cells held fixed."
            )


def _rankings_said(comparison: Mapping[str, Any], significance: float) -> Iterator[str]:
    for pair in (comparison.get("signatures") or {}).get("pairs") or []:
        ranked = pair.get("rank_biased_overlap") or {}
        p, value = number_of(ranked.get("p_at_least")), number_of(ranked)
        if p is None or value is None:
            continue
        first, second = label_words(str(pair["first"])), label_words(str(pair["second"]))
        verdict = "more alike than chance gives" if p < significance else "what chance can give"
        yield (
            f"the rankings of genes of {first} and {second} are {verdict} (rank-biased overlap "
            f"{interval(ranked, 2)}, {decimal(ranked.get('expected'), 2)} expected, "
            f"P {_equals(p)})."
        )


_RANKED = {
    "by_size": "by the size of attributions",
    "by_separation": "by how far genes move cases and controls apart",
}


def _planted_said(comparison: Mapping[str, Any]) -> Iterator[str]:
    """Whether signatures overlap where a simulation planted the same genes, and only there."""
    planted = (comparison.get("signatures") or {}).get("planted") or {}
    for way, pairs in planted.items():
        for pair in pairs:
            first, second = (label_words(str(name)) for name in pair["strata"])
            if pair["recovered"] is None:
                yield (
                    f"SIMULATED: what {first} and {second} were planted in common cannot be looked "
                    f"for {_RANKED[way]}: {pair['reason']}."
                )
                continue
            verdict = "recovered" if pair["recovered"] else "not recovered"
            yield (
                f"SIMULATED: among {pair['k']} planted genes of each that both models were given, "
                f"{first} and {second} have {pair['planted_in_common']} in common. As many first "
                f"genes {_RANKED[way]} share {pair['overlap']} ({decimal(pair['expected'], 1)} by "
                f"chance, P {_equals(pair['p_at_least'])}): what was planted is {verdict}."
            )


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
