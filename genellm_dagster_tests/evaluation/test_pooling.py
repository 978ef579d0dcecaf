"""Pooling over cohorts against statsmodels, published numbers and its own equations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, t
from statsmodels.stats.meta_analysis import combine_effects

from genellm_dagster.evaluation import intervals
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.pooling import pool, pool_auroc

# BCG vaccine against tuberculosis, 13 trials: cases and others, vaccinated and not (Colditz and
# others, JAMA 271 (1994) 698; the example of R's metafor, whose documentation has the numbers).
BCG = np.array(
    [
        (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619),
        (33, 5036, 47, 5761), (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892),
        (29, 7470, 45, 7232), (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338),
        (27, 16886, 29, 17825),
    ],
    dtype=float,
)  # fmt: skip


def log_risk_ratios() -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d = BCG.T
    return np.log(a / (a + b)) - np.log(c / (c + d)), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def test_bcg_trials_give_metafors_heterogeneity():
    pooled = pool(*log_risk_ratios(), 0.95)
    # metafor: Q(12) = 152.2330; Paule-Mandel tau^2 .318, I^2 92.3 %, mean -.715.
    assert pooled.q == pytest.approx(152.2330, abs=1e-3)
    assert pooled.p < 1e-20
    assert pooled.between.value == pytest.approx(0.318, abs=1e-3)
    assert pooled.i2.value == pytest.approx(0.923, abs=2e-3)
    assert pooled.mean.value == pytest.approx(-0.715, abs=1e-3)
    # Q profile interval of tau^2, metafor's confint: .1197 to 1.1115.
    assert (pooled.between.low, pooled.between.high) == pytest.approx((0.1197, 1.1115), abs=2e-4)


def test_mean_weights_and_hartung_knapp_agree_with_statsmodels():
    effects, variances = log_risk_ratios()
    pooled = pool(effects, variances, 0.95)
    known = combine_effects(effects, variances, method_re="pm", use_t=True, atol=1e-12)
    assert pooled.between.value == pytest.approx(known.tau2, rel=1e-5)
    assert pooled.mean.value == pytest.approx(known.mean_effect_re, rel=1e-6)
    assert pooled.weights == pytest.approx(known.weights_rel_re, rel=1e-5)
    low, high = known.conf_int(use_t=True)[3]
    assert (pooled.mean.low, pooled.mean.high) == pytest.approx((low, high), rel=1e-4)


def test_ends_of_the_variance_between_solve_the_q_profile():
    effects, variances = log_risk_ratios()
    pooled = pool(effects, variances, 0.95)
    for between, level in ((pooled.between.low, 0.975), (pooled.between.high, 0.025)):
        weights = 1 / (variances + between)
        mean = weights @ effects / weights.sum()
        assert weights @ (effects - mean) ** 2 == pytest.approx(chi2.ppf(level, 12), rel=1e-6)


def test_cohorts_that_agree_too_well_are_not_called_more_certain_than_their_own_errors():
    pooled = pool(np.array([1.0, 1.0, 1.0]), np.full(3, 0.09), 0.95)
    assert pooled.between.value == pooled.i2.value == 0
    half = t.ppf(0.975, 2) * np.sqrt(0.03)
    assert pooled.mean.high - 1.0 == pytest.approx(half)
    assert pooled.prediction[1] - 1.0 == pytest.approx(t.ppf(0.975, 1) * np.sqrt(0.03))


def cohort(value: float, cases: int, controls: int) -> dict:
    low, high = intervals.newcombe_interval(value, cases, controls, 0.95)
    return {
        "auroc": Interval(value, low, high),
        "case_persons": cases,
        "control_persons": controls,
    }


def test_a_perfect_cohort_takes_part_with_a_finite_weight():
    found = pool_auroc({"a": cohort(1.0, 10, 10), "b": cohort(0.8, 40, 40)}, 0.95)
    assert 0 < found["weights"]["a"] < found["weights"]["b"] < 1
    assert 0.8 < found["value"] < found["high"] <= 1
    assert found["prediction"] is None
    assert found["cohorts"] == 2


def test_turning_every_score_round_mirrors_the_pooled_auroc():
    values = (0.95, 0.7, 1.0, 0.55)
    straight = pool_auroc({f"{v}": cohort(v, 20, 30) for v in values}, 0.95)
    turned = pool_auroc({f"{v}": cohort(1 - v, 20, 30) for v in values}, 0.95)
    assert turned["value"] == pytest.approx(1 - straight["value"])
    assert turned["low"] == pytest.approx(1 - straight["high"])
    assert turned["i2"]["value"] == pytest.approx(straight["i2"]["value"])


def test_cohorts_that_differ_widen_the_prediction_beyond_the_mean():
    same = pool_auroc({f"c{i}": cohort(0.85, 60, 60) for i in range(5)}, 0.95)
    apart = pool_auroc(
        {f"c{i}": cohort(v, 60, 60) for i, v in enumerate((0.6, 0.75, 0.9, 0.95, 0.97))}, 0.95
    )
    assert same["i2"]["value"] == 0
    assert apart["i2"]["value"] > 0.7
    assert apart["prediction"]["low"] < apart["low"]
    assert apart["p"] < 0.01


def test_one_cohort_is_not_pooled_and_says_why():
    none = {"auroc": Interval(None, None, None, "only cases"), "case_persons": 9,
            "control_persons": 0}  # fmt: skip
    found = pool_auroc({"a": cohort(0.9, 20, 20), "b": none}, 0.95)
    assert found["value"] is None
    assert "two cohorts" in found["reason"]
    assert found["cohorts"] == 1
