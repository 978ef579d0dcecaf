"""What the report says and draws of the differences between cohorts follows from the numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.expression.batch_view import BatchView, batch_view
from genellm_dagster.reports import batch
from genellm_dagster.reports.figures.batch import batch_figure
from genellm_dagster.reports.html import render_report
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tables.batch import explained
from genellm_dagster_tests.reports.fixtures import made_up_content

OPTIONS = ReportOptions()
HOSTILE = "<script>alert(1)</script>"


def view_of(
    *, states: tuple[str, ...] = ("log2", "rank_normal", "combat"), cohorts: int = 3, n: int = 60
) -> BatchView:
    rng = np.random.default_rng(3)
    number = np.arange(n)
    factors = pd.DataFrame(
        {
            "cohort": [f"GSE{i:02d}" for i in number % cohorts],
            "platform": "GPL1",
            "case": number // cohorts % 2,
        },
        index=[f"GSM{i}" for i in number],
    )
    noise = rng.normal(size=(n, 8)) + factors["case"].to_numpy()[:, None]
    tables = {
        state: pd.DataFrame(
            noise + (number % cohorts)[:, None] * shift, factors.index, list("ABCDEFGH")
        )
        for state, shift in zip(states, (4.0, 1.0, 0.0), strict=False)
    }
    return batch_view(tables, factors)


def with_shares(view: BatchView, **shares: list[float]) -> BatchView:
    """Give the view other shares, a list a factor in the order of the states."""
    table = view.shares.copy()
    for factor, values in shares.items():
        table.loc[table["factor"] == factor, "share"] = values
    return replace(view, shares=table)


def plots_of(html: str) -> str:
    section = html[html.index('id="batch"') : html.index('id="numbers"')]
    return "".join(re.findall(r"<svg.*?</svg>", section, flags=re.DOTALL))


def test_shares_are_told_state_by_state_with_their_marks() -> None:
    view = with_shares(view_of(), cohort=[0.68, 0.52, -0.004], case=[0.05, 0.09, 0.12])
    text = " ".join(batch.said(view))
    assert (
        "Which cohort a sample is from explains 68 % of the variance of log2 values, 52 % of that "
        "of ranks within the sample and less than 1 % of that of values after ComBat "
        "(transductive)." in text
    )
    assert "Whether it is a case explains 5 % of the variance of log2 values, 9 %" in text
    assert "takes the differences between cohorts out by design" in text


@pytest.mark.parametrize(
    ("cohort", "case", "said"),
    [
        (0.4, 0.1, "where a sample was measured shows more than whether it is a case"),
        (0.1, 0.4, "whether a sample is a case shows more than where it was measured"),
        (0.004, -0.01, "neither explains as much as one percent"),
    ],
)
def test_the_last_state_is_judged_by_its_numbers(cohort: float, case: float, said: str) -> None:
    view = view_of(states=("log2", "rank_normal"))
    text = " ".join(batch.said(with_shares(view, cohort=[0.9, cohort], case=[0.05, case])))
    assert said in text
    assert "by design" not in text


def test_a_label_that_leaves_with_the_cohorts_is_told() -> None:
    view = view_of()
    lost = with_shares(view, case=[0.1, 0.2, 0.05])
    assert any("fell from 20 % to 5 %" in line for line in batch.said(lost))
    kept = with_shares(view, case=[0.1, 0.2, 0.25])
    assert not any("fell from" in line for line in batch.said(kept))


def test_an_unknown_share_is_a_dash_and_never_zero() -> None:
    view = view_of()
    table = explained("adult", view)
    assert table is not None
    rows = {row[0].text: row for row in table.rows}
    assert list(rows) == ["Cohort", "Platform", "Label", "Not explained"]
    assert [cell.text for cell in rows["Platform"]] == ["Platform", "1", "–", "–", "–"]
    assert all(cell.order is None for cell in rows["Platform"][2:])
    assert "all samples have the same platform" in table.note
    assert "(transductive)" in table.columns[-1].name
    shown = [float(cell.text.split()[0].replace("−", "-")) for cell in rows["Cohort"][2:]]
    assert shown == pytest.approx(
        [100 * (batch.share_of(view, state, "cohort") or 0) for state in view.states], abs=0.51
    )


def test_platform_and_cohort_that_are_one_are_said_to_be_one() -> None:
    view = replace(view_of(), same_as_cohort=("platform",), not_recorded={"sex": 12})
    table = explained("adult", view)
    assert table is not None
    assert "Platform and cohort are one here" in table.note
    assert "Sex is not recorded of 12 samples" in table.note


def test_one_cohort_is_told_and_not_drawn() -> None:
    view = view_of(cohorts=1)
    assert batch_figure("adult", view, OPTIONS, simulated=False) is None
    assert explained("adult", view) is None
    content = replace(made_up_content(strata=("adult",)), batch={"adult": view.as_json()})
    html = render_report(content)
    assert "All samples are of one cohort (GSE00), with none to compare." in html
    assert plots_of(html) == ""


def test_a_view_that_was_not_made_is_said_to_be_missing() -> None:
    html = render_report(replace(made_up_content(strata=("adult",)), batch={}))
    assert "Differences between the cohorts of this stratum were not computed" in html


def test_every_sample_stands_in_every_panel_and_names_itself() -> None:
    view = view_of()
    figure = batch_figure("adult", view, OPTIONS, simulated=False)
    assert figure is not None
    for gsm in view.points["gsm"].unique():
        assert figure.svg.count(f"<title>{gsm} · ") == len(view.states)
    assert "<title>GSM0 · cohort GSE00 · label control</title>" in figure.svg
    assert figure.svg.count("PC 1 (") == figure.svg.count("PC 2 (") == len(view.states)
    first = view.axes.iloc[0]
    assert f"PC 1 ({round(100 * first['x'])} %)" in figure.svg
    assert "(transductive)" in figure.svg
    assert "ComBat of a new cohort by its own samples" in figure.caption
    assert "cohort explains" in figure.description


def test_many_samples_are_drawn_as_a_picture() -> None:
    figure = batch_figure("adult", view_of(), ReportOptions(hover_points=100), simulated=False)
    assert figure is not None
    assert "data:image/png;base64," in figure.svg
    assert "<title>GSM0" not in figure.svg
    assert "Point at" not in figure.caption


def test_more_cohorts_than_can_be_told_apart_share_the_grey_and_are_counted() -> None:
    view = view_of(cohorts=15, n=120)
    figure = batch_figure("adult", view, OPTIONS, simulated=False)
    assert figure is not None
    assert "GSE11 (n = 8)" in figure.svg
    assert "GSE12 (n" not in figure.svg
    assert "3 further cohorts (n = 24)" in figure.svg
    assert "3 further cohorts share the grey" in figure.caption


@pytest.mark.parametrize("n_states", [1, 4])
def test_one_state_or_many_find_their_place(n_states: int) -> None:
    names = ("log2", "rank_normal", "combat", "coconut")[:n_states]
    view = batch_view(
        {name: pd.DataFrame(np.random.default_rng(1).normal(size=(60, 5))) for name in names},
        pd.DataFrame({"cohort": np.arange(60) % 2, "case": np.arange(60) // 2 % 2}),
    )
    figure = batch_figure("adult", view, OPTIONS, simulated=True)
    assert figure is not None
    assert figure.svg.count("PC 1 (") == n_states
    assert re.search(r"<text[^>]*>SIMULATED</text>", figure.svg)


def test_names_from_a_file_are_shown_and_not_run() -> None:
    found: dict[str, Any] = view_of(states=("log2", "rank_normal")).as_json()
    found["points"]["cohort"] = [HOSTILE if c == "GSE00" else c for c in found["points"]["cohort"]]
    found["points"]["gsm"][0] = HOSTILE
    for part in ("points", "axes", "shares"):
        found[part]["state"] = [HOSTILE if s == "log2" else s for s in found[part]["state"]]
    found["states"] = [HOSTILE, "rank_normal"]
    found["marks"] = {HOSTILE: [HOSTILE]}
    html = render_report(replace(made_up_content(strata=("adult",)), batch={"adult": found}))
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)") > 4
