"""The page in a real browser: it opens, draws, sorts, fits a telephone and asks nothing outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from genellm_dagster.reports.html import render_report
from genellm_dagster_tests.reports.fixtures import made_up_content

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

# Runs after the page's own script, clicks as a reader would, and writes what it saw into the page.
PROBE = """
const out = {};
const head = [...document.querySelectorAll("#table-performance-adult")][0]
  .closest("table").tHead.rows[0].cells[1];
const body = head.closest("table").tBodies[0];
const column = () => [...body.rows].map((row) => Number(row.cells[1].dataset.order));
head.querySelector("button").click();
out.up = column();
out.upSort = head.getAttribute("aria-sort");
head.querySelector("button").click();
out.down = column();
out.downSort = head.getAttribute("aria-sort");
out.wide = document.documentElement.scrollWidth;
out.view = document.documentElement.clientWidth;
out.flat = [...document.querySelectorAll("svg.plot")]
  .filter((plot) => plot.getBoundingClientRect().height < 80).length;
out.plots = document.querySelectorAll("svg.plot").length;
out.asked = performance.getEntriesByType("resource")
  .map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
out.pwned = window.pwned === true;
const pre = document.createElement("pre");
pre.id = "seen";
pre.textContent = JSON.stringify(out);
document.body.append(pre);
"""


def open_page(html: str, folder: Path, width: int) -> tuple[dict, str]:
    import json

    page = folder / "report.html"
    # The policy of the page forbids any other script: the probe stands in the page's own script.
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    page.write_text(html.replace("</script>\n</body>", PROBE + "</script>\n</body>"), "utf-8")
    run = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},1200",
            "--virtual-time-budget=3000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )
    seen = re.search(r'<pre id="seen">(.*?)</pre>', run.stdout, flags=re.DOTALL)
    assert seen, f"the page's script did not run to its end: {run.stderr[-2000:]}"
    return json.loads(unescape(seen.group(1))), run.stderr


@pytest.mark.parametrize(
    ("width", "strata", "plots"), [(1280, ("pediatric", "adult"), 12), (500, ("adult",), 8)]
)
def test_page_opens_draws_sorts_and_asks_nothing(
    tmp_path: Path, width: int, strata: tuple[str, ...], plots: int
) -> None:
    title = "<script>window.pwned = true</script>"
    html = render_report(made_up_content(simulated=True, title=title, strata=strata))
    seen, log = open_page(html, tmp_path, width)
    assert seen["up"] == sorted(seen["up"])
    assert seen["down"] == sorted(seen["down"], reverse=True)
    assert (seen["upSort"], seen["downSort"]) == ("ascending", "descending")
    assert seen["plots"] == plots
    assert seen["flat"] == 0
    assert seen["wide"] <= seen["view"], "the page scrolls sideways"
    assert seen["asked"] == []
    assert seen["pwned"] is False
    assert "CONSOLE" not in log


def test_policy_lets_the_page_s_own_script_run(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_report(made_up_content(strata=("adult",))), "utf-8")
    run = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert '<button type="button">AUROC</button>' in run.stdout
    assert "CONSOLE" not in run.stderr
