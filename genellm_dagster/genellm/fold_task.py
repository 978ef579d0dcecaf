"""The fit of one fold: all it needs, in one piece that can travel, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.kept_inputs import KeptInputs
from genellm_dagster.genellm.prediction import Prediction, predict
from genellm_dagster.genellm.prefix_cache import profile_key
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.states import StateSet
from genellm_dagster.genellm.team import team
from genellm_dagster.genellm.training import Fit, fit, kept_for
from genellm_dagster.tokenizers.protocol import TokenProfile


@dataclass(frozen=True)
class FoldTask:
    """What one fold needs to be fitted and predicted; the labels of its test side are no part.

    Attributes:
        fold: Name of the fold.
        session: The backbone on the fold's tokenizer, with the fold's options. Elsewhere it is put
            together again from its description; the weights do not travel.
        profiles: Token profiles of (at least) the samples of both sides.
        train: Samples to train on, gsm.
        cases: 0 or 1 of each training sample, as it is trained on (shuffled for the control).
        cohorts: Cohort of each training sample.
        persons: Person of each training sample.
        test: Samples to predict, gsm.
        checkpoints: Folder in which training keeps what it has done; none keeps nothing.
    """

    fold: str
    session: Session
    profiles: list[TokenProfile]
    train: tuple[str, ...]
    cases: np.ndarray
    cohorts: np.ndarray
    persons: np.ndarray
    test: tuple[str, ...]
    checkpoints: Path | None = None


@dataclass(frozen=True)
class FoldResult:
    """What came of a fold.

    Attributes:
        fold: Name of the fold.
        fit: What training gave.
        prediction: What the ensemble says of the test samples, in their order.
    """

    fold: str
    fit: Fit
    prediction: Prediction


class SharedStates:
    """What folds that are fitted one after the other share: states, and what no step changes."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] | None = None
        self._found: tuple[StateSet, KeptInputs | None] | None = None

    def of(self, task: FoldTask) -> tuple[StateSet, KeptInputs | None]:
        """Return the prefix states of a task's profiles and the frozen side of the last layer.

        Those of the task before come back where the two rest on the same profiles and weights.
        """
        session = task.session
        training = session.options.training
        of = (
            session.states.address,
            session.options.backbone.device,
            training.kept_megabytes,
            *((profile.gsm, profile_key(profile)) for profile in task.profiles),
        )
        if self._found is None or of != self._of:
            # Two sets at once would take twice the memory.
            self._found = None
            if team().size > 1:
                session.encode(team().part(task.profiles))
                team().wait()
            states = session.load(task.profiles)
            depth = session.options.prefix.head_layers
            self._found = (states, kept_for(session.model, states, depth, training))
            self._of = of
        return self._found


def fit_fold(
    task: FoldTask,
    progress: Callable[[int, int], None] | None = None,
    shared: SharedStates | None = None,
) -> FoldResult:
    """Train on the training side of a fold and predict its test side.

    Args:
        task: The fold.
        progress: Called with training steps done and in all.
        shared: From the folds before.

    Raises:
        ModelError: When a sample has no token profile, or training cannot go on.
    """
    session = task.session
    options = session.options
    states, kept = (shared or SharedStates()).of(task)
    row_of = rows_of(states, pd.Index([*task.train, *task.test]))
    result = fit(
        session.model,
        session.backbone,
        states,
        row_of.loc[list(task.train)].to_numpy(),
        task.cases,
        task.cohorts,
        options.prefix.head_layers,
        options.adapter,
        options.training,
        progress,
        kept,
        task.persons,
        task.checkpoints,
    )
    said = predict(
        session.model,
        states,
        row_of.loc[list(task.test)].to_numpy(),
        result.members,
        options.prefix.head_layers,
        options.adapter,
        kept,
        temperature=result.temperature,
    )
    return FoldResult(task.fold, result, said)


def rows_of(states: StateSet, wanted: pd.Index) -> pd.Series:
    """Return the row of each wanted sample among the states, by gsm.

    Raises:
        ModelError: When a sample is not there.
    """
    # Two samples may share a profile, never a name: the row is found by name.
    row_of = pd.Series(np.arange(len(states)), index=pd.Index(states.gsm, name="gsm"))
    row_of = row_of[~row_of.index.duplicated()]
    missing = wanted.difference(row_of.index)
    if len(missing):
        raise ModelError(
            f"{len(missing)} samples have no prefix states ({missing[0]} is the first); "
            "materialize prefix_states again."
        )
    return row_of.loc[wanted]
