"""The page holds what it must, runs nothing that comes from a file, and is the same each time."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from genellm_dagster.errors import GeneLLMError
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.html import render_report, write_report
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster_tests.reports.fixtures import hostile_content, made_up_content

VOID = {"meta", "link", "input", "br", "hr", "img", "use", "path"}


class Page(HTMLParser):
    """Collects tags, ids and headings, and whether tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID or tag == "use":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID and tag != "use":
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return made_up_content()


@pytest.fixture(scope="module")
def html(content: ReportContent) -> str:
    return render_report(content)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_tags_nest_and_ids_are_unique(page: Page) -> None:
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_reference_within_the_page_is_met(page: Page, html: str) -> None:
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    wanted = {attrs["href"] for _, attrs in page.tags if str(attrs.get("href")).startswith("#")}
    assert {str(link)[1:] for link in wanted} <= ids
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= ids
    for _, attrs in page.tags:
        for name in str(attrs.get("aria-labelledby") or "").split():
            assert name in ids


def test_nothing_is_asked_from_outside(page: Page, html: str) -> None:
    for tag, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "action", "poster", "srcset"):
            address = attrs.get(name) or "#"
            assert address.startswith(("#", "data:")), (tag, name, address)
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert not re.search(r"https?://", names)


def test_the_page_is_light_and_the_same_each_time(content: ReportContent, html: str) -> None:
    assert len(html.encode()) < 2_000_000
    assert render_report(content) == html


def test_headings_step_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_tables_have_captions_and_heads_with_scope(page: Page) -> None:
    assert len(page.all("table")) == len(page.all("caption")) > 8
    assert {attrs.get("scope") for attrs in page.all("th")} == {"col", "row"}


def test_every_figure_is_told_in_words(page: Page) -> None:
    plots = page.all("svg")
    assert len(plots) == len(page.all("figure")) == 12
    for attrs in plots:
        assert attrs["role"] == "img"
        assert len(str(attrs["aria-labelledby"]).split()) == 2


def test_research_use_only_stands_on_top_and_bottom(html: str) -> None:
    body = html[html.index("<body>") :]
    assert body.count("Research use only") == 2
    assert body.index("Research use only") < body.index("<h1>")
    assert body.rindex("Research use only") > body.index("</main>")


def test_what_a_clinician_asks_is_there(page: Page) -> None:
    text = " ".join(page.text)
    for said in (
        "In five sentences",
        "n = 164",
        "prevalence 67 %",
        "neither case nor control of the study",
        "no case in this stratum: label and batch are one",
        "IDNK is missing in GSE900001",
        "Apache-2.0",
        "0.023 %",
        "UMAP of all samples of a stratum (picture only)",
        "adds nothing over logistic regression",
        "0.058",
        "1 × quality control: array failed",
        "flattered there",
    ):
        assert said in text, said
    assert "nan" not in re.findall(r"\bnan\b", text.lower())
    assert "None" not in re.findall(r"\bNone\b", text.replace("None:", ""))


@pytest.mark.parametrize("strata", [("pediatric", "adult"), ("adult",)])
def test_simulated_stands_inside_every_figure(strata: tuple[str, ...]) -> None:
    html = render_report(made_up_content(simulated=True, strata=strata))
    figures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(figures) == (12 if len(strata) == 2 else 8)
    for svg in figures:
        assert re.search(r"<text[^>]*>SIMULATED</text>", svg)
    assert html.count('class="notice simulated"') == 2
    assert "<title>SIMULATED: " in html


def test_real_studies_never_say_simulated(html: str) -> None:
    assert "SIMULATED" not in html


def test_what_comes_from_files_is_shown_and_not_run() -> None:
    html = render_report(hostile_content())
    page = Page(html)
    assert page.open == []
    assert len(page.all("script")) == 1
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 15
    assert "<!-- -->" not in html
    policy = next(str(a["content"]) for a in page.all("meta") if a.get("http-equiv"))
    assert "script-src 'sha256-" in policy
    assert "default-src 'none'" in policy


def test_missing_parts_are_said_to_be_missing(content: ReportContent) -> None:
    bare = replace(
        content,
        embeddings={},
        signatures={},
        age_comparison={},
        comparison=pd.DataFrame(),
        model={},
        qc={},
        refusals={},
        left_out=[],
        software={},
    )
    page = Page(render_report(bare))
    text = " ".join(page.text)
    for said in (
        "The map of the samples of this stratum was not computed",
        "Attributions were not computed",
        "the comparison between them is missing",
        "No cohort was left out of a stratum",
        "Every model gave scores for every stratum",
    ):
        assert said in text
    assert page.open == []


def test_a_study_without_any_report_is_refused(content: ReportContent) -> None:
    with pytest.raises(GeneLLMError, match="materialize evaluation_report"):
        render_report(replace(content, reports={}))


def test_a_large_map_is_drawn_as_a_picture(html: str) -> None:
    light = render_report(made_up_content(strata=("adult",)), ReportOptions(hover_points=10))
    assert "data:image/png;base64," in light
    assert "<title>GSM900003" not in light
    assert "<title>GSM900001000 · cohort GSE900001 · label" in html


def test_the_file_is_written_whole(content: ReportContent, html: str, tmp_path: Path) -> None:
    path = tmp_path / "made_up" / "report.html"
    write_report(content, path)
    assert path.read_text(encoding="utf-8") == html
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
