"""Data Docs: pages that open offline, show cells as text, and are there whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import threading
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError, StoreError
from genellm_dagster.expression import data_docs
from genellm_dagster.expression.data_docs import DataDocs, write_data_docs
from genellm_dagster.expression.expectations import run_suite
from genellm_dagster.files import read_json, write_text
from genellm_dagster.store import Store

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = (
    "<script>window.pwned = true</script>",
    '<img src=http://127.0.0.1:9/x onerror="window.pwned = true">',
    "</style></table><svg onload='window.pwned = true'>",
    "$PARAMETER ${html_success_icon} $$ {{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; \\u003cb\\u003e `x`",
    "\ue000script\ue001 \u202egpj.exe \x00",
    "A" * 3_000_000,
)


def samples(n: int = 12) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "gsm": [f"GSM{i}" for i in range(n)],
            "missing_share": 0.0,
            "correlation": 0.9,
            "median_log2": 7.0,
            "kept": True,
            "reasons": "",
        }
    )


def genes(n: int = 30) -> pd.DataFrame:
    return pd.DataFrame(
        {"gene": [f"G{i}" for i in range(n)], "missing_share": 0.0, "mean": 7.0, "sd": 1.0}
        | {"kept": True, "reason": ""}
    )


def hostile_samples() -> pd.DataFrame:
    frame = samples()
    for row, value in enumerate(HOSTILE):
        frame.loc[row, "gsm"] = value
    return frame


def page_of(docs: DataDocs, suite: str) -> str:
    (page,) = docs.index.parent.joinpath("validations", suite).rglob("*.html")
    return page.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """The elements of a page, and what it says."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def unsafe(html: str) -> list[str]:
    """What of a page could run, or would ask an address."""
    return [
        f"{tag} {attributes}"
        for tag, attributes in Tags(html).tags
        if tag in {"script", "link", "img", "svg", "iframe", "object", "base", "form"}
        or any(name.startswith("on") or name == "src" for name in attributes)
        or re.match(r"(?!#)[a-z]+:|//", attributes.get("href") or "", re.IGNORECASE)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", "demo")


def test_pages_say_what_was_expected_and_found(store: Store) -> None:
    frame = samples()
    frame.loc[3, "gsm"] = "patient 3"
    frames = {"samples": frame, "genes": genes()}
    docs = write_data_docs(frames, store, "qc_expression", "adult", "GSE1-GPL2")
    assert docs.index == store.place(
        "data_docs", "qc_expression", "adult", "GSE1-GPL2", "index.html"
    )
    assert docs.results == {name: run_suite(one, name) for name, one in frames.items()}
    assert not docs.results["samples"].success
    assert docs.results["genes"].success
    said = Tags(page_of(docs, "samples")).text
    assert "patient 3" in said
    assert "values must match this regular expression" in said
    assert "qc_expression-adult-GSE1-GPL2" in said
    assert "1 of 9 not met: expect_column_values_to_match_regex(gsm)" in docs.index.read_text()
    assert "Failed" in said
    assert "Succeeded" in Tags(page_of(docs, "genes")).text


def test_every_link_of_every_page_leads_somewhere(store: Store) -> None:
    write_data_docs({"samples": samples()}, store, "qc_expression", "adult", "GSE 1")
    write_data_docs({"sheet": samples()}, store, "sample_sheet", "GSE2")
    pages = list(store.place("data_docs").rglob("*.html"))
    assert len(pages) == 1 + 2 * 3
    followed = 0
    for page in pages:
        for _, attributes in Tags(page.read_text()).tags:
            link = attributes.get("href")
            if link and not link.startswith("#"):
                assert page.parent.joinpath(link.replace("%20", " ")).resolve().is_file(), link
                followed += 1
    assert followed >= 10


def test_hostile_and_huge_cells_are_text(store: Store) -> None:
    docs = write_data_docs({"samples": hostile_samples()}, store, "qc_expression", "adult", "GSE1")
    page = page_of(docs, "samples")
    for path in store.place("data_docs").rglob("*.html"):
        assert unsafe(path.read_text()) == []
    assert len(page) < 200_000
    said = Tags(page).text
    for value in HOSTILE[:5]:
        assert value in said, value
    assert "(3000000 characters)" in said
    assert "\ufffdscript\ufffd" in said
    assert not re.search("[\x00\u202e\ue000-\uf8ff]", page)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=5, unique=True))
def test_any_text_in_a_cell_stays_text(store: Store, values: list[str]) -> None:
    frame = samples()
    frame.loc[: len(values) - 1, "gsm"] = values
    docs = write_data_docs({"samples": frame}, store, "qc_expression", "any")
    plain = write_data_docs({"samples": samples()}, store, "qc_expression", "plain")
    shown, usual = ([tag for tag, _ in Tags(page_of(one, "samples")).tags] for one in (docs, plain))
    assert set(shown) <= set(usual) | {"strong", "br"}
    assert unsafe(page_of(docs, "samples")) == []


def test_missing_column_is_told_without_where_it_was_raised(store: Store) -> None:
    frame = samples().drop(columns="correlation")
    docs = write_data_docs({"samples": frame}, store, "qc_expression", "adult", "GSE1")
    page = page_of(docs, "samples")
    assert "correlation" in Tags(page).text
    assert "does not exist" in page
    assert "site-packages" not in page
    assert ".py" not in page


def test_nothing_is_sent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def ask(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", ask)
    monkeypatch.setattr(socket, "getaddrinfo", ask)
    monkeypatch.delenv("GX_ANALYTICS_ENABLED", raising=False)
    write_data_docs({"genes": genes()}, store, "qc_expression", "adult", "GSE1")
    assert asked == []


def test_later_run_replaces_the_pages_and_a_failed_one_leaves_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("qc_expression", "adult", "GSE1")
    first = write_data_docs({"samples": samples(), "genes": genes()}, store, *place)
    second = write_data_docs({"samples": samples()}, store, *place)
    assert first.index == second.index
    assert {path.name for path in second.index.parent.glob("validations/*")} == {"samples"}
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}

    def full(**_: object) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr(data_docs, "_listed", full)
    with pytest.raises(OSError, match="no space"):
        write_data_docs({"genes": genes()}, store, *place)
    after = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    assert after == before


def test_page_that_great_expectations_leaves_out_is_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genellm_dagster.expression import data_docs_pages

    def broken(*_: object) -> None:
        raise ValueError("cannot be drawn")

    monkeypatch.setattr(data_docs_pages, "disguised", broken)
    with pytest.raises(ExpressionError, match="wrote no page for the suite genes"):
        write_data_docs({"genes": genes()}, store, "qc_expression", "adult", "GSE1")
    assert list(store.place("data_docs").glob("*/**/*.html")) == []


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "a\nb", "x" * 200])
def test_names_that_leave_the_folder_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ExpressionError, match="cannot be the name of a folder"):
        write_data_docs({"genes": genes()}, store, "qc_expression", name)
    assert not store.root.exists()


def test_list_of_all_passes_over_what_is_no_record(store: Store) -> None:
    top = store.place("data_docs")
    write_data_docs({"genes": genes()}, store, "qc_expression", "adult", "GSE1")
    record = (top / "qc_expression/adult/GSE1/data_docs.json").read_text()
    write_text(top / "qc_expression/adult/GSE2/data_docs.json", "{")
    write_text(top / "qc_expression/adult/GSE3/data_docs.json", record)
    write_text(top / "qc_expression/adult/GSE4/data_docs.json", "[1]")
    write_text(top / "qc_expression/adult/.GSE5.1.ab.part/data_docs.json", record)
    write_data_docs({"sheet": samples()}, store, "sample_sheet", "GSE6")
    listed = (top / "index.html").read_text()
    links = [attributes.get("href") for tag, attributes in Tags(listed).tags if tag == "a"]
    assert links == ["qc_expression/adult/GSE1/index.html", "sample_sheet/GSE6/index.html"]
    assert read_json(top / "sample_sheet/GSE6/data_docs.json")["success"] is False


def test_study_s_name_is_escaped(tmp_path: Path) -> None:
    store = Store(tmp_path, "<b>&")
    write_data_docs({"genes": genes()}, store, "qc_expression", "GSE1")
    listed = store.place("data_docs", "index.html").read_text()
    assert "<b>" not in listed
    assert "<b>&" in unescape(listed)


def _write_some(root: Path, first: int) -> None:
    for number in range(first, first + 2):
        write_data_docs({"genes": genes()}, Store(root, "demo"), "qc_expression", f"GSE{number}")
        write_data_docs({"genes": genes()}, Store(root, "demo"), "qc_expression", "GSE0")


def test_process_and_thread_at_once_lose_no_partition(store: Store) -> None:
    other = multiprocessing.get_context("spawn").Process(target=_write_some, args=(store.root, 10))
    thread = threading.Thread(target=_write_some, args=(store.root, 30))
    for one in (other, thread):
        one.start()
    _write_some(store.root, 20)
    for one in (other, thread):
        one.join(timeout=300)
    assert other.exitcode == 0
    listed = store.place("data_docs", "index.html").read_text()
    expected = {f"GSE{first + n}" for first in (10, 20, 30) for n in range(2)} | {"GSE0"}
    assert set(re.findall(r"qc_expression/(GSE\d+)/index.html", listed)) == expected
    left = [path.name for path in store.root.rglob("*") if path.name.endswith((".part", ".old"))]
    assert left == []


def test_pages_that_another_process_is_writing_are_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_docs, "_PATIENCE_SECONDS", 0.2)
    top = store.place("data_docs")
    top.mkdir(parents=True)
    with FileLock(top / ".lock"), pytest.raises(StoreError, match="locked"):
        write_data_docs({"genes": genes()}, store, "qc_expression", "GSE1")
    assert [path.name for path in top.iterdir()] == [".lock"]
    assert write_data_docs({"genes": genes()}, store, "qc_expression", "GSE1").index.is_file()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_page_opens_in_a_browser_and_runs_nothing(store: Store, tmp_path: Path) -> None:
    docs = write_data_docs({"samples": hostile_samples()}, store, "qc_expression", "adult", "GSE1")
    (page,) = docs.index.parent.joinpath("validations").rglob("*.html")
    run = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert unsafe(run.stdout) == []
    assert HOSTILE[0] in Tags(run.stdout).text
    assert "CONSOLE" not in run.stderr
