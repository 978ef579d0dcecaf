"""Checkpoints: a fit that was killed and goes on gives what a straight one gives, bit for bit."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm import gradient_training
from genellm_dagster.genellm import training as module
from genellm_dagster.genellm.checkpoints import Checkpoints, Snapshot, fit_address
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.training import Fit
from genellm_dagster_tests.genellm.fit_process import fit_here, kill_at, setting_and_states

# Three steps an epoch, nine a member.
OPTIONS = {"epochs": 3, "ensemble": 2, "batch_size": 8, "adapter_learning_rate": 0.05}
STEPS = 18


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Backbone and states that this process and those it starts share."""
    return tmp_path_factory.mktemp("backbones"), tmp_path_factory.mktemp("states")


@pytest.fixture(scope="module")
def own(folders: tuple[Path, Path]):
    return setting_and_states(*folders)


class _Killed(BaseException):
    """Stands for a kill within this process."""


def _from(step: int):
    def stop(done: int, total: int) -> None:
        if done >= step:
            raise _Killed

    return stop


def _bits(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: _bits(each) for key, each in value.items()}
    return [[_bits(getattr(each, part.name)) for part in fields(each)] for each in value]


def _same(one: Fit, other: Fit) -> bool:
    """Whether two fits agree in every bit."""
    facts = [replace(each, members=()) for each in (one, other)]
    return facts[0] == facts[1] and _bits(one.members) == _bits(other.members)


@pytest.mark.parametrize("step", [2, 11])
def test_killed_in_the_middle_of_an_epoch_and_resumed_equals_straight(
    folders: tuple[Path, Path], own, tmp_path: Path, step: int
):
    straight = fit_here(*own, OPTIONS)
    assert kill_at(step, *folders, OPTIONS, tmp_path) == -9
    seen: list[tuple[int, int]] = []
    resumed = fit_here(*own, OPTIONS, tmp_path, lambda done, total: seen.append((done, total)))
    assert _same(resumed, straight)
    # In the first epoch nothing is kept yet; later it goes on where an epoch had ended.
    assert seen[0] == ((1, STEPS) if step == 2 else (9, STEPS))


@pytest.mark.parametrize(
    "changes",
    [
        {"patience": 2},
        {"patience": 1, "adapter_learning_rate": 3.0, "epochs": 6},
        {"mixed_precision": "bfloat16"},
        {"mixed_precision": "float16", "loss": "focal"},
        {"reweigh": False, "warmup_share": 0.9, "ensemble": 1},
    ],
)
@pytest.mark.parametrize("step", [4, 8])
def test_whatever_the_training_keeps_in_mind_is_kept(
    own, tmp_path: Path, changes: dict[str, Any], step: int
):
    options = OPTIONS | changes
    straight = fit_here(*own, options)
    with pytest.raises(_Killed):
        fit_here(*own, options, tmp_path, _from(step))
    assert list(tmp_path.rglob("member-*.safetensors"))
    assert _same(fit_here(*own, options, tmp_path), straight)


def test_the_scale_of_a_float16_loss_goes_on_where_it_was(
    own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    straight, calls = gradient_training.training_loss, []

    def once_huge(*parts):
        calls.append(0)
        return straight(*parts) * (1e38 if len(calls) == 1 else 1.0)

    monkeypatch.setattr(gradient_training, "training_loss", once_huge)
    scales = []
    # An epoch ends with its third step; it is kept before the next one.
    for step in (4, 7):
        with pytest.raises(_Killed):
            fit_here(*own, OPTIONS | {"mixed_precision": "float16"}, tmp_path, _from(step))
        (file,) = tmp_path.rglob("member-0.safetensors")
        with safe_open(file, framework="pt") as opened:
            scales.append(json.loads(opened.metadata()["facts"])["scaler"]["scale"])
    assert scales == [2.0**15, 2.0**15]  # Halved once from 2**16, and never again.


def test_steps_of_before_count_as_done_once(own, tmp_path: Path):
    with pytest.raises(_Killed):
        fit_here(*own, OPTIONS, tmp_path, _from(14))
    seen: list[tuple[int, int]] = []
    fit_here(*own, OPTIONS, tmp_path, lambda done, total: seen.append((done, total)))
    # Member 0 and the first epoch of member 1 were kept.
    assert seen == [(done, STEPS) for done in (9, 12, 13, 14, 15, 16, 17, 18)]


def test_a_finished_fit_is_found_and_not_trained_again(
    own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = fit_here(*own, OPTIONS, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.safetensors")] == ["fit.safetensors"]
    monkeypatch.setattr(module, "FitTask", None)
    seen: list[tuple[int, int]] = []
    again = fit_here(*own, OPTIONS, tmp_path, lambda done, total: seen.append((done, total)))
    assert _same(again, first)
    assert seen == [(STEPS, STEPS)]


def test_checkpoints_change_nothing(own, tmp_path: Path):
    kept, unkept = (fit_here(*own, OPTIONS, where) for where in (tmp_path, None))
    assert _same(kept, unkept)


def test_what_ran_before_changes_nothing(own):
    first = fit_here(*own, OPTIONS)
    torch.manual_seed(77)
    fit_here(*own, OPTIONS | {"seed": 5, "loss": "focal"})
    before = torch.get_rng_state()
    assert _same(fit_here(*own, OPTIONS), first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["fit", "member-0"])
@pytest.mark.parametrize("how", ["torn", "empty", "other tensors", "other facts", "foreign"])
def test_a_checkpoint_that_is_not_sound_is_not_used_and_that_is_said(
    own, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, how: str
):
    straight = fit_here(*own, OPTIONS)
    if name == "fit":
        fit_here(*own, OPTIONS, tmp_path)
    else:
        with pytest.raises(_Killed):
            fit_here(*own, OPTIONS, tmp_path, _from(8))
    (file,) = tmp_path.rglob(f"{name}.safetensors")
    content = bytearray(file.read_bytes())
    if how == "torn":
        del content[len(content) // 2 :]
    elif how == "empty":
        content.clear()
    elif how == "other tensors":
        content[-3] ^= 1
    elif how == "other facts":
        at = content.index(b"losses" if name == "fit" else b"curve") + 14
        content[at] = ord("1") if content[at] != ord("1") else ord("2")
    file.write_bytes(content)
    if how == "foreign":
        other = tmp_path / "other"
        with pytest.raises(_Killed):
            fit_here(*own, OPTIONS | {"seed": 1}, other, _from(8))
        shutil.copy(next(other.rglob("member-0.safetensors")), file)
    with caplog.at_level(logging.WARNING):
        assert _same(fit_here(*own, OPTIONS, tmp_path), straight)
    assert "training starts over" in caplog.text
    assert str(file) in caplog.text


def test_whatever_changes_the_result_has_checkpoints_of_its_own(own, tmp_path: Path):
    changes = ({}, {"seed": 21}, {"epochs": 2}, {"focal_gamma": 1.0}, {"patience": 1})
    for number, change in enumerate(changes, start=1):
        fit_here(*own, OPTIONS | change, tmp_path)
        assert len(list(tmp_path.iterdir())) == number


@pytest.mark.parametrize("part", ["cases", "cohorts", "persons", "rows", "delta"])
def test_other_samples_have_an_address_of_their_own(own, part: str):
    setting, states = own
    given = {
        "rows": np.arange(24),
        "cases": np.tile([0, 1], 12),
        "cohorts": np.repeat(["A", "B"], 12),
        "persons": np.arange(24).astype(str),
    }

    def address(states, given):
        return fit_address(
            setting.model, setting.backbone, states, *given.values(), 1, AdapterOptions(),
            TrainingOptions(),
        )  # fmt: skip

    first = address(states, given)
    assert address(states, given) == first
    if part == "delta":
        delta = states.delta.clone()
        delta[3, 2, 1] += 1
        assert address(replace(states, delta=delta), given) != first
        # A sample that is not trained on may be what it likes.
        few = given | {name: value[4:] for name, value in given.items()}
        assert address(replace(states, delta=delta), few) == address(states, few)
    else:
        changed = given | {part: np.concatenate([given[part][1:], given[part][:1]])}
        if part == "cohorts":
            changed[part] = np.repeat(["A", "C"], 12)
        assert address(states, changed) != first


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path):
    store = Checkpoints(tmp_path, "a" * 64)
    shared = torch.arange(6.0)
    tensors = {
        "shared": shared,
        "again": shared,
        "part": shared[1:3],
        "none": torch.empty(0),
        "half": torch.ones(2, 3, dtype=torch.bfloat16),
        "scalar": torch.tensor(3.0),
    }
    facts = {"curve": [0.1, 1 / 3, 1e-17], "nested": {"a": None}}
    store.write("one", Snapshot(tensors, facts))
    read = store.read("one")
    assert read is not None
    assert read.facts == facts
    assert read.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        assert read.tensors[name].dtype == value.dtype
        assert torch.equal(read.tensors[name], value)
    assert store.read("two") is None
    store.remove("one")
    assert store.read("one") is None
    with pytest.raises(ValueError, match="JSON"):
        store.write("nan", Snapshot({}, {"loss": float("nan")}))
    assert not list(tmp_path.rglob("*nan*"))


def test_a_loss_that_is_not_finite_ends_training(own, monkeypatch: pytest.MonkeyPatch):
    straight = gradient_training.training_loss
    monkeypatch.setattr(
        gradient_training, "training_loss", lambda *parts: straight(*parts) * float("inf")
    )
    with pytest.raises(ModelError, match="lower the learning rates"):
        fit_here(*own, OPTIONS)
