"""Penalties chosen inside the training fold: inner folds that no person crosses, and the choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.baselines.squash import class_weights

FloatArray = NDArray[np.float64]
Integers = NDArray[np.int_]
Predict = Callable[[FloatArray], FloatArray]
Loss = Callable[[Integers, FloatArray, FloatArray], float]


@dataclass(frozen=True)
class InnerFolds:
    """Inner folds as places among the training samples, and a word for how they were made."""

    splits: list[tuple[Integers, Integers]]
    kind: str


@dataclass(frozen=True)
class Choice:
    """Which candidate was chosen.

    Attributes:
        best: Its number; the middle one where there is nothing to choose on.
        kind: How the inner folds were made.
        folds: How many there were.
        out_of_fold: What the chosen candidate said of each training sample when it was held out;
            NaN for samples that no inner fold tested.
    """

    best: int
    kind: str
    folds: int
    out_of_fold: FloatArray


def inner_folds(
    case: Integers, cohorts: NDArray[Any], persons: NDArray[Any], folds: int, seed: int
) -> InnerFolds:
    """Make inner folds whose both sides hold both classes.

    They leave one cohort out where the training fold has two or more, else they are groups of
    persons. Training samples that share a person with the test side are left out of both.

    Args:
        case: 1 case, 0 control.
        cohorts: Cohort of each sample.
        persons: Person of each sample; overlapping samples share one.
        folds: Inner folds when they are groups of persons.
        seed: Seed of these groups.
    """
    names = np.unique(cohorts.astype(str))
    everything = np.arange(len(case))

    def split(test: Integers) -> tuple[Integers, Integers]:
        rest = np.setdiff1d(everything, test)
        return rest[~np.isin(persons[rest], persons[test])], test

    def usable(tests: list[Integers]) -> list[tuple[Integers, Integers]]:
        made = [split(test) for test in tests]
        return [sides for sides in made if all(0 < case[side].sum() < len(side) for side in sides)]

    if len(names) >= 2:
        splits = usable([np.flatnonzero(cohorts.astype(str) == name) for name in names])
        if splits:
            return InnerFolds(splits, "cohort")
    from sklearn.model_selection import StratifiedGroupKFold

    number = np.unique(persons.astype(str), return_inverse=True)[1]
    fewest = min(len(np.unique(number[case == label])) for label in (0, 1))
    if fewest >= 2:
        splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
        splits = usable([test for _, test in splitter.split(case, case, number)])
        if splits:
            return InnerFolds(splits, "groups of persons")
    return InnerFolds([], "default, too few persons to choose")


def choose(
    values: FloatArray,
    case: Integers,
    inner: InnerFolds,
    path: Callable[[FloatArray, Integers], list[Predict]],
    loss: Loss,
    candidates: int,
) -> Choice:
    """Choose the candidate with the least loss over inner folds, both classes weighing the same.

    Args:
        values: Training samples x genes.
        case: 1 case, 0 control.
        inner: Inner folds.
        path: Fits every candidate on some samples; from the simplest to the least simple.
        loss: Of labels, predictions and weights.
        candidates: How many there are.

    Returns:
        The choice; on ties the simpler one.
    """
    said = np.full((candidates, len(case)), np.nan)
    losses = np.zeros(candidates)
    for train, test in inner.splits:
        weights = class_weights(case[test], balanced=True)
        for number, predict in enumerate(path(values[train], case[train])):
            said[number, test] = predict(values[test])
            losses[number] += loss(case[test], said[number, test], weights)
    best = int(np.argmin(np.round(losses, 9))) if inner.splits else candidates // 2
    return Choice(best, inner.kind, len(inner.splits), said[best])


def log_loss(case: Integers, score: FloatArray, weights: FloatArray) -> float:
    """Mean logarithmic loss of scores 0..1."""
    clipped = np.clip(score, 1e-12, 1 - 1e-12)
    losses = -(case * np.log(clipped) + (1 - case) * np.log1p(-clipped))
    return float(np.average(losses, weights=weights))


def squared_hinge(case: Integers, margin: FloatArray, weights: FloatArray) -> float:
    """Mean squared hinge loss of margins: zero where a sample lies beyond 1 on its own side."""
    short = np.maximum(0.0, 1.0 - np.where(case == 1, margin, -margin))
    return float(np.average(short**2, weights=weights))
