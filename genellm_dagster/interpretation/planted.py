"""Does a signature find the genes that a simulation planted? For simulated studies only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation.signature_overlap import overlap_test

_SHORT = 10
_CHANCE = 0.05


def planted_recovery(ranked: Sequence[str], planted: Collection[str]) -> dict[str, Any]:
    """Count planted genes among the first of a signature.

    A model can only lean on genes that it was given, so k is the number of planted genes that the
    signature ranks, and how many were planted in all stands beside it. The interval is Clopper and
    Pearson's (1934), as if the k genes were independent; the chance of as many hits by a random
    order is hypergeometric.

    Args:
        ranked: Genes of a signature, strongest first.
        planted: The genes that were planted in the stratum.

    Returns:
        planted, k, genes, found, precision_at_k with low and high, expected (by chance), p,
        precision_at_10 (null where fewer were given), missed.

    Raises:
        EvaluationError: When the signature is empty.
    """
    from scipy.stats import binomtest, hypergeom

    if not len(ranked):
        raise EvaluationError("There is no signature to look for planted genes in.")
    wanted = set(planted) & set(ranked)
    k, genes = len(wanted), len(ranked)
    facts: dict[str, Any] = {"planted": len(set(planted)), "k": k, "genes": genes}
    if k == 0:
        nothing = dict.fromkeys(
            ("found", "precision_at_k", "low", "high", "expected", "p", "precision_at_10")
        )
        return {
            **facts,
            **nothing,
            "missed": [],
            "reason": "none of the planted genes was given to the model",
        }
    found = sum(gene in wanted for gene in ranked[:k])
    interval = binomtest(found, k).proportion_ci(method="exact")
    short = sum(gene in wanted for gene in ranked[:_SHORT]) / _SHORT if k >= _SHORT else None
    return {
        **facts,
        "found": found,
        "precision_at_k": found / k,
        "low": float(interval.low),
        "high": float(interval.high),
        "expected": k / genes,
        "p": float(hypergeom(genes, k, k).sf(found - 1)),
        "precision_at_10": short,
        "missed": sorted(wanted - set(ranked[:k])),
    }


def planted_overlap(
    signatures: Mapping[str, pd.DataFrame],
    planted: Mapping[str, Collection[str]],
    by: str = "mean_abs",
) -> list[dict[str, Any]]:
    """Compare what strata share in their signatures with what was planted in common.

    Lists have the length of the smaller number of planted genes among the genes that both strata's
    models were given.

    Args:
        signatures: Stratum to its signature: gene, and ``by``.
        planted: Stratum to its planted genes.
        by: Column that ranks genes; those at or below 0 are in no list.

    Returns:
        One entry a pair of strata: ``strata``, ``k``, ``genes`` in common, ``planted_in_common``,
        ``overlap``, ``expected`` and ``p_at_least`` as ``overlap_test`` gives them; ``recovered``
        says whether the signatures overlap more than chance exactly where the planted genes do;
        null with a ``reason`` where there is nothing to compare.
    """
    compared = []
    for first, second in combinations(signatures, 2):
        one, other = (signatures[name].set_index("gene")[by] for name in (first, second))
        common = sorted(set(one.index) & set(other.index))
        given, rival = ({*planted[name]} & {*common} for name in (first, second))
        k = min(len(given), len(rival))
        entry: dict[str, Any] = {"strata": [first, second], "k": k, "genes": len(common)}
        entry["planted_in_common"] = len(given & rival)
        if k == 0:
            entry |= dict.fromkeys(("overlap", "expected", "p_at_least", "recovered"))
            entry["reason"] = "no planted gene was given to both models"
            compared.append(entry)
            continue
        found = overlap_test(one, other, k)
        # What the test would say of the planted genes themselves.
        ideal = overlap_test(_indicator(given, common), _indicator(rival, common), k)
        alike = (found["p_at_least"] < _CHANCE) == (ideal["p_at_least"] < _CHANCE)
        entry |= {key: found[key] for key in ("overlap", "expected", "p_at_least")}
        compared.append({**entry, "recovered": alike})
    return compared


def _indicator(genes: Collection[str], common: Sequence[str]) -> pd.Series:
    return pd.Series({gene: float(gene in genes) for gene in common})
