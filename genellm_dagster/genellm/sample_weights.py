"""Weights of training samples: fair to classes and cohorts, and drawn at random around that."""

from __future__ import annotations

import numpy as np


def balanced_weights(cohorts: np.ndarray, cases: np.ndarray) -> np.ndarray:
    """Weigh samples so that each class of each cohort counts the same; mean weight 1.

    Otherwise a large cohort with many cases lets the model tell the cohort and call it disease.

    Args:
        cohorts: Cohort of each sample.
        cases: 0 or 1 of each sample.

    Returns:
        Weights, float32.
    """
    weights = np.zeros(len(cases), dtype=np.float64)
    for cohort in np.unique(cohorts):
        for case in (0, 1):
            cell = (cohorts == cohort) & (cases == case)
            if cell.any():
                weights[cell] = 1.0 / cell.sum()
    return (weights / weights.mean()).astype(np.float32)


def reweighed(
    weights: np.ndarray, cohorts: np.ndarray, cases: np.ndarray, uniform: np.ndarray
) -> np.ndarray:
    """Multiply weights by random ones of mean 1: Rubin's Bayesian bootstrap (1981).

    Each class of each cohort keeps its total, so that members of an ensemble see other samples of
    it and no other balance.

    Args:
        weights: From :func:`balanced_weights`.
        cohorts: Cohort of each sample.
        cases: 0 or 1 of each sample.
        uniform: Random numbers in [0, 1), one a sample.

    Returns:
        Weights, float32.
    """
    drawn = weights * -np.log1p(-uniform)
    for cohort in np.unique(cohorts):
        for case in (0, 1):
            cell = (cohorts == cohort) & (cases == case)
            if cell.any():
                drawn[cell] *= weights[cell].sum() / drawn[cell].sum()
    return drawn.astype(np.float32)
