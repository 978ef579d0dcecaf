"""Thresholds are chosen on training samples, and on nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.evaluation import metrics, thresholds
from genellm_dagster.evaluation.folds import make_folds
from genellm_dagster.evaluation.options import EvaluationOptions

OPTIONS = EvaluationOptions()


def samples(cohorts: int = 3, each: int = 20) -> pd.DataFrame:
    table = pd.DataFrame(
        [(f"c{c}s{i}", f"c{c}", f"p{i}", i % 2) for c in range(cohorts) for i in range(each)],
        columns=["gsm", "cohort", "subject", "case"],
    )
    score = np.random.default_rng(1).normal(size=len(table)) + table["case"]
    return table.assign(score=1 / (1 + np.exp(-score)))


def chosen(table, rule=thresholds.best_balanced, overlap=None):
    folds = make_folds(table, overlap, OPTIONS)
    case, score = table["case"].to_numpy(), table["score"].to_numpy()
    return thresholds.training_thresholds(folds, table["gsm"].tolist(), case, score, rule)


@pytest.mark.parametrize(
    "rule", [thresholds.best_balanced, thresholds.at_specificity(0.95)], ids=["best", "specificity"]
)
def test_labels_and_scores_of_the_test_side_do_not_move_its_threshold(rule):
    table = samples()
    before = chosen(table, rule)
    test = table["cohort"] == "c1"
    turned = table.assign(score=table["score"].where(~test, 1 - table["score"]))
    after = chosen(turned, rule)
    assert after.by_fold["c1"] == before.by_fold["c1"]
    assert after.by_fold["c0"] != before.by_fold["c0"]


def test_samples_that_overlap_the_test_side_take_no_part():
    table = samples()
    overlap = pd.DataFrame({"gsm_a": ["c1s0"], "gsm_b": ["c0s0"]})
    before = chosen(table, overlap=overlap)
    moved = table.assign(score=table["score"].where(table["gsm"] != "c0s0", 0.999))
    after = chosen(moved, overlap=overlap)
    assert after.by_fold["c1"] == before.by_fold["c1"]
    assert chosen(moved).by_fold["c1"] != chosen(table).by_fold["c1"]


def test_every_sample_stands_at_the_threshold_of_the_fold_that_tests_it():
    table = samples()
    found = chosen(table)
    expected = [found.by_fold[cohort] for cohort in table["cohort"]]
    np.testing.assert_array_equal(found.of_sample, expected)


def test_two_folds_give_no_threshold():
    assert chosen(samples(cohorts=2)) is None


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=2, max_size=30))
def test_no_threshold_is_better_balanced_than_the_one_chosen(pairs):
    case = np.array([0, 1, *(label for label, _ in pairs)])
    score = np.array([3, 4, *(value for _, value in pairs)]) / 10
    best = thresholds.best_balanced(case, score)
    reached = metrics.at_threshold(case, score, best).balanced_accuracy
    if len(np.unique(score[case == 1])) == len(np.unique(score)) == 1:
        return
    for other in np.unique(score):
        at = metrics.at_threshold(case, score, float(other)).balanced_accuracy
        assert reached >= at - 1e-12 or at == 0.5


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=2, max_size=30))
def test_the_specificity_asked_for_holds_on_the_training_side_and_is_not_overdone(pairs):
    case = np.array([0, 1, *(label for label, _ in pairs)])
    score = np.array([3, 4, *(value for _, value in pairs)]) / 10
    threshold = thresholds.at_specificity(0.8)(case, score)
    at = metrics.at_threshold(case, score, threshold)
    assert at.specificity >= 0.8 - 1e-9
    assert at.sensitivity == pytest.approx(metrics.sensitivity_at_specificity(case, score, 0.8))


def test_perfectly_separated_training_scores_get_the_middle_of_the_gap():
    case, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])
    assert thresholds.best_balanced(case, score) == pytest.approx(0.4)
