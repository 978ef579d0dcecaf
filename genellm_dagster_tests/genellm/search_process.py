"""A search in a process of its own, which stops for good in the middle of a trial when told to.

It says a word on stdout when it stands there, so that whoever started it can kill it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from genellm_dagster.genellm import search as searching
from genellm_dagster.genellm.backbone import prepare_backbone
from genellm_dagster.genellm.options import GeneLLMOptions, TrainingOptions
from genellm_dagster.genellm.search import Found, TrainingSide, search_options
from genellm_dagster.genellm.search_options import Range, SearchOptions
from genellm_dagster.genellm.session import Session
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster_tests.genellm.makers import GENES, simulated

OPTIONS = GeneLLMOptions(training=TrainingOptions(epochs=0, head_penalties=(0.01,)))
SEARCH = SearchOptions(
    trials=5,
    random_trials=3,
    space={
        "training.whitening": Range(low=0, high=0.5),
        "training.context_share": Range(low=0.01, high=0.9, log=True),
    },
)


def a_side(folder: Path, cohorts: int = 3, effect: float = 0.8, each: int = 16) -> TrainingSide:
    """The training side of simulated cohorts on the tiny backbone."""
    profiles, samples = simulated(cohorts, each, effect=effect)
    backbone = prepare_backbone("tiny", folder / "backbones")
    tokenizer = ValueTokenizer(GENES, TokenizerOptions())

    def session_of(head_layers: int) -> Session:
        prefix = OPTIONS.prefix.model_copy(update={"head_layers": head_layers})
        options = OPTIONS.model_copy(update={"prefix": prefix})
        return Session(backbone, tokenizer.describe(), options, folder / "states")

    return TrainingSide(
        session_of,
        token_profiles(tokenizer.transform(profiles)),
        samples["case"].to_numpy(int),
        samples["cohort"].to_numpy(str),
        samples["subject"].to_numpy(str),
    )


def searched(folder: Path, trials: Path) -> Found:
    """The search that all these tests share."""
    torch.set_num_threads(1)
    return search_options(a_side(folder), OPTIONS, SEARCH, trials)


def killed_in_trial(folder: Path, trials: Path, number: int) -> None:
    """Start a search, and kill its process when it has tried a trial on its first inner fold."""
    command = [sys.executable, "-m", __name__, str(folder), str(trials), str(number)]
    root = Path(__file__).parents[2]
    running = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        assert running.stdout.readline().strip() == "stopped"
    finally:
        running.kill()
        running.communicate()


def _stop_in(number: int) -> None:
    straight = searching._try

    def stopping(study, trial, fits, finished, report):
        def stop(folds: int) -> None:
            if len(finished) == number:
                sys.stdout.write("stopped\n")
                sys.stdout.flush()
                time.sleep(600)

        straight(study, trial, fits, finished, stop)

    searching._try = stopping


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    _, place, file, which = sys.argv
    _stop_in(int(which))
    searched(Path(place), Path(file))
