"""A random forest on the profiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.baselines.classical import Fitted, Scaler, Training
from genellm_dagster.baselines.options import BaselineOptions, ForestOptions


def fit_random_forest(training: Training, options: BaselineOptions, seed: int) -> Fitted:
    """Random forest (Breiman, Machine Learning 45 (2001) 5), seeded; nothing is tuned.

    The score is the mean share of cases in the leaves, classes weighing the same. Absent genes get
    the training median.

    Args:
        training: The training fold.
        options: Baseline options.
        seed: Seed of the draws of samples and genes.

    Returns:
        The classifier; its details say how many trees, and how many genes any of them looks at.
    """
    from sklearn.ensemble import RandomForestClassifier

    settings = options.random_forest or ForestOptions()
    scaler = Scaler.fit(training.values)
    model = RandomForestClassifier(
        n_estimators=settings.trees,
        min_samples_leaf=settings.min_samples_leaf,
        max_features="sqrt",
        class_weight="balanced" if options.class_weight == "balanced" else None,
        n_jobs=settings.threads,
        random_state=seed % (2**32),
    ).fit(scaler.apply(training.values), training.case)
    # Trees add up one after the other: the order in which threads end would show in the last digit.
    model.set_params(n_jobs=1)

    def predict(samples: NDArray[np.float64]) -> NDArray[np.float64]:
        score: NDArray[np.float64] = model.predict_proba(scaler.apply(samples))[:, 1]
        return score

    used = int((model.feature_importances_ > 0).sum())
    return Fitted(predict, {"trees": settings.trees, "genes_used": used})
