"""The sizes that a difference takes: known values, and what draws of scores say of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from genellm_dagster.errors import SettingsError
from genellm_dagster.simulation.power import (
    Plan,
    Sizes,
    auroc_variance,
    needed_table,
    power_of_difference,
    samples_needed,
    smallest_difference,
)
from genellm_dagster.simulation.power_check import find_differences

PAGE = Path(__file__).parents[2] / "docs" / "power.md"


@pytest.mark.parametrize(("power", "published"), [(0.8, 652), (0.9, 897), (0.95, 1131)])
def test_the_exponential_variance_gives_the_published_table_of_sizes(
    power: float, published: int
) -> None:
    # Their table III: areas .70 and .75, one-sided level .05; a variance "of one person a class",
    # and the null variance in the first term.
    many = 10**8
    first, second = (
        many * auroc_variance(area, Sizes(many, many), "exponential") for area in (0.7, 0.75)
    )
    root = norm.isf(0.05) * np.sqrt(2 * first) + norm.ppf(power) * np.sqrt(first + second)
    assert (root / 0.05) ** 2 == pytest.approx(published, abs=2)


@pytest.mark.parametrize("auroc", [0.3, 0.5, 0.7, 0.9, 0.99])
def test_the_normal_variance_is_that_of_the_bivariate_normal_distribution(auroc: float) -> None:
    both = multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]]).cdf([norm.ppf(auroc)] * 2)
    cases, controls = 12, 30
    expected = auroc * (1 - auroc) + (cases + controls - 2) * (both - auroc**2)
    found = auroc_variance(auroc, Sizes(cases, controls))
    assert found == pytest.approx(expected / (cases * controls), rel=1e-4)


@pytest.mark.parametrize("prevalence", [0.5, 0.9])
def test_the_difference_is_found_as_often_as_planned(prevalence: float) -> None:
    sizes = samples_needed(0.95, 0.1, prevalence)
    found = find_differences(0.95, 0.85, (sizes, sizes), draws=800, seed=1)
    assert found.sampling_error < 0.02
    assert 0.75 < found.by_delong < 0.9
    assert 0.65 < found.by_interval <= found.by_delong


def test_the_exponential_shape_promises_too_much_where_cases_are_many() -> None:
    exponential = Plan(shape="exponential")
    sizes = samples_needed(0.95, 0.1, 0.9, exponential)
    assert power_of_difference(0.95, 0.85, (sizes, sizes), exponential) >= 0.8
    assert find_differences(0.95, 0.85, (sizes, sizes), draws=800, seed=1).by_delong < 0.7


def test_equal_strata_are_told_apart_no_more_often_than_the_level() -> None:
    sizes = Sizes(60, 60)
    found = find_differences(0.85, 0.85, (sizes, sizes), draws=1000, seed=3)
    assert 0.02 < found.by_delong < 0.075
    assert found.by_interval < 0.07


@settings(max_examples=40, deadline=None)
@given(
    higher=st.floats(0.7, 0.99),
    difference=st.floats(0.03, 0.15),
    prevalence=st.floats(0.1, 0.9),
    power=st.floats(0.6, 0.95),
)
def test_the_size_is_enough_and_one_sample_less_is_not(
    higher: float, difference: float, prevalence: float, power: float
) -> None:
    plan = Plan(power=power)
    sizes = samples_needed(higher, difference, prevalence, plan)

    def reached(each: Sizes) -> float:
        return power_of_difference(higher, higher - difference, (each, each), plan)

    assert reached(sizes) >= power
    # Both classes are rounded up: two persons fewer are below the size before rounding.
    fewer = sizes.cases + sizes.controls - 2
    if fewer * min(prevalence, 1 - prevalence) > 1:
        assert reached(Sizes.of(fewer, prevalence)) < power


@settings(max_examples=40, deadline=None)
@given(higher=st.floats(0.6, 0.99), cases=st.integers(5, 400), controls=st.integers(5, 400))
def test_the_smallest_difference_is_seen_with_the_power_asked_for(
    higher: float, cases: int, controls: int
) -> None:
    sizes = (Sizes(cases, controls), Sizes(controls, cases))
    found = smallest_difference(higher, sizes)
    if found is None:
        assert power_of_difference(higher, 0.5, sizes) < 0.8
    else:
        assert power_of_difference(higher, higher - found, sizes) >= 0.8
        assert power_of_difference(higher, higher - found + 2e-4, sizes) < 0.8


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: samples_needed(0.9, 0.0, 0.5), "difference 0"),
        (lambda: samples_needed(0.9, 0.05, 1.0), "prevalence 1"),
        (lambda: samples_needed(1.0, 0.05, 0.5), "AUROC of 1"),
        (lambda: samples_needed(0.9, 1e-5, 0.5), "larger one"),
        (lambda: Plan(power=0.04), "by chance"),
        (lambda: Plan(alpha=2), "alpha 2"),
        (lambda: Sizes(0, 5), "0 cases and 5 controls"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_sentence(ask, words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        ask()


def test_the_page_holds_the_sizes_that_the_code_gives() -> None:
    text = PAGE.read_text()
    rows = re.findall(r"^\| (0\.\d+) \| (0\.\d+) \| (0\.\d+) \| (\d+) \| (\d+) \|", text, re.M)
    assert len(rows) == 18
    for auroc, other, prevalence, cases, controls in rows:
        (row,) = needed_table([float(auroc)], [float(prevalence)]).to_dict("records")
        assert row["other_auroc"] == float(other)
        assert (row["cases"], row["controls"]) == (int(cases), int(controls))
