"""Samples before and after each step that brings cohorts together: a picture and its numbers.

The first two principal components of each state, and how much of its variance cohort, platform and
label explain. All states are looked at on the same samples and the same genes, so that they differ
in values alone. The label is told, it is never used to place a sample.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.fold_profiles import FoldProfiles
from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
    VarianceOptions,
)
from genellm_dagster.expression.variance import (
    RESIDUAL,
    common_genes,
    explained_by_state,
    principal_scores,
)

LOG2 = "log2"
_KNOWN_OF_ALL = ("cohort", "case")
_POINTS = ["gsm", "state", "x", "y", "cohort", "case"]
_AXES = ["state", "x", "y"]
_SHARES = ["state", "factor", "levels", "share", "share_beyond_others", "genes", "components"]
_TEXT = ("gsm", "state", "cohort", "factor")
_KINDS = {
    **dict.fromkeys(("x", "y", "share", "share_beyond_others"), "float64"),
    **dict.fromkeys(("case", "levels", "genes", "components"), "Int64"),
}
_PICTURE = VarianceOptions(min_variance=1.0, max_components=2)


@dataclass(frozen=True)
class BatchView:
    """What the report draws and says of the differences between cohorts.

    Attributes:
        states: Names, in the order of the steps; empty when there is a ``reason``.
        points: One row a sample and state: gsm, state, x, y (first and second component), cohort,
            case.
        axes: state, x, y: share of the state's variance that each component holds.
        shares: As :func:`explained_by_state` gives them; a factor of one level, and one that is
            the same as the cohort, have NaN: what they explain cannot be told.
        marks: State to what it must be marked with: other samples of a cohort took part, or labels.
        same_as_cohort: Factors that split the samples as the cohort does.
        not_recorded: Factor to the number of samples of which it is not known; it is judged on the
            others alone.
        genes_left_out: Genes that some sample lacks in some state.
        reason: Why there is nothing to show; empty when there is.
    """

    states: tuple[str, ...]
    points: pd.DataFrame
    axes: pd.DataFrame
    shares: pd.DataFrame
    marks: Mapping[str, list[str]]
    same_as_cohort: tuple[str, ...]
    not_recorded: Mapping[str, int]
    genes_left_out: int
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """What :meth:`from_json` takes; numbers that do not exist are null."""
        return {
            "states": list(self.states),
            "points": _columns(self.points),
            "axes": _columns(self.axes),
            "shares": _columns(self.shares),
            "marks": {state: list(steps) for state, steps in self.marks.items()},
            "same_as_cohort": list(self.same_as_cohort),
            "not_recorded": dict(self.not_recorded),
            "genes_left_out": self.genes_left_out,
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> BatchView:
        """Read what :meth:`as_json` wrote.

        Raises:
            ExpressionError: When it is something else.
        """
        try:
            points = _frame(found["points"], _POINTS)
            axes = _frame(found["axes"], _AXES)
            shares = _frame(found["shares"], _SHARES)
            states = tuple(str(name) for name in found["states"])
            for frame in (points, axes, shares):
                if set(frame["state"]) != set(states):
                    raise ValueError(f"the states are not {', '.join(states) or 'none'}")
            if not np.isfinite(points[["x", "y"]].to_numpy(dtype=np.float64)).all():
                raise ValueError("a point has no place")
            return cls(
                states,
                points,
                axes,
                shares,
                {str(name): [str(one) for one in steps] for name, steps in found["marks"].items()},
                tuple(str(name) for name in found["same_as_cohort"]),
                {str(name): int(count) for name, count in found["not_recorded"].items()},
                int(found["genes_left_out"]),
                str(found["reason"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ExpressionError(
                f"The batch view cannot be read ({error}); make it again from the profiles of its "
                "stratum."
            ) from error


def batch_view(
    states: Mapping[str, pd.DataFrame],
    factors: pd.DataFrame,
    options: VarianceOptions | None = None,
    *,
    marks: Mapping[str, Sequence[str]] | None = None,
) -> BatchView:
    """Look at the same samples in several states, such as before and after harmonisation.

    Args:
        states: Name to gsm x genes, in the order of the steps: ``log2``, the normalisation, the
            harmonisation. Genes that some sample lacks in some state are left out of all.
        factors: Index gsm; ``cohort`` and ``case`` known of all, then platform, sex and the like.
            Of samples that none of the states holds nothing is read.
        options: How many components share the variance out; the picture has two.
        marks: State to what it must be marked with; by default what the method of that name is
            known to use.

    Returns:
        The view. Where the data allow none (one cohort, no gene in common) it has the reason.

    Raises:
        ExpressionError: When states hold different samples, or cohort or case of one is not known.
    """
    tables = _same_samples(states)
    rows = _levels(factors, next(iter(tables.values())).index)
    cohorts = rows["cohort"].unique()
    if len(cohorts) < 2:
        return _nothing(f"All samples are of one cohort ({cohorts[0]}), with none to compare.")
    genes = common_genes(tables)
    tables = {name: table[genes] for name, table in tables.items()}
    same = tuple(str(name) for name in rows.columns[1:] if _is_one_with_cohort(rows, name))
    try:
        shares = _shares(tables, rows, same, options)
        pictures = {name: principal_scores(table, _PICTURE) for name, table in tables.items()}
    except ExpressionError as error:
        return _nothing(str(error))
    parts, axes = [], []
    for name, found in pictures.items():
        # Values that vary along one line only have a place, and no extent, on the second axis.
        first, second = [*found.shares, 0.0][:2]
        places = _rounded(found.scores.to_numpy(dtype=np.float64))
        part = pd.DataFrame({"gsm": found.scores.index.astype(str), "state": name})
        part["x"] = places[:, 0]
        part["y"] = places[:, 1] if places.shape[1] > 1 else 0.0
        part["cohort"] = rows["cohort"].to_numpy()
        part["case"] = rows["case"].to_numpy()
        parts.append(part)
        axes.append({"state": name, "x": float(first), "y": float(second)})
    measured = {gene for table in states.values() for gene in table.columns}
    known = marks if marks is not None else {name: _marks_of(name) for name in states}
    return BatchView(
        states=tuple(states),
        points=pd.concat(parts, ignore_index=True)[_POINTS].astype({"case": "Int64"}),
        axes=pd.DataFrame(axes, columns=_AXES),
        shares=shares,
        marks={name: list(known[name]) for name in states if known.get(name)},
        same_as_cohort=same,
        not_recorded={str(name): int(count) for name, count in rows.isna().sum().items() if count},
        genes_left_out=len(measured) - len(genes),
    )


def states_of_stratum(
    tables: Mapping[str, pd.DataFrame],
    genes: list[str],
    made: FoldProfiles,
    options: ExpressionOptions,
) -> dict[str, pd.DataFrame]:
    """Lay out the states of a stratum, what is learned having been learned on all of its samples.

    For a picture only: no model may read what was learned on the samples it is tested on.

    Args:
        tables: Cohort to genes x samples, log2, after quality control.
        genes: The vocabulary.
        made: Profiles of all samples, none of them tested.
        options: Normalisation and harmonisation that they were made by.

    Returns:
        ``log2``, the normalisation and, if there is one, the harmonisation, by name: gsm x genes.
    """
    log2 = pd.concat([table.reindex(genes).T for table in tables.values()])
    states = {LOG2: log2, options.normalisation.method: made.normalised}
    if options.harmonisation.method != "none":
        states[options.harmonisation.method] = made.profiles
    return states


def _same_samples(states: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    if not states:
        raise ExpressionError("There is no state to look at; give the log2 values at least.")
    first_name, first = next(iter(states.items()))
    for name, table in states.items():
        if not table.index.is_unique:
            raise ExpressionError(
                f"{name} holds the sample {table.index[table.index.duplicated()][0]} twice; keep "
                "one of them."
            )
        apart = first.index.symmetric_difference(table.index)
        if len(apart):
            raise ExpressionError(
                f"{first_name} and {name} hold different samples ({apart[0]} is in one of them); "
                "give every state of the same samples."
            )
    return {name: table.loc[first.index] for name, table in states.items()}


def _levels(factors: pd.DataFrame, gsm: pd.Index) -> pd.DataFrame:
    """Give the factors of the samples, the cohort first; a level that is not known stays so."""
    missing = [name for name in _KNOWN_OF_ALL if name not in factors]
    if missing:
        raise ExpressionError(
            f"{' and '.join(missing)} of the samples must be given to compare cohorts; take them "
            "from the sample sheet."
        )
    if not factors.index.is_unique:
        raise ExpressionError("A sample stands twice among the factors; keep one row of it.")
    names = ["cohort", *(name for name in factors.columns if name != "cohort")]
    rows = factors.reindex(gsm)[names].astype(object)
    for name in _KNOWN_OF_ALL:
        unknown = rows.index[rows[name].isna()]
        if len(unknown):
            raise ExpressionError(f"{name} is not known of {unknown[0]}; leave such samples out.")
    other = rows.index[~rows["case"].isin([0, 1])]
    if len(other):
        raise ExpressionError(
            f"case of {other[0]} is neither 0 nor 1; give the column case of the sample sheet."
        )
    return rows.where(rows.isna(), rows.astype(str)).assign(case=rows["case"].astype(int))


def _is_one_with_cohort(rows: pd.DataFrame, name: str) -> bool:
    """Tell whether a factor splits the samples as the cohort does, so that both are one."""
    if rows[name].isna().any():
        return False
    pairs = len(rows[["cohort", name]].drop_duplicates())
    return bool(pairs == rows["cohort"].nunique() == rows[name].nunique())


def _shares(
    tables: Mapping[str, pd.DataFrame],
    rows: pd.DataFrame,
    same: Collection[str],
    options: VarianceOptions | None,
) -> pd.DataFrame:
    """Share the variance out; a factor that is not known of all is judged on those it is known of.

    A level "not known" would stand for the cohorts that do not record it.
    """
    whole = [name for name in rows.columns if rows[name].notna().all() and name not in same]
    several = [name for name in whole if rows[name].nunique() > 1]
    found = [explained_by_state(tables, rows[several], options)]
    for name in rows.columns:
        if name in several:
            continue
        part = rows[rows[name].notna()]
        of_part = None
        if name not in whole and name not in same and part[name].nunique() > 1:
            with suppress(ExpressionError):
                sides = {state: table.loc[part.index] for state, table in tables.items()}
                of_part = explained_by_state(sides, part[[*several, name]], options)
                of_part = of_part[of_part["factor"] == name]
        if of_part is None:
            of_part = (
                found[0]
                .drop_duplicates("state")
                .assign(
                    factor=name,
                    levels=part[name].nunique(),
                    share=np.nan,
                    share_beyond_others=np.nan,
                )
            )
        found.append(of_part)
    together = pd.concat(found, ignore_index=True)
    together = together.astype({"levels": "Int64", "genes": "Int64", "components": "Int64"})
    states, order = list(tables), [*rows.columns, RESIDUAL]
    places = together["state"].map(states.index) * len(order) + together["factor"].map(order.index)
    return together.loc[places.sort_values().index, _SHARES].reset_index(drop=True)


def _marks_of(state: str) -> list[str]:
    if state == "quantile":
        return NormalisationOptions(method="quantile").transductive
    if state in ("combat", "coconut"):
        return HarmonisationOptions.model_validate({"method": state}).transductive
    return []


def _rounded(scores: np.ndarray) -> np.ndarray:
    """Round to what a picture shows: six digits of the largest score."""
    largest = float(np.abs(scores).max(initial=0.0))
    return np.round(scores, 5 - int(np.floor(np.log10(largest)))) if largest > 0 else scores


def _nothing(reason: str) -> BatchView:
    points, axes, shares = (
        _frame({name: [] for name in names}, names) for names in (_POINTS, _AXES, _SHARES)
    )
    return BatchView((), points, axes, shares, {}, (), {}, 0, reason)


def _columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Give a frame as lists of plain values; missing is None."""
    columns: dict[str, list[Any]] = {}
    for name in frame:
        values = frame[name].astype(object)
        columns[str(name)] = values.where(values.notna(), None).tolist()
    return columns


def _frame(columns: Mapping[str, Sequence[Any]], names: list[str]) -> pd.DataFrame:
    """Make a frame of lists, each column of its type."""
    frame = pd.DataFrame({name: list(columns[name]) for name in names}, dtype=object)
    for name in names:
        if name in _TEXT and not all(isinstance(value, str) for value in frame[name]):
            raise ValueError(f"{name} holds something other than text")
    return frame.astype({name: _KINDS.get(name, object) for name in names})
