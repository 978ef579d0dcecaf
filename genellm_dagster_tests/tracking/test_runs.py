"""What a run records, how it ends, and how runs are found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from genellm_dagster.errors import ModelError, StoreError
from genellm_dagster.evaluation.comparison import compare_models
from genellm_dagster.files import write_parquet, write_text
from genellm_dagster.tracking.lineage import Lineage
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.tracking.values import metrics_of, params_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


class _Settings(BaseModel):
    epochs: int = 3
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    key: SecretStr = SecretStr("hidden")


@pytest.fixture
def client(tracker: Tracker) -> MlflowClient:
    """MLflow's own client, to look from outside."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracker.uri)


def test_a_parent_run_and_its_folds_hold_what_was_recorded(
    tracker: Tracker, client: MlflowClient, adapter_folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "GSE1.parquet"
    write_parquet(table, pd.DataFrame({"gsm": ["GSM1", "GSM2"], "genes": [[1], [2]]}))
    report = tmp_path / "report.html"
    write_text(report, "<p>report</p>")
    words = {"tokenizer": "value", "adapter": "lora", "backbone": "tiny"}
    with tracker.parent_run("recorded", "adult", {"training": _Settings()}, words) as run:
        run.datasets([Lineage.of_parquet("token_dataset/adult/GSE1", table)])
        run.artifact(report)
        run.metrics({"auroc": {"value": 0.9, "low": 0.8, "high": None}, "brier": 0.1})
        with run.fold("GSE1", cohort="GSE1", params={"held_out": 2}) as fold:
            fold.curves({"loss/member-0": [0.7, 0.5, 0.25], "loss/member-1": [0.6, 0.4, 0.2]})
            fold.artifact(adapter_folder)

    parent = client.get_run(run.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["training.epochs"] == "3"
    assert parent.data.params["training.targets"] == '["q_proj", "v_proj"]'
    assert "hidden" not in parent.data.params["training.key"]
    assert parent.data.metrics == {"auroc": 0.9, "auroc_low": 0.8, "brier": 0.1}
    (dataset,) = parent.inputs.dataset_inputs
    assert dataset.dataset.name == "token_dataset/adult/GSE1"
    assert table.as_uri() in dataset.dataset.source
    assert '"num_rows": 2' in dataset.dataset.profile
    assert dataset.tags[0].value == "training"
    assert [item.path for item in client.list_artifacts(run.run_id)] == ["report.html"]

    nested = client.get_run(fold.run_id)
    assert nested.data.tags["mlflow.parentRunId"] == run.run_id
    expected = {**words, "study": "recorded", "stratum": "adult", "model": "genellm"}
    expected |= {"level": "fold", "fold": "GSE1", "cohort": "GSE1"}
    assert expected.items() <= nested.data.tags.items()
    history = client.get_metric_history(fold.run_id, "loss/member-0")
    assert [(point.step, point.value) for point in history] == [(1, 0.7), (2, 0.5), (3, 0.25)]
    kept = {item.path for item in client.list_artifacts(fold.run_id, "adapter")}
    assert kept == {"adapter/adapter.json", "adapter/member-0"}


def test_artifacts_lie_in_the_store(
    tracker: Tracker, client: MlflowClient, store: Path, tmp_path: Path
) -> None:
    write_text(tmp_path / "words.txt", "words")
    with tracker.parent_run("located", "adult") as run:
        run.artifact(tmp_path / "words.txt", "texts")
    found = store / "mlflow" / "artifacts" / run.run_id / "artifacts" / "texts" / "words.txt"
    assert found.read_text() == "words"
    assert client.get_experiment("0").artifact_location.startswith(
        (store / "mlflow" / "artifacts").as_uri()
    )


def test_more_values_than_one_call_takes_are_all_recorded(
    tracker: Tracker, client: MlflowClient
) -> None:
    with tracker.parent_run("many", "adult") as run:
        run.params({f"p{number}": number for number in range(230)})
        run.curves({"loss": [float(number) for number in range(2300)]})
    assert len(client.get_run(run.run_id).data.params) == 230
    assert len(client.get_metric_history(run.run_id, "loss")) == 2300


def test_a_failed_fold_fails_its_parent_and_says_why(
    tracker: Tracker, client: MlflowClient
) -> None:
    with (
        pytest.raises(ModelError, match="diverged"),
        tracker.parent_run("failing", "adult") as run,
        run.fold("GSE1") as fold,
    ):
        raise ModelError("Training diverged; lower the learning rates.")
    for run_id in (run.run_id, fold.run_id):
        ended = client.get_run(run_id)
        assert ended.info.status == "FAILED"
        assert ended.data.tags["failure"] == "Training diverged; lower the learning rates."
    assert tracker.latest("failing", "adult") is None


def test_an_interrupted_run_is_killed(tracker: Tracker, client: MlflowClient) -> None:
    with pytest.raises(KeyboardInterrupt), tracker.parent_run("interrupted", "adult") as run:
        raise KeyboardInterrupt
    assert client.get_run(run.run_id).info.status == "KILLED"


_DIES = """
import sys, time
from pathlib import Path
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.tracker import Tracker
tracker = Tracker(TrackingOptions(), Path(sys.argv[1]))
with tracker.parent_run("killed", "adult") as run, run.fold("GSE1") as fold:
    print(run.run_id, fold.run_id, flush=True)
    time.sleep(600)
"""


def test_a_run_of_a_killed_process_is_closed_by_the_next_and_a_living_one_is_left(
    tracker: Tracker, client: MlflowClient, store: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _DIES, str(store)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        left = process.stdout.readline().split()
        assert len(left) == 2
        with tracker.parent_run("killed", "adult"):
            assert [client.get_run(name).info.status for name in left] == ["RUNNING"] * 2
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with tracker.parent_run("killed", "adult") as again:
        assert client.get_run(again.run_id).info.status == "RUNNING"
        for name in left:
            closed = client.get_run(name)
            assert closed.info.status == "KILLED"
            assert "closed it" in closed.data.tags["failure"]
    assert list((store / "mlflow" / "locks").glob("run-*")) == []


def test_runs_are_listed_oldest_first_without_folds(tracker: Tracker) -> None:
    made = []
    for stratum in ("pediatric", "adult"):
        with tracker.parent_run("listed", stratum, {"rank": 4}) as run, run.fold("GSE1") as fold:
            fold.metrics({"auroc": 0.9})
        made.append(run.run_id)
    table = tracker.runs("listed")
    assert list(table["run_id"]) == made
    assert list(table["tags.stratum"]) == ["pediatric", "adult"]
    assert list(table["params.rank"]) == ["4", "4"]
    assert (table["end_time"] >= table["start_time"]).all()
    assert str(table["start_time"].dt.tz) == "UTC"
    assert len(tracker.runs("listed", folds=True)) == 4
    chosen = tracker.runs("listed", "tags.cohort = 'GSE1'", folds=True)
    assert chosen.empty
    chosen = tracker.runs("listed", "tags.fold = 'GSE1' AND metrics.auroc > 0.5", folds=True)
    assert len(chosen) == 2


def test_a_study_without_runs_has_an_empty_list_of_runs(tracker: Tracker) -> None:
    table = tracker.runs("never-run")
    assert table.empty
    assert {"run_id", "start_time", "status"} <= set(table.columns)


def test_a_search_that_is_none_is_said_to_be(tracker: Tracker) -> None:
    with tracker.parent_run("searched", "adult"):
        pass
    with pytest.raises(StoreError, match=r"could not list runs .* mend what was asked"):
        tracker.runs("searched", "tags.fold ~ nothing")


def test_the_comparison_names_the_parent_run_of_each_model(tracker: Tracker) -> None:
    ids = {}
    for model in ("logistic_regression", "genellm"):
        with tracker.parent_run("compared", "adult", model=model) as run, run.fold("GSE1"):
            pass
        ids[model] = run.run_id
    with_interval = ("auroc", "average_precision", "average_precision_at_half")
    plain = ("balanced_accuracy", "sensitivity", "specificity", "brier", "ece")
    numbers: dict[str, object] = {
        name: {"value": 0.9, "low": 0.8, "high": 0.95} for name in with_interval
    }
    numbers |= dict.fromkeys((*plain, "calibration_slope", "calibration_intercept"), 0.5)
    report = {"study": "compared", "stratum": "adult", "n": 4, "cases": 2, "prevalence": 0.5}
    table = compare_models(
        [{**report, "models": dict.fromkeys(ids, numbers)}], tracker.runs("compared")
    )
    assert dict(zip(table["model"], table["run_id"], strict=True)) == ids


def test_the_newest_finished_run_can_be_taken_up_again(
    tracker: Tracker, client: MlflowClient
) -> None:
    with tracker.parent_run("resumed", "adult", tags={"tokenizer": "value"}) as run:
        pass
    found = tracker.latest("resumed", "adult")
    assert found is not None
    assert found.run_id == run.run_id
    found.metrics({"auroc": 0.9})
    with found.nested("adapter", level="adapter") as nested:
        pass
    assert client.get_run(run.run_id).data.metrics == {"auroc": 0.9}
    tags = client.get_run(nested.run_id).data.tags
    assert (tags["tokenizer"], tags["level"]) == ("value", "adapter")
    assert tags["mlflow.parentRunId"] == run.run_id


def test_a_setting_that_changes_under_a_run_is_refused(tracker: Tracker) -> None:
    with (
        pytest.raises(StoreError, match="record params"),
        tracker.parent_run("changing", "adult", {"rank": 4}) as run,
    ):
        run.params({"rank": 8})


def test_links_point_to_the_pages(tracker: Tracker, store: Path) -> None:
    with tracker.parent_run("linked", "adult") as run:
        pass
    path = f"/#/experiments/{run.experiment_id}/runs/{run.run_id}"
    assert run.url == tracker.run_url(run.run_id) == f"http://127.0.0.1:5000{path}"
    elsewhere = Tracker(TrackingOptions(ui="https://mlflow.example/"), store)
    assert elsewhere.run_url(run.run_id) == f"https://mlflow.example{path}"


def test_a_prefix_keeps_a_study_apart_from_its_namesake(tracker: Tracker, store: Path) -> None:
    other = Tracker(TrackingOptions(prefix="team."), store)
    with other.parent_run("named", "adult"):
        pass
    assert tracker.runs("named").empty
    assert len(other.runs("named")) == 1


def test_missing_and_damaged_tables_have_no_lineage(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.parquet is missing"):
        Lineage.of_parquet("tokens", tmp_path / "gone.parquet")
    write_text(tmp_path / "torn.parquet", "PAR1 and no more")
    with pytest.raises(StoreError, match=r"torn\.parquet is damaged"):
        Lineage.of_parquet("tokens", tmp_path / "torn.parquet")


def test_a_long_setting_becomes_a_digest_that_tells_it_from_others() -> None:
    genes = [f"GENE{number}" for number in range(2000)]
    one, other = params_of({"genes": genes})["genes"], params_of({"genes": genes[:-1]})["genes"]
    assert "sha256" in one
    assert one != other


def test_a_metric_that_is_no_number_is_a_defect() -> None:
    with pytest.raises(TypeError, match=r"models\.auroc"):
        metrics_of({"models": {"auroc": "high"}})


_leaves = st.one_of(st.integers(), st.text(max_size=20), st.none(), st.booleans(), st.floats())


@given(st.recursive(_leaves, lambda inner: st.dictionaries(st.text(max_size=9), inner)))
def test_any_settings_get_names_and_texts_that_mlflow_takes(value: object) -> None:
    from mlflow.utils.validation import _validate_param

    for key, text in params_of({"options": value, "": 1}).items():
        _validate_param(key, text)
