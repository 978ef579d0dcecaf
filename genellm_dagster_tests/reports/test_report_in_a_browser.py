"""The page in a real browser: it opens, draws, sorts, fits a telephone and asks nothing outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from genellm_dagster.reports.html import render_report
from genellm_dagster_tests.finished import CELLS, Finished
from genellm_dagster_tests.reports.browser import Browser
from genellm_dagster_tests.reports.fixtures import hostile_content, made_up_content

WIDTHS = pytest.mark.parametrize("width", [1280, 400])
HEAD = "document.querySelector('#table-performance-adult').closest('table').tHead.rows[0].cells[1]"
COLUMN = (
    f"[...{HEAD}.closest('table').tBodies[0].rows].map((row) => Number(row.cells[1].dataset.order))"
)
SORTED = f"{HEAD}.getAttribute('aria-sort')"
DRAWN = (
    "[...document.querySelectorAll('svg.plot')].map((one) => one.getBoundingClientRect().height)"
)
# How far an element's box sticks out of the page to the right, where nothing lets it be scrolled.
OUTSIDE = """[...document.querySelectorAll("body *")].filter((one) =>
  !one.closest(".scroll, .plotbox, .skip, svg")
  && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
).map((one) => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a made-up study with a script in its title."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    title = "<script>window.pwned = true</script>"
    path.write_text(render_report(made_up_content(simulated=True, title=title)), "utf-8")
    return path


def nothing_wrong(browser: Browser) -> None:
    assert browser.complaints() == []
    assert browser.requests() == []
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    assert browser.run(OUTSIDE) == []


@WIDTHS
def test_page_opens_draws_and_asks_nothing(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width)
    nothing_wrong(browser)
    heights = browser.run(DRAWN)
    assert len(heights) == 12
    assert min(heights) >= 80
    assert browser.run("window.pwned === undefined")
    assert "window.pwned" in browser.run("document.querySelector('h1').textContent")


@WIDTHS
def test_hostile_text_is_shown_inside_the_page(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    path = tmp_path / "report.html"
    text = '<img src="https://example.org/x.png" onerror="window.pwned = true">' + "W" * 100
    path.write_text(render_report(hostile_content(text)), "utf-8")
    browser.open(path, width)
    nothing_wrong(browser)
    assert browser.run("window.pwned === undefined && document.querySelector('img') === null")


@WIDTHS
def test_the_report_of_a_finished_run_opens_whole(
    browser: Browser, finished: Finished, width: int
) -> None:
    path = finished.study_folder / "report.html"
    assert path.stat().st_size < 8e6
    browser.open(path, width)
    nothing_wrong(browser)
    assert min(browser.run(DRAWN)) >= 80
    drawn = set(browser.run("[...document.querySelectorAll('figure')].map((one) => one.id)"))
    captions = browser.run("[...document.querySelectorAll('figcaption')].map((o) => o.innerText)")
    for stratum in CELLS:
        assert any(name.startswith("figure-") and stratum in name for name in drawn)
    for said in ("Decision curves", "Attributions", "From the background to the score of"):
        assert any(said in caption for caption in captions), said
    tables = browser.run("[...document.querySelectorAll('caption')].map((one) => one.innerText)")
    for said in ("Trained on one stratum", "Performance along age"):
        assert any(said in caption for caption in tables), said


def test_names_of_rows_stay_in_sight_while_a_telephone_scrolls_the_numbers(
    browser: Browser, page: Path
) -> None:
    browser.open(page, 400)
    seen = browser.run(f"""(() => {{
      const box = {HEAD}.closest(".scroll"), row = box.querySelector("tbody tr");
      const left = box.getBoundingClientRect().left;
      box.scrollLeft = box.scrollWidth;
      const [name, last] = [row.cells[0], row.cells[row.cells.length - 1]].map(
        (cell) => cell.getBoundingClientRect());
      return {{scrolled: box.scrollLeft, name: name.left - left, end: name.right, last: last.left}};
    }})()""")
    assert seen["scrolled"] > 0
    assert 0 <= seen["name"] <= 2
    assert seen["last"] >= seen["end"], "a number hides behind the name of its row"
    assert seen["end"] < 160, "names leave no room for numbers"


def test_tables_sort_by_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run(f"{HEAD}.querySelector('button').focus()")
    browser.press("Enter")
    assert browser.run(SORTED) == "ascending"
    assert browser.run(COLUMN) == sorted(browser.run(COLUMN))
    browser.press(" ")
    assert browser.run(SORTED) == "descending"
    assert browser.run(COLUMN) == sorted(browser.run(COLUMN), reverse=True)
    browser.press("Tab")
    assert browser.run(
        f"document.activeElement === {HEAD}.nextElementSibling.querySelector('button')"
    )


def test_the_first_key_leads_past_the_contents(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    place = browser.run("document.activeElement.getBoundingClientRect().left")
    assert place >= 0, "the link cannot be seen"
    browser.press("Enter")
    assert browser.run("document.activeElement.id") == "summary"
    browser.press("Tab")
    assert browser.run("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_that_a_key_reaches_shows_it_and_nothing_is_a_trap(
    browser: Browser, page: Path, scheme: str
) -> None:
    browser.open(page, scheme=scheme)
    reach = browser.run("""[...document.querySelectorAll(
      "a[href], button, summary, [tabindex='0']")].filter((one) => one.checkVisibility()).length""")
    unseen = []
    for _ in range(reach):
        browser.press("Tab")
        seen = browser.run("""(() => {
          const one = document.activeElement, look = getComputedStyle(one);
          one.dataset.reached = "yes";
          const style = look.outlineStyle, box = one.getBoundingClientRect();
          return {ring: style !== "none" && parseFloat(look.outlineWidth) >= 2,
            inside: box.bottom > 0 && box.top < innerHeight, what: one.outerHTML.slice(0, 80)};
        })()""")
        if not (seen["ring"] and seen["inside"]):
            unseen.append(seen)
    assert unseen == []
    assert browser.run("document.querySelectorAll('[data-reached]').length") == reach


def test_paper_shows_whole_tables_and_what_is_folded_away(
    browser: Browser, finished: Finished
) -> None:
    path = finished.study_folder / "report.html"
    browser.open(path)
    pdf = browser.printed()
    assert pdf.startswith(b"%PDF-")
    # A sheet of A4 less its margins, at 96 dots an inch.
    browser.open(path, width=718)
    browser.media("print")
    browser.run("window.dispatchEvent(new Event('beforeprint')), 0")
    assert browser.run("[...document.querySelectorAll('main details')].every((one) => one.open)")
    assert browser.run("document.querySelector('nav.contents').checkVisibility()") is False
    cut = browser.run("""[...document.querySelectorAll("table")]
      .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
      .map((one) => one.caption.innerText)""")
    assert cut == []
    # A word that is broken letter by letter makes its cell many times as high as a line.
    towers = browser.run("""[...document.querySelectorAll("td, th")].filter((one) => {
      const box = one.getBoundingClientRect();
      return box.width < 40 && one.innerText.length > 4 && box.height > 12 * box.width;
    }).map((one) => one.innerText)""")
    assert towers == []
    browser.run("window.dispatchEvent(new Event('afterprint')), 0")
    assert browser.run("[...document.querySelectorAll('main details')].some((one) => !one.open)")
