"""Decisions as MLflow keeps them: predictions found, verified or missing, words on a version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.files import sha256_of, write_parquet, write_text
from genellm_dagster.settings import Settings
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.registry import RegisteredAdapter
from genellm_dagster.tracking.run import TrackedRun
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.final_adapter import judged_and_registered
from genellm_dagster.workflows.out_of_fold import PREDICTIONS, PREDICTIONS_SHA256, out_of_fold
from genellm_dagster_tests.finished import CELLS, Finished
from genellm_dagster_tests.workflows.test_promotion import judged, planted, sigmoid, strangers

CASE, NEW, OLD = planted(200)
GOOD, EQUAL = judged(CASE, sigmoid(OLD)), judged(CASE, sigmoid(NEW))
POOR = judged(CASE, sigmoid(0.1 * NEW + np.random.default_rng(2).normal(size=len(CASE))))


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    tracker = Tracker(TrackingOptions(), tmp_path_factory.mktemp("store"))
    tracker.prepare()
    return tracker


@pytest.fixture
def options(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path, evaluation=EvaluationOptions(bootstraps=200))


class Bench:
    """One stratum of a study of its own; adapters are registered one after the other."""

    def __init__(self, tracker: Tracker, options: Settings, folder: Path, study: str) -> None:
        self.tracker, self.options, self.folder, self.study = tracker, options, folder, study
        self.made = 0

    def run(self, own: pd.DataFrame, *, keep: bool = True) -> TrackedRun:
        with self.tracker.parent_run(self.study, "adult") as run:
            if keep:
                file = self.folder / f"run-{run.run_id}" / PREDICTIONS
                write_parquet(file, own.assign(model="genellm", fold="GSE1"))
                run.artifact(file)
        return run

    def adapter(self) -> Path:
        self.made += 1
        folder = self.folder / f"adapter-{self.made}"
        write_text(folder / "adapter.json", json.dumps({"made": self.made}))
        return folder

    def register(
        self,
        own: pd.DataFrame,
        run: TrackedRun | None = None,
        folder: Path | None = None,
        transductive: str = "no",
    ) -> tuple[RegisteredAdapter, dict]:
        return judged_and_registered(
            self.tracker,
            self.study,
            "adult",
            folder or self.adapter(),
            run or self.run(own),
            own,
            strangers(own),
            self.options,
            {"backbone": "tiny", "transductive": transductive},
        )

    @property
    def champion(self) -> int:
        found = self.tracker.registered(self.study, "adult")
        assert found is not None
        return found.version

    def artifact(self, run: TrackedRun, name: str = PREDICTIONS) -> Path:
        from mlflow import MlflowClient

        home = MlflowClient(self.tracker.uri).get_run(run.run_id).info.artifact_uri
        return Path(home.removeprefix("file://").replace("%20", " ")) / name


@pytest.fixture
def bench(
    tracker: Tracker, options: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> Bench:
    return Bench(tracker, options, tmp_path, request.node.name[:60])


def test_the_first_is_champion_a_worse_one_stays_challenger_an_equal_one_follows(
    bench: Bench,
) -> None:
    first, said = bench.register(GOOD)
    assert first.champion
    assert (said["decision"], said["basis"], said["against"]) == ("champion", "first", None)
    worse, said = bench.register(POOR)
    assert (worse.champion, bench.champion) == (False, 1)
    assert (said["decision"], said["basis"], said["against"]) == ("challenger", "paired", 1)
    challenger = bench.tracker.registered(bench.study, "adult", "challenger")
    assert challenger is not None
    assert challenger.version == 2
    equal, said = bench.register(EQUAL)
    assert equal.champion
    assert (bench.champion, said["against"], said["samples"]["n"]) == (3, 1, 200)
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_decision_with_all_its_numbers_is_on_the_version(bench: Bench) -> None:
    from mlflow import MlflowClient

    bench.register(GOOD)
    version, said = bench.register(POOR)
    tags = version.tags
    assert (tags["decision"], tags["decision_basis"]) == ("challenger", "paired")
    assert (tags["champion_before"], tags["transductive"]) == ("1", "no")
    assert tags["decision_reason"] == said["reason"]
    for key in ("auroc", "brier", "ece"):
        for name in ("new", "champion"):
            assert float(tags[f"metric.promotion.{key}.{name}"]) == said[key][name]
        gap = said[key]["difference"]
        for end, name in (("", "value"), ("_low", "low"), ("_high", "high")):
            assert float(tags[f"metric.promotion.{key}.difference{end}"]) == gap[name]
    assert float(tags["metric.promotion.auroc.p_worse"]) == said["auroc"]["p_worse"] < 0.05
    assert tags["metric.promotion.samples.n"] == "200.0"
    found = MlflowClient(bench.tracker.uri).get_model_version(version.name, str(version.version))
    assert found.description == said["reason"]
    assert "Shown worse than version 1 in AUROC" in found.description
    assert "one-sided DeLong p" in found.description


def test_the_hash_of_the_runs_own_predictions_is_on_the_version(bench: Bench) -> None:
    run = bench.run(GOOD)
    version, _ = bench.register(GOOD, run)
    assert version.tags[PREDICTIONS_SHA256] == sha256_of(bench.artifact(run))
    assert not bench.artifact(run, "out_of_fold").exists()


def test_predictions_of_another_cross_validation_than_the_runs_get_a_copy(bench: Bench) -> None:
    run = bench.run(POOR)
    version, _ = bench.register(GOOD, run)
    sha256 = version.tags[PREDICTIONS_SHA256]
    kept = bench.artifact(run, f"out_of_fold/{sha256[:12]}/{PREDICTIONS}")
    assert sha256_of(kept) == sha256
    _, said = bench.register(EQUAL)
    assert said["auroc"]["champion"] == pytest.approx(
        float(version.tags["metric.out_of_fold_auroc"])
    )


def test_replaced_predictions_of_the_champion_are_not_believed(bench: Bench) -> None:
    run = bench.run(GOOD)
    bench.register(GOOD, run)
    # Poor ones in their place would let anything through.
    write_parquet(bench.artifact(run), POOR)
    version, said = bench.register(POOR)
    assert not version.champion
    assert said["basis"] == "on record"
    assert "are not those that were registered" in said["reason"]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_missing_predictions_leave_the_decision_to_the_record_and_it_is_said(
    bench: Bench, what: str
) -> None:
    run = bench.run(GOOD)
    bench.register(GOOD, run)
    file = bench.artifact(run)
    file.unlink() if what == "file" else shutil.rmtree(file.parent)
    worse, said = bench.register(POOR)
    assert (worse.champion, said["basis"]) == (False, "on record")
    assert "are not in MLflow any more" in said["reason"]
    equal, said = bench.register(GOOD)
    assert (equal.champion, said["basis"]) == (True, "on record")
    assert said["auroc"]["champion"] == pytest.approx(said["auroc"]["new"])


def test_a_champion_of_before_hashes_were_kept_is_believed_when_its_auroc_agrees(
    bench: Bench,
) -> None:
    run = bench.run(GOOD)
    from genellm_dagster.evaluation.metrics import auroc

    value = auroc(GOOD["case"].to_numpy(), GOOD["score"].to_numpy())
    numbers = {"out_of_fold_auroc": value, "out_of_fold_n": len(GOOD)}
    bench.tracker.register(bench.study, "adult", bench.adapter(), run, numbers)
    _, said = bench.register(POOR)
    assert (said["decision"], said["basis"]) == ("challenger", "paired")
    assert "Version 1 has no hash of its predictions on record" in said["reason"]
    write_parquet(bench.artifact(run), POOR)
    _, said = bench.register(POOR)
    assert (said["decision"], said["basis"]) == ("challenger", "on record")


def test_a_champion_with_nothing_on_record_keeps_its_place(bench: Bench) -> None:
    bench.tracker.register(bench.study, "adult", bench.adapter(), bench.run(GOOD, keep=False))
    version, said = bench.register(GOOD)
    assert (version.champion, said["basis"]) == (False, "on record")
    assert "Without an AUROC to compare with it stays challenger" in said["reason"]


def test_registering_the_champion_again_changes_nothing(bench: Bench) -> None:
    run, folder = bench.run(GOOD), bench.adapter()
    first, _ = bench.register(GOOD, run, folder)
    again, said = bench.register(GOOD, run, folder)
    assert again == first
    assert (said["decision"], said["basis"]) == ("champion", "same")


def test_a_champion_that_another_process_made_meanwhile_is_not_overthrown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.register(POOR)
    outdated = bench.tracker.registered(bench.study, "adult")
    bench.register(GOOD)
    assert bench.champion == 2
    with monkeypatch.context() as patch:
        patch.setattr(bench.tracker, "registered", lambda *_: outdated)
        version, said = bench.register(judged(CASE, sigmoid(0.5 * NEW)))
    assert not version.champion
    assert said["decision"] == "challenger"
    assert "Version 2 became champion while this one was compared with version 1" in said["reason"]


def test_scores_that_saw_other_things_of_a_test_cohort_are_told(bench: Bench) -> None:
    bench.register(GOOD)
    version, said = bench.register(EQUAL, transductive="quantile normalisation")
    assert "saw of test cohorts differs: quantile normalisation; before, no." in said["reason"]
    assert version.tags["transductive"] == "quantile normalisation"


@pytest.mark.parametrize("stratum", CELLS)
def test_a_finished_run_tells_its_decision(finished: Finished, stratum: str) -> None:
    facts = finished.json("adapter", stratum)
    assert facts["promotion"]["decision"] == "champion"
    assert facts["promotion"]["reason"] == "The first adapter of this stratum."
    settings = finished.settings()
    version = Tracker(settings.tracking, settings.store).registered("demo", stratum)
    assert version is not None
    assert float(version.tags["metric.out_of_fold_auroc"]) == facts["out_of_fold_auroc"]
    predictions = finished.table("cross_validation", stratum)
    own = out_of_fold(predictions[predictions["model"] == "genellm"], "They")
    assert facts["out_of_fold_n"] == len(own)
    assert len(version.tags[PREDICTIONS_SHA256]) == 64
