"""The classifiers beside logistic regression: the library's own fits, chosen on inner folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.svm import LinearSVC

from genellm_dagster.baselines.choosing import choose, inner_folds, log_loss, squared_hinge
from genellm_dagster.baselines.classical import Scaler, Training
from genellm_dagster.baselines.kinds import classifiers
from genellm_dagster.baselines.linear import fit_elastic_net, fit_linear_svm, fit_pca_logistic
from genellm_dagster.baselines.options import (
    BaselineOptions,
    BoostingOptions,
    ElasticNetOptions,
    ForestOptions,
    LinearSvmOptions,
    PcaOptions,
)
from genellm_dagster_tests.baselines.test_fits import training

QUICK = BaselineOptions(
    random_forest=ForestOptions(trees=30), gradient_boosting=BoostingOptions(trees=20)
)
NAMES = sorted(classifiers(QUICK))


@pytest.mark.parametrize("name", NAMES)
def test_every_classifier_learns_repeats_itself_and_takes_missing_values(name: str) -> None:
    data = training()
    data.values[::3, 0] = np.nan
    data.values[:, 7] = np.nan
    new = training(seed=8)
    new.values[:, 1] = np.nan
    fit = classifiers(QUICK)[name].fit
    first = fit(data, QUICK, 1).predict(new.values)
    np.testing.assert_array_equal(first, fit(data, QUICK, 1).predict(new.values))
    assert roc_auc_score(new.case, first) > 0.7
    assert ((first >= 0) & (first <= 1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_classifier_takes_a_training_fold_of_few_persons(name: str) -> None:
    data = training(1, size=6)
    data.case[:] = [0, 0, 0, 0, 0, 1]
    said = classifiers(QUICK)[name].fit(data, QUICK, 1).predict(data.values)
    assert np.isfinite(said).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_is_none_leaves_a_classifier_out(name: str) -> None:
    assert set(classifiers(QUICK.model_copy(update={name: None}))) == set(NAMES) - {name}


def test_elastic_net_equals_scikit_learn_and_leaves_noise_out() -> None:
    data = training(genes=40, size=60)
    settings_ = ElasticNetOptions(strengths=(0.05,), tolerance=1e-7, max_iterations=20_000)
    fitted = fit_elastic_net(data, BaselineOptions(elastic_net=settings_), seed=0)
    scaler = Scaler.fit(data.values)
    model = LogisticRegression(
        solver="saga", l1_ratio=0.5, C=0.05, class_weight="balanced", tol=1e-8, max_iter=20_000
    ).fit(scaler.apply(data.values), data.case)
    new = training(genes=40, seed=9).values
    expected = model.predict_proba(scaler.apply(new))[:, 1]
    np.testing.assert_allclose(fitted.predict(new), expected, atol=1e-4)
    assert 5 <= fitted.details["genes_used"] < 20
    assert fitted.details["converged"]


def test_a_solver_that_did_not_end_is_said() -> None:
    settings_ = ElasticNetOptions(strengths=(10.0,), tolerance=1e-9, max_iterations=10)
    fitted = fit_elastic_net(training(), BaselineOptions(elastic_net=settings_), seed=0)
    assert not fitted.details["converged"]


@pytest.mark.parametrize("genes", [20, 200])
def test_linear_svm_orders_samples_as_scikit_learn_does(genes: int) -> None:
    data = training(genes=genes)
    options = BaselineOptions(linear_svm=LinearSvmOptions(strengths=(1e-3,)))
    new = training(genes=genes, seed=9).values
    found = fit_linear_svm(data, options, seed=0).predict(new)
    scaler = Scaler.fit(data.values)
    model = LinearSVC(C=1e-3, dual=False, class_weight="balanced", tol=1e-8)
    margin = model.fit(scaler.apply(data.values), data.case).decision_function(scaler.apply(new))
    logit = np.log(found / (1 - found))
    assert np.corrcoef(logit, margin)[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_margins_are_scaled_on_held_out_samples_where_there_are_any() -> None:
    few = training(1, size=6)
    few.case[:] = [0, 0, 0, 0, 0, 1]
    said = [fit_linear_svm(data, BaselineOptions(), 0).details for data in (training(), few)]
    assert [one["scaled_on"] for one in said] == [
        "margins of inner folds",
        "margins of the training samples",
    ]
    # Noise that is learned by heart has wide margins in training, and none when held out.
    noise = training(2, size=30, genes=300)
    noise.values[:] = np.random.default_rng(3).normal(size=noise.values.shape)
    options = BaselineOptions(linear_svm=LinearSvmOptions(strengths=(1.0,)))
    score = fit_linear_svm(noise, options, 0).predict(noise.values)
    assert np.abs(score - 0.5).max() < 0.45


def test_pca_logistic_equals_scikit_learn_and_chooses_enough_components() -> None:
    data = training(genes=30)
    options = BaselineOptions(pca_logistic=PcaOptions(components=(4,)))
    fitted = fit_pca_logistic(data, options, 0)
    scaler = Scaler.fit(data.values)
    pca = PCA(4, whiten=True).fit(scaler.apply(data.values))
    model = LogisticRegression(C=0.1, class_weight="balanced").fit(
        pca.transform(scaler.apply(data.values)), data.case
    )
    new = training(genes=30, seed=9).values
    expected = model.predict_proba(pca.transform(scaler.apply(new)))[:, 1]
    np.testing.assert_allclose(fitted.predict(new), expected, atol=1e-6)
    assert fitted.details["components"] == 4
    assert fitted.details["variance_share"] == pytest.approx(pca.explained_variance_ratio_.sum())
    # The signal is made to lie in the third component: two are too few.
    generator = np.random.default_rng(4)
    scores = generator.normal(size=(80, 3)) * [4, 3, 2]
    case = (scores[:, 2] > 0).astype(int)
    values = scores @ np.linalg.qr(generator.normal(size=(30, 3)))[0].T
    values += 0.1 * generator.normal(size=values.shape)
    values *= np.abs(values).std() / values.std(axis=0)
    names = np.array(["GSE1"] * 80, dtype=object)
    persons = np.array([f"p{i}" for i in range(80)], dtype=object)
    chosen = fit_pca_logistic(
        Training(values, case, names, persons),
        BaselineOptions(pca_logistic=PcaOptions(components=(1, 3))),
        0,
    )
    assert chosen.details["components"] == 3


def test_components_are_no_more_than_samples_allow() -> None:
    data = training(1, size=10, genes=50)
    options = BaselineOptions(pca_logistic=PcaOptions(components=(40,)))
    assert fit_pca_logistic(data, options, 0).details["components"] == 9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 12))
def test_no_person_crosses_an_inner_fold(seed: int, cohorts: int, persons: int) -> None:
    random = np.random.default_rng(seed)
    case = random.integers(0, 2, 40)
    case[:2] = [0, 1]
    names = np.array([f"GSE{i}" for i in random.integers(0, cohorts, 40)], dtype=object)
    person = np.array([f"p{i}" for i in random.integers(0, persons, 40)], dtype=object)
    for train, test in inner_folds(case, names, person, 4, seed).splits:
        assert not set(person[train]) & set(person[test])
        assert not set(train) & set(test)
        assert all(0 < case[side].sum() < len(side) for side in (train, test))


def test_the_candidate_with_the_least_loss_is_chosen_and_the_simpler_one_on_ties() -> None:
    case = np.tile([0, 1], 10)
    inner = inner_folds(case, np.repeat(["A", "B"], 10), np.arange(20).astype(str), 2, 0)

    def path(values, labels):
        return [lambda x, p=p: np.full(len(x), p) for p in (0.9, 0.5, 0.5, 0.1)]

    choice = choose(np.zeros((20, 1)), case, inner, path, log_loss, 4)
    assert (choice.best, choice.folds, choice.kind) == (1, 2, "cohort")
    np.testing.assert_array_equal(choice.out_of_fold, 0.5)


def test_squared_hinge_by_hand() -> None:
    case = np.array([1, 1, 0, 0])
    margin = np.array([2.0, 0.5, -0.25, 1.0])
    found = squared_hinge(case, margin, np.ones(4))
    assert found == pytest.approx((0 + 0.25 + 0.5625 + 4) / 4)


def test_components_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="one or more"):
        PcaOptions(components=(0, 5))
