"""Thresholds fixed on training folds, and what they give on the test side.

The threshold of a fold is chosen on the fold's training samples only, by their out-of-fold scores:
those that the same kind of model gave them when they were held out. No label and no score of a test
sample enters the choice; samples dropped from a fold's training, because they overlap its test
side, take no part either. The models that scored the training samples did see the fold's test
samples among theirs. With three folds or more that is a small part of what they saw, shared with
the fold's own model. With two it would be all of it: the other fold's model learned on the test
samples alone and shares nothing with the model judged, so that no threshold is taken from it. Inner
cross-validation would need as many fits again; where labels carry no signal, choosing this way
gains nothing, as ``benchmarks/measure_coverage.py`` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from genellm_dagster.evaluation.folds import Folds
from genellm_dagster.evaluation.metrics import FloatArray, IntArray, require_both_classes

FEWEST_FOLDS = 3
TOO_FEW_FOLDS = (
    "with two folds the scores of the training samples come from a model that learned on the test "
    "samples alone"
)

Rule = Callable[[IntArray, FloatArray], float]
"""Case and score of training samples to a threshold; scores at or above it are called cases."""


@dataclass(frozen=True)
class FoldThresholds:
    """The threshold of each fold by name, and of each sample, as it is tested."""

    by_fold: dict[str, float]
    of_sample: FloatArray


def training_thresholds(
    folds: Folds, gsm: Sequence[str], case: IntArray, score: FloatArray, rule: Rule
) -> FoldThresholds | None:
    """Choose the threshold of every fold on its training side.

    Args:
        folds: The folds that the scores come from.
        gsm: Sample of each row, n.
        case: 1 case, 0 control, n.
        score: Out-of-fold scores of one model, n.
        rule: How a threshold is chosen.

    Returns:
        A threshold a fold and, by the fold that tests it, a sample; none with fewer than
        ``FEWEST_FOLDS`` folds, see the module's head.
    """
    if len(folds) < FEWEST_FOLDS:
        return None
    row = {name: place for place, name in enumerate(gsm)}
    of_sample = np.empty(len(row))
    by_fold = {}
    for fold in folds:
        train = np.array([row[name] for name in fold.train])
        threshold = rule(case[train], score[train])
        by_fold[fold.name] = threshold
        of_sample[[row[name] for name in fold.test]] = threshold
    return FoldThresholds(by_fold, of_sample)


def best_balanced(case: IntArray, score: FloatArray) -> float:
    """Threshold of the highest balanced accuracy (Youden, Cancer 3 (1950) 32).

    It lies halfway between two neighbouring scores; of several equally good ones the middle one
    is taken.
    """
    require_both_classes(case)
    distinct, place = np.unique(score, return_inverse=True)
    if len(distinct) == 1:
        return float(distinct[0])
    cases = np.bincount(place, weights=case) / case.sum()
    controls = np.bincount(place, weights=1 - case) / (1 - case).sum()
    # Calling everything from the (i+1)-th distinct score on.
    youden = np.cumsum(controls)[:-1] - np.cumsum(cases)[:-1]
    best = np.flatnonzero(youden >= youden.max() - 1e-12)
    chosen = best[(len(best) - 1) // 2]
    return float((distinct[chosen] + distinct[chosen + 1]) / 2)


def at_specificity(specificity: float) -> Rule:
    """Give the rule: lowest threshold that leaves this share of controls, or more, not called."""

    def rule(case: IntArray, score: FloatArray) -> float:
        require_both_classes(case)
        controls = np.sort(score[case == 0])[::-1]
        highest = controls[int((1 - specificity) * len(controls) + 1e-9)]
        above = score[score > highest]
        return float((highest + above.min()) / 2 if len(above) else np.nextafter(highest, np.inf))

    return rule


def fixed_threshold(folds: Folds, count: int, threshold: float) -> FoldThresholds:
    """Give the same threshold, set beforehand, to every fold and sample."""
    return FoldThresholds(
        {fold.name: threshold for fold in folds}, np.full(count, threshold, dtype=np.float64)
    )
