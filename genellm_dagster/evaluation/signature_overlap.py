"""Do two strata share more, or fewer, top genes than two random lists would?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def gene_strength(attributions: pd.DataFrame) -> pd.Series:
    """Mean absolute attribution of each gene of samples x genes, strongest first, ties by name."""
    strength = attributions.abs().mean()
    strength.index = strength.index.astype(str)
    return strength.sort_index().sort_values(ascending=False, kind="stable")


def gene_direction(attributions: pd.DataFrame, profiles: pd.DataFrame) -> pd.Series:
    """Sign of the correlation of a gene's value with its attribution: +1 when more means case."""
    genes = [gene for gene in attributions.columns if gene in profiles.columns]
    rows = attributions.index.intersection(profiles.index)
    pushed = attributions.loc[rows, genes].to_numpy(dtype=np.float64)
    value = profiles.loc[rows, genes].to_numpy(dtype=np.float64)
    known = np.isfinite(value)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, value, 0.0).sum(axis=0) / count
    middle = np.where(known, pushed, 0.0).sum(axis=0) / count
    joint = np.where(known, (value - centre) * (pushed - middle), 0.0).sum(axis=0)
    return pd.Series(np.sign(joint), index=[str(gene) for gene in genes])


def overlap_test(first: pd.Series, second: pd.Series, top: int) -> dict[str, Any]:
    """Overlap of the top genes of two strata against the permutation null.

    Permuting the gene names of one list makes the overlap hypergeometric, so the null is exact:
    its mean is k^2/G for lists of k among G common genes. Genes without any attribution are in no
    list, so that ties at zero make no overlap; a list may then be shorter than k.

    Args:
        first: Strength of each gene of one stratum.
        second: The same of the other stratum.
        top: Length k of the lists; shortened when fewer genes are common.

    Returns:
        k, G, overlap, shared genes, expected overlap, the null's central 95 % range, the chance of
        an overlap at least and at most as large, and the rank correlation over common genes.
    """
    from scipy.stats import hypergeom, spearmanr

    common = sorted(set(first.index) & set(second.index))
    total = len(common)
    k = min(top, total)
    if k == 0:
        return {"k": 0, "genes": 0, "overlap": None, "reason": "no gene is common to both strata"}
    leading = [_leading(one.loc[common], k) for one in (first, second)]
    shared = [gene for gene in leading[0] if gene in set(leading[1])]
    null = hypergeom(total, len(leading[0]), len(leading[1]))
    constant = first.loc[common].nunique() < 2 or second.loc[common].nunique() < 2
    correlation = None if constant else float(spearmanr(first.loc[common], second.loc[common])[0])
    return {
        "k": k,
        "genes": total,
        "overlap": len(shared),
        "shared": shared,
        "expected": len(leading[0]) * len(leading[1]) / total,
        "null_low": int(null.ppf(0.025)),
        "null_high": int(null.ppf(0.975)),
        "p_at_least": float(min(1.0, null.sf(len(shared) - 1))),
        "p_at_most": float(min(1.0, null.cdf(len(shared)))),
        "rank_correlation": correlation,
    }


def rank_biased_overlap(
    first: pd.Series, second: pd.Series, persistence: float, permutations: int, seed: int
) -> dict[str, Any]:
    """Compare two whole rankings, the more the nearer to the top, against permuted gene names.

    Source: Webber, Moffat and Zobel, ACM Transactions on Information Systems 28 (2010) 20,
    equation 32 for lists of one length (extrapolated beyond their end). Both lists are the common
    genes, those apart that one stratum gives no strength at all; the longer one is cut.

    Args:
        first: Strength of each gene of one stratum.
        second: The same of the other stratum.
        persistence: p of the measure.
        permutations: Permutations of the names of one list.
        seed: Of the permutations.

    Returns:
        value (0..1), persistence, depth (genes compared), the null's mean and central 95 % range,
        the chance of a value at least and at most as large; value null with a reason without genes.
    """
    common = sorted(set(first.index) & set(second.index))
    leading = [_leading(one.loc[common], len(common)) for one in (first, second)]
    depth = min(map(len, leading))
    if depth == 0:
        return {"value": None, "depth": 0, "reason": "no common gene has a strength in both"}
    lists = [one[:depth] for one in leading]
    value = extrapolated_overlap(lists[0], lists[1], persistence)
    generator = np.random.default_rng(seed)
    # Names that stand nowhere among the first ``depth`` of a list take part in the permutation.
    universe = len(common)
    null = np.empty(permutations)
    for number in range(permutations):
        place = generator.permutation(universe)[:depth]
        inside = place < depth
        deepest = np.maximum(np.arange(depth)[inside], place[inside])
        null[number] = _extrapolated(np.bincount(deepest, minlength=depth), persistence)
    return {
        "value": value,
        "persistence": persistence,
        "depth": depth,
        "genes": universe,
        "expected": float(null.mean()),
        "null_low": float(np.quantile(null, 0.025)),
        "null_high": float(np.quantile(null, 0.975)),
        "p_at_least": float((1 + (null >= value - 1e-12).sum()) / (permutations + 1)),
        "p_at_most": float((1 + (null <= value + 1e-12).sum()) / (permutations + 1)),
    }


def extrapolated_overlap(first: list[str], second: list[str], persistence: float) -> float:
    """Extrapolated rank-biased overlap of two lists of one length, without ties.

    Args:
        first: Names, the first first.
        second: As many names.
        persistence: p, between 0 and 1.

    Returns:
        1 for equal lists, 0 for lists without a common name.
    """
    place = {name: at for at, name in enumerate(second)}
    deepest = [max(at, place[name]) for at, name in enumerate(first) if name in place]
    return _extrapolated(np.bincount(deepest, minlength=len(first)), persistence)


def _extrapolated(new: np.ndarray, persistence: float) -> float:
    """The measure from the number of names that become common at each depth."""
    depth = np.arange(1, len(new) + 1)
    agreement = np.cumsum(new) / depth
    weight = (1 - persistence) * persistence ** (depth - 1)
    return float(min(1.0, agreement @ weight + agreement[-1] * persistence ** len(new)))


def resampled_strength(
    attributions: pd.DataFrame, persons: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """Mean absolute attribution of each gene in bootstrap resamples of people.

    Args:
        attributions: Samples x genes, NaN absent.
        persons: Person of each sample, a number.
        resamples: How many.
        seed: Of the draws.

    Returns:
        Resamples x genes; 0 where no drawn sample has the gene.
    """
    number = np.unique(persons, return_inverse=True)[1]
    people = int(number.max()) + 1
    generator = np.random.default_rng(seed)
    times = generator.multinomial(people, np.full(people, 1 / people), size=resamples)[:, number]
    size = attributions.abs().to_numpy(dtype=np.float64)
    known = times @ np.isfinite(size).astype(np.float64)
    total = times @ np.nan_to_num(size)
    result: np.ndarray = np.divide(total, known, out=np.zeros_like(total), where=known > 0)
    return result


def chosen_among_top(strengths: np.ndarray, top: int) -> np.ndarray:
    """Which genes are among the top of each resample; resamples x genes, those at zero in none."""
    leading = np.argsort(-strengths, axis=1, kind="stable")[:, :top]
    chosen = np.zeros(strengths.shape, dtype=bool)
    np.put_along_axis(chosen, leading, True, axis=1)
    result: np.ndarray = chosen & (strengths > 0)
    return result


def _leading(strength: pd.Series, k: int) -> list[str]:
    ordered = strength.sort_values(ascending=False, kind="stable").head(k)
    return [str(gene) for gene in ordered.index[ordered > 0]]
