"""The two sides of each fold, aligned: who they are, their profiles, expression and cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.baselines.classical import Training
from genellm_dagster.errors import EvaluationError

FloatArray = NDArray[np.float64]
Outcome = tuple[FloatArray, dict[str, Any]]
"""Scores of a test side, and what was learned for them (JSON-safe)."""


class FoldLike(Protocol):
    """What a baseline needs to know of a fold: its name and the gsm of its two sides."""

    @property
    def name(self) -> str:
        """Name of the fold."""
        ...

    @property
    def train(self) -> tuple[str, ...]:
        """Samples to learn from."""
        ...

    @property
    def test(self) -> tuple[str, ...]:
        """Samples to predict."""
        ...


@dataclass(frozen=True)
class Side:
    """One side of a fold, aligned; ``persons`` are alike for overlapping samples."""

    rows: pd.DataFrame
    profiles: pd.DataFrame
    expression: pd.DataFrame
    persons: NDArray[np.object_]

    @property
    def case(self) -> NDArray[np.int_]:
        """1 case, 0 control."""
        return self.rows["case"].to_numpy(dtype=np.int_)

    @property
    def cohorts(self) -> NDArray[np.object_]:
        """Cohort of each sample."""
        return self.rows["cohort"].to_numpy(object)

    def training(self, values: pd.DataFrame | None = None) -> Training:
        """Return this side to learn from: its profiles, or other values of its samples."""
        table = self.profiles if values is None else values.loc[self.rows.index]
        return Training(table.to_numpy(np.float64), self.case, self.cohorts, self.persons)


@dataclass(frozen=True)
class Split:
    """One fold."""

    name: str
    train: Side
    test: Side


def make_splits(
    profiles_of: Callable[[str], pd.DataFrame],
    expression: pd.DataFrame,
    samples: pd.DataFrame,
    folds: Sequence[FoldLike],
    groups: Mapping[str, int] | None = None,
) -> list[Split]:
    """Align the sides of every fold.

    Args:
        profiles_of: Gives the profiles of a fold by its name, samples x genes.
        expression: Samples x genes, log2.
        samples: gsm, cohort, subject, case, stratum.
        folds: The folds.
        groups: Group of each gsm; samples of one group are one person or overlap. None means
            that a person is a subject of a cohort.

    Raises:
        EvaluationError: When a table lacks samples or a training side lacks a class.
    """
    rows = samples.set_index("gsm", drop=False)
    if not rows.index.is_unique:
        double = rows.index[rows.index.duplicated()][0]
        raise EvaluationError(
            f"Sample {double} stands twice in the stratum; keep one of its cohorts."
        )
    _require_samples("expression", expression, rows.index)
    persons = persons_of(rows, groups)

    def side(fold: FoldLike, gsm: tuple[str, ...], profiles: pd.DataFrame) -> Side:
        lacking = pd.Index(gsm).difference(rows.index)
        if len(lacking):
            raise EvaluationError(
                f"Fold {fold.name} names {lacking[0]}, which is no sample of the stratum; "
                "make the folds again."
            )
        wanted = pd.Index(gsm)
        _require_samples("profiles", profiles, wanted)
        return Side(
            rows.loc[wanted],
            profiles.loc[wanted],
            expression.loc[wanted],
            persons.loc[wanted].to_numpy(object),
        )

    splits = []
    for fold in folds:
        profiles = profiles_of(fold.name)
        train, test = (side(fold, gsm, profiles) for gsm in (fold.train, fold.test))
        splits.append(Split(fold.name, train, test))
    for split in splits:
        cases = int(split.train.case.sum())
        if not 0 < cases < len(split.train.rows):
            raise EvaluationError(
                f"The training side of fold {split.name} holds {cases} cases among "
                f"{len(split.train.rows)} samples; both classes are needed."
            )
    return splits


def _require_samples(name: str, table: pd.DataFrame, wanted: pd.Index) -> None:
    lacking = wanted.difference(table.index)
    if len(lacking):
        raise EvaluationError(
            f"The {name} lack {len(lacking)} samples of the stratum, {lacking[0]} for one; "
            "materialize them again."
        )
    if not table.index.is_unique:
        raise EvaluationError(f"The {name} hold a sample twice; materialize them again.")


def persons_of(rows: pd.DataFrame, groups: Mapping[str, int] | None) -> pd.Series:
    """Return the person of each sample, as text by gsm; overlapping samples share one.

    Args:
        rows: cohort and subject by gsm.
        groups: Group of each gsm; none means that a person is a subject of a cohort.
    """
    if groups is None:
        return rows["cohort"].astype(str) + "|" + rows["subject"].astype(str)
    return pd.Series([str(groups[str(gsm)]) for gsm in rows.index], rows.index, dtype=object)
