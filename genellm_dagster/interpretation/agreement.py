"""How far two ways to rank the same genes agree, with intervals over the explained samples."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from genellm_dagster.interpretation.attribution import Attributions
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.interpretation.sampling import generator

# Fewer genes or samples than this say nothing of ranks, or of how ranks vary.
_FEWEST = 3
_LEVEL = 0.95


def rank_agreement(
    first: np.ndarray, second: np.ndarray, options: InterpretationOptions, purpose: str
) -> dict[str, Any]:
    """Correlate the ranks of genes by their mean absolute attribution (Spearman 1904).

    The interval is of the explained samples: both rankings are made anew on the same bootstrap
    resample of them (percentiles).

    Args:
        first: Attributions, samples x genes; NaN absent.
        second: Of the same samples and genes, by another way.
        options: Number of resamplings and seed.
        purpose: Separates the draws of one seed.

    Returns:
        ``value``, ``low``, ``high``, ``n`` (samples) and ``genes``; the first three null, with a
        ``reason``, where ranks cannot be correlated.
    """
    sizes = [np.abs(np.asarray(one, dtype=np.float64)) for one in (first, second)]
    both = np.isfinite(sizes[0]) & np.isfinite(sizes[1])
    genes = np.flatnonzero(both.any(axis=0))
    n = int(both.any(axis=1).sum()) if both.size else 0
    found: dict[str, Any] = {"value": None, "low": None, "high": None, "n": n, "genes": len(genes)}
    if min(n, len(genes)) < _FEWEST:
        return {**found, "reason": f"fewer than {_FEWEST} samples or genes are in both"}
    sizes = [np.where(both, one, 0.0)[:, genes] for one in sizes]
    count = both[:, genes].astype(np.float64)
    random = generator(options.seed, "agreement", purpose)
    samples = len(count)
    times = random.multinomial(samples, np.full(samples, 1.0 / samples), size=options.bootstraps)
    once = np.ones((1, samples))
    value = _correlations(sizes, count, once)[0]
    if not np.isfinite(value):
        return {**found, "reason": "one of the two gives every gene the same attribution"}
    resampled = _correlations(sizes, count, times)
    tail = (1.0 - _LEVEL) / 2.0
    # Resamples repeat samples, and so rank genes a little worse than all samples do: with a handful
    # of them the value itself can lie above every resample's, and then bounds the interval.
    low, high = np.nanquantile([*resampled, value], [tail, 1.0 - tail])
    low, high = min(low, value), max(high, value)
    return {**found, "value": float(value), "low": float(low), "high": float(high)}


def own_agreement(found: Attributions, options: InterpretationOptions) -> dict[str, Any]:
    """Say how far GeneLLM's own attributions agree, for another seed and for another draw.

    Args:
        found: The attributions.
        options: Number of resamplings and seed.

    Returns:
        ``members``: the mean agreement over pairs of ensemble members and the ``lowest`` of them;
        ``background``: between one half of the background samples and the other. Both compare
        attributions by the trapezoid rule, and so know a little more disagreement than there is.
    """
    pairs = [
        rank_agreement(found.by_member[one], found.by_member[other], options, f"{one} {other}")
        for one, other in combinations(range(len(found.by_member)), 2)
    ]
    known = [pair for pair in pairs if pair["value"] is not None]
    members: dict[str, Any] = {"members": len(found.by_member), "pairs": pairs}
    if known:
        members["value"] = float(np.mean([pair["value"] for pair in known]))
        members["lowest"] = float(min(pair["value"] for pair in known))
    else:
        reason = pairs[0]["reason"] if pairs else "the ensemble has a single member"
        members |= {"value": None, "lowest": None, "reason": reason}
    return {
        "members": members,
        "background": rank_agreement(found.by_half[0], found.by_half[1], options, "background"),
    }


def _correlations(sizes: list[np.ndarray], count: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Rank correlation of the genes' means in each resample; NaN where one is constant."""
    from scipy.stats import rankdata

    number = times @ count
    ranks = []
    for size in sizes:
        # A gene that a resample lacks has no rank there that could differ: both give it zero.
        mean = np.divide(times @ size, number, out=np.zeros(number.shape), where=number > 0)
        rank = rankdata(mean, axis=1)
        ranks.append(rank - rank.mean(axis=1, keepdims=True))
    first, second = ranks
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    joint = (first * second).sum(axis=1)
    return np.divide(joint, scale, out=np.full(len(scale), np.nan), where=scale > 0)
