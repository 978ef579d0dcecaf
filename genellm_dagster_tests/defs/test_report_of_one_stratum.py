"""A study of which one stratum was run has a report of that one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from genellm_dagster.files import read_json, read_parquet
from genellm_dagster_tests.finished import ADULTS, CHILDREN, Finished

OF_STRATA = (
    "cross_validation", "baseline_predictions", "adapter", "evaluation_report",
    "gene_attributions", "gene_vocabulary",
)  # fmt: skip


def test_report_is_written_of_the_stratum_that_was_run(
    of_finished: Finished,
    tmp_path: Path,
    genellm: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = tmp_path / "store"
    # The copy is of a run that another worker may be reading from.
    shutil.copytree(of_finished.store, store, ignore=shutil.ignore_patterns("compute_logs"))
    for asset in OF_STRATA:
        for file in (store / "demo" / asset).glob(f"{CHILDREN}.*"):
            file.unlink()
    for name in ("report.html", "age_comparison.json", "model_comparison.parquet"):
        (store / "demo" / name).unlink()
    monkeypatch.setenv("GENELLM_STORE", str(store))
    said = genellm("report", "--study", "demo")
    assert (said.status, said.sentences) == (0, [])
    assert said.out.strip() == str(store / "demo" / "report.html")
    comparison = read_json(store / "demo" / "age_comparison.json")
    assert comparison["compared"] != [CHILDREN, ADULTS]
    assert comparison["note"]
    table = read_parquet(store / "demo" / "model_comparison.parquet")
    assert set(table["stratum"]) == {ADULTS}
    assert ADULTS in (store / "demo" / "report.html").read_text()
