"""Marks stand wherever the marked numbers stand; doubts of quality control are told in words."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from genellm_dagster.reports import cautions, marks, wording
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.html import render_report
from genellm_dagster.reports.tables import quality, results
from genellm_dagster_tests.reports.fixtures import made_up_content

QUANTILE = "quantile normalisation"
COCONUT = "COCONUT of a new cohort by its own controls: USES TEST LABELS (GSE900003)"


@pytest.fixture(scope="module")
def content() -> ReportContent:
    made_up = made_up_content()
    # The made-up model names a step of its own, which would hide that the marks do.
    return replace(made_up, model={**made_up.model, "transductive": []})


def with_recorded(content: ReportContent, **steps: list[str]) -> ReportContent:
    """Give the adult stratum's models the steps that the evaluation recorded."""
    reports = deepcopy(dict(content.reports))
    reports["adult"]["transductive"] = steps
    return replace(content, reports=reports)


def part_of(html: str, start: str, end: str) -> str:
    return html[html.index(start) : html.index(end, html.index(start))]


def test_what_nothing_marks_is_not_called_transductive(content: ReportContent) -> None:
    html = render_report(content)
    assert "TEST LABELS" not in html
    assert "ransductive," not in html
    assert 'class="mark"' not in html
    assert "None: a single new sample is read exactly as the samples here were." in html


def test_a_marked_stratum_is_marked_wherever_its_numbers_stand(content: ReportContent) -> None:
    html = render_report(replace(content, marks={"adult": [QUANTILE]}))
    said = f"Transductive, other samples of the test cohort took part: {QUANTILE}."
    cards = re.findall(r"<li><span class=\"name\">.*?</li>", html, flags=re.DOTALL)
    assert [said in card for card in cards] == [False, True]
    for key in ("table-performance-adult", "table-cohorts-adult"):
        assert said in part_of(html, f'id="{key}"', "</caption>")
    for key in ("table-performance-pediatric", "table-cohorts-pediatric"):
        assert said not in part_of(html, f'id="{key}"', "</caption>")
    for key in ("roc-adult", "calibration-adult", "map-adult"):
        assert said in part_of(html, f'id="figure-{key}"', "</figcaption>")
    for key in ("forest", "cohorts", "scores"):
        assert f"Adult: {said}" in part_of(html, f'id="figure-{key}"', "</figcaption>")
    assert f"<li>Adult: {QUANTILE}</li>" in part_of(html, 'id="method"', 'id="limits"')
    assert "though no label (transductive" in part_of(html, 'id="limits"', 'id="provenance"')


def test_the_summary_marks_the_headline(content: ReportContent) -> None:
    text = wording.how_well(replace(content, marks={"adult": [QUANTILE], "pediatric": [COCONUT]}))
    pediatric, adult = text.split("adult stratum")
    assert "; USES TEST LABELS)" in pediatric
    assert "; transductive)" in adult


def test_test_labels_outweigh_and_are_never_called_label_free(content: ReportContent) -> None:
    html = render_report(replace(content, marks={"adult": [QUANTILE, COCONUT]}))
    assert (
        "USES TEST LABELS, so that these numbers say nothing about a new cohort: COCONUT of a new "
        "cohort by its own controls (GSE900003)." in html
    )
    method = part_of(html, 'id="method"', 'id="limits"')
    labels, others = method.split("though at no label")
    assert "COCONUT" in labels
    assert "COCONUT" not in others
    assert QUANTILE in others
    limits = cautions.limits(replace(content, marks={"adult": [COCONUT]}))
    assert any("USES TEST LABELS" in line for line in limits)
    assert not any("though no label" in line for line in limits)


def test_each_model_carries_the_marks_that_the_evaluation_recorded(
    content: ReportContent,
) -> None:
    changed = with_recorded(content, logistic_regression=[QUANTILE], gradient_boosting=[COCONUT])
    rows = {row[0].text: row[0].small for row in results.performance(changed, "adult").rows}
    assert rows["Logistic regression"].endswith("; transductive")
    assert rows["Gradient-boosted trees"].endswith("; uses test labels")
    assert rows["GeneLLM"] == "The model of this report"
    assert marks.of_headline(changed, "adult") == []
    assert marks.of_stratum(changed, "adult") == [QUANTILE, COCONUT]


def test_a_mark_said_by_both_sources_is_said_once(content: ReportContent) -> None:
    changed = with_recorded(replace(content, marks={"adult": [QUANTILE]}), genellm=[QUANTILE])
    assert marks.of_headline(changed, "adult") == [QUANTILE]
    assert marks.of_strata(changed).count(QUANTILE) == 1


def with_qc(content: ReportContent, **facts: Any) -> ReportContent:
    """Add facts to the quality control of the first cell alone."""
    first = next(iter(content.qc))
    return replace(content, qc={**content.qc, first: {**content.qc[first], **facts}})


def test_doubts_are_told_as_sentences(content: ReportContent) -> None:
    assert quality.warnings(content) is None
    assert quality.warnings(with_qc(content, warnings=[])) is None
    said = [f"Doubt number {i}." for i in range(60)]
    table = quality.warnings(with_qc(content, warnings=said))
    assert table is not None
    assert [row[2].text for row in table.rows] == said
    assert {row[0].text for row in table.rows} == {"GSE900001"}
    html = render_report(with_qc(content, warnings=["Only <b>8</b> controls."]))
    assert "Only &lt;b&gt;8&lt;/b&gt; controls." in html
    assert "What quality control doubts" in html
    assert "What quality control doubts" not in render_report(content)


def test_sex_that_was_not_compared_is_absent_and_not_zero(content: ReportContent) -> None:
    assert quality.sex(content) is None
    counts = {"agree": 0, "disagree": 0, "unknown": 96, "why_not": "the values are centred"}
    table = quality.sex(with_qc(content, sex=counts))
    assert table is not None
    (row,) = table.rows
    assert [cell.text for cell in row[2:]] == ["–", "–", "96", "–", "–", "the values are centred"]
    counts = {"agree": 50, "disagree": 0, "unknown": 46, "told_by": ["XIST", "UTY"]}
    counts |= {"recorded_female": 20, "recorded_male": 30, "expressed_female": 0}
    table = quality.sex(with_qc(content, sex=counts | {"expressed_male": 50}))
    assert table is not None
    (row,) = table.rows
    assert [c.text for c in row[2:]] == ["50", "0", "46", "20 / 30", "0 / 50", "XIST, UTY"]


def test_quality_control_has_a_row_a_fact_and_dashes_where_a_cohort_lacks_it(
    content: ReportContent,
) -> None:
    table = quality.quality(with_qc(content, saturation={"samples": 3}, warnings=["A doubt."]))
    assert table is not None
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert "Warnings" not in rows
    assert rows["Saturation, samples"] == ["3", "–", "–", "–"]
    assert rows["Genes"] == ["2\u202f000"] * 4
    assert [column.name for column in table.columns[1:]] == [
        f"{cohort}, {stratum.capitalize()}" for stratum, cohort in content.qc
    ]


def test_data_docs_are_named_and_not_linked(content: ReportContent) -> None:
    path = 'data/store/x/data_docs/"><b>.html'
    html = render_report(replace(content, data_docs=path))
    assert "<code>data/store/x/data_docs/&#34;&gt;&lt;b&gt;.html</code>" in html
    assert "Data Docs" not in render_report(content)
