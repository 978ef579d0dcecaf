"""A check that fails stops what would make wrong science of it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from genellm_dagster.defs import checks, jobs
from genellm_dagster.defs.build import build_definitions
from genellm_dagster.defs.runs import StudyRunner, _error_of, dagster_instance
from genellm_dagster.errors import GeneLLMError
from genellm_dagster.expression.data_docs import write_data_docs
from genellm_dagster.settings import study_of
from genellm_dagster.store import Store
from genellm_dagster.studies import curation
from genellm_dagster_tests.finished import ADULTS, CELLS, Finished

KEY = dg.AssetKey(["demo", "an_asset"])


@pytest.fixture
def runner(of_finished: Finished, tmp_path: Path):
    """The study of the finished run, in a store of its own."""
    settings = of_finished.settings(study=str(of_finished.study_file), store=tmp_path / "store")
    study = study_of(settings)
    with dagster_instance(settings) as instance:
        yield StudyRunner(
            settings, study, build_definitions(settings, study), instance, lambda _: None
        )


def _materialized(runner: StudyRunner) -> set[str]:
    # Assets that a run only planned to make are known to the instance too.
    keys = runner.instance.get_asset_keys()
    return {key.path[-1] for key in keys if runner.instance.get_latest_materialization_event(key)}


def test_wrong_sample_sheet_stops_the_study(
    runner: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = curation.build_sample_sheet

    def older_than_people_get(*arguments) -> pd.DataFrame:
        sheet = build(*arguments)
        sheet.loc[sheet.index[0], "age_years"] = 450.0
        return sheet

    monkeypatch.setattr(curation, "build_sample_sheet", older_than_people_get)
    with pytest.raises(GeneLLMError, match="The check content of demo/sample_sheet failed") as said:
        runner.ingest()
    assert "age_years" in str(said.value)
    assert {run.job_name for run in runner.instance.get_runs()} == {jobs.INGEST}
    assert {"sample_overlap", "qc_expression"}.isdisjoint(_materialized(runner))
    (record,) = runner.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(runner.parts.key("sample_sheet"), "content"), limit=5
    )
    evaluation = record.event.dagster_event.asset_check_evaluation_data
    assert not evaluation.passed
    assert evaluation.partition == runner.study.cohorts[0]


def test_broken_series_stops_what_reads_it_in_the_same_run(
    runner: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genellm_dagster.geo import series

    fetch = series.fetch_series

    def fetched_and_then_damaged(client, cohort, destination: Path):
        manifest = fetch(client, cohort, destination)
        file = destination / manifest.files[0].name
        file.write_bytes(file.read_bytes()[:-10])
        return manifest

    monkeypatch.setattr(series, "fetch_series", fetched_and_then_damaged)
    with pytest.raises(GeneLLMError, match="files_are_whole of demo/raw_series failed") as said:
        runner.ingest()
    assert "series_matrix.txt.gz" in str(said.value)
    assert _materialized(runner) == {"raw_series"}


def test_expression_table_is_held_against_its_structure(finished: Finished) -> None:
    table = finished.table("qc_expression", ADULTS, CELLS[ADULTS][0])
    assert checks.expression_structure(KEY, table).passed
    infinite = table.copy()
    infinite.iloc[0, 0] = np.inf
    wrong = {
        "not sorted": table.iloc[::-1],
        "not unique or not named": table.rename_axis(None),
        "comes twice": table.iloc[:, [0, 0]],
        "not float32": table.astype("float64"),
        "infinite": infinite,
    }
    for words, one in wrong.items():
        result = checks.expression_structure(KEY, one)
        assert not result.passed
        assert words in (result.description or "")
    assert not checks.expression_structure(KEY, table.iloc[:0]).passed


def test_predictions_are_held_against_their_type(finished: Finished) -> None:
    table = finished.table("cross_validation", ADULTS)
    assert checks.structure(KEY, table, "predictions").passed
    for wrong in (
        table.assign(score=table["score"] + 1),
        table.assign(case=2),
        table.drop(columns="fold"),
        table.assign(uncertainty=None),
    ):
        result = checks.structure(KEY, wrong, "predictions")
        assert not result.passed
        assert result.description


def test_sample_sheet_is_held_against_its_type(finished: Finished) -> None:
    sheet = finished.table("sample_sheet", CELLS[ADULTS][0])
    assert checks.structure(KEY, sheet, "sample_sheet").passed
    twice = pd.concat([sheet, sheet.head(1)])
    assert not checks.structure(KEY, twice, "sample_sheet").passed
    assert not checks.structure(KEY, sheet.drop(columns="why_not"), "sample_sheet").passed


def test_content_says_what_is_not_met_and_where_the_page_is(
    finished: Finished, tmp_path: Path
) -> None:
    sheet = finished.table("sample_sheet", CELLS[ADULTS][0])
    store = Store(tmp_path, "demo")
    result = checks.content(KEY, write_data_docs({"sheet": sheet}, store, "sheets", "a"), "sheet")
    assert result.passed
    assert "expect" in str(result.metadata["expectations"].value)
    sheet.loc[sheet.index[0], "age_years"] = 450.0
    docs = write_data_docs({"sheet": sheet}, store, "sheets", "b")
    result = checks.content(KEY, docs, "sheet")
    assert not result.passed
    assert "age_years" in (result.description or "")
    assert result.metadata["data_docs"].value == str(
        tmp_path / "demo/data_docs/sheets/b/index.html"
    )


def test_warnings_do_not_stop_and_are_escaped() -> None:
    said = ["Only 4 samples are left.", "<script>alert(1)</script>"]
    result = checks.qc_warnings(KEY, {"warnings": said})
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert result.description == " ".join(said)
    shown = str(result.metadata["warnings"].value)
    assert shown.startswith("- Only 4 samples")
    assert "<script" not in shown
    for silent in ({}, {"warnings": []}, {"warnings": None}):
        assert checks.qc_warnings(KEY, silent).passed


def test_a_warning_is_not_given_as_the_reason_of_a_failed_run() -> None:
    @dg.asset(
        check_specs=[
            dg.AssetCheckSpec("doubt", asset="made"),
            dg.AssetCheckSpec("wrong", asset="made", blocking=True),
        ]
    )
    def made():
        yield dg.AssetCheckResult(
            check_name="doubt", passed=False, severity=dg.AssetCheckSeverity.WARN, description="a"
        )
        yield dg.AssetCheckResult(check_name="wrong", passed=False, description="the reason")
        yield dg.MaterializeResult()

    result = dg.materialize([made], raise_on_error=False)
    assert not result.success
    assert "the reason" in str(_error_of(result, "made"))
