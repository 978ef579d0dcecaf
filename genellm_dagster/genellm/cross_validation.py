"""Out-of-fold predictions of the model, and the adapter that is trained on all samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import Adapter, AdapterCard, ProfileRecipe
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.states import StateSet
from genellm_dagster.genellm.training import Fit, fit, kept_for

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


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
    model: LlamaForCausalLM,
    backbone: Backbone,
    states_of: Callable[[FoldLike], StateSet],
    samples: pd.DataFrame,
    folds: Iterable[FoldLike],
    options: GeneLLMOptions,
    *,
    model_name: str = "genellm",
    shuffle_labels: bool = False,
    ensemble: int | None = None,
    on_fold: Callable[[FoldLike, Fit, pd.DataFrame], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Train on the training side of each fold and predict its test side.

    Args:
        model: The frozen backbone.
        backbone: Its description.
        states_of: Gives the prefix states of (at least) the samples of a fold; they differ between
            folds where profiles are learned. What it gives twice is prepared once.
        samples: The stratum's samples: gsm, cohort, subject, case, stratum.
        folds: Which samples to train on and to test on.
        options: All about the model.
        model_name: What the predictions call the model.
        shuffle_labels: Permute the training labels within each cohort: the control that must fall
            to chance.
        ensemble: Members a fold; the options' number when not given.
        on_fold: Called after each fold with the fold, its fit and its predictions.
        progress: Called with training steps done and in all, over all folds.

    Returns:
        Predictions of every tested sample.

    Raises:
        ModelError: When a fold tests what it trains on, or samples, states and folds do not match.
    """
    folds = list(folds)
    table = _indexed(samples)
    training = _with_members(options, ensemble)
    states, kept = None, None
    tables, representations, fits = [], [], {}
    for number, fold in enumerate(folds):
        train, test = [str(gsm) for gsm in fold.train], [str(gsm) for gsm in fold.test]
        _require_sound(fold.name, train, test, table.index)
        found = states_of(fold)
        if found is not states:
            states = found
            kept = kept_for(model, states, options.prefix.head_layers, training.training)
        row_of = _rows(states, pd.Index([*train, *test]))
        known = table.loc[train]
        cases = known["case"].to_numpy(dtype=int)
        cohorts = known["cohort"].to_numpy(dtype=str)
        if shuffle_labels:
            cases = shuffled_within(cases, cohorts, training.training.seed + number)

        def report(step: int, steps: int, before: int = number) -> None:
            if progress is not None:
                progress(before * steps + step, len(folds) * steps)

        result = fit(
            model,
            backbone,
            states,
            row_of.loc[train].to_numpy(),
            cases,
            cohorts,
            options.prefix.head_layers,
            options.adapter,
            training.training,
            report,
            kept,
            _persons(known),
        )
        said = predict(
            model,
            states,
            row_of.loc[test].to_numpy(),
            result.members,
            options.prefix.head_layers,
            options.adapter,
            kept,
        )
        predictions = table.loc[test, ["cohort", "stratum", "subject", "case"]].reset_index()
        predictions = predictions.assign(
            case=predictions["case"].astype(int),
            fold=fold.name,
            model=model_name,
            score=said.score,
            uncertainty=said.uncertainty,
        )
        tables.append(predictions)
        representations.append(_representation_table(said.representation, test))
        fits[fold.name] = result
        if on_fold is not None:
            on_fold(fold, result, predictions)
    if not tables:
        raise ModelError("There is no fold to cross-validate; make the folds first.")
    return CrossValidation(
        predictions=pd.concat(tables, ignore_index=True),
        representations=pd.concat(representations),
        fits=fits,
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
        _rows(states, table.index).to_numpy(),
        table["case"].to_numpy(dtype=int),
        table["cohort"].to_numpy(dtype=str),
        options.prefix.head_layers,
        options.adapter,
        _with_members(options, ensemble).training,
        progress,
        persons=_persons(table),
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


def _rows(states: StateSet, wanted: pd.Index) -> pd.Series:
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


def _require_sound(name: str, train: list[str], test: list[str], known: pd.Index) -> None:
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


def _representation_table(values: np.ndarray, gsm: list[str]) -> pd.DataFrame:
    columns = [f"r{number:03d}" for number in range(values.shape[1])]
    return pd.DataFrame(values, index=pd.Index(gsm, name="gsm"), columns=columns)
