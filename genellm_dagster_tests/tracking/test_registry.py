"""Adapters that are registered, promoted, damaged and fetched again."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genellm_dagster.errors import ModelError, StoreError
from genellm_dagster.files import write_text
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.registry import content_hash
from genellm_dagster.tracking.tracker import Tracker


def _another(folder: Path, words: str) -> Path:
    other = folder.with_name(f"adapter-{words}")
    shutil.copytree(folder, other)
    write_text(other / "member-0" / "head.safetensors", words)
    return other


def test_the_first_adapter_is_champion_and_comes_back_as_it_was(
    tracker: Tracker, adapter_folder: Path
) -> None:
    with tracker.parent_run("first", "adult") as run:
        version = tracker.register(
            "first", "adult", adapter_folder, run, {"auroc": 0.9}, {"tokenizer": "value"}
        )
    assert (version.name, version.version, version.champion) == ("first-adult", 1, True)
    assert version.run_id == run.run_id
    assert version.tags["metric.auroc"] == "0.9"
    assert version.tags["decision_reason"] == "there was no champion"
    assert version.tags["tokenizer"] == "value"
    found = tracker.champion("first", "adult")
    assert content_hash(found) == content_hash(adapter_folder) == version.sha256
    assert found != adapter_folder


def test_a_newer_adapter_is_challenger_until_it_is_promoted(
    tracker: Tracker, adapter_folder: Path
) -> None:
    second, third = _another(adapter_folder, "second"), _another(adapter_folder, "third")
    with tracker.parent_run("rivals", "adult") as run:
        tracker.register("rivals", "adult", adapter_folder, run)
        kept = tracker.register("rivals", "adult", second, run, reason="worse, p = 0.01")
        assert not kept.champion
        assert (kept.tags["decision"], kept.tags["champion_before"]) == ("challenger", "1")
        assert kept.tags["decision_reason"] == "worse, p = 0.01"
        assert content_hash(tracker.champion("rivals", "adult")) == content_hash(adapter_folder)
        assert content_hash(tracker.champion("rivals", "adult", "challenger")) == kept.sha256
        tracker.register("rivals", "adult", third, run, promote=True, reason="better")
    champion = tracker.registered("rivals", "adult")
    assert champion is not None
    assert (champion.version, champion.tags["decision"]) == (3, "champion")
    assert content_hash(tracker.champion("rivals", "adult")) == content_hash(third)


def test_registering_the_same_adapter_of_the_same_run_again_makes_no_second_version(
    tracker: Tracker, adapter_folder: Path
) -> None:
    with tracker.parent_run("again", "adult") as run:
        first = tracker.register("again", "adult", adapter_folder, run)
    assert tracker.register("again", "adult", adapter_folder, run.run_id) == first


def test_a_damaged_adapter_is_refused_and_registering_it_again_mends_it(
    tracker: Tracker, adapter_folder: Path
) -> None:
    with tracker.parent_run("damaged", "adult") as run:
        tracker.register("damaged", "adult", adapter_folder, run)
        write_text(tracker.champion("damaged", "adult") / "member-0" / "head.safetensors", "torn")
        with pytest.raises(ModelError, match=r"version 1 of damaged-adult.* is damaged"):
            tracker.champion("damaged", "adult")
        mended = tracker.register("damaged", "adult", adapter_folder, run, promote=True)
    assert mended.version == 2
    assert content_hash(tracker.champion("damaged", "adult")) == content_hash(adapter_folder)


def test_an_adapter_whose_files_are_gone_is_told(tracker: Tracker, adapter_folder: Path) -> None:
    with tracker.parent_run("gone", "adult") as run:
        tracker.register("gone", "adult", adapter_folder, run)
    folder = tracker.champion("gone", "adult")
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="The adapter's files are not in"):
        tracker.champion("gone", "adult")
    shutil.rmtree(folder.parents[1])
    with pytest.raises(StoreError, match="could not give the adapter's files"):
        tracker.champion("gone", "adult")


def test_a_stratum_without_adapter_is_told(tracker: Tracker) -> None:
    assert tracker.registered("empty", "adult") is None
    with pytest.raises(ModelError, match="empty has no champion for the stratum adult"):
        tracker.champion("empty", "adult")


def test_a_folder_without_adapter_is_refused(tracker: Tracker, tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="no adapter in"),
        tracker.parent_run("nothing", "adult") as run,
    ):
        tracker.register("nothing", "adult", tmp_path / "missing", run)


def test_two_strata_cannot_share_a_registered_model(tracker: Tracker, adapter_folder: Path) -> None:
    with tracker.parent_run("a-b", "c") as run:
        tracker.register("a-b", "c", adapter_folder, run)
        with pytest.raises(ModelError, match="a-b-c belongs to the stratum c of the study a-b"):
            tracker.register("a", "b-c", adapter_folder, run)


def test_of_adapters_registered_at_once_the_newest_is_challenger(
    tracker: Tracker, adapter_folder: Path
) -> None:
    folders = [_another(adapter_folder, str(number)) for number in range(4)]
    with tracker.parent_run("crowd", "adult") as run:
        threads = [
            threading.Thread(target=tracker.register, args=("crowd", "adult", folder, run))
            for folder in folders
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    newest, champion = (
        tracker.registered("crowd", "adult", alias) for alias in ("challenger", "champion")
    )
    assert newest is not None
    assert champion is not None
    assert (newest.version, champion.version) == (4, 1)


def test_a_registered_adapter_scores_as_the_one_that_was_trained(
    tracker: Tracker, tmp_path: Path
) -> None:
    import torch
    from peft import get_peft_model_state_dict

    from genellm_dagster.genellm.adapter import (
        Adapter,
        AdapterCard,
        Member,
        ProfileRecipe,
        adapted,
        load_adapter,
        save_adapter,
    )
    from genellm_dagster.genellm.backbone import load_model, prepare_backbone
    from genellm_dagster.genellm.options import AdapterOptions
    from genellm_dagster.genellm.prediction import predict
    from genellm_dagster.genellm.states import StateSet

    backbone = prepare_backbone("tiny", tmp_path / "backbones")
    model, options, genes = load_model(backbone), AdapterOptions(), 5
    draw = torch.Generator().manual_seed(11)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    def member() -> Member:
        with adapted(model, 1, options) as wrapped:
            lora = {
                key: random(*value.shape)
                for key, value in get_peft_model_state_dict(wrapped).items()
            }
        return Member(lora, random(backbone.hidden), random(1), random(backbone.hidden).exp())

    states = StateSet(
        gsm=("GSM1", "GSM2"),
        delta=random(2, genes, backbone.hidden).half(),
        reference=random(1, genes, backbone.hidden),
        reference_of=torch.zeros(2, dtype=torch.long),
        positions=torch.arange(genes).repeat(1, 1),
        present=torch.ones(1, genes, dtype=torch.bool),
        readout_position=genes,
        genes=torch.arange(genes).repeat(2, 1),
        values=random(2, genes),
    )
    card = AdapterCard(
        backbone=backbone.name,
        backbone_sha256=backbone.sha256,
        numbers="float32",
        tokenizer={},
        profiles=ProfileRecipe(normalisation={}),
        head_layers=1,
        options=options,
        trainable=1,
        total=backbone.parameters,
    )
    trained = Adapter(card, (member(), member()))
    rows = np.arange(2)
    before = predict(model, states, rows, trained.members, 1, options)
    save_adapter(trained, model, tmp_path / "trained")
    with tracker.parent_run("scores", "adult") as run:
        tracker.register("scores", "adult", tmp_path / "trained", run)

    again = load_adapter(tracker.champion("scores", "adult"))
    fresh = load_model(backbone)
    after = predict(fresh, states, rows, again.members, again.card.head_layers, again.card.options)
    np.testing.assert_allclose(after.score, before.score, rtol=0, atol=1e-6)
    # Logits reach 30 here, where float32 itself steps by 2e-6: another order of sums may show.
    np.testing.assert_allclose(after.logits, before.logits, rtol=1e-6, atol=1e-6)
    # Both parts come back: without the score head, or without LoRA, the scores are others.
    for part in (
        {"weight": torch.ones(backbone.hidden)},
        {"peft": {key: value * 0 for key, value in again.members[0].peft.items()}},
    ):
        without = [replace(one, **part) for one in again.members]
        assert (
            np.abs(predict(fresh, states, rows, without, 1, options).score - before.score).max()
            > 1e-3
        )


def test_a_tracking_server_takes_runs_and_gives_adapters_back(
    server: str, adapter_folder: Path, tmp_path: Path
) -> None:
    tracker = Tracker(TrackingOptions(uri=server), tmp_path / "here")
    with tracker.parent_run("remote", "adult", {"rank": 4}) as run:
        with run.fold("GSE1", cohort="GSE1") as fold:
            fold.curves({"loss": [0.5, 0.25]})
        version = tracker.register("remote", "adult", adapter_folder, run, {"auroc": 0.9})
        second = tracker.register("remote", "adult", _another(adapter_folder, "new"), run)
    assert (version.champion, second.champion) == (True, False)
    assert run.url.startswith(f"{server}/#/experiments/")
    table = tracker.runs("remote", folds=True)
    assert list(table["status"]) == ["FINISHED", "FINISHED"]
    assert table["metrics.loss"].dropna().tolist() == [0.25]
    # Another machine: nothing of the adapter lies there yet.
    elsewhere = Tracker(TrackingOptions(uri=server), tmp_path / "elsewhere")
    found = elsewhere.champion("remote", "adult")
    assert content_hash(found) == content_hash(adapter_folder)
    assert found.is_relative_to(tmp_path / "elsewhere")
    assert elsewhere.champion("remote", "adult") == found
    write_text(found / "adapter.json", "torn")
    assert content_hash(elsewhere.champion("remote", "adult")) == content_hash(adapter_folder)
    with pytest.raises(ModelError, match="no champion for the stratum pediatric"):
        elsewhere.champion("remote", "pediatric")
