"""The score head: a penalised logistic regression on representations, solved to its optimum.

The problem is convex, so that the head depends on no step size, no number of epochs and no seed.
Its penalty is chosen on inner folds of the training samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int_]

_STEPS = 100
_TOLERANCE = 1e-9
_HALVINGS = 30
# The intercept of a cohort with one class only would run away: so much holds it.
_HOLD = 1e-6
# Directions in which samples hardly vary within cohorts count as if they varied by this share of
# the mean one: further down there is only rounding.
_WHITENING_FLOOR = 0.1
# Singular values below this share of the largest are rounding.
_RANK_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ScoreHead:
    """A fitted head.

    Attributes:
        weight: One number a dimension.
        intercepts: One a training cohort.
        bias: The intercept for a cohort that was not trained on: the mean over the cohorts that
            hold both classes (over all where none does), because the others do not tell theirs.
        loss: Weighted mean log loss on the training samples, without the penalties.
    """

    weight: Floats
    intercepts: Floats
    bias: float
    loss: float


@dataclass(frozen=True)
class InnerScores:
    """What a head that was trained on one side of an inner fold says of the other.

    Attributes:
        logits: One a sample of the test side.
        cases: 0 or 1 of each.
    """

    logits: Floats
    cases: Floats


@dataclass(frozen=True)
class Chosen:
    """A penalty, and what was seen of it.

    Attributes:
        penalty: Of the weights.
        inner: What heads with that penalty say of each inner fold's test side.
    """

    penalty: float
    inner: tuple[InnerScores, ...]


def solve_head(
    features: Floats,
    cases: Floats,
    cohorts: Integers,
    weights: Floats,
    penalty: float,
    intercept_penalty: float,
    whitening: float = 0.0,
    whitened: int | None = None,
) -> ScoreHead:
    """Minimise weighted mean log loss + penalty / 2 |w|^2 + intercept_penalty / 2 |deviations|^2.

    A deviation is how far a cohort's intercept lies from the mean one, so that a penalty of zero
    lets each cohort have its own, and a large one gives them all the same. With whitening the
    penalty is on the weights of features whose variances within cohorts were brought closer to each
    other, their sum staying what it was.

    Args:
        features: samples x dimensions.
        cases: 0 or 1 of each sample.
        cohorts: Number of each sample's cohort, from 0.
        weights: Weight of each sample.
        penalty: Of the weights.
        intercept_penalty: Of the deviations.
        whitening: Power of the within-cohort covariance by which features are divided, 0 to 0.5.
        whitened: How many dimensions, from the first, are whitened; all when not given.

    Returns:
        The optimum.
    """
    share = weights / weights.sum()
    evening = _evening(features, cohorts, share, whitening, whitened)
    problem = _Problem(evening(features), cases, cohorts, share)
    slope, intercepts = problem.split(problem.solve(penalty, intercept_penalty))
    logits = features @ (weight := evening(slope[None])[0]) + intercepts[cohorts]
    return ScoreHead(
        weight,
        intercepts,
        common_intercept(intercepts, cases, cohorts),
        log_loss(logits, cases, share),
    )


def choose_penalty(
    features: Floats,
    cases: Floats,
    cohorts: Integers,
    weights: Floats,
    inner: Sequence[tuple[Integers, Integers]],
    penalties: Sequence[float],
    intercept_penalty: float,
    whitening: float = 0.0,
    whitened: int | None = None,
) -> Chosen:
    """Choose the penalty of the weights on inner folds.

    Each inner fold scores its test side as a cohort that was not trained on; what counts is the log
    loss at equal prevalence. Whitening sees all training samples once, and no label.

    Args:
        features: As for :func:`solve_head`.
        cases: As there.
        cohorts: As there.
        weights: As there.
        inner: Training and test rows of each inner fold; both sides hold both classes.
        penalties: What to choose from.
        intercept_penalty: As for :func:`solve_head`.
        whitening: As there.
        whitened: As there.

    Returns:
        The one with the least loss, the larger one on ties; the middle one where there is no inner
        fold. With it, what its heads say of the test sides.
    """
    ordered = sorted(penalties, reverse=True)
    if not inner:
        return Chosen(ordered[len(ordered) // 2], ())
    evened = _evening(features, cohorts, weights / weights.sum(), whitening, whitened)(features)
    losses = np.zeros(len(ordered))
    said: list[list[InnerScores]] = [[] for _ in ordered]
    for train, test in inner:
        there = np.unique(cohorts[train], return_inverse=True)[1]
        problem = _Problem(
            evened[train], cases[train], there, weights[train] / weights[train].sum()
        )
        parameters = None
        equal = equal_prevalence(cases[test])
        for number, penalty in enumerate(ordered):
            # The last solution is near the next one: penalties fall.
            parameters = problem.solve(penalty, intercept_penalty, parameters)
            slope, intercepts = problem.split(parameters)
            logits = evened[test] @ slope + common_intercept(intercepts, cases[train], there)
            losses[number] += log_loss(logits, cases[test], equal)
            said[number].append(InnerScores(logits, cases[test]))
    best = int(np.argmin(np.round(losses, 9)))
    return Chosen(ordered[best], tuple(said[best]))


class _Problem:
    """One head to solve, in the space that its samples span; parameters are slope, intercepts."""

    def __init__(self, features: Floats, cases: Floats, cohorts: Integers, share: Floats) -> None:
        self.cases, self.share = cases, share
        self.centre = share @ features
        centred = features - self.centre
        self.rotation: Floats | None = None
        # With an L2 penalty the optimum lies in the span of the samples.
        if centred.shape[1] > centred.shape[0]:
            left, size, right = np.linalg.svd(centred, full_matrices=False)
            used = size > _RANK_TOLERANCE * size[0]
            self.rotation, centred = right[used].T, left[:, used] * size[used]
        self.width = centred.shape[1]
        number = int(cohorts.max()) + 1
        self.design = np.hstack([centred, np.eye(number)[cohorts]])
        # How far each intercept lies from the mean one, as a quadratic form.
        self.spread = np.eye(number) - 1.0 / number

    def solve(
        self, penalty: float, intercept_penalty: float, start: Floats | None = None
    ) -> Floats:
        """Return the optimum, by Newton's method."""
        design, width = self.design, self.width
        form = np.zeros((design.shape[1],) * 2)
        form[np.arange(width), np.arange(width)] = penalty
        form[width:, width:] = intercept_penalty * self.spread + _HOLD * np.eye(len(self.spread))

        def value(parameters: Floats) -> float:
            loss = log_loss(design @ parameters, self.cases, self.share)
            return loss + 0.5 * float(parameters @ form @ parameters)

        found = np.zeros(design.shape[1]) if start is None else start
        now = value(found)
        for _ in range(_STEPS):
            probability = 0.5 * (1.0 + np.tanh(0.5 * (design @ found)))
            gradient = design.T @ (self.share * (probability - self.cases)) + form @ found
            curvature = self.share * probability * (1.0 - probability)
            hessian = (design * curvature[:, None]).T @ design + form
            # A penalty of zero leaves directions without curvature.
            hessian[np.diag_indices_from(hessian)] += 1e-12
            step = np.linalg.solve(hessian, gradient)
            for _ in range(_HALVINGS):
                then = value(found - step)
                if then <= now:
                    break
                step = step / 2
            else:
                break
            found, gain, now = found - step, now - then, then
            if gain < _TOLERANCE * 1e-3 and np.abs(step).max() < 1e-6 * (1 + np.abs(found).max()):
                break
        return found

    def split(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Return slope and intercepts on the features as they were given."""
        slope = parameters[: self.width]
        if self.rotation is not None:
            slope = self.rotation @ slope
        return slope, parameters[self.width :] - self.centre @ slope


def log_loss(logits: Floats, cases: Floats, share: Floats) -> float:
    """Return the log loss of samples whose shares add up to 1."""
    return float(share @ (np.logaddexp(0.0, logits) - cases * logits))


def equal_prevalence(cases: Floats) -> Floats:
    """Return shares of samples, adding up to 1, in which either class has one half."""
    return np.where(cases == 1, 0.5 / cases.sum(), 0.5 / (1 - cases).sum())


def common_intercept(intercepts: Floats, cases: Floats, cohorts: Integers) -> float:
    """Return the intercept for a cohort that was not trained on, as :class:`ScoreHead` has it.

    Args:
        intercepts: One a training cohort.
        cases: 0 or 1 of each training sample.
        cohorts: Number of each one's cohort.
    """
    numbers = np.arange(len(intercepts))
    both = [0 < cases[cohorts == number].mean() < 1 for number in numbers]
    return float(intercepts[both].mean() if any(both) else intercepts.mean())


def _evening(
    features: Floats, cohorts: Integers, share: Floats, power: float, whitened: int | None
) -> _Evening | _AsItIs:
    return _Evening(features[:, :whitened], cohorts, share, power) if power else _AsItIs()


class _AsItIs:
    def __call__(self, rows: Floats) -> Floats:
        return rows


class _Evening:
    """Multiplication by (covariance within cohorts + floor) ** -power; it is symmetric.

    Dimensions beyond those it was made from stay as they are.
    """

    def __init__(self, features: Floats, cohorts: Integers, share: Floats, power: float) -> None:
        within = features.copy()
        for cohort in np.unique(cohorts):
            here = cohorts == cohort
            within[here] -= share[here] @ features[here] / share[here].sum()
        # At most as many directions vary as there are samples: no hidden x hidden matrix is made.
        _, singular, self.directions = np.linalg.svd(
            within * np.sqrt(share)[:, None], full_matrices=False
        )
        variance = singular**2
        floor = _WHITENING_FLOOR * variance.sum() / features.shape[1]
        if not floor > 0:
            self.rest, self.along = 1.0, np.zeros_like(variance)
            return
        self.rest = floor**-power
        self.along = (variance + floor) ** -power
        scale = np.sqrt((variance * self.along**2).sum() / variance.sum())
        self.rest, self.along = self.rest / scale, self.along / scale - self.rest / scale

    def __call__(self, rows: Floats) -> Floats:
        width = self.directions.shape[1]
        first = rows[:, :width]
        evened: Floats = first * self.rest
        evened += ((first @ self.directions.T) * self.along) @ self.directions
        return np.hstack([evened, rows[:, width:]])
