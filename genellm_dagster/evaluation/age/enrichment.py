"""Which sets of genes (blood transcription modules, or any GMT file) the top genes come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genellm_dagster.evaluation.age.options import AgeOptions

_SHOWN = 20


def enrichment(
    tops: Mapping[str, Sequence[str]],
    backgrounds: Mapping[str, Sequence[str]],
    sets: Mapping[str, Mapping[str, Sequence[str]]],
    options: AgeOptions,
    confidence: float,
) -> dict[str, Any]:
    """Test each set of each collection for more top genes than a random list would hold.

    Hypergeometric, one-sided, with the stratum's own vocabulary as background: a set can only be
    found for what the vocabulary holds of it. Benjamini and Hochberg (1995) within stratum and
    collection. The odds ratio is the conditional one, with its exact interval.

    Args:
        tops: Stratum to its top genes.
        backgrounds: Stratum to all genes that could have been among them.
        sets: Collection to set to genes.
        options: ``min_set_genes``.
        confidence: Coverage of the odds ratio's interval.

    Returns:
        Collection to stratum: background, top (numbers of genes), tested (sets), sets (the first
        20 by p: set, in_background, in_top, genes, expected, odds_ratio, p, q); with a reason where
        nothing could be tested.
    """
    return {
        collection: {
            stratum: _of_stratum(
                [gene for gene in top if gene in set(backgrounds[stratum])],
                backgrounds[stratum],
                members,
                options,
                confidence,
            )
            for stratum, top in tops.items()
        }
        for collection, members in sets.items()
    }


def _of_stratum(
    top: Sequence[str],
    background: Sequence[str],
    sets: Mapping[str, Sequence[str]],
    options: AgeOptions,
    confidence: float,
) -> dict[str, Any]:
    from scipy.stats import false_discovery_control, hypergeom

    genes, chosen = set(background), set(top)
    inside = {name: genes & set(members) for name, members in sets.items()}
    inside = {name: part for name, part in inside.items() if len(part) >= options.min_set_genes}
    found: dict[str, Any] = {
        "background": len(genes), "top": len(chosen), "tested": len(inside), "sets": [],
    }  # fmt: skip
    if not inside or not chosen:
        found["reason"] = (
            "no gene is among the top"
            if not chosen
            else f"no set has {options.min_set_genes} genes in the vocabulary"
        )
        return found
    rows = []
    for name, part in inside.items():
        both = sorted(part & chosen)
        p = float(hypergeom.sf(len(both) - 1, len(genes), len(part), len(chosen)))
        rows.append((min(1.0, p), -len(both), name, both, len(part)))
    adjusted = false_discovery_control([row[0] for row in rows])
    ranked = sorted(zip(rows, adjusted, strict=True), key=lambda pair: pair[0][:3])
    found["sets"] = [
        {
            "set": name,
            "in_background": size,
            "in_top": len(both),
            "genes": both,
            "expected": size * len(chosen) / len(genes),
            "odds_ratio": _odds(len(both), size, len(chosen), len(genes), confidence),
            "p": p,
            "q": float(q),
        }
        for (p, _, name, both, size), q in ranked[:_SHOWN]
    ]
    return found


def _odds(both: int, size: int, top: int, total: int, confidence: float) -> dict[str, Any]:
    """Conditional odds ratio with its exact interval; an end at infinity is null."""
    import numpy as np
    from scipy.stats.contingency import odds_ratio

    table = [[both, top - both], [size - both, total - top - size + both]]
    found = odds_ratio(table)
    low, high = found.confidence_interval(confidence)
    value, low, high = (
        float(one) if np.isfinite(one) else None for one in (found.statistic, low, high)
    )
    if value is not None and high is not None:
        return {"value": value, "low": low, "high": high}
    why = "no other gene of the vocabulary is on that side, so the upper end is infinite"
    return {"value": value, "low": low, "high": high, "reason": why}
