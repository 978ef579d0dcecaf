"""Folds inside a training side, on which penalties are chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int_]


def inner_folds(
    cases: np.ndarray, cohorts: np.ndarray, persons: np.ndarray, folds: int, seed: int
) -> list[tuple[Integers, Integers]]:
    """Leave one cohort out where there are two or more, else groups of persons.

    Args:
        cases: 0 or 1 of each training sample.
        cohorts: Cohort of each.
        persons: Person of each; within a cohort no person is on both sides.
        folds: Folds when one cohort is left.
        seed: Of the groups.

    Returns:
        Training and test rows of each fold whose both sides hold both classes; none when there are
        too few persons.
    """
    every = np.arange(len(cases))
    names = np.unique(cohorts)
    if len(names) > 1:
        split = [np.flatnonzero(cohorts == name) for name in names]
        usable = _usable(cases, every, split)
        if usable:
            return usable
    from sklearn.model_selection import StratifiedGroupKFold

    # The same name in two cohorts is two persons.
    pairs = [f"{cohort}\n{person}" for cohort, person in zip(cohorts, persons, strict=True)]
    group = np.unique(pairs, return_inverse=True)[1]
    fewest = min(len(np.unique(group[cases == label])) for label in (0, 1))
    if fewest < 2:
        return []
    splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
    return _usable(cases, every, [test for _, test in splitter.split(every, cases, group)])


def _usable(
    cases: np.ndarray, every: Integers, tests: list[Integers]
) -> list[tuple[Integers, Integers]]:
    pairs = [(np.setdiff1d(every, test), test) for test in tests]
    return [pair for pair in pairs if all(0 < cases[side].sum() < len(side) for side in pair)]
