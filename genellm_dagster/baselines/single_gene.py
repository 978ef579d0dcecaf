"""The best single gene: what the simplest conceivable test reaches on the same folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ChosenGene:
    """A gene chosen on a training fold.

    ``auroc`` is the average over training cohorts of the AUROC inside each, direction applied.
    """

    gene: str
    direction: Literal["up", "down"]
    auroc: float
    cohorts_used: int


def auroc_by_gene(values: FloatArray, case: NDArray[np.int_]) -> FloatArray:
    """AUROC of each column, ties counting one half, missing values left out.

    Args:
        values: Samples x genes; NaN where not measured.
        case: 1 case, 0 control.

    Returns:
        One AUROC a gene; NaN for a gene measured in one class only.
    """
    from scipy.stats import rankdata

    measured = np.isfinite(values)
    # Missing values rank above everything, so that they never stand between measured ones.
    ranks = rankdata(np.where(measured, values, np.inf), axis=0)
    is_case = (case == 1)[:, None] & measured
    cases = is_case.sum(axis=0).astype(np.float64)
    controls = measured.sum(axis=0) - cases
    rank_sum = np.where(is_case, ranks, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: FloatArray = (rank_sum - cases * (cases + 1) / 2) / (cases * controls)
    return np.where((cases > 0) & (controls > 0), result, np.nan)


def choose_gene(
    values: pd.DataFrame, case: NDArray[np.int_], cohorts: NDArray[np.object_]
) -> ChosenGene | None:
    """Choose the gene with the best AUROC averaged within cohorts, so that batch does not choose.

    Cohorts weigh by cases x controls / (cases + controls). Where no training cohort holds both
    classes the AUROC over all samples is used. Ties go to the larger difference of class means in
    units of the gene's spread, then to the alphabet.

    Args:
        values: Training samples x candidate genes; NaN where not measured.
        case: 1 case, 0 control.
        cohorts: Cohort of each sample.

    Returns:
        The gene, or none when no candidate is measured in both classes.
    """
    names = [str(name) for name in values.columns]
    matrix = values.to_numpy(dtype=np.float64)
    groups = [cohorts == name for name in pd.unique(cohorts)]
    groups = [mask for mask in groups if 0 < case[mask].sum() < mask.sum()]
    cohorts_used = len(groups)
    if not groups:
        groups = [np.ones(len(case), dtype=bool)]
    total = np.zeros(matrix.shape[1])
    weight = np.zeros(matrix.shape[1])
    shift = np.zeros(matrix.shape[1])
    for mask in groups:
        part, labels = matrix[mask], case[mask]
        auroc = auroc_by_gene(part, labels)
        cases = int(labels.sum())
        share = cases * (len(labels) - cases) / len(labels)
        known = np.isfinite(auroc)
        total[known] += share * auroc[known]
        weight[known] += share
        shift[known] += share * _standardised_shift(part[:, known], labels)
    if not (weight > 0).any():
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        average = np.where(weight > 0, total / weight, 0.5)
        shift = np.where(weight > 0, shift / weight, 0.0)
    strength = np.abs(average - 0.5)
    order = sorted(
        np.flatnonzero(np.isclose(strength, strength.max(), rtol=0, atol=1e-12)),
        key=lambda position: (-abs(shift[position]), names[position]),
    )
    best = int(order[0])
    up = bool(average[best] >= 0.5)
    return ChosenGene(
        gene=names[best],
        direction="up" if up else "down",
        auroc=float(0.5 + strength[best]),
        cohorts_used=cohorts_used,
    )


def _standardised_shift(values: FloatArray, case: NDArray[np.int_]) -> FloatArray:
    difference = np.nanmean(values[case == 1], axis=0) - np.nanmean(values[case == 0], axis=0)
    spread = np.nanstd(values, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, difference / spread, 0.0)
