"""The card of an adapter says what it is for and how far to trust it, in one file on its own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genellm_dagster.errors import GeneLLMError
from genellm_dagster.reports.model_card import ModelCard, render_model_card, write_model_card
from genellm_dagster_tests.reports.fixtures import HOSTILE, made_up_content
from genellm_dagster_tests.reports.test_report_page import Page

ADAPTER: dict[str, Any] = {
    "registered_model": "made_up-adult",
    "version": "3",
    "aliases": ["challenger"],
    "trainable": 1153,
    "total": 134_515_008,
    "share": 1153 / 134_515_008,
    "temperature": 1.31,
    "members": 5,
    "run_id": "ab12",
    "promotion": {
        "decision": "challenger",
        "reason": "Shown worse than version 2 in AUROC: challenger.",
        "against": 2,
        "auroc": {
            "p_worse": 0.0123,
            "difference": {"value": -0.021, "low": -0.041, "high": -0.002},
        },
    },
}
BACKBONE = {
    "name": "smollm2",
    "sha256": "cd" * 32,
    "licence": "Apache-2.0",
    "source": "a folder",
    "pretrained": True,
}
RECIPE = {"genes": 256, "tokenizer": "value", "normalisation": "rank_normal"}


def card(**changes: Any) -> ModelCard:
    made = ModelCard(made_up_content(), "adult", ADAPTER, BACKBONE, RECIPE)
    return replace(made, **changes)


@pytest.fixture(scope="module")
def html() -> str:
    return render_model_card(card())


def test_what_a_user_must_know_is_there(html: str) -> None:
    text = re.sub(r"\s+", " ", " ".join(Page(html).text)).replace("\u202f", " ")
    for said in (
        "made_up-adult, version 3",
        "Research use only.",
        "Diagnosis, treatment, or any other decision about a person.",
        "18 years and older",
        "Telling sepsis and septic shock from anything but healthy.",
        "People of other strata (pediatric)",
        "n = 185, 110 cases (prevalence 59 %)",
        "GPL570",
        "Apache-2.0",
        "cd" * 32,
        "1 153",
        "0.00086 %",
        "divided by a temperature of 1.310",
        "Shown worse than version 2 in AUROC: challenger.",
        "−0.041 to −0.002",
        "inside cohorts",
        "Trained on shuffled labels",
        "nothing here has judged it",
        "UMAP of all samples of a stratum (picture only)",
    ):
        assert said in text, said


def test_numbers_are_those_of_the_evaluation(html: str) -> None:
    own = made_up_content().reports["adult"]["models"]["genellm"]["auroc"]
    said = f"AUROC {own['value']:.3f} ({own['low']:.3f} to {own['high']:.3f}) out of fold"
    assert said in html


def test_the_card_is_one_well_formed_file_that_asks_nothing_from_outside(html: str) -> None:
    page = Page(html)
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "action"):
            address = attrs.get(name) or "#"
            assert address.startswith(("#", "data:")), (tag, name, address)
            if len(address) > 1 and address.startswith("#"):
                assert address[1:] in ids
    assert not re.search(r"url\((?!#)", html)
    assert not re.search(r"https?://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", html))
    assert len(page.all("table")) == len(page.all("caption")) >= 7
    assert render_model_card(card()) == html


def test_only_the_own_stratum_is_judged(html: str) -> None:
    assert "table-performance-adult" in html
    assert "table-performance-pediatric" not in html


def test_simulated_stands_in_title_notice_tables_and_figures(html: str) -> None:
    assert "SIMULATED" not in html
    simulated = render_model_card(card(content=made_up_content(simulated=True)))
    assert "<title>SIMULATED: " in simulated
    assert simulated.count('class="notice simulated"') == 2
    assert "Any real sample: it was trained on simulated data." in simulated
    assert "SIMULATED data. What it was trained on" in simulated
    for svg in re.findall(r"<svg.*?</svg>", simulated, flags=re.DOTALL):
        assert re.search(r"<text[^>]*>SIMULATED</text>", svg)


def test_marks_stand_with_the_numbers() -> None:
    content = made_up_content()
    step = "values after COCONUT: uses test labels"
    marked = render_model_card(card(content=replace(content, marks={"adult": [step]})))
    assert "USES TEST LABELS" in marked.split('id="performance"')[1].split("<table")[0]
    assert step in marked


def test_logistic_regression_that_is_not_there_is_said_to_stand_elsewhere(html: str) -> None:
    apart = "were measured apart from this adapter"
    assert apart not in html
    content = made_up_content()
    report = dict(content.reports["adult"])
    report["models"] = {k: v for k, v in report["models"].items() if k.startswith("genellm")}
    alone = replace(content, reports={"adult": report})
    assert apart in render_model_card(card(content=alone))


def test_hostile_text_is_shown_and_not_run() -> None:
    hostile = {
        **ADAPTER,
        "registered_model": HOSTILE,
        "promotion": {"reason": HOSTILE, HOSTILE: HOSTILE},
    }
    html = render_model_card(
        card(
            content=made_up_content(title=HOSTILE),
            adapter=hostile,
            backbone={"licence": HOSTILE},
            recipe={HOSTILE: HOSTILE},
        )
    )
    page = Page(html)
    assert page.open == []
    assert len(page.all("script")) == 1
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 8


def test_an_adapter_that_nothing_has_judged_gets_no_card() -> None:
    with pytest.raises(GeneLLMError, match="materialize cross_validation"):
        render_model_card(card(content=made_up_content(strata=("pediatric",))))


def test_the_card_is_written_whole(html: str, tmp_path: Path) -> None:
    path = tmp_path / "adapter" / "adult.card.html"
    write_model_card(card(), path)
    assert path.read_text(encoding="utf-8") == html
    assert [file.name for file in path.parent.iterdir()] == ["adult.card.html"]
