"""Out-of-fold predictions of the model, and the adapter that is trained on all samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import Adapter, AdapterCard, ProfileRecipe
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.fold_task import FoldResult, FoldTask, rows_of
from genellm_dagster.genellm.launch.in_process import InProcessLauncher
from genellm_dagster.genellm.launch.protocol import FoldProgress, Launcher
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.prediction import Prediction
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.states import StateSet
from genellm_dagster.genellm.training import Fit, fit
from genellm_dagster.tokenizers.protocol import TokenProfile

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


_SEEDS_A_SHUFFLE = 1000
"""Seeds that a permutation of labels may use: one a fold."""


class FoldLike(Protocol):
    """What a fold must offer; the folds of ``evaluation/`` do."""

    @property
    def name(self) -> str:
        """Name of the fold."""
        ...

    @property
    def train(self) -> Iterable[str]:
        """Samples to train on, gsm."""
        ...

    @property
    def test(self) -> Iterable[str]:
        """Samples to predict, gsm."""
        ...


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold results.

    Attributes:
        predictions: gsm, cohort, stratum, subject, case, fold, model, score (0..1), uncertainty
            (standard deviation of the score over the ensemble).
        representations: Out-of-fold representation of each predicted sample, gsm x dimensions: what
            the score head reads. Each fold has adapters of its own; within a fold the dimensions
            are scaled by its training samples.
        fits: What training gave, by fold.
    """

    predictions: pd.DataFrame
    representations: pd.DataFrame
    fits: dict[str, Fit]


def cross_validate(
    samples: pd.DataFrame,
    folds: Iterable[FoldLike],
    session_of: Callable[[FoldLike], Session],
    profiles_of: Callable[[FoldLike], list[TokenProfile]],
    options_of: Callable[[FoldLike], GeneLLMOptions],
    *,
    model_name: str = "genellm",
    ensemble: int | None = None,
    launcher: Launcher | None = None,
    checkpoints: Path | None = None,
    on_fold: Callable[[FoldLike, Fit, pd.DataFrame], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Train on the training side of each fold and predict its test side.

    Args:
        samples: The stratum's samples: gsm, cohort, subject, case, stratum.
        folds: Which samples to train on and to test on.
        session_of: Gives the backbone on a fold's tokenizer, which may be learned on its training
            side. Sessions made from one another share the loaded weights.
        profiles_of: Gives the token profiles of (at least) the samples of a fold; they differ
            between folds where profiles or tokens are learned. What is the same for one fold after
            the other is prepared once.
        options_of: Gives all about the model of a fold.
        model_name: What the predictions call the model.
        ensemble: Members a fold; the options' number when not given.
        launcher: Where folds are fitted; in this process when not given.
        checkpoints: Folder in which training keeps what it has done, so that it can go on there
            after it was stopped; none keeps nothing.
        on_fold: Called after each fold, as they are done, with the fold, its fit and its
            predictions.
        progress: Called with training steps done and in all, over all folds.

    Returns:
        Predictions of every tested sample, in the order of the folds.

    Raises:
        ModelError: When a fold tests what it trains on, or samples, states and folds do not match.
    """
    return _cross_validate(
        samples, list(folds), session_of, profiles_of, options_of, [None],
        model_name=model_name, ensemble=ensemble, launcher=launcher, checkpoints=checkpoints,
        on_fold=on_fold, progress=progress,
    )[0]  # fmt: skip


def cross_validate_shuffled(
    samples: pd.DataFrame,
    folds: Iterable[FoldLike],
    session_of: Callable[[FoldLike], Session],
    profiles_of: Callable[[FoldLike], list[TokenProfile]],
    options_of: Callable[[FoldLike], GeneLLMOptions],
    shuffles: int,
    *,
    model_name: str = "genellm_shuffled_labels",
    launcher: Launcher | None = None,
    checkpoints: Path | None = None,
    on_fold: Callable[[FoldLike, Fit, pd.DataFrame], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[CrossValidation]:
    """Cross-validate on training labels that are permuted within each cohort, several times.

    The control that must fall to chance. One permutation draws one direction in a space that a few
    strong directions rule, and may lie well to either side of it; only several tell. All of a fold
    are fitted one after the other, so that they share states and what is kept of them, and with one
    member each: their spread is asked for, not their best.

    Args:
        samples: As for :func:`cross_validate`, as all others.
        folds: As there.
        session_of: As there.
        profiles_of: As there.
        options_of: As there.
        shuffles: How many permutations; each is seeded by its number.
        model_name: What the predictions call the model.
        launcher: Where folds are fitted.
        checkpoints: As there.
        on_fold: Called after each fold of the first permutation.
        progress: Called with training steps done and in all, over folds and permutations.

    Returns:
        One result a permutation, labels of its predictions as they are.

    Raises:
        ModelError: As for :func:`cross_validate`.
    """
    return _cross_validate(
        samples, list(folds), session_of, profiles_of, options_of, [*range(shuffles)],
        model_name=model_name, ensemble=1, launcher=launcher, checkpoints=checkpoints,
        on_fold=on_fold, progress=progress,
    )  # fmt: skip


def _cross_validate(
    samples: pd.DataFrame,
    folds: list[FoldLike],
    session_of: Callable[[FoldLike], Session],
    profiles_of: Callable[[FoldLike], list[TokenProfile]],
    options_of: Callable[[FoldLike], GeneLLMOptions],
    shuffles: Sequence[int | None],
    *,
    model_name: str,
    ensemble: int | None,
    launcher: Launcher | None,
    checkpoints: Path | None,
    on_fold: Callable[[FoldLike, Fit, pd.DataFrame], None] | None,
    progress: Callable[[int, int], None] | None,
) -> list[CrossValidation]:
    """Cross-validate once for each shuffle; none is the labels as they are."""
    table = _indexed(samples)
    if not folds:
        raise ModelError("There is no fold to cross-validate; make the folds first.")
    _require_names(folds)
    tasks: dict[str, tuple[int, FoldLike, FoldTask]] = {}
    for number, fold in enumerate(folds):
        train, test = tuple(map(str, fold.train)), tuple(map(str, fold.test))
        _require_sound(fold.name, train, test, table.index)
        options = _with_members(options_of(fold), ensemble)
        known = table.loc[list(train)]
        whole = FoldTask(
            fold=fold.name,
            session=session_of(fold).with_options(options),
            profiles=profiles_of(fold),
            train=train,
            cases=known["case"].to_numpy(dtype=int),
            cohorts=known["cohort"].to_numpy(dtype=str),
            persons=_persons(known),
            test=test,
            checkpoints=checkpoints,
        )
        for place, shuffle in enumerate(shuffles):
            task = whole
            if shuffle is not None:
                seed = options.training.seed + number + _SEEDS_A_SHUFFLE * shuffle
                task = replace(
                    whole,
                    fold=f"{fold.name}, shuffle {shuffle + 1}",
                    cases=shuffled_within(whole.cases, whole.cohorts, seed),
                )
            tasks[task.fold] = (place, fold, task)
    found: dict[tuple[int, str], tuple[FoldResult, pd.DataFrame]] = {}
    results = (launcher or InProcessLauncher()).run(
        [task for _, _, task in tasks.values()], _over_all(len(tasks), progress)
    )
    with closing(results):
        for result in results:
            place, fold, _ = tasks[result.fold]
            predictions = _prediction_table(table, fold, model_name, result.prediction)
            found[place, fold.name] = (result, predictions)
            if on_fold is not None and place == 0:
                on_fold(fold, result.fit, predictions)
    return [
        _together({fold.name: found[place, fold.name] for fold in folds})
        for place in range(len(shuffles))
    ]


def _together(parts: dict[str, tuple[FoldResult, pd.DataFrame]]) -> CrossValidation:
    return CrossValidation(
        predictions=pd.concat([table for _, table in parts.values()], ignore_index=True),
        representations=pd.concat(
            _representation_table(result.prediction.representation, table["gsm"])
            for result, table in parts.values()
        ),
        fits={name: result.fit for name, (result, _) in parts.items()},
    )


def fit_all(
    model: LlamaForCausalLM,
    backbone: Backbone,
    states: StateSet,
    samples: pd.DataFrame,
    options: GeneLLMOptions,
    *,
    tokenizer: dict[str, Any],
    profiles: ProfileRecipe,
    ensemble: int | None = None,
    checkpoints: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Adapter:
    """Train the adapter that is put to use, on all samples.

    Args:
        model: The frozen backbone.
        backbone: Its description.
        states: Prefix states of (at least) all samples.
        samples: The stratum's samples: gsm, cohort, case.
        options: All about the model.
        tokenizer: The tokenizer's description, vocabulary included.
        profiles: How expression became profiles.
        ensemble: Members; the options' number when not given.
        checkpoints: As for :func:`cross_validate`.
        progress: Called with training steps done and in all.

    Returns:
        The adapter and the card that says what it belongs to.

    Raises:
        ModelError: When samples and states do not match, or training cannot go on.
    """
    table = _indexed(samples)
    result = fit(
        model,
        backbone,
        states,
        rows_of(states, table.index).to_numpy(),
        table["case"].to_numpy(dtype=int),
        table["cohort"].to_numpy(dtype=str),
        options.prefix.head_layers,
        options.adapter,
        _with_members(options, ensemble).training,
        progress,
        persons=_persons(table),
        checkpoints=checkpoints,
    )
    card = AdapterCard(
        backbone=backbone.name,
        backbone_sha256=backbone.sha256,
        numbers=options.backbone.numbers,
        tokenizer=tokenizer,
        profiles=profiles,
        head_layers=options.prefix.head_layers,
        options=options.adapter,
        trainable=result.trainable,
        total=backbone.parameters,
        temperature=result.temperature,
    )
    return Adapter(card=card, members=result.members)


def shuffled_within(cases: np.ndarray, cohorts: np.ndarray, seed: int) -> np.ndarray:
    """Permute labels within each cohort, so that only the tie between sample and label is cut.

    Args:
        cases: 0 or 1 of each sample.
        cohorts: Cohort of each sample.
        seed: Of the permutation.

    Returns:
        The labels, each cohort holding as many cases as before.
    """
    random = np.random.default_rng(seed)
    shuffled = cases.copy()
    for cohort in np.unique(cohorts):
        here = np.flatnonzero(cohorts == cohort)
        shuffled[here] = random.permutation(cases[here])
    return shuffled


def _with_members(options: GeneLLMOptions, ensemble: int | None) -> GeneLLMOptions:
    if ensemble is None:
        return options
    training = options.training.model_copy(update={"ensemble": ensemble})
    return options.model_copy(update={"training": training})


def _persons(table: pd.DataFrame) -> np.ndarray:
    """Person of each sample, by the subject's name; a sample without one is a person of its own."""
    if "subject" not in table.columns:
        return table.index.to_numpy(dtype=str)
    # What stands in for a name must be no subject's.
    return np.array(
        [
            f"gsm {gsm}" if pd.isna(subject) else f"subject {subject}"
            for gsm, subject in table["subject"].items()
        ]
    )


def _indexed(samples: pd.DataFrame) -> pd.DataFrame:
    table = samples.assign(gsm=samples["gsm"].astype(str)).set_index("gsm")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise ModelError(
            f"Sample {twice} stands twice in the stratum; leave one of its cohorts out."
        )
    return table


def _over_all(folds: int, progress: Callable[[int, int], None] | None) -> FoldProgress:
    """Add up the steps of all folds; one not heard of yet counts as many as the one that speaks."""
    heard: dict[str, tuple[int, int]] = {}

    def report(task: FoldTask, step: int, steps: int) -> None:
        heard[task.fold] = (step, steps)
        if progress is not None:
            done, total = (sum(part) for part in zip(*heard.values(), strict=True))
            progress(done, total + (folds - len(heard)) * steps)

    return report


def _prediction_table(
    table: pd.DataFrame, fold: FoldLike, model_name: str, said: Prediction
) -> pd.DataFrame:
    test = [str(gsm) for gsm in fold.test]
    known = table.loc[test, ["cohort", "stratum", "subject", "case"]].reset_index()
    return known.assign(
        case=known["case"].astype(int),
        fold=fold.name,
        model=model_name,
        score=said.score,
        uncertainty=said.uncertainty,
    )


def _require_names(folds: list[FoldLike]) -> None:
    names = [fold.name for fold in folds]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ModelError(f"There are two folds {twice[0]}; make folds again.")


def _require_sound(
    name: str, train: tuple[str, ...], test: tuple[str, ...], known: pd.Index
) -> None:
    both = sorted(set(train) & set(test))
    if both:
        raise ModelError(f"Fold {name} tests {both[0]}, which it also trains on; make folds again.")
    strange = sorted((set(train) | set(test)) - set(known))
    if strange:
        raise ModelError(
            f"Fold {name} names {strange[0]}, which is no sample of the stratum; make folds again."
        )
    if not train or not test:
        raise ModelError(f"Fold {name} has an empty side; make folds again.")


def _representation_table(values: np.ndarray, gsm: pd.Series) -> pd.DataFrame:
    columns = [f"r{number:03d}" for number in range(values.shape[1])]
    return pd.DataFrame(values, index=pd.Index(gsm, name="gsm"), columns=columns)
