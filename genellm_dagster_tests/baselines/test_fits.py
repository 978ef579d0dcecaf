"""What the small fits learn, and that batch does not choose."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from genellm_dagster.baselines.classical import (
    Scaler,
    Training,
    fit_gradient_boosting,
    fit_logistic_regression,
)
from genellm_dagster.baselines.options import BaselineOptions, BoostingOptions, LogisticOptions
from genellm_dagster.baselines.single_gene import auroc_by_gene, choose_gene
from genellm_dagster.baselines.squash import MIN_SLOPE, class_weights, fit_squash


def training(cohorts: int = 2, size: int = 30, genes: int = 60, seed: int = 0) -> Training:
    generator = np.random.default_rng(seed)
    n = cohorts * size
    case = np.tile([0, 1], n // 2)
    values = generator.normal(size=(n, genes))
    values[:, :5] += 1.2 * case[:, None]
    names = np.repeat([f"GSE{i}" for i in range(cohorts)], size).astype(object)
    persons = np.array([f"p{i}" for i in range(n)], dtype=object)
    return Training(values, case, names, persons)


def test_squash_agrees_with_scikit_learn():
    generator = np.random.default_rng(2)
    case = (generator.random(80) < 0.3).astype(int)
    score = 40 + 7 * (generator.normal(size=80) + case)
    squash = fit_squash(score, case, class_weights(case, balanced=True), penalty=1.0)
    standard = ((score - squash.centre) / squash.spread)[:, None]
    model = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10).fit(standard, case)
    assert squash.slope == pytest.approx(model.coef_[0, 0], rel=1e-4)
    np.testing.assert_allclose(squash.apply(score), model.predict_proba(standard)[:, 1], rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=30),
    st.floats(0.01, 100),
)
def test_squash_never_turns_the_order_round(scores, penalty):
    score = np.array(scores)
    case = np.arange(len(score)) % 2
    squash = fit_squash(score, case, class_weights(case, balanced=True), penalty)
    mapped = squash.apply(np.sort(score))
    assert (np.diff(mapped) >= 0).all()
    assert ((mapped >= 0) & (mapped <= 1)).all()


def test_a_direction_that_fails_in_training_is_held_and_said():
    case = np.repeat([0, 1], 20)
    squash = fit_squash(-case.astype(float), case, np.ones(40), 1.0)
    assert squash.slope_held
    assert squash.slope == MIN_SLOPE
    assert np.abs(squash.apply(-case.astype(float)) - 0.5).max() < 0.02


def test_auroc_by_gene_agrees_with_scikit_learn_and_leaves_missing_values_out():
    generator = np.random.default_rng(3)
    case = np.arange(30) % 2
    values = np.round(generator.normal(size=(30, 6)), 1)
    values[::4, 2] = np.nan
    values[case == 1, 5] = np.nan
    found = auroc_by_gene(values, case)
    for gene in range(5):
        known = np.isfinite(values[:, gene])
        assert found[gene] == pytest.approx(roc_auc_score(case[known], values[known, gene]))
    assert np.isnan(found[5])


def test_batch_does_not_choose_the_gene():
    generator = np.random.default_rng(4)
    cohorts = np.repeat(["GSE1", "GSE2"], 40).astype(object)
    case = np.r_[np.repeat([0, 1], [8, 32]), np.repeat([0, 1], [32, 8])]
    batch = (cohorts == "GSE1") * 10.0 + generator.normal(size=80)
    true = -1.5 * case + generator.normal(size=80)
    values = pd.DataFrame({"BATCH": batch, "TRUE": true})
    assert auroc_by_gene(values.to_numpy(), case)[0] > 0.75
    chosen = choose_gene(values, case, cohorts)
    assert (chosen.gene, chosen.direction, chosen.cohorts_used) == ("TRUE", "down", 2)


def test_ties_go_to_the_wider_gap_and_one_class_cohorts_fall_back_to_all_samples():
    case = np.repeat([0, 1], 5)
    values = pd.DataFrame({"A": case + np.linspace(0, 0.9, 10), "B": case * 1.0})
    assert choose_gene(values, case, np.array(["GSE1"] * 10, dtype=object)).gene == "B"
    split = np.repeat(["GSE1", "GSE2"], 5).astype(object)
    assert choose_gene(values, case, split).cohorts_used == 0
    nothing = pd.DataFrame({"A": np.full(10, np.nan)})
    assert choose_gene(nothing, case, split) is None


def test_scaler_learns_from_training_only_and_fills_with_the_training_median():
    train = np.array([[1.0, np.nan, 5.0], [3.0, np.nan, 5.0], [np.nan, np.nan, 5.0]])
    scaler = Scaler.fit(train)
    found = scaler.apply(np.array([[np.nan, 7.0, 5.0]]))
    assert found.shape == (1, 2)
    np.testing.assert_allclose(found, 0.0)


def test_logistic_regression_equals_scikit_learn_on_standardised_genes():
    data = training(genes=200)
    options = BaselineOptions(logistic_regression=LogisticOptions(strengths=(0.01,)))
    fitted = fit_logistic_regression(data, options, seed=0)
    scaler = Scaler.fit(data.values)
    model = LogisticRegression(C=0.01, class_weight="balanced", tol=1e-8, max_iter=5000)
    model.fit(scaler.apply(data.values), data.case)
    new = training(genes=200, seed=9).values
    expected = model.predict_proba(scaler.apply(new))[:, 1]
    np.testing.assert_allclose(fitted.predict(new), expected, atol=2e-3)


def test_penalty_is_chosen_by_cohort_where_there_are_two_else_by_person():
    assert fit_logistic_regression(training(3), BaselineOptions(), 0).details["C_chosen_by"] == (
        "cohort"
    )
    alone = fit_logistic_regression(training(1), BaselineOptions(), 0)
    assert alone.details["C_chosen_by"] == "groups of persons"
    few = training(1, size=6)
    few.case[:] = [0, 0, 0, 0, 0, 1]
    tiny = fit_logistic_regression(few, BaselineOptions(), 0)
    assert "too few" in tiny.details["C_chosen_by"]


def test_noise_gets_a_stronger_penalty_than_signal():
    clear = training(2, size=60, genes=20)
    clear.values[:, 0] += 6 * clear.case
    noise = Training(
        np.random.default_rng(5).normal(size=clear.values.shape),
        clear.case, clear.cohorts, clear.persons,
    )  # fmt: skip
    chosen = [
        fit_logistic_regression(one, BaselineOptions(), 0).details["C"] for one in (noise, clear)
    ]
    assert chosen[0] < chosen[1]


def test_gradient_boosting_repeats_itself_and_takes_missing_values():
    data = training()
    data.values[::3, 0] = np.nan
    options = BaselineOptions(gradient_boosting=BoostingOptions(trees=20))
    new = training(seed=8)
    new.values[:, 1] = np.nan
    first = fit_gradient_boosting(data, options, seed=1).predict(new.values)
    np.testing.assert_array_equal(
        first, fit_gradient_boosting(data, options, seed=1).predict(new.values)
    )
    assert roc_auc_score(new.case, first) > 0.7
    assert ((first >= 0) & (first <= 1)).all()


def test_gradient_boosting_learns_from_a_tiny_fold():
    data = training(1, size=10)
    data.values[:, 0] = data.case
    options = BaselineOptions(gradient_boosting=BoostingOptions(trees=20, gene_share=1.0))
    score = fit_gradient_boosting(data, options, seed=1).predict(data.values)
    assert roc_auc_score(data.case, score) == 1.0


def test_options_refuse_what_makes_no_sense():
    with pytest.raises(ValueError, match="above zero"):
        LogisticOptions(strengths=(0.0, 1.0))
    with pytest.raises(ValueError, match="extra"):
        BaselineOptions(typo=1)
