"""Search for hyper-parameters on inner folds of a training side; nothing else is ever read.

A candidate is fitted on the training rows of each inner fold and scores its test rows; what counts
is the mean log loss at equal prevalence. The options as they are set are the first candidate, so
that what is found is never worse than they are on the inner folds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import adapted, require_small, trainable_parameters
from genellm_dagster.genellm.inner_folds import Integers, inner_folds
from genellm_dagster.genellm.kept_inputs import KeptInputs
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.prefix_cache import content_address, profile_key
from genellm_dagster.genellm.search_options import (
    KIND,
    OF_LORA,
    RANK,
    Range,
    SearchOptions,
    Space,
    space_around,
    value_of,
    with_values,
)
from genellm_dagster.genellm.search_trials import (
    LOSSES,
    REFUSED,
    Trial,
    decoded,
    finished_trials,
    next_trial,
    open_study,
)
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.states import StateSet
from genellm_dagster.genellm.training import fit, kept_for
from genellm_dagster.tokenizers.protocol import TokenProfile

if TYPE_CHECKING:
    import optuna

# Keeps the logarithm of a score of exactly 0 or 1 finite.
_LEAST_SCORE = 1e-12


@dataclass(frozen=True)
class TrainingSide:
    """All that a search may read.

    Attributes:
        session_of: Gives the backbone at work with a number of head layers.
        profiles: Token profiles of the training samples.
        cases: 0 or 1 of each.
        cohorts: Cohort of each.
        persons: Person of each, by any name; a person may come in several cohorts.
    """

    session_of: Callable[[int], Session]
    profiles: Sequence[TokenProfile]
    cases: np.ndarray
    cohorts: np.ndarray
    persons: np.ndarray

    def inner_folds(self, search: SearchOptions) -> list[tuple[Integers, Integers]]:
        """Return training and test rows of each inner fold; no person is on both sides.

        None where there are too few persons.
        """
        folds = []
        made = inner_folds(self.cases, self.cohorts, self.persons, search.inner_folds, search.seed)
        for train, test in made:
            # A person who comes in two cohorts would tell the left out one.
            apart = train[~np.isin(self.persons[train], self.persons[test])]
            if len(np.unique(self.cases[apart])) == 2:
                folds.append((apart, test))
        return folds

    def address(self, options: GeneLLMOptions, space: Space, search: SearchOptions) -> str:
        """Return the SHA-256 of all that decides how a search goes, but its number of trials."""
        session = self.session_of(options.prefix.head_layers)
        return content_address(
            {
                "backbone": session.backbone.sha256,
                "tokenizer": session.tokenizer,
                "searched": searched_options(options),
                "space": {name: part.model_dump(mode="json") for name, part in space.items()},
                "search": search.model_dump(mode="json", exclude={"trials", "space"}),
                "samples": [
                    [profile.gsm, profile_key(profile), int(case), str(cohort), str(person)]
                    for profile, case, cohort, person in zip(
                        self.profiles, self.cases, self.cohorts, self.persons, strict=True
                    )
                ],
            }
        )


@dataclass(frozen=True)
class Found:
    """What a search gave.

    Attributes:
        changed: Settings in which the best candidate differs from the options as they are set.
        loss: Its loss; None where there is no inner fold.
        default_loss: That of the options as they are set; None likewise.
        trials: All candidates, in order; the first are the options as they are set.
        inner_folds: Number of inner folds.
        space: What was searched, after it was bounded.
    """

    changed: dict[str, Any]
    loss: float | None
    default_loss: float | None
    trials: tuple[Trial, ...]
    inner_folds: int
    space: Space


def search_options(
    side: TrainingSide,
    options: GeneLLMOptions,
    search: SearchOptions,
    trials_file: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Search for options that are better on the inner folds of a training side.

    Finished trials are kept in ``trials_file`` and are not tried again. A trial that was cut off is
    tried anew as if it had never begun, so that a search that was killed ends as a straight one.

    Args:
        side: The training side.
        options: All about the model, as it is set.
        search: What is searched, and for how long.
        trials_file: An sqlite file; searches of different sides, options or spaces share it.
        progress: Called with fits done and in all; a candidate that is given up counts whole.

    Returns:
        The best candidate and how it was found. Without inner folds, the options as they are set.

    Raises:
        ModelError: When the options as they are set cannot be trained.
        StoreError: When the file cannot be used, or another process searches in it.
    """
    inner = side.inner_folds(search)
    space = _bounded(side, options, search)
    if not inner:
        return Found({}, None, None, (), 0, space)
    fits = _Fits(side, options, search, inner)

    def report(trials: int, folds: int = 0) -> None:
        if progress is not None:
            total = max(search.trials, trials)
            progress(trials * len(inner) + folds, total * len(inner))

    with open_study(trials_file, side.address(options, space, search)) as study:
        finished = finished_trials(study)
        while len(finished) < search.trials:
            report(len(finished))
            trial = next_trial(study, options, space, search, len(finished))
            _try(study, trial, fits, finished, partial(report, len(finished)))
            finished = finished_trials(study)
        report(len(finished))
    whole = [trial for trial in finished if trial.loss is not None]
    # The first of equals: the options as they are set, if they are among them.
    best = min(whole, key=lambda trial: trial.loss or 0.0)
    values = _differing(options, best.values)
    return Found(values, best.loss, finished[0].loss, tuple(finished), len(inner), space)


def searched_options(options: GeneLLMOptions) -> dict[str, Any]:
    """Return what a search starts from: the options that a candidate's loss depends on."""
    return {
        "head_layers": options.prefix.head_layers,
        "numbers": options.backbone.numbers,
        "adapter": options.adapter.model_dump(mode="json"),
        "training": options.training.model_dump(
            mode="json", exclude={"ensemble", "kept_megabytes"}
        ),
    }


def log_loss_at_equal_prevalence(cases: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean log loss of cases and that of controls, averaged.

    Args:
        cases: 0 or 1 of each sample, both classes.
        scores: 0..1 of each.
    """
    said = np.clip(np.where(cases == 1, scores, 1.0 - scores), _LEAST_SCORE, 1.0)
    return float(-0.5 * (np.log(said[cases == 1]).mean() + np.log(said[cases == 0]).mean()))


class _Fits:
    """Fits candidates on inner folds; prefix states and what rests on them are made once."""

    def __init__(
        self,
        side: TrainingSide,
        options: GeneLLMOptions,
        search: SearchOptions,
        inner: list[tuple[Integers, Integers]],
    ) -> None:
        self.side, self.options, self.search, self.inner = side, options, search, inner
        self._ready: tuple[int, Session, StateSet, KeptInputs | None] | None = None

    def loss(self, values: Mapping[str, Any], number: int) -> float:
        """Return the loss of a candidate on an inner fold."""
        options = with_values(self.options, _differing(self.options, values))
        train, test = self.inner[number]
        layers = options.prefix.head_layers
        session, states, kept = self._at(layers, options)
        training = options.training.model_copy(update={"ensemble": self.search.members})
        if self.search.members == 1:
            # Drawn weights would only add noise where no spread is asked for.
            training = training.model_copy(update={"reweigh": False})
        side = self.side
        fitted = fit(
            session.model,
            session.backbone,
            states,
            train,
            side.cases[train],
            side.cohorts[train],
            layers,
            options.adapter,
            training,
            kept=kept,
            persons=side.persons[train],
        )
        said = predict(session.model, states, test, fitted.members, layers, options.adapter, kept)
        loss = log_loss_at_equal_prevalence(side.cases[test], said.score)
        if not np.isfinite(loss):
            raise ModelError("The scores are not finite; lower the learning rates.")
        return loss

    def _at(
        self, layers: int, options: GeneLLMOptions
    ) -> tuple[Session, StateSet, KeptInputs | None]:
        # One depth at a time is kept: states of all profiles at several would fill the memory.
        if self._ready is None or self._ready[0] != layers:
            self._ready = None
            session = self.side.session_of(layers)
            if layers > session.backbone.layers:
                raise ModelError(
                    f"prefix.head_layers is {layers}, but the backbone has only "
                    f"{session.backbone.layers} layers; mend search.space."
                )
            states = session.load(self.side.profiles)
            kept = kept_for(session.model, states, layers, options.training)
            self._ready = (layers, session, states, kept)
        return self._ready[1:]


def _try(
    study: optuna.Study,
    trial: optuna.Trial,
    fits: _Fits,
    finished: Sequence[Trial],
    report: Callable[[int], None],
) -> None:
    """Try a candidate on one inner fold after the other, and write down how it ended."""
    from optuna.trial import TrialState

    values, losses = decoded(trial.params), list[float]()
    # Choices and whole numbers come again, and a fit gives the same each time.
    known = next((one.losses for one in finished if one.values == values), ())
    for number in range(len(fits.inner)):
        try:
            losses.append(known[number] if number < len(known) else fits.loss(values, number))
        except ModelError as error:
            if not finished:
                study.tell(trial, state=TrialState.FAIL)
                raise
            trial.set_user_attr(REFUSED, str(error))
            study.tell(trial, state=TrialState.PRUNED)
            return
        trial.set_user_attr(LOSSES, losses)
        # Means over the same folds: the sampler compares candidates that were given up by them.
        trial.report(float(np.mean(losses)), number)
        report(number + 1)
        if len(finished) >= fits.search.random_trials and _hopeless(
            losses, finished, len(fits.inner)
        ):
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, float(np.mean(losses)))


def _hopeless(losses: Sequence[float], finished: Sequence[Trial], folds: int) -> bool:
    """Whether a candidate could only win by beating all others on what remains.

    It is given up when the least loss that any candidate had on each remaining inner fold would not
    bring it below the best one. Inner folds differ in how hard they are, so that one candidate's
    mean over some of them is never held against another's over others. The least losses tell little
    before some candidates drawn at random were tried on all: the caller waits for those.
    """
    if len(losses) == folds:
        return False
    best = min(sum(trial.losses) for trial in finished if trial.loss is not None)
    remaining = (
        min(trial.losses[number] for trial in finished if len(trial.losses) > number)
        for number in range(len(losses), folds)
    )
    return sum(losses) + sum(remaining) >= best


def _bounded(side: TrainingSide, options: GeneLLMOptions, search: SearchOptions) -> Space:
    """Widen the space to the options as they are set; no rank above what the share allows.

    What belongs to LoRA alone is left out for other kinds: it would change nothing.
    """
    space = space_around(options, search.space)
    if options.adapter.kind != "lora" and KIND not in space:
        space = {name: values for name, values in space.items() if name not in OF_LORA}
    ranks = space.get(RANK)
    if not isinstance(ranks, Range):
        return space
    session = side.session_of(options.prefix.head_layers)
    low, high = int(value_of(options, RANK)), int(ranks.high)
    while low < high:
        middle = (low + high + 1) // 2
        try:
            _require_small(session, with_values(options, {RANK: middle}))
            low = middle
        except ModelError:
            high = middle - 1
    return {**space, RANK: ranks.model_copy(update={"high": float(high)})}


def _require_small(session: Session, options: GeneLLMOptions) -> None:
    genes = len(session.tokenizer["genes"]) if options.training.context_share < 1 else 0
    hidden = session.backbone.hidden
    with adapted(session.model, options.prefix.head_layers, options.adapter) as wrapped:
        trainable = trainable_parameters(wrapped, hidden + genes, hidden if genes else 0)
    require_small(trainable, session.backbone, options.adapter)


def _differing(options: GeneLLMOptions, values: Mapping[str, Any]) -> dict[str, Any]:
    # As JSON, in which a tuple is a list.
    now = {name: json.loads(json.dumps(value_of(options, name))) for name in values}
    return {name: value for name, value in values.items() if value != now[name]}
