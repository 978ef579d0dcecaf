"""The classifiers that the options ask for, by model name, and what they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genellm_dagster.baselines.classical import (
    Fitted,
    Training,
    fit_gradient_boosting,
    fit_logistic_regression,
)
from genellm_dagster.baselines.forest import fit_random_forest
from genellm_dagster.baselines.linear import fit_elastic_net, fit_linear_svm, fit_pca_logistic
from genellm_dagster.baselines.options import BaselineOptions

Fit = Callable[[Training, BaselineOptions, int], Fitted]


@dataclass(frozen=True)
class Kind:
    """A classifier: how it is fitted, and its title."""

    fit: Fit
    title: str


_KINDS = {
    "logistic_regression": Kind(fit_logistic_regression, "Logistic regression"),
    "elastic_net": Kind(fit_elastic_net, "Elastic-net logistic regression"),
    "linear_svm": Kind(fit_linear_svm, "Linear support vector machine"),
    "pca_logistic": Kind(fit_pca_logistic, "Logistic regression on principal components"),
    "random_forest": Kind(fit_random_forest, "Random forest"),
    "gradient_boosting": Kind(fit_gradient_boosting, "Gradient-boosted trees"),
}


def classifiers(options: BaselineOptions) -> dict[str, Kind]:
    """Return the classifiers that the options ask for; an option that is none leaves one out."""
    return {name: kind for name, kind in _KINDS.items() if getattr(options, name) is not None}
