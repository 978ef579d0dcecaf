"""Every point of TRIPOD+AI stands in the report once, answered from the content or not at all."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.html import render_report
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tripod.parts import NOT_REPORTED
from genellm_dagster.reports.tripod.table import points, tripod
from genellm_dagster_tests.reports.fixtures import made_up_content

HOSTILE = "<script>alert(1)</script>"
# Collins et al., BMJ 2024;385:e078378: 27 items, some with parts.
PARTS = {
    **dict.fromkeys(range(1, 28), ""),
    3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc",
    23: "ab", 27: "abc",
}  # fmt: skip
ITEMS = [f"{item}{part}" for item, parts in PARTS.items() for part in (parts or [""])]


def said(content: ReportContent) -> dict[str, str]:
    return {row[0].text: row[2].text for row in tripod(content, ReportOptions()).rows}


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return made_up_content()


def test_every_item_stands_there_once_and_in_order(content: ReportContent) -> None:
    assert len(ITEMS) == 52
    assert [point["item"] for point in points()] == ITEMS
    html = render_report(content)
    section = html[html.index('<h2 id="tripod">') :]
    assert re.findall(r'<th scope=row[^>]*data-order="[^"]*">(\w+)</th>', section) == ITEMS
    assert section.count('scope="col"') == 3
    assert section.count("<caption") == 1


def test_answers_hold_the_numbers_of_this_run(content: ReportContent) -> None:
    answers = said(content)
    assert answers["1"] == content.study.title
    assert "GSE900001 (GPL570)" in answers["5a"]
    assert "sepsis and septic shock; control: healthy" in answers["8a"]
    assert "Adult: 185 of the 234 samples that the series list (110 cases)" in answers["10"]
    assert "was held out in turn" in answers["12a"]
    assert "AUROC, AP, AP at ½" in answers["12e"]
    assert "sepsis" not in answers["17"]
    assert answers["18f"] == "genellm-dagster 0.1.0, torch 2.13.0, seed 7"
    assert "Pediatric: 176 listed, 164 usable, 164 measured (not used: 12 × label" in answers["20a"]
    assert "median age 9.0 years (9.0 to 9.0; 164 known); 164 female" in answers["20b"]
    assert "fold GSE900001: 74 in training (50 cases), 90 in test (60 cases)" in answers["21"]
    auroc = content.reports["adult"]["models"]["genellm"]["auroc"]["value"]
    assert f"AUROC {auroc:.3f}" in answers["23a"]
    assert "sNIP gave no score: IDNK is missing in GSE900001" in answers["27a"]


def test_a_temperature_on_record_is_what_recalibration_says(content: ReportContent) -> None:
    assert said(content)["12f"] == NOT_REPORTED
    model = {**content.model, "temperature": {"pediatric": 1.25, "adult": 1.0}}
    answer = said(replace(content, model=model))["12f"]
    assert "Pediatric: logits divided by a temperature of 1.250." in answer
    assert "Adult: scores as they came, not recalibrated" in answer
    model["temperature"] = {"pediatric": None}
    assert said(replace(content, model=model))["12f"] == NOT_REPORTED


def test_what_no_run_knows_is_not_reported(content: ReportContent) -> None:
    answers = said(content)
    for item in ("3a", "3b", "5b", "6c", "8b", "8c", "17", "18a", "18b", "18c", "18d", "19", "27b"):
        assert answers[item] == NOT_REPORTED


@pytest.mark.parametrize(
    ("part", "empty", "items"),
    [
        ("qc", {}, ["7"]),
        ("model", {}, ["12b", "22"]),
        ("software", {}, ["18f"]),
        ("refusals", {}, ["27a"]),
        ("batch", {}, ["20c"]),
        ("age_comparison", {}, ["14"]),
        ("sheets", {}, ["10", "20a", "20b"]),
    ],
)
def test_without_its_part_a_point_is_not_reported(
    content: ReportContent, part: str, empty: dict[str, object], items: list[str]
) -> None:
    with_it, without = said(content), said(replace(content, **{part: empty}))
    for item in items:
        assert with_it[item] != NOT_REPORTED
        assert without[item] == NOT_REPORTED


def test_numbers_that_the_evaluation_lacks_are_not_reported(content: ReportContent) -> None:
    bare = {
        name: {**report, "models": {"genellm": {}}, "within_cohorts": {}, "folds": {}}
        for name, report in content.reports.items()
    }
    answers = said(replace(content, reports=bare, comparison=pd.DataFrame()))
    for item in ("12a", "12d", "12e", "13", "15", "23a", "23b"):
        assert answers[item] == NOT_REPORTED, item


def test_the_caption_counts_what_is_answered_and_says_simulated(content: ReportContent) -> None:
    answered = sum(text != NOT_REPORTED for text in said(content).values())
    caption = tripod(content, ReportOptions()).caption
    assert f"{answered} of 52" in caption
    assert "SIMULATED" not in caption
    simulated = replace(content, simulated=True)
    assert tripod(simulated, ReportOptions()).caption.startswith("SIMULATED")
    assert "no data of any person" in said(simulated)["18e"]


def test_hostile_text_is_shown_and_not_run(content: ReportContent) -> None:
    hostile = replace(
        content,
        software={HOSTILE: HOSTILE},
        model={"tokenizer": HOSTILE, "registered": {"adult": HOSTILE}},
        refusals={"adult": {HOSTILE: HOSTILE}},
    )
    html = render_report(hostile)
    section = html[html.index('<h2 id="tripod">') : html.index("</main>")]
    assert "<script" not in section
    assert section.count("&lt;script&gt;") >= 5
