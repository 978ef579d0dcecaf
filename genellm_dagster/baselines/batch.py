"""How well cohorts can be told apart, and how much of the label a cohort's name gives away.

Both are asked on folds of persons that hold every cohort, because a cohort that is held out whole
could not be told by name. They judge the study, not a model: where the label goes with the cohort,
and cohorts are told apart by their profiles, a model can be right for the wrong reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.baselines.controls import fit_cohorts
from genellm_dagster.baselines.options import CohortOnlyOptions
from genellm_dagster.baselines.signatures import Refused
from genellm_dagster.baselines.single_gene import auroc_by_gene

FloatArray = NDArray[np.float64]
_FEWEST = 2
"""Persons that a cohort must have, so that one can be held out."""


@dataclass(frozen=True)
class CohortsToldApart:
    """Out-of-fold probabilities of cohorts.

    Attributes:
        names: The cohorts, in alphabetical order.
        cohort: Number of each sample's cohort.
        said: Samples x cohorts.
        fold: Number of the fold in which each sample was held out.
        persons: Person of each sample.
    """

    names: tuple[str, ...]
    cohort: NDArray[np.int_]
    said: FloatArray
    fold: NDArray[np.int_]
    persons: NDArray[np.object_]


def tell_cohorts_apart(
    profiles: pd.DataFrame,
    case: NDArray[np.int_],
    cohorts: NDArray[np.object_],
    persons: NDArray[np.object_],
    options: CohortOnlyOptions,
    seed: int,
) -> CohortsToldApart | Refused:
    """Tell cohorts apart by their profiles, on persons that were held out.

    Args:
        profiles: Samples x genes.
        case: 1 case, 0 control; both weigh the same in a cohort, so that the disease tells none.
        cohorts: Cohort of each sample.
        persons: Person of each sample; overlapping samples share one.
        options: Penalty and number of folds.
        seed: Seed of the folds.

    Returns:
        Probabilities of every sample, or why there are none.
    """
    names, number = np.unique(cohorts.astype(str), return_inverse=True)
    if len(names) < 2:
        return Refused(f"{names[0]} is the only cohort; there is no batch to tell.")
    fewest = _persons_by(number, persons)
    if min(fewest) < _FEWEST:
        return Refused(
            f"{names[int(np.argmin(fewest))]} has one person; none can be held out of it."
        )
    values = profiles.to_numpy(dtype=np.float64)
    said = np.full((len(case), len(names)), np.nan)
    fold = np.zeros(len(case), dtype=np.int_)
    count = min(options.folds, *fewest)
    for place, (train, test) in enumerate(_folds(number, case, persons, count, seed)):
        if len(np.unique(number[train])) < len(names):
            return Refused("The persons of a cohort fall into one fold; there are too few of them.")
        predict = fit_cohorts(values[train], case[train], cohorts[train].astype(str), options)
        said[test] = predict(values[test])
        fold[test] = place
    return CohortsToldApart(tuple(map(str, names)), number, said, fold, persons)


def label_by_cohort(
    case: NDArray[np.int_],
    cohort: NDArray[np.int_],
    fold: NDArray[np.int_],
    at: NDArray[np.int_] | None = None,
) -> float | None:
    """AUROC of the label when nothing is known of a sample but the name of its cohort.

    The score is the share of cases among the cohort's samples outside the fold. It is taken inside
    each fold, where samples of a cohort are tied, and averaged by cases x controls: between folds
    a cohort's share is the lower the more cases the fold holds, which would turn ties round.

    Args:
        case: 1 case, 0 control.
        cohort: Number of each sample's cohort.
        fold: Number of the fold in which each sample is held out.
        at: Places of the samples it is judged on, repeats allowed; all when not given.

    Returns:
        The AUROC, one half where cohorts have the same share; none where no fold holds both
        classes.
    """
    at = np.arange(len(case)) if at is None else at
    total = weight = 0.0
    for place in np.unique(fold):
        rest = fold != place
        share = np.array(
            [
                case[rest & (cohort == number)].mean() if (rest & (cohort == number)).any() else 0.5
                for number in range(int(cohort.max()) + 1)
            ]
        )
        here = at[fold[at] == place]
        cases = int(case[here].sum())
        pairs = cases * (len(here) - cases)
        if pairs:
            total += pairs * float(auroc_by_gene(share[cohort[here]][:, None], case[here])[0])
            weight += pairs
    return total / weight if weight else None


def resampled(
    groups: NDArray[np.int_], persons: NDArray[np.object_], times: int, seed: int
) -> Iterable[NDArray[np.int_]]:
    """Draw persons whole, with replacement, within groups.

    Args:
        groups: Group of each sample; a person belongs to that of its first sample.
        persons: Person of each sample.
        times: How often.
        seed: Seed of the draws.

    Yields:
        Places of the drawn samples.
    """
    random = np.random.default_rng(seed)
    _, first, number = np.unique(persons.astype(str), return_index=True, return_inverse=True)
    samples_of = [np.flatnonzero(number == person) for person in range(len(first))]
    members = [np.flatnonzero(groups[first] == group) for group in np.unique(groups[first])]
    for _ in range(times):
        drawn = np.concatenate([random.choice(one, len(one)) for one in members])
        yield np.concatenate([samples_of[person] for person in drawn])


def _persons_by(cohort: NDArray[np.int_], persons: NDArray[np.object_]) -> list[int]:
    return [len(np.unique(persons[cohort == one].astype(str))) for one in np.unique(cohort)]


def _folds(
    cohort: NDArray[np.int_],
    case: NDArray[np.int_],
    persons: NDArray[np.object_],
    count: int,
    seed: int,
) -> Iterable[tuple[NDArray[np.int_], NDArray[np.int_]]]:
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    # Classes are spread over folds, too, where any class of a cohort can be.
    strata = 2 * cohort + case
    if np.bincount(strata).max() < count:
        strata = cohort
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class of a cohort may have fewer persons than there are folds; it is split as it can.
        warnings.filterwarnings("ignore", message="The least populated class")
        yield from splitter.split(case, strata, persons.astype(str))
