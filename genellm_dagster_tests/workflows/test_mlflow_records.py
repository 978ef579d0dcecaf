"""What a whole run leaves in MLflow: runs, lineage, registered adapters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.genellm.adapter import load_adapter
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.profiles import token_profiles_of
from genellm_dagster.workflows.sessions import pretrained_session
from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, Finished

MODELS = {
    "genellm", "genellm_random_backbone", "genellm_shuffled_labels", "genellm_shuffled_genes",
}  # fmt: skip


@pytest.fixture(scope="module")
def tracker(finished: Finished) -> Tracker:
    settings = finished.settings()
    return Tracker(settings.tracking, settings.store)


@pytest.fixture(scope="module")
def runs(tracker: Tracker) -> pd.DataFrame:
    return tracker.runs("demo", folds=True)


def test_one_parent_run_for_each_stratum_and_model(runs: pd.DataFrame) -> None:
    parents = runs[runs["tags.level"] == "stratum"]
    found = sorted(zip(parents["tags.stratum"], parents["tags.model"], strict=True))
    assert found == sorted((stratum, model) for stratum in CELLS for model in MODELS)
    assert set(parents["status"]) == {"FINISHED"}
    assert set(parents["tags.simulated"].str.lower()) == {"true"}


@pytest.mark.parametrize("stratum", CELLS)
def test_one_nested_run_a_fold(runs: pd.DataFrame, stratum: str) -> None:
    parents = runs[(runs["tags.level"] == "stratum") & (runs["tags.stratum"] == stratum)]
    for parent in parents["run_id"]:
        nested = runs[runs["tags.mlflow.parentRunId"] == parent]
        assert sorted(nested["tags.cohort"]) == CELLS[stratum]
        assert nested["metrics.auroc"].between(0, 1).all()
        assert nested["metrics.n"].sum() == float(
            parents.set_index("run_id").loc[parent, "metrics.n"]
        )


def test_parameters_and_the_backbone_are_on_record(runs: pd.DataFrame, finished: Finished) -> None:
    parents = runs[runs["tags.level"] == "stratum"]
    assert set(parents["params.training.epochs"]) == {"4"}
    own = parents[parents["tags.model"] == "genellm"]
    assert set(own["params.backbone_sha256"]) == {finished.json("backbone")["sha256"]}
    random = parents[parents["tags.model"] == "genellm_random_backbone"]
    assert set(own["tags.backbone"]) == {"tiny"}
    assert set(random["tags.backbone"]) == {"tiny-random"}


def test_runs_name_the_datasets_that_they_read(tracker: Tracker, runs: pd.DataFrame) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracker.uri)
    parents = runs[(runs["tags.level"] == "stratum") & (runs["tags.stratum"] == ADULTS)]
    for run_id in parents["run_id"]:
        inputs = client.get_run(run_id).inputs.dataset_inputs
        names = {one.dataset.name for one in inputs}
        assert names == {f"token_dataset/{ADULTS}/{cohort}" for cohort in CELLS[ADULTS]}
        assert all(one.dataset.digest for one in inputs)


@pytest.mark.parametrize("stratum", CELLS)
def test_adapter_is_registered_as_champion_and_challenger(
    tracker: Tracker, finished: Finished, runs: pd.DataFrame, stratum: str
) -> None:
    champion = tracker.registered("demo", stratum)
    challenger = tracker.registered("demo", stratum, "challenger")
    assert champion is not None
    assert champion == challenger
    facts = finished.json("adapter", stratum)
    assert facts["registered_model"] == champion.name
    assert facts["version"] == str(champion.version) == "1"
    assert facts["aliases"] == ["champion", "challenger"]
    assert facts["run_id"] == champion.run_id
    own = runs.set_index("run_id").loc[champion.run_id]
    assert (own["tags.stratum"], own["tags.model"]) == (stratum, "genellm")


@pytest.mark.parametrize("stratum", CELLS)
def test_registered_adapter_gives_the_scores_it_gave_when_it_was_trained(
    tracker: Tracker, finished: Finished, stratum: str
) -> None:
    before = pd.read_parquet(finished.folder / "in_memory" / f"{stratum}.parquet")
    adapter = load_adapter(tracker.champion("demo", stratum))
    session = pretrained_session(
        finished.settings(),
        finished.of_study,
        Backbone.model_validate(finished.json("backbone")).model_dump(mode="json"),
        finished.json("tokenizer", stratum),
    )
    tokens = {
        (stratum, cohort): finished.table("token_dataset", stratum, cohort)
        for cohort in CELLS[stratum]
    }
    samples = before[["gsm"]]
    said = predict(
        session.model,
        session.load(token_profiles_of(tokens, stratum, samples["gsm"])),
        np.arange(len(samples)),
        adapter.members,
        adapter.card.head_layers,
        adapter.card.options,
    )
    assert before["score"].std() > 0.01
    np.testing.assert_allclose(said.score, before["score"], atol=1e-6)


def test_trained_share_is_counted(finished: Finished) -> None:
    facts = finished.json("adapter", CHILDREN)
    assert 0 < facts["trainable"] < facts["total"]
    assert facts["share"] == pytest.approx(facts["trainable"] / facts["total"])
    assert facts["total"] == finished.json("backbone")["parameters"]
