"""Harmonisation between cohorts: learned on training cohorts, applied as it was learned.

A cohort that training never saw has no estimate of its own: it must be learned from its own
samples (ComBat: transductive, no label) or from its own controls (COCONUT: test labels), and
whoever does so says it. Sweeney et al., Science Translational Medicine 2016,
doi:10.1126/scitranslmed.aaf7165.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.combat import Pooled, Shift, Sums, move, no_shift, pool, shift
from genellm_dagster.expression.learned_normalisation import as_numbers
from genellm_dagster.expression.profile_options import HarmonisationOptions
from genellm_dagster.expression.tables import GENE, as_float32, checked


@dataclass(frozen=True)
class Harmonisation:
    """What was learned; an object is never changed, a further cohort gives another one.

    Attributes:
        options: The method.
        genes: Genes that a training cohort measured.
        pooled: The common distribution of each, of training cohorts only.
        shifts: Cohort to its place in it.
        trained_on: Cohorts of the training side; the others of ``shifts`` were learned by
            :meth:`with_cohort`.
    """

    options: HarmonisationOptions
    genes: pd.Index
    pooled: Pooled | None
    shifts: Mapping[str, Shift]
    trained_on: tuple[str, ...]

    @property
    def marks(self) -> list[str]:
        """How results are to be marked: by what cohorts outside training were harmonised."""
        others = sorted(set(self.shifts) - set(self.trained_on))
        return [f"{mark} ({', '.join(others)})" for mark in self.options.transductive if others]

    def apply(self, cohort: str, table: pd.DataFrame) -> pd.DataFrame:
        """Take the cohort's location and scale out; no other sample of ``table`` takes part.

        Args:
            cohort: A cohort of training, or one added by :meth:`with_cohort`.
            table: genes x samples, normalised as those that were learned from.

        Returns:
            The same shape, float32. Missing stays missing, and a gene becomes missing that the
            cohort's estimate does not know: it has no place on the common scale.

        Raises:
            ExpressionError: When the cohort is not known, or a value too large to be one.
        """
        checked(table, f"The table of {cohort}")
        if self.pooled is None:
            return table.astype(np.float32)
        if cohort not in self.shifts:
            raise ExpressionError(
                f"{cohort} was not harmonised in training, so it cannot be harmonised without its "
                "own samples; add it by with_cohort and mark the results, or choose no "
                "harmonisation."
            )
        known = table.reindex(self.genes).to_numpy(dtype=np.float64)
        moved = move(known, self.pooled, self.shifts[cohort])
        result = pd.DataFrame(moved, index=self.genes, columns=table.columns)
        return as_float32(result.reindex(table.index))

    def with_cohort(
        self, cohort: str, table: pd.DataFrame, controls: Collection[str] = ()
    ) -> Harmonisation:
        """Learn a new cohort's place from its own samples; the common distribution stays.

        Args:
            cohort: The new cohort.
            table: genes x its samples. All of them take part in ComBat (transductive).
            controls: Which of them are controls; COCONUT uses these alone (test labels).

        Raises:
            ExpressionError: When the cohort is one of training, or has too few controls.
        """
        if self.pooled is None:
            return self
        if cohort in self.trained_on:
            raise ExpressionError(
                f"{cohort} was learned in training; apply that, or its test samples would be used."
            )
        chosen = _learned_from(cohort, table, controls, self.options)
        sums = Sums.of(chosen.reindex(self.genes).to_numpy(dtype=np.float64))
        found = shift(sums, self.pooled, self.options)
        return replace(self, shifts={**self.shifts, cohort: found})

    def as_json(self) -> dict[str, Any]:
        """What :func:`harmonisation_from_json` takes; numbers that do not exist are null."""
        pooled = None
        if self.pooled is not None:
            pooled = {
                "mean": as_numbers(pd.Series(self.pooled.mean)),
                "variance": as_numbers(pd.Series(self.pooled.variance)),
                "batches": [int(count) for count in self.pooled.batches],
            }
        return {
            "options": self.options.model_dump(mode="json"),
            "genes": [str(gene) for gene in self.genes],
            "pooled": pooled,
            "shifts": {
                cohort: {
                    "location": as_numbers(pd.Series(found.location)),
                    "scale": as_numbers(pd.Series(found.scale)),
                }
                for cohort, found in self.shifts.items()
            },
            "trained_on": list(self.trained_on),
        }


def harmonisation_from_json(found: Mapping[str, Any]) -> Harmonisation:
    """Read what :meth:`Harmonisation.as_json` wrote.

    Raises:
        ExpressionError: When it is something else.
    """
    try:
        genes = pd.Index(found["genes"], name=GENE)

        def numbers(values: list[float | None]) -> np.ndarray:
            result = np.array(values, dtype=np.float64)
            if result.shape != (len(genes),):
                raise ValueError(f"{result.size} numbers stand for {len(genes)} genes")
            return result

        pooled = found["pooled"] and Pooled(
            numbers(found["pooled"]["mean"]),
            numbers(found["pooled"]["variance"]),
            numbers(found["pooled"]["batches"]).astype(np.int_),
        )
        shifts = {
            cohort: Shift(numbers(one["location"]), numbers(one["scale"]))
            for cohort, one in found["shifts"].items()
        }
        options = HarmonisationOptions.model_validate(found["options"])
        return Harmonisation(options, genes, pooled, shifts, tuple(found["trained_on"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ExpressionError(
            f"The adapter's harmonisation cannot be read ({error}); train it again."
        ) from error


def fit_harmonisation(
    tables: Mapping[str, pd.DataFrame],
    options: HarmonisationOptions | None = None,
    controls: Collection[str] = (),
) -> Harmonisation:
    """Learn the common distribution and each cohort's place in it.

    A gene that one cohort alone measured stays where it is: there is nothing to bring it to.

    Args:
        tables: Cohort to genes x samples, normalised, of the training side only.
        options: The method.
        controls: Samples that are controls; COCONUT learns from these alone.

    Raises:
        ExpressionError: When there is no cohort, or one has too few controls for COCONUT.
    """
    options = options or HarmonisationOptions()
    if not tables:
        raise ExpressionError(
            "There is no training cohort to harmonise; look at the stratum's plan."
        )
    tables = {
        name: checked(table, f"The table of {name}") for name, table in sorted(tables.items())
    }
    names = tuple(tables)
    genes = pd.Index(sorted({str(g) for t in tables.values() for g in t.index}), name=GENE)
    if options.method == "none":
        return Harmonisation(options, genes, None, {}, names)
    sums = {
        name: Sums.of(
            _learned_from(name, table, controls, options).reindex(genes).to_numpy(dtype=np.float64)
        )
        for name, table in tables.items()
    }
    pooled = pool(list(sums.values()))
    shifts = {name: _among_several(one, pooled, options) for name, one in sums.items()}
    return Harmonisation(options, genes, pooled, shifts, names)


@dataclass(frozen=True)
class HarmonisedFold:
    """Both sides of a fold on one scale.

    Attributes:
        tables: Cohort to genes x samples, training and test side.
        harmonisation: What was learned, that of test cohorts included.
        marks: What the results must be marked with.
    """

    tables: dict[str, pd.DataFrame]
    harmonisation: Harmonisation
    marks: list[str]


def harmonise_fold(
    tables: Mapping[str, pd.DataFrame],
    train: Iterable[str],
    test: Iterable[str],
    options: HarmonisationOptions | None = None,
    controls: Collection[str] = (),
) -> HarmonisedFold:
    """Learn on a fold's training side and bring both sides to its scale.

    A cohort with training samples is moved by what these say, its test samples too; a cohort of
    test samples only is learned from these, and the marks say so.

    Args:
        tables: Cohort to genes x samples, normalised; samples on no side are left out.
        train: Samples to learn from.
        test: Samples to predict.
        options: The method.
        controls: Samples that are controls; read by COCONUT alone.
    """
    train, both = set(train), {*train, *test}
    sides = {name: table.loc[:, table.columns.isin(list(both))] for name, table in tables.items()}
    sides = {name: table for name, table in sides.items() if table.shape[1]}
    training = {
        name: table.loc[:, table.columns.isin(list(train))] for name, table in sides.items()
    }
    training = {name: table for name, table in training.items() if table.shape[1]}
    found = fit_harmonisation(training, options, controls)
    for name, table in sides.items():
        if name not in training:
            found = found.with_cohort(name, table, controls)
    moved = {name: found.apply(name, table) for name, table in sides.items()}
    return HarmonisedFold(moved, found, found.marks)


def _among_several(batch: Sums, pooled: Pooled, options: HarmonisationOptions) -> Shift:
    """Shift a training cohort on the genes of two cohorts or more; its own genes stay."""
    alone = pooled.batches < 2
    if alone.all():
        return no_shift(batch, pooled)
    there = np.where(alone, 0.0, batch.n)
    found = shift(Sums(there, np.where(alone, np.nan, batch.mean), batch.squares), pooled, options)
    still = no_shift(batch, pooled)
    return Shift(
        np.where(alone, still.location, found.location), np.where(alone, still.scale, found.scale)
    )


def _learned_from(
    cohort: str, table: pd.DataFrame, controls: Collection[str], options: HarmonisationOptions
) -> pd.DataFrame:
    if options.method != "coconut":
        return table
    chosen = table.loc[:, table.columns.isin(list(controls))]
    if chosen.shape[1] < options.min_controls:
        raise ExpressionError(
            f"{cohort} has {chosen.shape[1]} controls and COCONUT learns from at least "
            f"{options.min_controls} (min_controls); choose another harmonisation or leave the "
            "cohort out."
        )
    return chosen
