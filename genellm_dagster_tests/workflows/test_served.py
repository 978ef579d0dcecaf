"""The registered adapter answers over HTTP as `genellm predict` does, and is what it says it is."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

import genellm_dagster
from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import load_adapter
from genellm_dagster.tracking.served import answer, backbone_by_hash, scorer_of
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.new_cohort import predict_cohort
from genellm_dagster_tests.finished import CELLS, CHILDREN, Finished
from genellm_dagster_tests.served_process import served

COHORT = CELLS[CHILDREN][0]
_ANSWER = {"sample", "score", "uncertainty", "probability", "coverage", "refused"}


@pytest.fixture(scope="module")
def tracker(finished: Finished) -> Tracker:
    settings = finished.settings()
    return Tracker(settings.tracking, settings.store)


@pytest.fixture(scope="module")
def request_table(finished: Finished) -> pd.DataFrame:
    """Samples x genes, log2: all that the cohort measures."""
    return finished.table("gene_expression", COHORT).iloc[:, :5].T.astype(float)


@pytest.fixture(scope="module")
def predicted(finished: Finished, request_table: pd.DataFrame) -> pd.DataFrame:
    scores = predict_cohort(finished.settings(), finished.study(), CHILDREN, COHORT).table
    return scores.set_index("gsm").loc[request_table.index]


@pytest.fixture(scope="module")
def address(finished: Finished, tracker: Tracker, tmp_path_factory) -> Iterator[str]:
    """``mlflow models serve`` on the champion, in its own process and another folder."""
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", f"models:/demo-{CHILDREN}@champion"]
    environment = {
        "MLFLOW_TRACKING_URI": tracker.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": str(Path(genellm_dagster.__file__).parents[1]),
        # `mlflow` starts `uvicorn` by its name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GENELLM_STORE", raising=False)
        with served(command, folder, environment, "ping") as url:
            yield url


def _ask(address: str, body: object) -> httpx.Response:
    return httpx.post(f"{address}/invocations", json=body, timeout=120)


def _split(table: pd.DataFrame) -> dict[str, object]:
    return {"dataframe_split": json.loads(table.to_json(orient="split", double_precision=15))}


def test_served_scores_are_those_of_predict(
    address: str, request_table: pd.DataFrame, predicted: pd.DataFrame
) -> None:
    said = _ask(address, _split(request_table))
    assert said.status_code == httpx.codes.OK, said.text
    answers = said.json()["predictions"]
    assert [set(one) for one in answers] == [_ANSWER] * 5
    assert [one["sample"] for one in answers] == list(request_table.index)
    for name in ("score", "uncertainty", "coverage"):
        found = [one[name] for one in answers]
        np.testing.assert_allclose(found, predicted[name], atol=1e-5)
    assert [one["refused"] for one in answers] == [None] * 5


def test_served_sample_alone_gets_the_same_score(
    address: str, request_table: pd.DataFrame, predicted: pd.DataFrame
) -> None:
    (one,) = _ask(address, _split(request_table.iloc[[2]])).json()["predictions"]
    assert one["score"] == pytest.approx(predicted["score"].iloc[2], abs=1e-5)


def test_served_sample_with_too_few_genes_is_refused_and_the_other_scored(
    address: str, request_table: pd.DataFrame, predicted: pd.DataFrame
) -> None:
    torn = request_table.iloc[:2].copy()
    torn.iloc[0, np.arange(torn.shape[1]) % 10 != 0] = np.nan
    first, second = _ask(address, _split(torn)).json()["predictions"]
    assert first["score"] is None
    assert "genes, fewer than 50%" in first["refused"]
    assert second["score"] == pytest.approx(predicted["score"].iloc[1], abs=1e-5)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"dataframe_split": {"columns": ["TP53", "CD4"], "data": [["a", 2]]}}, "than numbers"),
        ({"dataframe_split": {"columns": ["colour", "size"], "data": [[1, 2]]}}, "name a gene"),
        ({"dataframe_split": {"columns": ["TP53", "TP53"], "data": [[1, 2]]}}, "stands twice"),
        ({"dataframe_split": {"columns": ["TP53", "CD4"], "data": [[900, 2]]}}, "not log2"),
        ({"inputs": "everything"}, "table"),
    ],
)
def test_served_model_refuses_in_one_sentence(address: str, body: object, words: str) -> None:
    said = _ask(address, body)
    assert said.status_code == httpx.codes.BAD_REQUEST
    assert words in said.json()["message"]
    assert "Traceback" not in said.text


def test_input_example_of_the_registered_model_is_answered(
    address: str, tracker: Tracker, finished: Finished
) -> None:
    from mlflow.models import get_model_info

    folder = tracker.champion("demo", CHILDREN).parents[1]
    about = get_model_info(str(folder))
    assert about.signature is not None
    assert set(about.signature.outputs.input_names()) == _ANSWER
    example = json.loads((folder / "serving_input_example.json").read_text())
    (one,) = _ask(address, example).json()["predictions"]
    assert 0 <= one["score"] <= 1
    assert one["coverage"] == 1


def test_registered_model_holds_no_pickle(tracker: Tracker) -> None:
    folder = tracker.champion("demo", CHILDREN).parents[1]
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert kinds <= {"", ".json", ".yaml", ".txt", ".py", ".safetensors", ".md"}


def test_missing_backbone_is_told_and_found_where_the_environment_says(
    finished: Finished, tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tracker.champion("demo", CHILDREN)
    monkeypatch.delenv("GENELLM_STORE", raising=False)
    with pytest.raises(ModelError, match=r"backbone tiny with weights .* is not in .*nowhere"):
        scorer_of(folder, {"backbones": str(tmp_path / "nowhere")})
    monkeypatch.setenv("GENELLM_STORE", str(finished.store))
    assert scorer_of(folder, {"backbones": str(tmp_path / "nowhere")}).genes
    other = tmp_path / "backbones" / "tiny"
    shutil.copytree(finished.store / "backbones" / "tiny", other)
    said = json.loads((other / "backbone.json").read_text())
    (other / "backbone.json").write_text(json.dumps({**said, "sha256": "0" * 64}))
    with pytest.raises(ModelError, match="is not in"):
        backbone_by_hash(load_adapter(folder).card, [other.parent])


def test_threads_that_ask_at_once_get_their_own_answers(
    finished: Finished, tracker: Tracker, request_table: pd.DataFrame, predicted: pd.DataFrame
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    backbones = str(finished.store / "backbones")
    scorer = scorer_of(tracker.champion("demo", CHILDREN), {"backbones": backbones})
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda place: answer(scorer, request_table.iloc[[place]])[0], range(5))
        )
    np.testing.assert_allclose([one["score"] for one in found], predicted["score"], atol=1e-5)
