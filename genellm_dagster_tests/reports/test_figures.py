"""Figures show what they say, in curves that are right and texts that are safe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.pooling import pool_auroc
from genellm_dagster.reports.figures.canvas import Plan, sheet, to_figure, to_png
from genellm_dagster.reports.figures.curves import curve_of, lead_models, wilson
from genellm_dagster.reports.figures.decisions import decision_figure
from genellm_dagster.reports.figures.forest import cohort_figure
from genellm_dagster_tests.reports.fixtures import made_up_content


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40))
def test_area_under_the_drawn_curve_is_the_chance_of_a_right_order(
    rows: list[tuple[bool, int]],
) -> None:
    case = np.array([int(row[0]) for row in rows])
    if case.min() == case.max():
        case[0] = 1 - case[0]
    score = np.array([row[1] / 6 for row in rows])
    false, true = curve_of(case, score)
    pairs = score[case == 1][:, None] - score[case == 0][None, :]
    assert np.trapezoid(true, false) == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


def test_wilson_interval_stays_inside_and_matches_a_published_example() -> None:
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1
    # Newcombe, Stat Med 1998; 17:857, table I: 81 of 263 gives .2553 to .3662.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_genellm_and_logistic_regression_always_lead() -> None:
    leads = lead_models(made_up_content().reports["adult"])
    assert leads[:2] == ["genellm", "logistic_regression"]
    assert "genellm_shuffled_labels" not in leads


def test_texts_in_a_drawing_cannot_break_out_or_become_formulas() -> None:
    hostile = '</text><script>x</script> id="y" $\\frac{1}{2}$'
    with sheet(3, 2) as (drawn, (panel,)):
        panel.set_title(hostile)
        panel.plot([0, 1], [0, 1], label="a < b & c")
        panel.legend()
        figure = to_figure(drawn, "a key!", Plan(hostile, hostile, "c"), simulated=False)
    assert "<script>" not in figure.svg
    assert 'id="y" $\\frac{1}{2}$' in figure.svg
    assert "a &lt; b &amp; c" in figure.svg
    assert figure.key == "a-key-"


def test_points_without_a_name_are_refused() -> None:
    with sheet(3, 2) as (drawn, (panel,)):
        panel.scatter([0, 1], [0, 1], gid="dots")
        plan = Plan("t", "d", "c", hovers={"dots": ["only one"]})
        with pytest.raises((ValueError, StopIteration)):
            to_figure(drawn, "k", plan, simulated=False)


def test_the_same_drawing_gives_a_png_for_places_without_svg() -> None:
    with sheet(3, 2) as (drawn, (panel,)):
        panel.plot([0, 1], [0, 1])
        assert to_png(drawn).startswith(b"\x89PNG")


def of_cohorts(*values: float) -> dict:
    parts = {
        f"GSE{place}": {
            "auroc": Interval(value, value - 0.1, min(1.0, value + 0.05)),
            "case_persons": 40,
            "control_persons": 40,
        }
        for place, value in enumerate(values)
    }
    cohorts = {
        name: {"n": 80, "cases": 40, "auroc": part["auroc"].as_json()}
        for name, part in parts.items()
    }
    return {"cohorts": cohorts, "pooled_auroc": pool_auroc(parts, 0.95)}


def test_three_cohorts_are_drawn_with_their_pooled_auroc_and_two_without() -> None:
    three = cohort_figure(
        {"adult": {"models": {"genellm": of_cohorts(0.9, 0.8, 0.7)}}}, simulated=False
    )
    pooled = of_cohorts(0.9, 0.8, 0.7)["pooled_auroc"]
    assert "Adult · pooled (I² " in three.svg
    assert f"{pooled['value']:.3f}" in three.description
    assert "prediction interval" in three.caption
    two = cohort_figure({"adult": {"models": {"genellm": of_cohorts(0.9, 0.8)}}}, simulated=False)
    assert "pooled" not in two.svg
    assert "prediction interval" not in two.caption


def test_a_report_without_net_benefit_has_no_decision_curve() -> None:
    report = made_up_content().reports["adult"]
    assert decision_figure("adult", report, simulated=False) is None
