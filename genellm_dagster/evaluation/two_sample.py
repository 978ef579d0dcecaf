"""Classifier two-sample tests: can a classifier tell two groups of samples apart at all?

Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017. Half of the people
train a linear classifier, the other half are ranked by it. Where the groups are one, nothing that
was learned on the first half orders the second, so the null is exact for people who are
independent. AUROC takes the place of their accuracy, because groups are of unequal size; for more
than two groups it is the mean over all pairs of groups (Hand and Till, Machine Learning 45 (2001)
171).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.evaluation import intervals
from genellm_dagster.evaluation.intervals import Interval

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int_]

_STRENGTH = 0.01
"""C of the classifier, per standardised dimension; small, for these outnumber the people."""
_FEWEST = 4
"""People of a group: two to train on and two to test."""


def two_sample_test(
    points: FloatArray,
    group: IntArray,
    persons: IntArray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Test whether groups of samples lie alike in a space.

    Args:
        points: Samples x dimensions.
        group: Group of each sample; two or more.
        persons: Person of each sample. All of a person's samples are on one side, and count once on
            the test side: by their mean score.
        confidence: Coverage of the interval.
        resamples: Permutations of the test side's groups, and resamplings of it, for more than two.
        seed: Of the halves, permutations and resamplings.

    Returns:
        value (AUROC on the held-out half; .5 where nothing tells the groups apart), low, high, p
        (one-sided), n (people tested), groups; value null with a reason where people are too few.
    """
    names, number = np.unique(group, return_inverse=True)
    people = [len(np.unique(persons[number == one])) for one in range(len(names))]
    empty = {"p": None, "n": 0, "groups": len(names)}
    if len(names) < 2 or min(people) < _FEWEST:
        why = f"fewer than {_FEWEST} people in a group" if len(names) > 1 else "only one group"
        return {**Interval(None, None, None, why).as_json(), **empty}
    train, test = _halves(number, persons, seed)
    score = _scores(points[train], number[train], points[test])
    score, held = _by_person(score, number[test], persons[test])
    if len(np.unique(held)) < len(names) or len(np.unique(number[train])) < len(names):
        return {**Interval(None, None, None, "a half lacks a group").as_json(), **empty}
    if len(names) == 2:
        from scipy.stats import mannwhitneyu

        interval = intervals.auroc_interval(held, score[:, 1], np.arange(len(held)), confidence)
        p = float(
            mannwhitneyu(score[held == 1, 1], score[held == 0, 1], alternative="greater").pvalue
        )
    else:
        interval, p = _of_several(score, held, confidence, resamples, seed)
    return {**interval.as_json(), "p": p, "n": len(held), "groups": len(names)}


def _halves(number: IntArray, persons: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(2, shuffle=True, random_state=seed % 2**32)
    train, test = next(iter(splitter.split(number, number, persons)))
    return train, test


def _scores(train: FloatArray, number: IntArray, test: FloatArray) -> FloatArray:
    """Probability of each group, test samples x groups."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=1000)
    )
    result: FloatArray = model.fit(train, number).predict_proba(test)
    return result


def _by_person(
    score: FloatArray, number: IntArray, persons: IntArray
) -> tuple[FloatArray, IntArray]:
    """Mean score of each person in each group that the person has samples of."""
    key, first, place = np.unique(
        persons * (number.max() + 1) + number, return_index=True, return_inverse=True
    )
    total = np.zeros((len(key), score.shape[1]))
    np.add.at(total, place, score)
    return total / np.bincount(place)[:, None], number[first]


def _of_several(
    score: FloatArray, held: IntArray, confidence: float, resamples: int, seed: int
) -> tuple[Interval, float]:
    generator = np.random.default_rng(seed)
    value = mean_pairwise_auroc(score, held)
    permuted = [mean_pairwise_auroc(score, generator.permutation(held)) for _ in range(resamples)]
    p = (1 + sum(one >= value - 1e-12 for one in permuted)) / (resamples + 1)
    groups = [np.flatnonzero(held == one) for one in np.unique(held)]
    drawn = []
    for _ in range(resamples):
        rows = np.concatenate([generator.choice(one, len(one)) for one in groups])
        drawn.append(mean_pairwise_auroc(score[rows], held[rows]))
    interval = intervals.percentile_interval(value, np.array(drawn), confidence)
    if interval.high is not None and interval.high >= 1 - 1e-12:
        # Where resamples pile up at 1, the two smallest groups say how little is known below it.
        sizes = sorted(len(one) for one in groups)
        low, _ = intervals.newcombe_interval(value, sizes[0], sizes[1], confidence)
        interval = Interval(value, min(float(interval.low or 0.0), low), interval.high)
    return interval, float(p)


def mean_pairwise_auroc(score: FloatArray, group: IntArray) -> float:
    """AUROC averaged over all pairs of groups, in both directions (Hand and Till 2001).

    Args:
        score: Samples x groups, higher where a sample looks more like the group.
        group: Group of each sample, 0 to groups - 1; all of them present.
    """
    from scipy.stats import rankdata

    found = []
    for one in range(score.shape[1]):
        for other in range(score.shape[1]):
            if one == other:
                continue
            rows = (group == one) | (group == other)
            own = group[rows] == one
            ranks = rankdata(score[rows, one])
            count = int(own.sum())
            above = ranks[own].sum() - count * (count + 1) / 2
            found.append(above / (count * (len(own) - count)))
    return float(np.mean(found))
