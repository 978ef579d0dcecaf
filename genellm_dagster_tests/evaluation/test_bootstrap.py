"""Bootstrap intervals against scipy, at the ends of the scale, and by how often they hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm

from genellm_dagster.evaluation import metrics, resampling
from genellm_dagster.evaluation.bootstrap import Bootstrap, basic_interval
from genellm_dagster.evaluation.options import EvaluationOptions


def drawn(case: np.ndarray, persons: np.ndarray, **settings: object) -> Bootstrap:
    return Bootstrap.draw(case, persons, EvaluationOptions(**settings))


@pytest.mark.parametrize("kind", ["percentile", "bca"])
def test_auroc_intervals_agree_with_scipys_stratified_bootstrap(kind):
    generator = np.random.default_rng(3)
    cases, controls = generator.normal(1.3, 1, 40), generator.normal(0, 1, 25)

    def area(above, below, axis):
        pairs = np.sign(above[..., :, None] - below[..., None, :])
        return 0.5 + 0.5 * pairs.mean(axis=(-1, -2))

    expected = scipy_bootstrap(
        (cases, controls),
        area,
        method=kind,
        n_resamples=6000,
        batch=500,
        rng=np.random.default_rng(1),
    ).confidence_interval
    score = np.r_[cases, controls]
    case = np.repeat([1, 0], [40, 25])
    made = drawn(case, np.arange(65), bootstraps=6000, bootstrap_interval=kind)
    found = made.interval(
        metrics.auroc(case, score), lambda counts: resampling.resampled_auroc(case, score, counts)
    )
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.009)


def test_bca_moves_the_ends_of_a_skewed_metric_the_way_of_its_skew():
    case = np.repeat([0, 1], [20, 20])
    score = case + np.random.default_rng(8).normal(0, 0.4, 40)
    value = metrics.auroc(case, score)
    low = {}
    for kind in ("percentile", "bca"):
        made = drawn(case, np.arange(40), bootstrap_interval=kind)
        low[kind] = made.interval(
            value, lambda counts: resampling.resampled_auroc(case, score, counts)
        ).low
    assert 0.9 < value < 1
    assert low["bca"] < low["percentile"]


def test_jackknife_leaves_persons_out_whole_and_never_a_class():
    case = np.array([1, 1, 0, 0, 0])
    persons = np.array([4, 4, 7, 8, 9])
    counts, stratum = resampling.left_out_counts(case, persons)
    np.testing.assert_array_equal(
        counts, [[1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 1, 0, 1], [1, 1, 1, 1, 0]]
    )
    np.testing.assert_array_equal(stratum, [1, 0, 0, 0])


@pytest.mark.parametrize("kind", ["percentile", "bca"])
def test_a_metric_that_no_resample_moves_still_gets_an_open_interval(kind):
    case = np.repeat([0, 1], 10)
    made = drawn(case, np.arange(20), bootstraps=100, bootstrap_interval=kind)
    found = made.interval(0.0, lambda counts: resampling.resampled_mean(np.zeros(20), counts))
    assert found.low == 0.0
    assert found.high == pytest.approx(0.1611, abs=1e-4)  # Wilson, none of 20


def test_repeated_samples_of_persons_do_not_narrow_an_interval():
    generator = np.random.default_rng(2)
    case = np.repeat([0, 1], 25)
    error = generator.random(50)

    def width(repeats: int) -> float:
        persons = np.repeat(np.arange(50), repeats)
        made = drawn(case[persons], persons, bootstraps=2000)
        found = made.interval(
            float(error.mean()), lambda counts: resampling.resampled_mean(error[persons], counts)
        )
        return found.high - found.low

    assert width(4) == pytest.approx(width(1), rel=1e-6)


def test_basic_interval_lies_below_a_metric_that_resamples_raise():
    found = basic_interval(0.10, np.linspace(0.12, 0.22, 101), 0.90)
    assert (found.low, found.high) == pytest.approx((0.0, 0.10))


@pytest.mark.parametrize("kind", ["percentile", "bca"])
def test_bootstrap_intervals_hold_the_truth_about_as_often_as_they_say(kind):
    truth, runs, held = float(norm.cdf(1.2 / np.sqrt(2))), 250, 0
    case = np.repeat([0, 1], [40, 40])
    for run in range(runs):
        score = np.random.default_rng(run).normal(size=80) + 1.2 * case
        made = drawn(case, np.arange(80), bootstraps=300, bootstrap_interval=kind, seed=run)
        found = made.interval(
            metrics.auroc(case, score),
            lambda counts, score=score: resampling.resampled_auroc(case, score, counts),
        )
        held += found.low <= truth <= found.high
    assert 0.90 <= held / runs <= 0.98


def test_a_metric_of_ranking_gets_the_wider_of_quantiles_and_logit_scale():
    case = np.repeat([0, 1], [20, 30])
    score = np.random.default_rng(5).normal(size=50) + 1.5 * case
    value = metrics.average_precision(case, score)
    made = drawn(case, np.arange(50), bootstraps=500)

    def statistic(counts):
        return resampling.resampled_average_precision(case, score, counts)

    plain, found = made.interval(value, statistic), made.interval(value, statistic, ranking=True)
    slope = value * (1 - value)
    half = 1.959964 * statistic(made.counts).std(ddof=1) / slope
    low = 1 / (1 + np.exp(-(np.log(value / (1 - value)) - half)))
    assert found.low == pytest.approx(min(plain.low, low))
    assert found.low < plain.low
    assert found.high >= plain.high


def test_outcomes_drawn_from_the_scores_give_the_error_that_bins_make_by_chance():
    score = np.sort(np.random.default_rng(6).random(400))
    found = resampling.calibrated_errors(score, np.arange(400), 10, 400, seed=1)
    drawn_once = [
        metrics.expected_calibration_error(
            (np.random.default_rng(1000 + run).random(400) < score).astype(int), score, 10
        )
        for run in range(200)
    ]
    assert found.mean() == pytest.approx(np.mean(drawn_once), rel=0.05)
    together = resampling.calibrated_errors(score, np.repeat(np.arange(80), 5), 10, 400, seed=1)
    assert together.mean() > 1.5 * found.mean()
