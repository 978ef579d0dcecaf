"""The parts of the Brier score add up; net benefit is what its definition says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.evaluation import brier, metrics, net_benefit


@st.composite
def forecasts(draw):
    size = draw(st.integers(2, 40))
    case = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    score = draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))
    case[0], case[1] = 0, 1
    return np.array(case), np.array(score)


@settings(max_examples=100, deadline=None)
@given(forecasts(), st.integers(2, 12))
def test_the_parts_add_up_to_the_brier_score(data, bins):
    case, score = data
    parts = brier.decompose(case, score, bins)
    assert parts.brier == pytest.approx(metrics.brier(case, score), abs=1e-12)
    assert parts.reliability >= 0
    assert parts.resolution >= 0


def test_parts_of_forecasts_of_two_values_by_hand():
    case = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    score = np.array([0.9, 0.9, 0.9, 0.9, 0.25, 0.25, 0.25, 0.25])
    parts = brier.decompose(case, score, 10)
    # Of four said .9 three were cases; of four said .25 one; one half over all.
    assert parts.reliability == pytest.approx(0.5 * 0.15**2)
    assert parts.resolution == pytest.approx(0.25**2)
    assert parts.uncertainty == pytest.approx(0.25)
    assert parts.within_bin == pytest.approx(0, abs=1e-12)


def test_parts_on_resamples_equal_the_parts_of_each_resample():
    generator = np.random.default_rng(4)
    case = np.repeat([0, 1], [12, 9])
    score = generator.random(21)
    counts = generator.multinomial(21, np.full(21, 1 / 21), size=20).astype(np.float32)
    found = brier.resampled_parts(case, score, counts, 5)
    for row, drawn in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(21), drawn)
        parts = brier.decompose(case[rows], score[rows], 5)
        assert found[row] == pytest.approx((parts.reliability, parts.resolution), abs=1e-6)


def test_net_benefit_by_hand():
    case = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    probability = np.array([0.9, 0.4, 0.1, 0.5, 0.2, 0.1, 0.1, 0.1, 0.0, 0.0])
    # At .2: two true, two false positives; a false one weighs .2 / .8.
    assert net_benefit.net_benefit(case, probability, 0.2) == pytest.approx(0.2 - 0.2 * 0.25)
    assert net_benefit.treat_all(0.3, 0.2) == pytest.approx(0.3 - 0.7 * 0.25)


@settings(max_examples=60, deadline=None)
@given(forecasts(), st.sampled_from([0.1, 0.5, 0.8]))
def test_net_benefit_lies_in_its_interval_and_never_above_the_prevalence(data, threshold):
    case, probability = data
    persons = np.arange(len(case))
    found = net_benefit.net_benefit_interval(case, probability, persons, threshold, 0.95)
    value = net_benefit.net_benefit(case, probability, threshold)
    assert found.value == pytest.approx(value)
    assert found.low <= found.value <= found.high <= case.mean() + 1e-9


def test_calling_everyone_gains_nothing_over_treating_all():
    case = np.repeat([0, 1], [6, 4])
    found = net_benefit.decisions(case, np.ones(10), np.arange(10), (0.1, 0.25), 0.95)
    for row in found["thresholds"]:
        assert row["net_benefit"]["value"] == pytest.approx(row["treat_all"])
        assert row["gain"]["value"] == pytest.approx(0, abs=1e-12)
    assert found["prevalence"] == 0.4
    assert len(found["curve"]["threshold"]) == len(found["curve"]["net_benefit"]) == 99


def test_a_model_without_an_error_keeps_an_open_net_benefit():
    case = np.repeat([0, 1], [10, 10])
    row = net_benefit.decisions(case, case * 1.0, np.arange(20), (0.5,), 0.95)["thresholds"][0]
    assert row["net_benefit"]["value"] == row["net_benefit"]["high"] == 0.5
    assert row["net_benefit"]["low"] < 0.35
