"""A process of its own that fits on simulated samples and stops midway, to be killed there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genellm_dagster.genellm.backbone import load_model, prepare_backbone
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.states import StateSet
from genellm_dagster.genellm.training import Fit, fit
from genellm_dagster_tests.genellm.makers import Setting, simulated

SAMPLES = 24


def setting_and_states(backbones: Path, states: Path) -> tuple[Setting, StateSet]:
    """Prepare what is fitted, the same in every process."""
    backbone = prepare_backbone("tiny", backbones)
    tiny = Setting.of(backbone, load_model(backbone))
    profiles, _ = simulated(cohorts=2, each=SAMPLES // 2, effect=1.0)
    return tiny, tiny.states(states, profiles)


def fit_here(
    tiny: Setting,
    states: StateSet,
    options: dict[str, Any],
    checkpoints: Path | None = None,
    progress: Any = None,
) -> Fit:
    """Fit in this process."""
    _, samples = simulated(cohorts=2, each=SAMPLES // 2, effect=1.0)
    return fit(
        tiny.model, tiny.backbone, states, np.arange(SAMPLES), samples["case"].to_numpy(),
        samples["cohort"].to_numpy(str), 1, AdapterOptions(), TrainingOptions(**options), progress,
        checkpoints=checkpoints,
    )  # fmt: skip


def kill_at(
    step: int, backbones: Path, states: Path, options: dict[str, Any], checkpoints: Path
) -> int:
    """Fit in a process of its own and kill it when it has done so many steps."""
    told = [backbones, states, checkpoints, json.dumps(options), step]
    running = subprocess.Popen(
        [sys.executable, "-m", __name__, *map(str, told)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline().strip() == "there"
    finally:
        running.kill()
        running.communicate()
    return running.returncode


def _main(backbones: str, states: str, checkpoints: str, options: str, step: str) -> None:
    torch.set_num_threads(1)
    setting = setting_and_states(Path(backbones), Path(states))

    def wait(done: int, total: int) -> None:
        if done == int(step):
            sys.stdout.write("there\n")
            sys.stdout.flush()
            sys.stdin.readline()

    fit_here(*setting, json.loads(options), Path(checkpoints), wait)


if __name__ == "__main__":
    _main(*sys.argv[1:])
