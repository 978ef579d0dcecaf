"""The score head: its optimum, its intercepts, whitening, and the choice of its penalty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.genellm.inner_folds import inner_folds
from genellm_dagster.genellm.score_head import choose_penalty, solve_head


def _problem(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    cohorts = np.repeat([0, 1], 60)
    cases = random.integers(0, 2, 120).astype(float)
    features = random.normal(size=(120, 5)) + cases[:, None] * [1, 0.5, 0, 0, 0]
    return features + 3.0 * cohorts[:, None], cases, cohorts


def test_the_head_is_the_optimum_that_scikit_learn_finds():
    from sklearn.linear_model import LogisticRegression

    features, cases, _ = _problem()
    weights = np.random.default_rng(1).random(120) + 0.1
    head = solve_head(features, cases, np.zeros(120, dtype=int), weights, 0.05, 0.0)
    # scikit-learn's C weighs the sum of losses against the penalty.
    known = LogisticRegression(C=1 / 0.05, tol=1e-10, max_iter=10_000)
    known.fit(features, cases, sample_weight=weights / weights.sum())
    np.testing.assert_allclose(head.weight, known.coef_[0], atol=1e-4)
    assert head.bias == pytest.approx(known.intercept_[0], abs=1e-3)


def test_free_intercepts_swallow_a_shift_between_cohorts_and_penalised_ones_do_not():
    features, cases, cohorts = _problem()
    weights = np.ones(120)
    free = solve_head(features, cases, cohorts, weights, 0.05, 0.0)
    shifted = solve_head(features + 7.0 * cohorts[:, None], cases, cohorts, weights, 0.05, 0.0)
    # How far apart the cohorts lie is no part of the problem; the hold on intercepts hardly is.
    np.testing.assert_allclose(free.weight, shifted.weight, atol=1e-3)
    tied = solve_head(features, cases, cohorts, weights, 0.05, 1e4)
    assert np.ptp(tied.intercepts) < 1e-3 < np.ptp(free.intercepts)


def test_whitening_penalises_as_on_evened_features():
    features, cases, cohorts = _problem()
    features = features * [10, 1, 1, 0.1, 1]
    weights = np.ones(120)
    head = solve_head(features, cases, cohorts, weights, 0.05, 0.0, 0.25)
    within = features - np.stack([features[cohorts == c].mean(axis=0) for c in cohorts])
    value, vectors = np.linalg.eigh(within.T @ within / 120)
    matrix = vectors @ np.diag((value + 0.1 * value.mean()) ** -0.25) @ vectors.T
    # The variances add up to what they did.
    matrix /= np.sqrt(np.trace(matrix @ (within.T @ within / 120) @ matrix) / value.sum())
    known = solve_head(features @ matrix, cases, cohorts, weights, 0.05, 0.0)
    np.testing.assert_allclose(features @ head.weight, features @ matrix @ known.weight, atol=1e-3)


def test_features_that_do_not_vary_give_the_score_one_half():
    head = solve_head(
        np.ones((10, 3)),
        np.tile([0.0, 1.0], 5),
        np.zeros(10, dtype=int),
        np.ones(10),
        1.0,
        0.0,
        0.25,
    )
    assert np.abs(head.weight).max() == 0
    assert head.bias == pytest.approx(0, abs=1e-9)


def test_a_cohort_of_one_class_does_not_move_the_intercept_of_new_cohorts():
    features, cases, cohorts = _problem()
    weights = np.ones(120)
    known = solve_head(features, cases, cohorts, weights, 0.05, 0.0)
    strange = np.random.default_rng(4).normal([1, 0.5, 0, 0, 0], size=(40, 5))
    more = solve_head(
        np.vstack([features, strange]),
        np.concatenate([cases, np.ones(40)]),
        np.concatenate([cohorts, np.full(40, 2)]),
        np.ones(160),
        0.05,
        0.0,
    )
    assert more.intercepts[2] > 5
    assert more.bias == pytest.approx(more.intercepts[:2].mean())
    assert more.bias == pytest.approx(known.bias, abs=1.0)


def test_more_dimensions_than_samples_are_solved_as_in_full():
    random = np.random.default_rng(5)
    features = random.normal(size=(30, 80))
    cases = (features[:, 0] > 0).astype(float)
    head = solve_head(features, cases, np.zeros(30, dtype=int), np.ones(30), 0.1, 0.0)
    probability = 1 / (1 + np.exp(-(features @ head.weight + head.bias)))
    # The gradient of the penalised loss is zero in all dimensions.
    gradient = features.T @ (probability - cases) / 30 + 0.1 * head.weight
    assert np.abs(gradient).max() < 1e-6


def test_only_the_first_dimensions_are_whitened():
    features, cases, cohorts = _problem()
    features = features * [10, 1, 1, 0.1, 1]
    weights = np.ones(120)
    # One dimension alone has nothing to be evened out with.
    one = solve_head(features, cases, cohorts, weights, 0.05, 0.0, 0.25, 1)
    none = solve_head(features, cases, cohorts, weights, 0.05, 0.0)
    every = solve_head(features, cases, cohorts, weights, 0.05, 0.0, 0.25)
    np.testing.assert_allclose(one.weight, none.weight, atol=1e-6)
    assert np.abs(every.weight - none.weight).max() > 1e-3


def _noisy(effect: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(6)
    cases = np.tile([0.0, 1.0], 40)
    features = random.normal(size=(80, 60)) / np.sqrt(60)
    features[:, 0] += effect * cases
    return features, cases, np.zeros(80, dtype=int)


def test_the_penalty_is_large_where_nothing_is_to_be_learned_and_small_where_much_is():
    chosen = []
    for effect in (0.0, 3.0):
        features, cases, cohorts = _noisy(effect)
        inner = inner_folds(cases, cohorts, np.arange(80), 4, 0)
        chosen.append(
            choose_penalty(
                features, cases, cohorts, np.ones(80), inner, (1e-4, 1e-2, 1.0), 0.0
            ).penalty
        )
    assert chosen[0] == 1.0
    assert chosen[1] < 1.0


def test_one_penalty_is_taken_as_it_is_and_without_inner_folds_the_middle_one():
    features, cases, cohorts = _noisy(1.0)
    for penalties, expected in (((0.02,), 0.02), ((1.0, 0.01, 0.1), 0.1)):
        found = choose_penalty(features, cases, cohorts, np.ones(80), [], penalties, 0.0)
        assert found.penalty == expected


def test_inner_folds_leave_out_a_cohort_where_there_are_two():
    cases = np.tile([0, 1], 9)
    cohorts = np.repeat(["A", "B", "C"], 6)
    cases[cohorts == "C"] = 1
    folds = inner_folds(cases, cohorts, np.arange(18), 4, 0)
    # C holds one class: nothing can be told from it alone.
    assert [set(cohorts[test]) for _, test in folds] == [{"A"}, {"B"}]
    assert all(len(train) + len(test) == 18 for train, test in folds)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 1)), min_size=2, max_size=30))
def test_inner_folds_of_one_cohort_tear_no_person_apart(pairs):
    persons = np.array([f"p{person}" for person, _ in pairs])
    cases = np.array([case for _, case in pairs])
    folds = inner_folds(cases, np.full(len(pairs), "A"), persons, 4, 0)
    for train, test in folds:
        assert not set(persons[train]) & set(persons[test])
        assert sorted([*train, *test]) == list(range(len(pairs)))
        assert all(0 < cases[side].sum() < len(side) for side in (train, test))
    tested = [row for _, test in folds for row in test]
    assert len(tested) == len(set(tested))


def test_the_same_subject_name_in_two_cohorts_is_two_persons():
    # No cohort can be left out: each holds one class.
    cases = np.repeat([0, 1], 6)
    cohorts = np.repeat(["A", "B"], 6)
    persons = np.tile([f"p{number}" for number in range(6)], 2)
    folds = inner_folds(cases, cohorts, persons, 3, 0)
    assert sorted(row for _, test in folds for row in test) == list(range(12))
    # Were they one, both would always be on the same side.
    assert any(sorted(persons[test][:2]) != sorted(persons[test][2:]) for _, test in folds)
