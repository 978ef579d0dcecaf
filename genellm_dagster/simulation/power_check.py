"""The formulas of ``power`` held against draws: how often a difference is really found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genellm_dagster.evaluation.delong import delong_covariance
from genellm_dagster.evaluation.intervals import auroc_interval, normal_quantile, square_and_add
from genellm_dagster.simulation.power import Sizes


@dataclass(frozen=True)
class FoundDifferences:
    """How often two strata were told apart.

    Attributes:
        draws: Pairs of strata drawn.
        by_delong: Share in which the test by DeLong's variances found the difference.
        by_interval: Share in which the interval that the age comparison gives left out zero.
    """

    draws: int
    by_delong: float
    by_interval: float

    @property
    def sampling_error(self) -> float:
        """Standard error of the larger share's estimate, from the number of draws."""
        shares = np.array([self.by_delong, self.by_interval])
        return float(np.sqrt(shares * (1 - shares) / self.draws).max())


def find_differences(
    first: float,
    second: float,
    sizes: tuple[Sizes, Sizes],
    draws: int,
    seed: int,
    alpha: float = 0.05,
    spread: float = 1.0,
) -> FoundDifferences:
    """Draw two strata again and again and look for the difference of their AUROC.

    Scores are normal (binormal).

    Args:
        first: True AUROC of one stratum, above 0 and below 1.
        second: True AUROC of the other.
        sizes: Whole persons of the one and of the other.
        draws: How often.
        seed: Of the scores.
        alpha: Level of the two-sided test.
        spread: Standard deviation of the scores of cases over that of controls.
    """
    random = np.random.default_rng(seed)
    strata = [
        _draw(random, auroc, size, draws, spread)
        for auroc, size in zip((first, second), sizes, strict=True)
    ]
    bound = normal_quantile(1 - alpha)
    tested = []
    for case, scores in strata:
        # Every draw as another model on the same persons: only the diagonal is wanted.
        values, covariance = delong_covariance(case, scores)
        tested.append((values, covariance.diagonal()))
    (one, variance), (other, other_variance) = tested
    error = np.sqrt(variance + other_variance)
    # Two perfect strata have no error and no difference.
    by_delong = np.abs(one - other) > bound * error

    def interval_leaves_out_zero(draw: int) -> bool:
        parts = [
            auroc_interval(case, scores[draw], np.arange(len(case)), 1 - alpha)
            for case, scores in strata
        ]
        found = square_and_add(*parts)
        return found.low is not None and found.high is not None and found.low * found.high > 0

    by_interval = [interval_leaves_out_zero(draw) for draw in range(draws)]
    return FoundDifferences(draws, float(by_delong.mean()), float(np.mean(by_interval)))


def _draw(
    random: np.random.Generator, auroc: float, sizes: Sizes, draws: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    from scipy.stats import norm

    case = np.repeat([1, 0], [round(sizes.cases), round(sizes.controls)])
    # AUROC = Phi(distance / sqrt(variance of cases + variance of controls)).
    distance = float(norm.ppf(auroc)) * np.sqrt(1 + spread**2)
    scores = random.normal(size=(draws, len(case))) * np.where(case == 1, spread, 1.0)
    return case, scores + distance * case
