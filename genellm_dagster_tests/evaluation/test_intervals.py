"""Intervals, DeLong and resampling against published and independent values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from genellm_dagster.evaluation import intervals, metrics, resampling
from genellm_dagster.evaluation.delong import delong_covariance, delong_test, holm
from genellm_dagster.evaluation.intervals import Interval


def hanley_and_mcneil() -> tuple[np.ndarray, np.ndarray]:
    """109 CT images rated 1..5 (Hanley and McNeil, Radiology 143 (1982) 29, table 1)."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    case = np.r_[np.zeros(sum(normal), int), np.ones(sum(abnormal), int)]
    rating = np.r_[np.repeat(np.arange(1, 6), normal), np.repeat(np.arange(1, 6), abnormal)]
    return case, rating.astype(float)


def test_delong_gives_the_published_standard_error_of_the_ct_images():
    # Stata's manual, roctab: area .8932, standard error .0307, interval .83295 to .95339.
    case, rating = hanley_and_mcneil()
    area, covariance = delong_covariance(case, rating[None])
    error = np.sqrt(covariance[0, 0])
    assert area[0] == pytest.approx(0.8932, abs=5e-5)
    assert error == pytest.approx(0.0307, abs=5e-5)
    assert area[0] - norm.ppf(0.975) * error == pytest.approx(0.83295, abs=1e-5)
    assert area[0] + norm.ppf(0.975) * error == pytest.approx(0.95339, abs=1e-5)


def ovarian_cancer() -> tuple[np.ndarray, np.ndarray]:
    """43 patients of DeLong, DeLong and Clarke-Pearson (1988): albumin, K-G score, total protein.

    As SAS lists them (SAS/STAT User's Guide, PROC LOGISTIC, comparing ROC curves).
    """
    rows = """
        3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
        1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
        4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
        3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
        3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
        3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
        3.6 6.6 5 1"""
    albumin, protein, score, outcome = np.array(rows.split(), dtype=float).reshape(-1, 4).T
    return 1 - outcome.astype(int), np.stack([-albumin, score, -protein])


def test_delong_gives_the_published_numbers_of_three_correlated_tests():
    # SAS: areas .7366, .7258, .6478; standard errors .0927, .1028, .1000; against the K-G score
    # differences .0108 (error .0953, P .9102) and -.0780 (error .1046, P .4561).
    case, scores = ovarian_cancer()
    areas, covariance = delong_covariance(case, scores)
    assert areas == pytest.approx([0.7366, 0.7258, 0.6478], abs=5e-5)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.0927, 0.1028, 0.1000], abs=5e-5)
    for place, difference, error, p in ((0, 0.0108, 0.0953, 0.9102), (2, -0.0780, 0.1046, 0.4561)):
        test = delong_test(case, scores[place], scores[1])
        found = (test.difference, test.standard_error, test.p)
        assert found == pytest.approx((difference, error, p), abs=6e-5)


def test_a_difference_from_a_perfect_model_is_not_called_certain():
    case = np.repeat([0, 1], 15)
    perfect, other = case.astype(float), case * 0.9 + np.linspace(0, 0.05, 30)
    persons = np.arange(30)
    ends = [intervals.auroc_interval(case, score, persons, 0.95) for score in (perfect, other)]
    test = delong_test(case, perfect, other)
    assert (test.difference, test.standard_error) == (0.0, 0.0)
    found = intervals.paired_difference(test.difference, test.standard_error, *ends, 0.95)
    assert found.low == pytest.approx(-(1 - ends[0].low))
    assert found.high == pytest.approx(1 - ends[1].low)


def test_a_difference_of_imperfect_models_keeps_delongs_interval():
    case, scores = ovarian_cancer()
    persons = np.arange(len(case))
    ends = [intervals.auroc_interval(case, score, persons, 0.95) for score in scores[:2]]
    test = delong_test(case, scores[0], scores[1])
    found = intervals.paired_difference(test.difference, test.standard_error, *ends, 0.95)
    assert (found.low, found.high) == pytest.approx(
        (test.difference - 1.959964 * 0.0953436, test.difference + 1.959964 * 0.0953436), abs=1e-6
    )


def by_definition(case: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """DeLong's covariance from the definition, pair by pair."""
    kernels = []
    for score in scores:
        x, y = score[case == 1][:, None], score[case == 0][None]
        kernels.append((x > y) + 0.5 * (x == y))
    tens = np.cov([kernel.mean(axis=1) for kernel in kernels])
    ones = np.cov([kernel.mean(axis=0) for kernel in kernels])
    return tens / kernels[0].shape[0] + ones / kernels[0].shape[1]


def test_fast_delong_equals_the_definition_for_two_models_with_ties():
    generator = np.random.default_rng(5)
    case = (generator.random(60) < 0.4).astype(int)
    scores = np.round(generator.normal(size=(2, 60)) + case, 1)
    _, covariance = delong_covariance(case, scores)
    np.testing.assert_allclose(covariance, by_definition(case, scores), rtol=1e-10)
    test = delong_test(case, scores[0], scores[1])
    expected = by_definition(case, scores)
    error = np.sqrt(expected[0, 0] + expected[1, 1] - 2 * expected[0, 1])
    assert test.z == pytest.approx(test.difference / error)
    assert test.p == pytest.approx(2 * norm.sf(abs(test.z)))


def test_clustered_delong_equals_plain_delong_on_duplicated_persons():
    generator = np.random.default_rng(6)
    case = np.repeat([0, 1], 40)
    scores = generator.normal(size=(2, 80)) + case
    _, plain = delong_covariance(case, scores)
    twice = np.repeat(np.arange(80), 2)
    _, clustered = delong_covariance(case[twice], scores[:, twice], twice)
    _, naive = delong_covariance(case[twice], scores[:, twice])
    np.testing.assert_allclose(clustered, plain, rtol=1e-9)
    assert naive[0, 0] < 0.6 * plain[0, 0]


def test_identical_models_are_not_told_apart():
    case, rating = hanley_and_mcneil()
    assert delong_test(case, rating, rating).p == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@pytest.mark.parametrize(("cases", "controls"), [(1, 1), (3, 5), (20, 20), (192, 42)])
def test_a_perfect_auroc_does_not_get_an_interval_without_width(cases, controls):
    case = np.r_[np.zeros(controls, int), np.ones(cases, int)]
    found = intervals.auroc_interval(case, case.astype(float), np.arange(len(case)), 0.95)
    assert found.value == found.high == 1.0
    assert 0 <= found.low < 0.995
    mirrored = intervals.auroc_interval(case, 1.0 - case, np.arange(len(case)), 0.95)
    assert mirrored.value == mirrored.low == 0.0
    assert mirrored.high == pytest.approx(1 - found.low)


def test_more_persons_narrow_a_perfect_interval_and_repeated_samples_do_not():
    lows = [intervals.newcombe_interval(1.0, size, size, 0.95)[0] for size in (5, 20, 80, 320)]
    assert lows == sorted(lows)
    case = np.repeat([0, 1], 10)
    alone = intervals.auroc_interval(case, case.astype(float), np.arange(20), 0.95)
    fivefold = np.repeat(np.arange(20), 5)
    repeated = intervals.auroc_interval(case[fivefold], case[fivefold] * 1.0, fivefold, 0.95)
    assert repeated.low == pytest.approx(alone.low)


def test_newcombe_interval_solves_its_equation():
    value, cases, controls = 0.9, 30, 50
    low, high = intervals.newcombe_interval(value, cases, controls, 0.95)
    for theta in (low, high):
        q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
        spare = (cases + controls) / 2 - 1
        variance = theta * (1 - theta) + spare * (q1 - theta**2) + spare * (q2 - theta**2)
        z = abs(theta - value) / np.sqrt(variance / (cases * controls))
        assert z == pytest.approx(1.959964, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.data())
def test_wilson_agrees_with_scipy(count, data):
    hits = data.draw(st.integers(0, count))
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    found = intervals.wilson_interval(hits / count, count, 0.95)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_square_and_add_by_hand():
    found = intervals.square_and_add(Interval(0.9, 0.8, 0.95), Interval(0.7, 0.6, 0.8))
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - np.hypot(0.1, 0.1))
    assert found.high == pytest.approx(0.2 + np.hypot(0.05, 0.1))
    assert intervals.square_and_add(Interval(None, None, None, "no"), found).reason == "no"


def test_balanced_accuracy_interval_stays_within_its_scale_and_holds_its_value():
    perfect = Interval(1.0, *intervals.wilson_interval(1.0, 12, 0.95))
    found = intervals.mean_of_two(perfect, perfect)
    assert found.value == found.high == 1.0
    assert 0.7 < found.low < 1


def test_binormal_precision_of_a_coin_is_the_prevalence():
    assert intervals.binormal_precision(0.5, 0.2) == pytest.approx(0.2, abs=1e-9)
    assert intervals.binormal_precision(1 - 1e-12, 0.2) > 0.999


def test_resampled_metrics_equal_the_metric_of_each_resample():
    generator = np.random.default_rng(7)
    case = np.repeat([0, 1], [23, 11])
    score = np.round(np.clip(generator.normal(0.3 + 0.3 * case, 0.2), 0, 1), 1)
    counts = resampling.bootstrap_counts(case, np.arange(34), 100, seed=1)
    areas = resampling.resampled_auroc(case, score, counts)
    precisions = resampling.resampled_average_precision(case, score, counts)
    at_half = resampling.resampled_average_precision(case, score, counts, at_half=True)
    errors = resampling.resampled_calibration_error(case, score, counts, 10)
    found = {at: resampling.resampled_sensitivity(case, score, counts, at) for at in (0.8, 0.95)}
    for row, drawn in enumerate(counts.astype(int)[:25]):
        rows = np.repeat(np.arange(34), drawn)
        assert areas[row] == pytest.approx(metrics.auroc(case[rows], score[rows]))
        assert precisions[row] == pytest.approx(metrics.average_precision(case[rows], score[rows]))
        assert at_half[row] == pytest.approx(
            metrics.average_precision_at_half(case[rows], score[rows])
        )
        assert errors[row] == pytest.approx(
            metrics.expected_calibration_error(case[rows], score[rows], 10)
        )
        for at, shares in found.items():
            assert shares[row] == pytest.approx(
                metrics.sensitivity_at_specificity(case[rows], score[rows], at)
            )


def test_bootstrap_draws_whole_persons_within_class_and_repeats_with_its_seed():
    case = np.repeat([0, 1, 1], [4, 4, 2])
    persons = np.array([0, 0, 1, 2, 3, 3, 3, 4, 5, 5])
    counts = resampling.bootstrap_counts(case, persons, 300, seed=9)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 4] == counts[:, 6]).all()
    first = [0, 2, 3]
    assert (counts[:, first].sum(axis=1) == 3).all()
    np.testing.assert_array_equal(counts, resampling.bootstrap_counts(case, persons, 300, seed=9))
    assert (counts != resampling.bootstrap_counts(case, persons, 300, seed=10)).any()


def test_every_resample_holds_both_classes_even_when_persons_hold_both():
    case, persons = np.array([1, 0, 1, 1]), np.array([0, 0, 1, 2])
    counts = resampling.bootstrap_counts(case, persons, 200, seed=1)
    assert (counts @ case > 0).all()
    assert (counts @ (1 - case) > 0).all()


@pytest.mark.parametrize(("distance", "cases", "controls"), [(1.0, 30, 30), (2.5, 60, 20)])
def test_auroc_interval_covers_about_as_often_as_it_says(distance, cases, controls):
    generator = np.random.default_rng(11)
    truth = norm.cdf(distance / np.sqrt(2))
    case = np.r_[np.ones(cases, int), np.zeros(controls, int)]
    persons = np.arange(len(case))
    runs = 400
    covered = 0
    for _ in range(runs):
        score = generator.normal(size=len(case)) + distance * case
        found = intervals.auroc_interval(case, score, persons, 0.95)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / runs <= 0.995


def test_a_perfect_average_precision_is_not_called_certain():
    case = np.repeat([0, 1], [10, 30])
    counts = resampling.bootstrap_counts(case, np.arange(40), 200, seed=2)
    drawn = resampling.resampled_average_precision(case, case * 1.0, counts)
    found = intervals.bounded_precision_interval(1.0, drawn, 0.85, 0.75, 0.95)
    assert found.high == 1.0
    assert found.low == pytest.approx(intervals.binormal_precision(0.85, 0.75))
    assert 0.75 < found.low < 1
