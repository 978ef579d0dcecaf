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


def _leading(strength: pd.Series, k: int) -> list[str]:
    ordered = strength.sort_values(ascending=False, kind="stable").head(k)
    return [str(gene) for gene in ordered.index[ordered > 0]]
