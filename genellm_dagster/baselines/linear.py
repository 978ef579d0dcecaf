"""Linear classifiers beside logistic regression: elastic net, support vector machine, PCA.

Each standardises genes on the training fold and chooses its own penalty on inner folds there.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.baselines.choosing import Predict, choose, inner_folds, log_loss, squared_hinge
from genellm_dagster.baselines.classical import Fitted, Scaler, Training, span_of
from genellm_dagster.baselines.options import (
    BaselineOptions,
    ElasticNetOptions,
    LinearSvmOptions,
    PcaOptions,
)
from genellm_dagster.baselines.squash import class_weights, fit_squash, sigmoid

FloatArray = NDArray[np.float64]
Labels = NDArray[np.int_]


def fit_elastic_net(training: Training, options: BaselineOptions, seed: int) -> Fitted:
    """Logistic regression with an elastic-net penalty, which leaves most genes out.

    The penalty is l1_share ||w||_1 + (1 - l1_share) / 2 ||w||_2^2 (Zou and Hastie, J R Stat Soc B
    67 (2005) 301), solved by SAGA as scikit-learn does; C is chosen by balanced log loss.

    Args:
        training: The training fold.
        options: Baseline options.
        seed: Seed of inner folds and of the solver's order of samples.

    Returns:
        The classifier; its details say C, how many genes have a weight, and whether the solver
        reached its tolerance.
    """
    settings = options.elastic_net or ElasticNetOptions()
    balanced = options.class_weight == "balanced"
    choice = choose(
        training.values,
        training.case,
        inner_folds(training.case, training.cohorts, training.persons, settings.inner_folds, seed),
        lambda values, case: [
            predict for predict, _, _ in _net_path(values, case, settings, balanced, seed)
        ],
        log_loss,
        len(settings.strengths),
    )
    strength = settings.strengths[choice.best]
    # The path that led to the choice is walked again, so that the start is the same.
    walked = settings.model_copy(update={"strengths": settings.strengths[: choice.best + 1]})
    path = _net_path(training.values, training.case, walked, balanced, seed)
    predict, weights, converged = path[-1]
    details = {
        "C": strength,
        "l1_share": settings.l1_share,
        "C_chosen_by": choice.kind,
        "inner_folds": choice.folds,
        "genes_used": int((weights != 0).sum()),
        "converged": converged,
    }
    return Fitted(predict, details)


def _net_path(
    values: FloatArray, case: Labels, settings: ElasticNetOptions, balanced: bool, seed: int
) -> list[tuple[Predict, FloatArray, bool]]:
    """For each C, from strong to weak penalty: the classifier, its weights, whether it converged.

    Each fit starts where the one before ended.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    scaler = Scaler.fit(values)
    standard = scaler.apply(values)
    model = LogisticRegression(
        solver="saga",
        l1_ratio=settings.l1_share,
        class_weight="balanced" if balanced else None,
        max_iter=settings.max_iterations,
        tol=settings.tolerance,
        warm_start=True,
        random_state=seed % (2**32),
    )
    found: list[tuple[Predict, FloatArray, bool]] = []
    for strength in settings.strengths:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            # Said in the details instead.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(standard, case)
        weights, intercept = model.coef_[0].copy(), float(model.intercept_[0])

        def predict(
            samples: FloatArray, slopes: FloatArray = weights, shift: float = intercept
        ) -> FloatArray:
            return sigmoid(scaler.apply(samples) @ slopes + shift)

        found.append((predict, weights, int(model.n_iter_[0]) < settings.max_iterations))
    return found


def fit_linear_svm(training: Training, options: BaselineOptions, seed: int) -> Fitted:
    """Linear support vector machine, its margins turned to 0..1 by Platt's logistic.

    C is chosen by the balanced squared hinge loss on inner folds. The logistic is learned on the
    margins that these folds gave to samples they held out (Platt, Advances in Large Margin
    Classifiers, 1999): margins of samples that were trained on are too wide.

    Args:
        training: The training fold.
        options: Baseline options.
        seed: Seed of inner folds.

    Returns:
        The classifier; its details say C, and on which margins the logistic was learned.
    """
    settings = options.linear_svm or LinearSvmOptions()
    balanced = options.class_weight == "balanced"
    choice = choose(
        training.values,
        training.case,
        inner_folds(training.case, training.cohorts, training.persons, settings.inner_folds, seed),
        lambda values, case: [
            _svm(values, case, strength, settings, balanced) for strength in settings.strengths
        ],
        squared_hinge,
        len(settings.strengths),
    )
    strength = settings.strengths[choice.best]
    margin = _svm(training.values, training.case, strength, settings, balanced)
    held_out = np.isfinite(choice.out_of_fold)
    both = 0 < training.case[held_out].sum() < held_out.sum()
    at = held_out if both else np.ones(len(training.case), dtype=bool)
    squash = fit_squash(
        choice.out_of_fold[at] if both else margin(training.values),
        training.case[at],
        class_weights(training.case[at], balanced=balanced),
        options.squash_penalty,
    )
    details = {
        "C": strength,
        "C_chosen_by": choice.kind,
        "inner_folds": choice.folds,
        "scaled_on": "margins of inner folds" if both else "margins of the training samples",
        "slope_held": squash.slope_held,
    }
    return Fitted(lambda samples: squash.apply(margin(samples)), details)


def _svm(
    values: FloatArray, case: Labels, strength: float, settings: LinearSvmOptions, balanced: bool
) -> Predict:
    from sklearn.svm import LinearSVC

    scaler = Scaler.fit(values)
    standard = scaler.apply(values)
    rotation = span_of(standard)
    # The primal is solved without chance, and the squared hinge makes it smooth.
    model = LinearSVC(
        C=strength,
        dual=False,
        class_weight="balanced" if balanced else None,
        max_iter=settings.max_iterations,
    ).fit(standard @ rotation, case)
    slopes, shift = rotation @ model.coef_[0], float(model.intercept_[0])
    return lambda samples: scaler.apply(samples) @ slopes + shift


def fit_pca_logistic(training: Training, options: BaselineOptions, seed: int) -> Fitted:
    """Logistic regression on the first principal components of the training fold.

    Components are found without labels; how many are read is chosen by balanced log loss.

    Args:
        training: The training fold.
        options: Baseline options.
        seed: Seed of inner folds.

    Returns:
        The classifier; its details say how many components and what share of variance they hold.
    """
    settings = options.pca_logistic or PcaOptions()
    balanced = options.class_weight == "balanced"
    choice = choose(
        training.values,
        training.case,
        inner_folds(training.case, training.cohorts, training.persons, settings.inner_folds, seed),
        lambda values, case: [
            predict for predict, _, _ in _pca_path(values, case, settings, balanced)
        ],
        log_loss,
        len(settings.components),
    )
    number = settings.components[choice.best]
    narrowed = settings.model_copy(update={"components": (number,)})
    predict, used, share = _pca_path(training.values, training.case, narrowed, balanced)[0]
    details = {
        "components": used,
        "variance_share": share,
        "chosen_by": choice.kind,
        "inner_folds": choice.folds,
    }
    return Fitted(predict, details)


def _pca_path(
    values: FloatArray, case: Labels, settings: PcaOptions, balanced: bool
) -> list[tuple[Predict, int, float]]:
    """For each number of components: the classifier, the number there is, their variance share."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    scaler = Scaler.fit(values)
    standard = scaler.apply(values)
    # Centred samples span one dimension less than there are samples.
    there = min(standard.shape[0] - 1, standard.shape[1], max(settings.components))
    pca = PCA(there, whiten=True, svd_solver="full").fit(standard)
    scores = pca.transform(standard)
    found: list[tuple[Predict, int, float]] = []
    for wanted in settings.components:
        used = min(wanted, there)
        model = LogisticRegression(
            C=settings.strength,
            class_weight="balanced" if balanced else None,
            max_iter=settings.max_iterations,
        ).fit(scores[:, :used], case)

        def predict(
            samples: FloatArray,
            used: int = used,
            slopes: FloatArray = model.coef_[0],
            shift: float = float(model.intercept_[0]),
        ) -> FloatArray:
            return sigmoid(pca.transform(scaler.apply(samples))[:, :used] @ slopes + shift)

        found.append((predict, used, float(pca.explained_variance_ratio_[:used].sum())))
    return found
