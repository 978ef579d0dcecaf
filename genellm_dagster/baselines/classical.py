"""Classical classifiers on the profiles: everything they learn, they learn on the training fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.baselines.options import BaselineOptions, BoostingOptions, LogisticOptions
from genellm_dagster.baselines.squash import class_weights

FloatArray = NDArray[np.float64]
Labels = NDArray[np.int_]
Names = NDArray[np.object_]
_LEAVES_AT_LEAST = 10
"""A leaf never needs more than a tenth of the training samples, whatever the option says."""


@dataclass(frozen=True)
class Training:
    """A training fold: ``values`` samples x genes (NaN absent), labels, cohorts and persons."""

    values: FloatArray
    case: Labels
    cohorts: Names
    persons: Names


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier: ``predict`` maps samples x genes to 0..1; ``details`` is JSON-safe."""

    predict: Callable[[FloatArray], FloatArray]
    details: dict[str, Any]


@dataclass(frozen=True)
class Scaler:
    """Median imputation and standardisation, as learned on a training fold."""

    used: NDArray[np.bool_]
    median: FloatArray
    mean: FloatArray
    spread: FloatArray

    @classmethod
    def fit(cls, values: FloatArray) -> Scaler:
        """Learn from samples x genes; genes absent from the whole fold are left out."""
        used: NDArray[np.bool_] = np.any(np.isfinite(values), axis=0)
        kept = values[:, used]
        median = np.nanmedian(kept, axis=0)
        filled = np.where(np.isfinite(kept), kept, median)
        spread = filled.std(axis=0)
        return cls(used, median, filled.mean(axis=0), np.where(spread > 1e-12, spread, 1.0))

    def apply(self, values: FloatArray) -> FloatArray:
        """Impute and standardise samples x genes."""
        kept = values[:, self.used]
        filled = np.where(np.isfinite(kept), kept, self.median)
        return (filled - self.mean) / self.spread


def fit_logistic_regression(training: Training, options: BaselineOptions, seed: int) -> Fitted:
    """L2 logistic regression, C chosen by inner cross-validation on the training fold.

    The inner folds leave one cohort out where the training fold has two or more, else they are
    groups of persons. C is the one with the least balanced log loss, the smaller C on ties.

    Args:
        training: The training fold.
        options: Baseline options; ``logistic_regression`` must be set.
        seed: Seed of the inner folds.

    Returns:
        The classifier; its details say C, how it was chosen and how many genes were used.
    """
    settings = options.logistic_regression or LogisticOptions()
    balanced = options.class_weight == "balanced"
    inner, kind = _inner_folds(training, settings.inner_folds, seed)
    losses = np.zeros(len(settings.strengths))
    for train, test in inner:
        path = _logistic_path(training.values[train], training.case[train], settings, balanced)
        weights = class_weights(training.case[test], balanced=True)
        for position, predict in enumerate(path):
            losses[position] += _log_loss(
                training.case[test], predict(training.values[test]), weights
            )
    best = int(np.argmin(np.round(losses, 9))) if inner else len(settings.strengths) // 2
    strength = settings.strengths[best]
    narrowed = settings.model_copy(update={"strengths": (strength,)})
    predict = _logistic_path(training.values, training.case, narrowed, balanced)[0]
    details = {
        "C": strength,
        "C_chosen_by": kind,
        "inner_folds": len(inner),
        "genes_used": int(np.isfinite(training.values).any(axis=0).sum()),
    }
    return Fitted(predict, details)


def _logistic_path(
    values: FloatArray, case: Labels, settings: LogisticOptions, balanced: bool
) -> list[Callable[[FloatArray], FloatArray]]:
    """One fitted classifier for each C, from strong to weak penalty."""
    from sklearn.linear_model import LogisticRegression

    scaler = Scaler.fit(values)
    standard = scaler.apply(values)
    # With an L2 penalty the solution lies in the span of the samples, so a rotation onto that span
    # gives the same fit with at most as many columns as samples.
    rotation = None
    if standard.shape[1] > standard.shape[0]:
        _, singular, right = np.linalg.svd(standard, full_matrices=False)
        rotation = right[singular > singular[0] * 1e-10].T
        standard = standard @ rotation
    model = LogisticRegression(
        class_weight="balanced" if balanced else None,
        max_iter=settings.max_iterations,
        warm_start=True,
    )
    fitted: list[Callable[[FloatArray], FloatArray]] = []
    for strength in settings.strengths:
        model.set_params(C=strength)
        model.fit(standard, case)
        weights, intercept = model.coef_[0].copy(), float(model.intercept_[0])
        gene_weights = weights if rotation is None else rotation @ weights

        def predict(
            samples: FloatArray, slopes: FloatArray = gene_weights, shift: float = intercept
        ) -> FloatArray:
            eta = scaler.apply(samples) @ slopes + shift
            return 0.5 * (1 + np.tanh(0.5 * eta))

        fitted.append(predict)
    return fitted


def _log_loss(case: Labels, score: FloatArray, weights: FloatArray) -> float:
    clipped = np.clip(score, 1e-12, 1 - 1e-12)
    losses = -(case * np.log(clipped) + (1 - case) * np.log1p(-clipped))
    return float(np.average(losses, weights=weights))


def _inner_folds(
    training: Training, folds: int, seed: int
) -> tuple[list[tuple[NDArray[np.int_], NDArray[np.int_]]], str]:
    """Inner folds whose both sides hold both classes, and a word for how they were made."""
    names = np.unique(training.cohorts.astype(str))
    everything = np.arange(len(training.case))

    def usable(test: NDArray[np.int_]) -> bool:
        train = np.setdiff1d(everything, test)
        return all(0 < training.case[side].sum() < len(side) for side in (train, test))

    if len(names) >= 2:
        tests = [np.flatnonzero(training.cohorts.astype(str) == name) for name in names]
        tests = [test for test in tests if usable(test)]
        if tests:
            return [(np.setdiff1d(everything, test), test) for test in tests], "cohort"
    from sklearn.model_selection import StratifiedGroupKFold

    persons = np.unique(training.persons.astype(str), return_inverse=True)[1]
    fewest = min(len(np.unique(persons[training.case == label])) for label in (0, 1))
    if fewest < 2:
        return [], "default, too few persons to choose"
    splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
    splits = splitter.split(training.values, training.case, persons)
    tests = [test for _, test in splits if usable(test)]
    kind = "groups of persons" if tests else "default, too few persons to choose"
    return [(np.setdiff1d(everything, test), test) for test in tests], kind


def fit_gradient_boosting(training: Training, options: BaselineOptions, seed: int) -> Fitted:
    """Gradient-boosted trees by LightGBM, deterministic; absent genes stay missing.

    Args:
        training: The training fold.
        options: Baseline options; ``gradient_boosting`` must be set.
        seed: Seed of the choice of genes per tree.

    Returns:
        The classifier; its details say how many trees and genes were used.
    """
    import lightgbm

    settings = options.gradient_boosting or BoostingOptions()
    weights = class_weights(training.case, balanced=options.class_weight == "balanced")
    leaf = max(1, min(settings.min_samples_leaf, len(training.case) // _LEAVES_AT_LEAST))
    parameters = {
        "objective": "binary",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": leaf,
        "min_data_in_bin": 1,
        "feature_fraction": settings.gene_share,
        "num_threads": settings.threads,
        "deterministic": True,
        "force_col_wise": True,
        "seed": seed % (2**31),
        "verbosity": -1,
    }
    data = lightgbm.Dataset(training.values, label=training.case, weight=weights)
    booster = lightgbm.train(parameters, data, num_boost_round=settings.trees)
    used = int((booster.feature_importance() > 0).sum())

    def predict(samples: FloatArray) -> FloatArray:
        result: FloatArray = np.asarray(booster.predict(samples, num_threads=settings.threads))
        return result

    return Fitted(predict, {"trees": settings.trees, "min_samples_leaf": leaf, "genes_used": used})


def classifiers(
    options: BaselineOptions,
) -> dict[str, Callable[[Training, BaselineOptions, int], Fitted]]:
    """The classifiers that the options ask for, by model name."""
    chosen: dict[str, Callable[[Training, BaselineOptions, int], Fitted]] = {}
    if options.logistic_regression is not None:
        chosen["logistic_regression"] = fit_logistic_regression
    if options.gradient_boosting is not None:
        chosen["gradient_boosting"] = fit_gradient_boosting
    return chosen
