"""Wherever folds are fitted the results are the same, and nothing stays of what was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.cross_validation import CrossValidation
from genellm_dagster.genellm.fold_task import FoldResult, FoldTask
from genellm_dagster.genellm.launch import processes
from genellm_dagster.genellm.launch.answers import Fitter, result_of
from genellm_dagster.genellm.launch.in_process import InProcessLauncher
from genellm_dagster.genellm.launch.processes import SubprocessLauncher, own_device, own_threads
from genellm_dagster.genellm.launch.several_devices import AccelerateLauncher
from genellm_dagster.genellm.launch.travel import packed, unpacked
from genellm_dagster.genellm.launch.worker_process import WorkerProcess
from genellm_dagster.genellm.options import BackboneOptions, GeneLLMOptions, TrainingOptions
from genellm_dagster.genellm.team import Team
from genellm_dagster_tests.genellm.folds import LONG, OPTIONS, Given, by_cohort, require_same
from genellm_dagster_tests.genellm.makers import Setting


@pytest.fixture(autouse=True)
def _one_thread_everywhere():
    # Sums of several threads may differ in their last bits.
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def straight(given: Given) -> CrossValidation:
    """What this process gives."""
    with threadpool_limits(1):
        return given.validate(launcher=InProcessLauncher())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of the processes that a launcher starts."""
    pids: list[int] = []

    class Watched(WorkerProcess):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            pids.append(self.pid)

    monkeypatch.setattr(processes, "WorkerProcess", Watched)
    return pids


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_processes_give_to_the_bit_what_this_one_gives(
    given: Given, straight: CrossValidation, started: list[int]
):
    steps: list[tuple[int, int]] = []
    heard: list[str] = []
    found = given.validate(
        launcher=SubprocessLauncher(2),
        on_fold=lambda fold, fit, part: heard.append(fold.name),
        progress=lambda done, total: steps.append((done, total)),
    )
    require_same(found, straight)
    assert sorted(heard) == ["GSE0", "GSE1", "GSE2"]
    assert len(steps) == 6
    assert steps[-1] == (6, 6)
    assert len(started) == 2
    assert not any(map(alive, started))


def test_a_killed_process_is_one_error_that_names_the_fold_and_ends_the_others(
    given: Given, started: list[int]
):
    def kill(done: int, total: int) -> None:
        os.kill(started[1], signal.SIGKILL)

    with pytest.raises(ModelError, match=r"fold GSE1 ended .* \(signal 9 \(SIGKILL\)\)"):
        given.validate(options=LONG, launcher=SubprocessLauncher(2), progress=kill)
    assert not any(map(alive, started))


def test_an_error_of_a_fold_arrives_as_it_was_raised(given: Given, started: list[int]):
    one_class = given.samples.assign(case=lambda table: (table["cohort"] == "GSE0").astype(int))
    with pytest.raises(ModelError) as here:
        given.validate(samples=one_class)
    with pytest.raises(ModelError) as there:
        given.validate(samples=one_class, launcher=SubprocessLauncher(1))
    assert str(there.value) == str(here.value)
    assert not any(map(alive, started))


def test_a_defect_of_a_fold_keeps_its_traceback(given: Given):
    torn = replace(task_of(given), cases=np.array([0, 1]))
    answer = Fitter().answer(packed(torn), lambda *_: None)
    with pytest.raises(RuntimeError, match=r"(?s)fold GSE0 failed elsewhere.*Traceback.*training"):
        result_of("GSE0", answer)


def test_no_process_stays_when_the_caller_stops(given: Given, started: list[int]):
    def stop(*_) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        given.validate(options=LONG, launcher=SubprocessLauncher(1), progress=stop)
    assert len(started) == 1
    assert not any(map(alive, started))


def test_no_process_stays_when_this_one_is_killed(given: Given, tmp_path: Path):
    task = tmp_path / "task"
    task.write_bytes(packed(task_of(given, LONG)))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(task)], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert parent.stdout.readline().strip() == "training"
        assert alive(worker)
    finally:
        parent.kill()
        parent.communicate()
    while alive(worker):  # The test's own time limit ends this.
        time.sleep(0.05)


PARENT = """
import sys
from pathlib import Path
from genellm_dagster.genellm.fold_task import FoldTask
from genellm_dagster.genellm.launch import processes
from genellm_dagster.genellm.launch.answers import Fitter, result_of
from genellm_dagster.genellm.launch.travel import unpacked

class Told(processes.WorkerProcess):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        print(self.pid, flush=True)

processes.WorkerProcess = Told
task = unpacked(Path(sys.argv[1]).read_bytes(), FoldTask)
said = []
def progress(*_):
    if not said:
        said.append(print("training", flush=True))
list(processes.SubprocessLauncher(1).run([task], progress))
"""


def task_of(given: Given, options: GeneLLMOptions = OPTIONS) -> FoldTask:
    table = given.samples.set_index("gsm")
    fold = by_cohort(given.samples)[0]
    train = table.loc[list(fold.train)]
    return FoldTask(
        fold.name, given.session.with_options(options), given.profiles, fold.train,
        train["case"].to_numpy(), train["cohort"].to_numpy(str), train.index.to_numpy(str),
        fold.test,
    )  # fmt: skip


def test_a_task_travels_whole_and_without_weights(given: Given):
    task = task_of(given)
    content = packed(task)
    again = unpacked(content, FoldTask)
    assert len(content) < 100_000
    assert again.session.tokenizer == task.session.tokenizer
    assert again.session.options == task.session.options
    assert again.session.backbone == task.session.backbone
    assert again.session.states.address == task.session.states.address
    assert (again.train, again.test, again.checkpoints) == (task.train, task.test, None)
    for one, other in zip(again.profiles, task.profiles, strict=True):
        assert one.gsm == other.gsm
        for part in ("genes", "positions", "values"):
            assert getattr(one, part).dtype == getattr(other, part).dtype
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    for part in ("cases", "cohorts", "persons"):
        np.testing.assert_array_equal(getattr(again, part), getattr(task, part))
    assert unpacked(content, FoldTask, task.session.weights).session.model is task.session.model


def test_what_cannot_travel_is_refused(given: Given):
    with pytest.raises(TypeError, match="a function cannot travel"):
        packed(task_of(Given(given.session, [task_of], given.samples)))  # type: ignore[list-item]
    with pytest.raises(TypeError, match="a FoldResult was expected, not a FoldTask"):
        unpacked(packed(task_of(given)), FoldResult)


def test_processes_share_threads_and_devices(monkeypatch: pytest.MonkeyPatch):
    torch.set_num_threads(4)
    assert [own_threads(count)["OMP_NUM_THREADS"] for count in (1, 2, 3, 9)] == list("4211")
    assert own_device(1) == {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [own_device(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == list("010")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert own_device(1) == {"CUDA_VISIBLE_DEVICES": "7"}


def test_the_states_of_the_prefix_are_computed_before_processes_start(
    tiny: Setting, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fresh = Given(tiny.session(tmp_path, OPTIONS), given.profiles, given.samples)

    def starting(*_):
        assert fresh.session.encode(given.profiles).encoded == 0
        raise TimeoutError

    monkeypatch.setattr(processes, "WorkerProcess", starting)
    with pytest.raises(TimeoutError):
        fresh.validate(launcher=SubprocessLauncher(3))


def test_a_team_of_processes_gives_what_one_gives(
    tiny: Setting, given: Given, tmp_path: Path, started: list[int]
):
    # Steps large enough to matter, and a last batch too small to be split.
    training = TrainingOptions(epochs=3, ensemble=1, adapter_learning_rate=0.05, batch_size=47)
    options = GeneLLMOptions(training=training)
    folds = by_cohort(given.samples)[:2]
    straight = given.validate(folds, options=options)
    fresh = Given(tiny.session(tmp_path, options), given.profiles, given.samples)
    steps: list[tuple[int, int]] = []
    found = fresh.validate(
        folds, options=options, launcher=AccelerateLauncher(2),
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    for name, fit in straight.fits.items():
        np.testing.assert_allclose(fit.losses, found.fits[name].losses, rtol=1e-5)
    np.testing.assert_allclose(
        found.predictions["score"], straight.predictions["score"], atol=1e-5, rtol=0
    )
    assert steps == [(step, 12) for step in range(1, 13)]
    assert len(started) == 2
    assert not any(map(alive, started))


class Third(Team):
    """The third of four processes."""

    rank, size = 2, 4

    def __init__(self) -> None:
        pass


def test_a_team_splits_what_is_to_be_done():
    assert Team().share(torch.arange(3))[0].tolist() == [0, 1, 2]
    assert Team().share(torch.arange(3))[1] == 1.0
    mine, part = Third().share(torch.arange(7))
    assert (mine.tolist(), part) == ([2, 6], 2 / 7)
    mine, part = Third().share(torch.arange(3))
    assert (mine.tolist(), part) == ([0, 1, 2], 1 / 4)
    assert Third().part("abcdefg") == "cg"
    assert Team().leads
    assert not Third().leads


def test_a_team_asks_for_as_many_gpus(given: Given, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for device, said in {
        "auto": "2 processes ask for a GPU each",
        "cuda:0": "device to auto",
    }.items():
        options = GeneLLMOptions(backbone=BackboneOptions(device=device))
        with pytest.raises(ModelError, match=said):
            given.validate(options=options, launcher=AccelerateLauncher(2))
