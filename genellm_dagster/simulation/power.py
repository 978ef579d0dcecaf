"""How many samples it takes to see that the AUROC of two strata differs.

The strata are independent people, so the variance of the difference is the sum of the two. The
variance of one AUROC follows from the sample sizes and from how often two cases are both above one
control and one case is above two controls (Bamber, Journal of Mathematical Psychology 12 (1975)
387; Hanley and McNeil, Radiology 143 (1982) 29, equation 1). How often depends on the shape of the
scores: *normal* with equal spread, or *exponential*, Hanley and McNeil's own approximation (their
equation 2), which takes controls to be worth more than cases and so promises too much where cases
are many. The test is the two-sided one of the difference over its own standard error, as DeLong's
is (``evaluation`` makes it from the scores themselves). What these formulas leave out is told in
``docs/power.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import pandas as pd

from genellm_dagster.errors import SettingsError

Shape = Literal["normal", "exponential"]
"""How the scores of cases and controls are taken to be distributed."""

# More samples a stratum than any blood transcriptome study will ever have.
_SEARCH_LIMIT = 10_000_000


def _require_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise SettingsError(
            f"The {name} {value:g} cannot be planned with; give a number between 0 and 1."
        )


@dataclass(frozen=True)
class Sizes:
    """Persons of one stratum; planning may use parts of a person."""

    cases: float
    controls: float

    def __post_init__(self) -> None:
        if self.cases < 1 or self.controls < 1:
            raise SettingsError(
                f"{self.cases:g} cases and {self.controls:g} controls are too few for an AUROC; "
                "there must be one of each at least."
            )

    @classmethod
    def of(cls, samples: float, prevalence: float) -> Sizes:
        """Return ``samples`` persons of whom the share ``prevalence`` are cases."""
        return cls(samples * prevalence, samples * (1 - prevalence))


@dataclass(frozen=True)
class Plan:
    """What a comparison of two strata is asked to do.

    Attributes:
        power: Probability to see a difference that is there.
        alpha: Level of the two-sided test.
        shape: Of the scores.
    """

    power: float = 0.8
    alpha: float = 0.05
    shape: Shape = "normal"

    def __post_init__(self) -> None:
        _require_share("power", self.power)
        _require_share("alpha", self.alpha)
        if self.power <= self.alpha:
            raise SettingsError(
                f"A power of {self.power:g} is reached by chance at the level {self.alpha:g}; ask "
                "for more."
            )


STANDARD = Plan()


def auroc_variance(auroc: float, sizes: Sizes, shape: Shape = "normal") -> float:
    """Variance of an estimated AUROC.

    Args:
        auroc: The true AUROC, above 0 and below 1.
        sizes: Cases and controls.
        shape: Of the scores.

    Raises:
        SettingsError: When the AUROC is not between 0 and 1.
    """
    if not 0 < auroc < 1:
        raise SettingsError(
            f"An AUROC of {auroc:g} cannot be planned with; give one inside (0, 1)."
        )
    two_cases, two_controls = _both_above(auroc, shape)
    total = (
        auroc * (1 - auroc)
        + (sizes.cases - 1) * (two_cases - auroc**2)
        + (sizes.controls - 1) * (two_controls - auroc**2)
    )
    return total / (sizes.cases * sizes.controls)


def _both_above(auroc: float, shape: Shape) -> tuple[float, float]:
    """Probability that two cases are above one control, and one case above two controls."""
    from scipy.special import owens_t
    from scipy.stats import norm

    if shape == "exponential":
        return auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    # Case minus control, twice, sharing one of the two: correlated by one half. The probability
    # that both are above zero, by Owen's T (Annals of Mathematical Statistics 27 (1956) 1075).
    distance = norm.ppf(auroc)
    both = float(auroc - 2 * owens_t(distance, math.sqrt(1 / 3)))
    return both, both


def power_of_difference(
    first: float, second: float, sizes: tuple[Sizes, Sizes], plan: Plan = STANDARD
) -> float:
    """Probability that the two-sided test finds the difference of two strata.

    Args:
        first: True AUROC of one stratum.
        second: True AUROC of the other.
        sizes: Persons of the one and of the other.
        plan: Level of the test and shape of the scores.
    """
    from scipy.stats import norm

    variance = sum(
        auroc_variance(auroc, size, plan.shape)
        for auroc, size in zip((first, second), sizes, strict=True)
    )
    z, bound = abs(first - second) / math.sqrt(variance), float(norm.isf(plan.alpha / 2))
    return float(norm.sf(bound - z) + norm.sf(bound + z))


def samples_needed(
    higher: float, difference: float, prevalence: float, plan: Plan = STANDARD
) -> Sizes:
    """Fewest persons a stratum (both equally large) that show a difference with this power.

    Args:
        higher: AUROC of the better stratum; the other has ``higher - difference``.
        difference: Above 0.
        prevalence: Share of cases, the same in both strata.
        plan: What is asked of the comparison.

    Returns:
        Whole persons of one stratum, both classes rounded up.

    Raises:
        SettingsError: When the numbers cannot be planned with.
    """
    _require_share("difference", difference)
    _require_share("prevalence", prevalence)

    def enough(samples: int) -> bool:
        sizes = Sizes.of(samples, prevalence)
        found = power_of_difference(higher, higher - difference, (sizes, sizes), plan)
        return found >= plan.power

    low = math.ceil(1 / min(prevalence, 1 - prevalence))
    high = low
    while not enough(high):
        low, high = high, 2 * high
        if high > _SEARCH_LIMIT:
            raise SettingsError(
                f"A difference of {difference:g} takes more than {_SEARCH_LIMIT:,} samples a "
                "stratum; ask for a larger one."
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    fewest = Sizes.of(high, prevalence)
    # 30.000000000000004 persons are 30.
    return Sizes(math.ceil(fewest.cases - 1e-9), math.ceil(fewest.controls - 1e-9))


def smallest_difference(
    higher: float, sizes: tuple[Sizes, Sizes], plan: Plan = STANDARD
) -> float | None:
    """Smallest difference that strata of these sizes show with this power.

    Args:
        higher: AUROC of the first stratum; the second is taken to be worse.
        sizes: Persons of the first and of the second.
        plan: What is asked of the comparison.

    Returns:
        The difference, to within .0001, None when not even a second AUROC of one half would show.
    """
    low, high = 0.0, higher - 0.5
    if high <= 0 or power_of_difference(higher, 0.5, sizes, plan) < plan.power:
        return None
    while high - low > 1e-4:
        middle = (low + high) / 2
        enough = power_of_difference(higher, higher - middle, sizes, plan) >= plan.power
        low, high = (low, middle) if enough else (middle, high)
    return high


def needed_table(
    aurocs: Sequence[float],
    prevalences: Sequence[float],
    difference: float = 0.05,
    plan: Plan = STANDARD,
) -> pd.DataFrame:
    """Persons needed in each stratum, one row an AUROC and a prevalence.

    Returns:
        ``auroc`` (of the better stratum), ``other_auroc``, ``prevalence``, ``cases``, ``controls``
        and ``n``, all of one stratum.
    """
    rows = []
    for auroc, prevalence in product(aurocs, prevalences):
        sizes = samples_needed(auroc, difference, prevalence, plan)
        rows.append(
            {
                "auroc": auroc,
                "other_auroc": round(auroc - difference, 6),
                "prevalence": prevalence,
                "cases": int(sizes.cases),
                "controls": int(sizes.controls),
                "n": int(sizes.cases + sizes.controls),
            }
        )
    return pd.DataFrame(rows)


def seen_table(
    aurocs: Sequence[float],
    sizes: tuple[Sizes, Sizes],
    difference: float = 0.05,
    plan: Plan = STANDARD,
) -> pd.DataFrame:
    """What two strata of given sizes could show, one row a true AUROC of the first.

    Returns:
        ``auroc``, ``power`` (to see ``difference``), ``smallest_difference`` (seen with the asked
        power; None when none is).
    """
    return pd.DataFrame(
        [
            {
                "auroc": auroc,
                "power": power_of_difference(auroc, auroc - difference, sizes, plan),
                "smallest_difference": smallest_difference(auroc, sizes, plan),
            }
            for auroc in aurocs
        ]
    )
