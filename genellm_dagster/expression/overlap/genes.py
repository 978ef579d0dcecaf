"""Which genes tell one array from another, chosen once for all cohorts."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from genellm_dagster.expression.normalisation import rank_normal
from genellm_dagster.expression.options import OverlapOptions

# Level and spread of a gene are known well enough from this many samples of a cohort.
_SAMPLES_TO_JUDGE_GENES = 100


def complete_genes(table: pd.DataFrame) -> pd.Index:
    """Return the genes measured in every sample: no value is made up for a missing one."""
    return table.index[np.isfinite(table.to_numpy()).all(axis=1)]


def ordered_genes(
    tables: dict[str, pd.DataFrame], complete: dict[str, pd.Index], options: OverlapOptions
) -> pd.Index:
    """Order all genes: the well expressed ones first, among them those that vary most.

    Level and spread are shares of rank within a cohort, averaged over the cohorts that measure
    the gene. What lies at the floor does not survive another normalisation.
    """
    judged = []
    for name in sorted(tables):
        table = tables[name]
        step = -(-table.shape[1] // _SAMPLES_TO_JUDGE_GENES)
        scores = rank_normal(table.loc[complete[name], table.columns[::step]])
        if len(scores):
            level, spread = scores.mean(axis=1), scores.std(axis=1)
            judged.append(
                pd.DataFrame({"level": level.rank(pct=True), "spread": spread.rank(pct=True)})
            )
    if not judged:
        return pd.Index([])
    # Rounded, so that the order in which cohorts were summed is nothing; the name decides a tie.
    mean = pd.concat(judged).rename_axis("gene").groupby("gene").mean().round(9).reset_index()
    mean = mean.sort_values(["level", "gene"])
    floor = np.arange(len(mean)) < options.low_expression_share * len(mean)
    order = mean.assign(floor=floor).sort_values(
        ["floor", "spread", "gene"], ascending=[True, False, True]
    )
    return pd.Index(order["gene"])


def compared_genes(
    order: pd.Index, complete: dict[str, pd.Index], options: OverlapOptions
) -> dict[str, np.ndarray]:
    """Choose the genes of each cohort that any of its comparisons reads.

    Two cohorts compare the first ``max_genes`` of the order that both measure; what is kept of a
    cohort is the union over its partners, so that a table is ranked and cleaned once.

    Returns:
        For each cohort the ascending positions in ``order`` of the genes kept.
    """
    measured = {name: order.isin(genes) for name, genes in complete.items()}
    layouts = {mask.tobytes(): mask for mask in measured.values()}
    universe = np.zeros(len(order), dtype=bool)
    for a, b in itertools.combinations_with_replacement(layouts.values(), 2):
        universe[np.flatnonzero(a & b)[: options.max_genes]] = True
    return {name: np.flatnonzero(mask & universe) for name, mask in measured.items()}


def common_genes(complete: dict[str, pd.Index]) -> dict[tuple[str, str], int]:
    """Count the genes that two cohorts both measure in every sample.

    Returns:
        The count of each pair of cohorts in order of name, and of each cohort with itself.
    """
    names = sorted(complete)
    every = pd.Index(sorted(set().union(*complete.values()) if complete else []))
    masks = np.array([every.isin(complete[name]) for name in names], dtype=np.float32)
    masks = masks.reshape(len(names), len(every))
    counts = masks @ masks.T
    return {
        (names[i], names[j]): int(counts[i, j])
        for i in range(len(names))
        for j in range(i, len(names))
    }
