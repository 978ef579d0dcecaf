"""The page against the rules of WCAG 2 at level AA, as axe-core checks them.

axe-core is Deque's (MPL-2.0); ``make axe`` fetches it. Contrast is also measured here, as axe
leaves undecided what lies over a drawing or behind a fixed cell: relative luminance and contrast as
WCAG 2.2 defines them (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genellm_dagster.reports.html import render_report
from genellm_dagster_tests.finished import Finished
from genellm_dagster_tests.reports.browser import Browser
from genellm_dagster_tests.reports.fixtures import hostile_content, made_up_content

AXE = Path(__file__).parents[2] / ".axe" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
WIDTHS = pytest.mark.parametrize("width", [1280, 400])
UNFOLDED = "document.querySelectorAll('details').forEach((one) => {one.open = true}), 0"

CONTRAST = """(() => {
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const said = (one) => [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const faint = [];
  let measured = 0;
  for (const one of document.querySelectorAll("body *")) {
    if (!said(one) || !one.checkVisibility() || one.closest("script, style, title")) continue;
    const drawn = one.closest("svg"), look = getComputedStyle(one);
    // The stamp lies faintly over a figure and stands in words above and below it.
    if (drawn && (one.textContent === "SIMULATED" || look.fill === "none")) continue;
    const [a, b] = [light(parts(drawn ? look.fill : look.color)), light(behind(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    measured += 1;
    if (ratio < 4.5) faint.push([ratio, one.outerHTML.slice(0, 160)]);
  }
  return {measured, faint};
})()"""


def violations(browser: Browser) -> list[dict[str, Any]]:
    """Return the rules that the page breaks, what is folded away unfolded."""
    if not AXE.is_file():
        pytest.skip("axe-core is not here; `make axe` fetches it")
    browser.run(UNFOLDED)
    # The page's policy forbids other scripts; what the protocol runs is not the page's.
    browser.run(f"{AXE.read_text('utf-8')}\n;0")
    asked = json.dumps({"runOnly": {"type": "tag", "values": RULES}})
    return list(
        browser.run(f"""axe.run(document, {asked}).then((found) => {{
          if (found.passes.length < 20) throw new Error("axe checked next to nothing");
          return found.violations.map((one) => ({{
            id: one.id, help: one.help, nodes: one.nodes.map((node) => node.html.slice(0, 160))}}));
        }})""")
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of made-up numbers: one as it should be, one with hostile text."""
    folder = tmp_path_factory.mktemp("pages")
    made = {"made_up": made_up_content(simulated=True), "hostile": hostile_content()}
    for name, content in made.items():
        (folder / f"{name}.html").write_text(render_report(content), "utf-8")
    return {name: folder / f"{name}.html" for name in made}


@SCHEMES
@WIDTHS
def test_the_report_of_a_finished_run_breaks_no_rule(
    browser: Browser, finished: Finished, width: int, scheme: str
) -> None:
    browser.open(finished.study_folder / "report.html", width, scheme=scheme)
    assert violations(browser) == []


@SCHEMES
@pytest.mark.parametrize("name", ["made_up", "hostile"])
def test_a_made_up_report_breaks_no_rule(
    browser: Browser, pages: dict[str, Path], name: str, scheme: str
) -> None:
    browser.open(pages[name], scheme=scheme)
    assert violations(browser) == []


def test_a_broken_page_is_found_out(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["made_up"])
    browser.run("document.querySelector('svg').removeAttribute('aria-label'), 0")
    browser.run("document.documentElement.removeAttribute('lang'), 0")
    assert "html-has-lang" in {one["id"] for one in violations(browser)}


@SCHEMES
@WIDTHS
def test_all_text_stands_out_from_what_is_behind_it(
    browser: Browser, finished: Finished, width: int, scheme: str
) -> None:
    browser.open(finished.study_folder / "report.html", width, scheme=scheme)
    browser.run(UNFOLDED)
    found = browser.run(CONTRAST)
    assert found["measured"] > 500
    assert found["faint"] == []
