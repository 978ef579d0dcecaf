"""Figures of attributions say what the numbers say, safely."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.reports.attributions import figures, said
from genellm_dagster.reports.content import Attributed
from genellm_dagster.reports.figures.attributions import beeswarm_figure, waterfall_figure
from genellm_dagster.reports.options import ReportOptions

HOSTILE = "<script>x</script>"
OPTIONS = ReportOptions(top_genes=3)


def tables(genes: list[str], n: int = 12) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    index = pd.Index([f"GSM{row}" for row in range(n)], name="gsm")
    inputs = pd.DataFrame(
        np.random.default_rng(1).normal(size=(n, len(genes))), index=index, columns=genes
    )
    weights = np.linspace(2.0, -1.0, len(genes))
    values = inputs * weights
    order = np.argsort(-np.abs(weights), kind="stable")
    signature = pd.DataFrame(
        {
            "gene": np.array(genes)[order],
            "mean_abs": values.abs().mean().to_numpy()[order],
            "rank": np.arange(1, len(genes) + 1),
        }
    )
    return values, inputs, signature


def swarm(genes: list[str], options: ReportOptions = OPTIONS, simulated: bool = False):
    values, inputs, signature = tables(genes)
    values.iloc[0, 0] = np.nan
    inputs.iloc[0, 0] = np.nan
    return beeswarm_figure("adult", values, inputs, signature, options, simulated=simulated)


def test_the_swarm_has_a_named_point_for_each_sample_that_has_the_gene() -> None:
    figure = swarm(["ARG1", "MMP8", "IL10", "CD177"])
    points = re.findall(r"<title>(GSM\d+ · [^<]+)</title>", figure.svg)
    assert len(points) == 11 + 12 + 12
    assert any(re.fullmatch(r"GSM3 · ARG1 \w+ · attribution [+-]\d\.\d\d", one) for one in points)
    assert not any(one.startswith("GSM0 · ARG1") for one in points)


def test_the_swarm_says_in_words_which_way_each_of_the_top_genes_pushes() -> None:
    said = swarm(["ARG1", "MMP8", "IL10", "CD177"]).description
    assert "more of ARG1 pushes towards case" in said
    assert "more of CD177 pushes towards control" in said
    assert "IL10" not in said


def test_a_large_swarm_is_a_picture_without_names() -> None:
    figure = swarm(["ARG1", "MMP8"], ReportOptions(top_genes=3, hover_points=10))
    assert "<image" in figure.svg
    assert "GSM3" not in figure.svg


def test_the_waterfall_leads_from_the_background_to_the_score() -> None:
    values = pd.Series({"A": 1.0, "B": -2.0, "C": 0.25, "D": 0.125, "E": np.nan})
    figure = waterfall_figure("GSM7", values, 0.5, -0.125, OPTIONS, simulated=False)
    assert "mean logit is 0.50, that of GSM7 -0.12" in figure.description
    assert "B -2.00, A +1.00, C +0.25, 1 other genes +0.12, not attributed +0.00" in (
        figure.description
    )
    assert "Research use only" in figure.caption


def test_the_waterfall_shows_what_the_attributions_miss() -> None:
    figure = waterfall_figure("GSM7", pd.Series({"A": 1.0}), 0.0, 1.5, OPTIONS, simulated=False)
    assert "not attributed +0.50" in figure.description


@pytest.mark.parametrize("simulated", [True, False])
def test_figures_escape_names_ask_for_nothing_and_say_simulated(simulated: bool) -> None:
    values, inputs, signature = tables([HOSTILE, "MMP8"])
    values.index = inputs.index = pd.Index([f"{HOSTILE}{row}" for row in range(len(values))])
    shown = (
        beeswarm_figure(HOSTILE, values, inputs, signature, OPTIONS, simulated=simulated),
        waterfall_figure(
            HOSTILE, values.iloc[0], 0.0, 1.0, OPTIONS, simulated=simulated, about=HOSTILE
        ),
    )
    for figure in shown:
        assert "<script" not in figure.svg
        assert not re.search(r"(href|src)=\"(?!#|data:)", figure.svg)
        assert ("SIMULATED" in figure.svg) == simulated
        assert re.fullmatch(r"[A-Za-z0-9-]+", figure.key)


def test_equal_input_gives_equal_bytes() -> None:
    assert swarm(["ARG1", "MMP8"]).svg == swarm(["ARG1", "MMP8"]).svg


def attributed(**changes: Any) -> Attributed:
    values, inputs, _ = tables(["ARG1", "MMP8"], n=4)
    rows = pd.DataFrame(
        {
            "gsm": values.index,
            "cohort": "GSE1",
            "case": [1, 1, 0, 0],
            "logit": [0.5, 2.0, -1.0, -0.5],
            "base": 0.0,
        }
    )
    facts: dict[str, Any] = {
        "note": "",
        "n": 4,
        "cases": 2,
        "background": 8,
        "completeness_error": {
            "median": 0.002, "worst": 0.03, "tolerance": 0.02, "beyond_tolerance": 1,
        },
        "agreement": {"members": {"value": 0.7, "lowest": 0.6, "pairs": [{}, {}, {}]}},
        "logistic_regression": {
            "note": "",
            "rank_correlation": {"value": 0.85, "low": 0.8, "high": 0.9, "n": 4},
            "top": {"k": 20, "overlap": 17, "expected": 3.1},
        },
    }  # fmt: skip
    return Attributed(values, inputs, rows, {**facts, **changes})


def test_sentences_follow_the_errors_and_the_agreement() -> None:
    lines = said(attributed())
    assert "4 samples (2 cases) were explained against 8 others" in lines[0]
    assert "by 0.20 % (median), 3.0 % at worst; 1 sample by more than 2.0 %." in lines[0]
    assert "alike by 0.700 (rank correlation, mean of 3 pairs; lowest 0.600)" in lines[1]
    assert "0.850 (0.800 to 0.900, 4 samples); of the top 20 genes 17 are the same" in lines[2]
    assert len(lines) == 3


def test_planted_genes_are_told_with_simulated_before_them() -> None:
    found = {
        "planted": 30, "k": 20, "found": 16, "precision_at_k": 0.8, "low": 0.56, "high": 0.94,
        "expected": 0.15,
    }  # fmt: skip
    lines = said(attributed(planted={"genellm": {"by_size": found, "by_separation": found}}))
    assert lines[-1].startswith("SIMULATED: 20 of 30 planted genes were given")
    assert "lie 16 of them (80 %, 56 % to 94 %)" in lines[-1]
    assert "3.0 by chance" in lines[-1]


def test_where_nothing_is_explained_the_reason_is_all_that_is_shown() -> None:
    found = attributed(note="The rank tokenizer moves no token.")
    assert said(found) == ["The rank tokenizer moves no token."]
    assert figures("adult", found, tables(["ARG1"])[2], OPTIONS, simulated=False) == []


def test_the_surest_case_and_control_are_drawn_from_base_to_score() -> None:
    _, _, signature = tables(["ARG1", "MMP8"], n=4)
    drawn = figures("adult", attributed(), signature, OPTIONS, simulated=True)
    assert [one.key for one in drawn] == ["attributions-adult", "waterfall-GSM1", "waterfall-GSM2"]
