"""A study of which one stratum has results has a report of that one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from genellm_dagster.files import read_json, read_parquet
from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, Finished

OF_STRATA = (
    "cross_validation", "baseline_predictions", "adapter", "evaluation_report",
    "gene_attributions", "gene_vocabulary", "profiles",
)  # fmt: skip


@pytest.fixture
def store(of_finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished store, its comparisons and report apart."""
    place = tmp_path / "store"
    shutil.copytree(of_finished.store, place, ignore=shutil.ignore_patterns("compute_logs"))
    made = (
        "report.html", "stratum_transfer.parquet", "age_comparison.json",
        "model_comparison.parquet",
    )  # fmt: skip
    for name in made:
        (place / "demo" / name).unlink()
    monkeypatch.setenv("GENELLM_STORE", str(place))
    return place


def test_stratum_that_was_not_run_is_left_out(store: Path, genellm: Callable) -> None:
    for asset in OF_STRATA:
        for file in (store / "demo" / asset).glob(f"{CHILDREN}.*"):
            file.unlink()
    said = genellm("report", "--study", "demo")
    assert (said.status, said.sentences) == (0, [])
    assert said.out.strip() == str(store / "demo" / "report.html")
    comparison = read_json(store / "demo" / "age_comparison.json")
    assert comparison["compared"] != [CHILDREN, ADULTS]
    assert comparison["note"]
    table = read_parquet(store / "demo" / "model_comparison.parquet")
    assert set(table["stratum"]) == {ADULTS}
    assert ADULTS in (store / "demo" / "report.html").read_text()


def test_stratum_whose_cohorts_left_the_study_is_left_out(store: Path, genellm: Callable) -> None:
    file = store / "simulated" / "demo" / "demo.yaml"
    study = yaml.safe_load(file.read_text())
    study["cohorts"] = CELLS[CHILDREN]
    file.write_text(yaml.safe_dump(study))
    said = genellm("report", "--study", "demo")
    assert (said.status, said.sentences) == (0, [])
    comparison = read_json(store / "demo" / "age_comparison.json")
    assert comparison["note"]
    page = (store / "demo" / "report.html").read_text()
    assert CELLS[CHILDREN][0] in page
    assert CELLS[ADULTS][0] not in page
