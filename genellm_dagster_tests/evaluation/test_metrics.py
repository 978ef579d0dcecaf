"""Point values against scikit-learn and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    roc_auc_score,
    roc_curve,
)

from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation import metrics

GRID = st.integers(0, 12)


@st.composite
def labelled_scores(draw):
    size = draw(st.integers(2, 40))
    case = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    case[0], case[1] = 0, 1
    score = draw(st.lists(GRID, min_size=size, max_size=size))
    return np.array(case), np.array(score) / 12


@settings(max_examples=80, deadline=None)
@given(labelled_scores())
def test_auroc_and_precision_agree_with_scikit_learn_with_ties(data):
    case, score = data
    assert metrics.auroc(case, score) == pytest.approx(roc_auc_score(case, score))
    assert metrics.average_precision(case, score) == pytest.approx(
        average_precision_score(case, score)
    )
    assert metrics.average_precision_at_half(case, score) == pytest.approx(
        average_precision_score(case, score, sample_weight=metrics.half_weights(case))
    )
    assert metrics.brier(case, score) == pytest.approx(brier_score_loss(case, score))


@settings(max_examples=40, deadline=None)
@given(labelled_scores())
def test_auroc_mirrors_when_scores_are_turned_round(data):
    case, score = data
    assert metrics.auroc(case, 1 - score) == pytest.approx(1 - metrics.auroc(case, score))


def test_precision_at_half_does_not_follow_prevalence():
    generator = np.random.default_rng(1)
    cases, controls = generator.normal(1, 1, 4000), generator.normal(0, 1, 4000)

    def at(n_cases: int, n_controls: int) -> tuple[float, float]:
        case = np.r_[np.ones(n_cases, int), np.zeros(n_controls, int)]
        score = np.r_[cases[:n_cases], controls[:n_controls]]
        return metrics.average_precision(case, score), metrics.average_precision_at_half(
            case, score
        )

    rich, rich_half = at(4000, 400)
    even, even_half = at(4000, 4000)
    assert rich - even > 0.1
    assert rich_half == pytest.approx(even_half, abs=0.02)


def test_a_score_at_the_threshold_is_called_a_case():
    counts = metrics.at_threshold(np.array([1, 1, 0, 0]), np.array([0.5, 0.49, 0.5, 0.1]), 0.5)
    assert (counts.sensitivity, counts.specificity, counts.balanced_accuracy) == (0.5, 0.5, 0.5)


@settings(max_examples=60, deadline=None)
@given(labelled_scores(), st.sampled_from([0.5, 0.8, 0.95]))
def test_sensitivity_at_a_specificity_is_the_point_of_scikit_learns_curve(data, specificity):
    case, score = data
    false, true, _ = roc_curve(case, score, drop_intermediate=False)
    expected = true[false <= 1 - specificity + 1e-9].max()
    found = metrics.sensitivity_at_specificity(case, score, specificity)
    assert found == pytest.approx(expected)


def test_average_precision_is_the_step_wise_sum_not_the_trapezoid():
    case, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    # Recall goes up at the first (precision 1) and at the third place (precision 2/3).
    assert metrics.average_precision(case, score) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_expected_calibration_error_by_hand():
    case, score = np.array([1, 0, 1, 1]), np.array([0.15, 0.15, 0.95, 1.0])
    # Bin .1-.2: observed .5 against .15; last bin: observed 1 against .975.
    expected = 0.5 * 0.35 + 0.5 * 0.025
    assert metrics.expected_calibration_error(case, score, 10) == pytest.approx(expected)


def test_calibration_agrees_with_statsmodels():
    import statsmodels.api as sm

    generator = np.random.default_rng(3)
    logit = generator.normal(0.3, 1.5, 400)
    case = (generator.random(400) < 1 / (1 + np.exp(-(0.4 + 0.6 * logit)))).astype(int)
    score = 1 / (1 + np.exp(-logit))
    found = metrics.calibration(case, score)
    slope = sm.GLM(case, sm.add_constant(logit), family=sm.families.Binomial()).fit()
    large = sm.GLM(case, np.ones(400), family=sm.families.Binomial(), offset=logit).fit()
    assert found.slope == pytest.approx(slope.params[1], rel=1e-6)
    assert found.slope_error == pytest.approx(slope.bse[1], rel=1e-5)
    assert found.intercept == pytest.approx(large.params[0], rel=1e-6)
    assert found.intercept_error == pytest.approx(large.bse[0], rel=1e-5)


def test_repeated_samples_of_persons_widen_the_calibration_error():
    generator = np.random.default_rng(4)
    logit = np.repeat(generator.normal(0, 1, 60), 3)
    case = np.repeat((generator.random(60) < 0.5).astype(int), 3)
    score = 1 / (1 + np.exp(-logit))
    alone = metrics.calibration(case, score)
    clustered = metrics.calibration(case, score, np.repeat(np.arange(60), 3))
    assert clustered.slope == alone.slope
    assert clustered.slope_error > 1.4 * alone.slope_error


def test_perfect_separation_has_no_calibration_slope_and_says_so():
    case = np.array([0, 0, 0, 1, 1, 1])
    found = metrics.calibration(case, np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9]))
    assert found.slope is None
    assert "overlap" in found.reason
    assert found.intercept is not None


def test_constant_scores_have_no_calibration_slope_and_say_so():
    found = metrics.calibration(np.array([0, 1, 0, 1]), np.full(4, 0.5))
    assert found.slope is None
    assert found.intercept == pytest.approx(0, abs=1e-9)


def test_one_class_is_refused_with_a_sentence():
    with pytest.raises(EvaluationError, match="both classes"):
        metrics.auroc(np.zeros(5, int), np.linspace(0, 1, 5))
