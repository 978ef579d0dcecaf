"""The trials of searches, kept by Optuna in sqlite: what comes next, and what has been tried."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from genellm_dagster.errors import StoreError
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.search_options import Range, SearchOptions, Space, value_of

if TYPE_CHECKING:
    import optuna

LOSSES, REFUSED = "losses", "refused"
"""Attributes of a trial in Optuna: losses of the inner folds done, why it could not be trained."""


@dataclass(frozen=True)
class Trial:
    """One candidate.

    Attributes:
        values: Dotted name of each searched setting to its value.
        losses: Log loss on each inner fold that it was tried on, in their order.
        loss: Mean of them; None where it was given up or refused before the last.
        refused: Why it could not be trained, or None.
    """

    values: dict[str, Any]
    losses: tuple[float, ...]
    loss: float | None
    refused: str | None


@contextmanager
def open_study(path: Path, address: str) -> Iterator[optuna.Study]:
    """Open the trials of a search, alone; those that a killed process left open are closed.

    Args:
        path: The sqlite file; made when missing.
        address: Of the search.

    Raises:
        StoreError: When another process is at work in the file, or it is none of Optuna's.
    """
    import optuna
    from optuna.trial import TrialState
    from sqlalchemy.exc import SQLAlchemyError

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"Another process searches in {path}; wait until it has ended, or end it."
        ) from error
    optuna.logging.set_verbosity(logging.WARNING)
    try:
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
            study = optuna.create_study(storage=storage, study_name=address, load_if_exists=True)
        except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise StoreError(
                f"The trials in {path} cannot be read ({first}); delete the file and run again."
            ) from error
        try:
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                study.tell(trial.number, state=TrialState.FAIL)
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()
    finally:
        lock.release()


def finished_trials(study: optuna.Study) -> list[Trial]:
    """Return what was tried, in order; a trial that was cut off is none of it."""
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return [
        Trial(
            values=decoded(trial.params),
            losses=tuple(trial.user_attrs.get(LOSSES, ())),
            loss=trial.value if trial.state == TrialState.COMPLETE else None,
            refused=trial.user_attrs.get(REFUSED),
        )
        for trial in study.get_trials(deepcopy=False, states=ended)
    ]


def next_trial(
    study: optuna.Study,
    options: GeneLLMOptions,
    space: Space,
    search: SearchOptions,
    finished: int,
) -> optuna.Trial:
    """Ask for the next candidate; the first is the options as they are set.

    Args:
        study: The trials so far.
        options: As they are set.
        space: What is searched.
        search: Seed, and how many candidates are drawn at random.
        finished: Number of finished trials.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    # A seed for each trial, so that what comes next does not depend on when the process began.
    seed = np.random.SeedSequence([search.seed, finished]).generate_state(1)[0]
    study.sampler = TPESampler(n_startup_trials=search.random_trials, seed=int(seed))
    if not finished and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(
            {name: _encoded(part, value_of(options, name)) for name, part in space.items()}
        )
    return study.ask({name: _distribution(part) for name, part in space.items()})


def decoded(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a candidate as settings take them."""
    return {
        name: json.loads(value) if isinstance(value, str) else value
        for name, value in params.items()
    }


def _distribution(part: Any) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(part, Range):
        return CategoricalDistribution([_encoded(part, value) for value in part.one_of])
    if part.whole:
        return IntDistribution(int(part.low), int(part.high), log=part.log)
    return FloatDistribution(part.low, part.high, log=part.log)


def _encoded(part: Any, value: Any) -> Any:
    """A choice is kept as JSON: it may be a list, which Optuna does not keep."""
    return value if isinstance(part, Range) else json.dumps(value)
