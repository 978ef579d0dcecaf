"""Classical classifiers on the profiles: everything they learn, they learn on the training fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.baselines.choosing import Predict, choose, inner_folds, log_loss
from genellm_dagster.baselines.options import BaselineOptions, BoostingOptions, LogisticOptions
from genellm_dagster.baselines.squash import class_weights, sigmoid

FloatArray = NDArray[np.float64]
Labels = NDArray[np.int_]
Names = NDArray[np.object_]
_LEAVES_AT_LEAST = 10
"""A leaf never needs more than a tenth of the training samples, whatever the option says."""


@dataclass(frozen=True)
class Training:
    """A training fold: ``values`` samples x genes (NaN absent), labels, cohorts and persons.

    Samples of one person, and samples that overlap, have the same entry in ``persons``.
    """

    values: FloatArray
    case: Labels
    cohorts: Names
    persons: Names


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier: ``predict`` maps samples x genes to 0..1; ``details`` is JSON-safe."""

    predict: Predict
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


def span_of(values: FloatArray) -> FloatArray:
    """Return a rotation of genes onto the samples' span, genes x at most as many as samples.

    With an L2 penalty the solution lies in that span, so that a fit on the rotated values is the
    same one with fewer columns; where there are fewer genes than samples nothing is turned.
    """
    if values.shape[1] <= values.shape[0]:
        return np.eye(values.shape[1])
    _, singular, right = np.linalg.svd(values, full_matrices=False)
    rotation: FloatArray = right[singular > singular[0] * 1e-10].T
    return rotation


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
    choice = choose(
        training.values,
        training.case,
        inner_folds(training.case, training.cohorts, training.persons, settings.inner_folds, seed),
        lambda values, case: logistic_path(values, case, settings, balanced),
        log_loss,
        len(settings.strengths),
    )
    strength = settings.strengths[choice.best]
    narrowed = settings.model_copy(update={"strengths": (strength,)})
    predict = logistic_path(training.values, training.case, narrowed, balanced)[0]
    details = {
        "C": strength,
        "C_chosen_by": choice.kind,
        "inner_folds": choice.folds,
        "genes_used": int(np.isfinite(training.values).any(axis=0).sum()),
    }
    return Fitted(predict, details)


def logistic_path(
    values: FloatArray, case: Labels, settings: LogisticOptions, balanced: bool
) -> list[Predict]:
    """Return one fitted classifier for each C, from strong to weak penalty."""
    from sklearn.linear_model import LogisticRegression

    scaler = Scaler.fit(values)
    standard = scaler.apply(values)
    rotation = span_of(standard)
    standard = standard @ rotation
    model = LogisticRegression(
        class_weight="balanced" if balanced else None,
        max_iter=settings.max_iterations,
        warm_start=True,
    )
    fitted: list[Predict] = []
    for strength in settings.strengths:
        model.set_params(C=strength)
        model.fit(standard, case)
        weights, intercept = model.coef_[0].copy(), float(model.intercept_[0])
        gene_weights = rotation @ weights

        def predict(
            samples: FloatArray, slopes: FloatArray = gene_weights, shift: float = intercept
        ) -> FloatArray:
            eta = scaler.apply(samples) @ slopes + shift
            return sigmoid(eta)

        fitted.append(predict)
    return fitted


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
