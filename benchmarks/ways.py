"""Our way of fine-tuning, with and without kept states, and what all ways are given."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from at_hand import Stratum, run_folds
from timing import CLOCKS

from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.prefix import PrefixEncoder
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.states import StateSet, uncached
from genellm_dagster.genellm.training import fit
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer


@dataclass(frozen=True)
class Usual:
    """The usual way: a user's `Trainer`, LoRA on the queries and values of all layers.

    Attributes:
        rank: Of LoRA; alpha is twice that.
        learning_rate: Of `Trainer`, which lowers it linearly.
        batch_size: Samples a step; 8 is `Trainer`'s own.
    """

    rank: int = 8
    learning_rate: float = 2e-4
    batch_size: int = 8


@dataclass(frozen=True)
class Task:
    """What all ways are given.

    Attributes:
        stratum: Samples, folds and profiles.
        backbone: A prepared backbone.
        options: All about our model.
        ensemble: Adapters that ours trains a fold.
        usual: How the usual way is set.
        clock: What seconds are, of :data:`timing.CLOCKS`.
    """

    stratum: Stratum
    backbone: Backbone
    options: GeneLLMOptions
    ensemble: int
    usual: Usual
    clock: str = "wall"

    def now(self) -> float:
        """Return the clock's seconds."""
        return CLOCKS[self.clock]()

    @cached_property
    def tokenizer(self) -> dict[str, Any]:
        """Description of the tokenizer."""
        return ValueTokenizer(self.stratum.genes, TokenizerOptions()).describe()

    @cached_property
    def profiles(self) -> list[TokenProfile]:
        """Token profiles of all samples, the same for every fold."""
        tokenizer = ValueTokenizer(self.stratum.genes, TokenizerOptions())
        return token_profiles(tokenizer.transform(self.stratum.profiles()))

    def row(self, gsm: Sequence[str]) -> list[int]:
        """Return where samples stand among the profiles."""
        places = {profile.gsm: number for number, profile in enumerate(self.profiles)}
        return [places[name] for name in gsm]


@dataclass(frozen=True)
class Done:
    """All folds.

    Attributes:
        seconds: Of each fold.
        predictions: gsm, case, score of all folds.
        share: Trained parameters over the backbone's.
        notes: What else was counted.
    """

    seconds: list[float]
    predictions: pd.DataFrame
    share: float
    notes: dict[str, float]


class Kept:
    """Ours: the prefix once a profile, then folds on what was kept."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._folder = tempfile.TemporaryDirectory()
        self.session = self._session(Path(self._folder.name))

    @property
    def options(self) -> GeneLLMOptions:
        """All about the model, with as many adapters a fold as the task says."""
        return _changed(self.task.options, ensemble=self.task.ensemble)

    def _session(self, folder: Path) -> Session:
        return Session(self.task.backbone, self.task.tokenizer, self.options, folder)

    def load(self) -> None:
        """Load the weights, which every way has to."""
        self.session.encoder  # noqa: B018 A cached property.

    def encode(self, start: int, stop: int) -> float:
        """Encode some of the profiles and keep their states; return the seconds."""
        before = self.task.now()
        self.session.encode(self.task.profiles[start:stop])
        return self.task.now() - before

    def folds(self) -> Done:
        """Train and predict all folds on the kept states."""
        marks, shares = [self.task.now()], []

        def on_fold(fold: Any, fitted: Any, predictions: pd.DataFrame) -> None:
            marks.append(self.task.now())
            shares.append(fitted.trainable / self.task.backbone.parameters)

        profiles = self.task.profiles
        found = run_folds(
            self.task.stratum,
            lambda _: self.session,
            lambda _: profiles,
            self.options,
            on_fold=on_fold,
        )
        return Done(np.diff(marks).tolist(), found.predictions, shares[0], {})


class _Recomputed:
    """States less their reference's, which the prefix computes whenever they are read.

    It stands where a state set has its table of them.
    """

    def __init__(
        self,
        profiles: Sequence[TokenProfile],
        encoder: PrefixEncoder,
        reference: torch.Tensor,
        reference_of: torch.Tensor,
        now: Callable[[], float],
    ) -> None:
        self.profiles, self.encoder, self.now = profiles, encoder, now
        self.reference, self.reference_of = reference, reference_of
        self.shape = (len(profiles), *reference.shape[1:])
        self.read, self.seconds = 0, 0.0

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        start = self.now()
        wanted = rows.tolist()
        delta = torch.zeros(len(wanted), *self.shape[1:])
        for number, state in self.encoder.encode([self.profiles[row] for row in wanted]):
            base = self.reference[self.reference_of[wanted[number]], : len(state)]
            delta[number, : len(state)] = torch.from_numpy(state) - base
        self.read += len(wanted)
        self.seconds += self.now() - start
        return delta


class _Forgetful(Session):
    """A session that keeps no state but those of the references."""

    delta: _Recomputed
    now: Callable[[], float]

    def load(self, profiles: Sequence[TokenProfile]) -> StateSet:
        """Return states that are computed anew whenever they are read."""
        # One profile of each set of genes has all references.
        sets = {profile.genes.tobytes(): profile for profile in profiles}
        few = uncached(list(sets.values()), self.encoder, len(self.tokenizer["genes"]))
        place = {genes: number for number, genes in enumerate(sets)}
        at = few.reference_of[[place[profile.genes.tobytes()] for profile in profiles]]
        values = torch.zeros(len(profiles), few.values.shape[1])
        for row, profile in enumerate(profiles):
            values[row, : len(profile)] = torch.from_numpy(profile.values)
        self.delta = _Recomputed(profiles, self.encoder, few.reference, at, self.now)
        return replace(
            few,
            gsm=tuple(profile.gsm for profile in profiles),
            delta=cast("torch.Tensor", self.delta),
            reference_of=at,
            genes=few.genes[[place[profile.genes.tobytes()] for profile in profiles]],
            values=values,
        )


class Recomputing(Kept):
    """The same adapter on the same head layers, trained alike; the prefix runs in every step."""

    session: _Forgetful

    @property
    def options(self) -> GeneLLMOptions:
        """As ours, but nothing of the last layer is kept either."""
        return _changed(super().options, kept_megabytes=0)

    def _session(self, folder: Path) -> Session:
        session = _Forgetful(self.task.backbone, self.task.tokenizer, self.options, folder)
        session.now = self.task.now
        return session

    def steps(self, number: int, samples: int) -> list[float]:
        """Return the seconds of some training steps after a first one, on so many samples each."""
        case = self.task.stratum.samples["case"].to_numpy(dtype=int)
        rows = np.concatenate(
            [np.flatnonzero(case == 0)[: samples // 2], np.flatnonzero(case == 1)[: samples // 2]]
        )
        chosen = [self.task.profiles[row] for row in rows]
        changes = {"epochs": number + 1, "batch_size": len(rows), "ensemble": 1}
        changes["head_penalties"] = self.session.options.training.head_penalties[:1]
        marks: list[float] = []
        fit(
            model=self.session.model,
            backbone=self.task.backbone,
            states=self.session.load(chosen),
            rows=np.arange(len(rows)),
            cases=case[rows],
            cohorts=np.zeros(len(rows), dtype=int),
            head_layers=self.task.options.prefix.head_layers,
            adapter=self.task.options.adapter,
            training=self.session.options.training.model_copy(update=changes),
            progress=lambda _done, _total: marks.append(self.task.now()),
        )
        return np.diff(marks).tolist()

    def read(self, samples: int) -> float:
        """Return the seconds of reading some samples without training."""
        self.session.load(self.task.profiles[:samples])
        self.session.delta[torch.arange(samples)]
        return self.session.delta.seconds

    def folds(self) -> Done:
        """Train and predict all folds, with the prefix in every step."""
        done = super().folds()
        notes = {"read": float(self.session.delta.read), "prefix": self.session.delta.seconds}
        return Done(done.seconds, done.predictions, done.share, notes)


def _changed(options: GeneLLMOptions, **changes: int) -> GeneLLMOptions:
    return options.model_copy(update={"training": options.training.model_copy(update=changes)})
