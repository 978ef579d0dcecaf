"""Resampling of persons as count weights, and metrics on all resamples at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.evaluation.metrics import FloatArray, IntArray

_CHUNK_CELLS = 4_000_000
"""Resamples x samples held at once, about 32 MB in float64."""


def bootstrap_counts(
    case: IntArray, persons: NDArray[np.int_], resamples: int, seed: int
) -> NDArray[np.float32]:
    """How often each sample is drawn in each resample, persons drawn whole within their class.

    A person who has samples of both classes is drawn in the stratum of the first of them.

    Args:
        case: 1 case, 0 control.
        persons: Person of each sample.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        Resamples x samples, counts. Every resample holds both classes.
    """
    generator = np.random.default_rng(seed)
    _, first, number = np.unique(persons, return_index=True, return_inverse=True)
    person_class = case[first]
    counts = np.zeros((resamples, len(first)), dtype=np.float32)
    for label in (0, 1):
        members = np.flatnonzero(person_class == label)
        if len(members):
            counts[:, members] = generator.multinomial(
                len(members), np.full(len(members), 1 / len(members)), size=resamples
            )
    drawn = counts[:, number]
    # Only persons with both classes can leave a class out; such a resample becomes the sample.
    lacking = np.minimum(drawn[:, case == 1].sum(axis=1), drawn[:, case == 0].sum(axis=1)) == 0
    drawn[lacking] = 1
    return drawn


def left_out_counts(
    case: IntArray, persons: NDArray[np.int_]
) -> tuple[NDArray[np.float32], NDArray[np.int_]]:
    """Count weights of the jackknife: each person left out in turn, with all samples.

    Args:
        case: 1 case, 0 control, of n samples.
        persons: Person of each sample.

    Returns:
        Persons x n counts of 0 and 1, and the class in which each person is drawn. Who is the only
        one to hold a class is kept, so that every row holds both classes.
    """
    _, first, number = np.unique(persons, return_index=True, return_inverse=True)
    counts = (number[None, :] != np.arange(len(first))[:, None]).astype(np.float32)
    lacking = np.minimum(counts[:, case == 1].sum(axis=1), counts[:, case == 0].sum(axis=1)) == 0
    counts[lacking] = 1
    return counts, case[first]


def resampled_auroc(case: IntArray, score: FloatArray, counts: NDArray[np.float32]) -> FloatArray:
    """AUROC of every resample, ties counting one half.

    Args:
        case: 1 case, 0 control.
        score: Higher means case.
        counts: Resamples x samples.

    Returns:
        One AUROC a resample.
    """
    order = np.argsort(score, kind="stable")
    starts = _starts(score[order])
    result = [
        _auroc_of_groups(*_by_class(chunk[:, order], case[order], starts))
        for chunk in _chunks(counts)
    ]
    return np.concatenate(result)


def _auroc_of_groups(case_weight: FloatArray, control_weight: FloatArray) -> FloatArray:
    below = np.cumsum(control_weight, axis=1) - 0.5 * control_weight
    total = case_weight.sum(axis=1) * control_weight.sum(axis=1)
    result: FloatArray = np.einsum("ij,ij->i", case_weight, below) / total
    return result


def resampled_average_precision(
    case: IntArray, score: FloatArray, counts: NDArray[np.float32], *, at_half: bool = False
) -> FloatArray:
    """Average precision of every resample; ``at_half`` weighs it to prevalence one half."""
    order = np.argsort(-score, kind="stable")
    starts = _starts(score[order])
    result = []
    for chunk in _chunks(counts):
        case_weight, control_weight = _by_class(chunk[:, order], case[order], starts)
        if at_half:
            case_weight = case_weight / case_weight.sum(axis=1, keepdims=True)
            control_weight = control_weight / control_weight.sum(axis=1, keepdims=True)
        true = np.cumsum(case_weight, axis=1)
        called = true + np.cumsum(control_weight, axis=1)
        precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
        result.append(np.einsum("ij,ij->i", case_weight, precision) / true[:, -1])
    return np.minimum(np.concatenate(result), 1.0)


def resampled_sensitivity(
    case: IntArray, score: FloatArray, counts: NDArray[np.float32], specificity: float
) -> FloatArray:
    """Highest sensitivity at this specificity or better, read off the ROC curve of every resample.

    Args:
        case: 1 case, 0 control.
        score: Higher means case; samples with equal scores are called together.
        counts: Resamples x samples.
        specificity: Least share of controls that must not be called, 0..1.
    """
    order = np.argsort(-score, kind="stable")
    starts = _starts(score[order])
    result = []
    for chunk in _chunks(counts):
        case_weight, control_weight = _by_class(chunk[:, order], case[order], starts)
        true = np.cumsum(case_weight, axis=1)
        false = np.cumsum(control_weight, axis=1)
        allowed = (1 - specificity) * false[:, -1:] + 1e-9
        called = (false <= allowed).sum(axis=1)
        reached = np.take_along_axis(true, np.maximum(called - 1, 0)[:, None], axis=1)[:, 0]
        result.append(np.where(called > 0, reached, 0.0) / true[:, -1])
    return np.concatenate(result)


def resampled_mean(value: FloatArray, counts: NDArray[np.float32]) -> FloatArray:
    """Mean of a per-sample value in every resample."""
    result: FloatArray = (counts @ value) / counts.sum(axis=1)
    return result


def resampled_calibration_error(
    case: IntArray, score: FloatArray, counts: NDArray[np.float32], bins: int
) -> FloatArray:
    """Expected calibration error of every resample."""
    place = np.minimum((score * bins).astype(int), bins - 1)
    gaps = np.zeros((len(score), bins))
    gaps[np.arange(len(score)), place] = case - score
    result: FloatArray = np.abs(counts @ gaps).sum(axis=1) / counts.sum(axis=1)
    return result


def calibrated_errors(
    score: FloatArray, persons: NDArray[np.int_], bins: int, resamples: int, seed: int
) -> FloatArray:
    """Expected calibration error of scores that are right: outcomes drawn from the scores.

    Consistency resampling (Broecker and Smith, Weather and Forecasting 22 (2007) 651): what bins
    alone make of a perfectly calibrated model on as many samples.

    Args:
        score: 0..1, n.
        persons: Person of each sample; the samples of one stand or fall together.
        bins: Number of equal-width bins.
        resamples: Number of draws.
        seed: Seed of the draws.
    """
    number = np.unique(persons, return_inverse=True)[1]
    place = np.minimum((score * bins).astype(int), bins - 1)
    member = np.zeros((len(score), bins), dtype=np.float32)
    member[np.arange(len(score)), place] = 1
    chance = np.random.default_rng(seed).random((resamples, number.max() + 1), dtype=np.float32)
    gaps = ((chance[:, number] < score) - score).astype(np.float32) @ member
    result: FloatArray = np.abs(gaps).sum(axis=1, dtype=np.float64) / len(score)
    return result


def _by_class(
    counts: NDArray[np.float32], case: IntArray, starts: NDArray[np.int_]
) -> tuple[FloatArray, FloatArray]:
    weights = counts.astype(np.float64)
    case_weight = np.add.reduceat(weights * case, starts, axis=1)
    return case_weight, np.add.reduceat(weights, starts, axis=1) - case_weight


def _starts(sorted_score: FloatArray) -> NDArray[np.int_]:
    """Where each run of equal scores begins."""
    return np.concatenate([[0], np.flatnonzero(np.diff(sorted_score)) + 1])


def _chunks(counts: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    rows = max(1, _CHUNK_CELLS // counts.shape[1])
    for start in range(0, len(counts), rows):
        yield counts[start : start + rows]
