"""Genes that go with the disease in each stratum, with and without blood composition held fixed.

Ordinary least squares, gene by gene: value ~ case + cohort, and value ~ case + cohort + scores of
the kinds of blood cells, on the same people. A difference that vanishes with the scores is a
difference in which cells the blood holds. Genes by which the cells are scored are left out: held
fixed by themselves they would vanish whatever they do. P values: Benjamini and Hochberg (Journal of
the Royal Statistical Society B 57 (1995) 289) within a stratum.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.evaluation import intervals
from genellm_dagster.evaluation.age.parts import FloatArray
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.options import EvaluationOptions

_FALSE_SHARE = 0.05
_FEWEST_SPARE = 8
"""Degrees of freedom that must be left when everything is held fixed."""
WITHOUT, WITH = "unadjusted", "adjusted"


@dataclass(frozen=True)
class Effects:
    """What each gene does with the disease.

    Attributes:
        effect: Difference of cases and controls, in residual standard deviations.
        t: Its t value.
        p: Two-sided.
    """

    effect: pd.Series
    t: pd.Series
    p: pd.Series


@dataclass(frozen=True)
class _People:
    """A stratum, one row a person and class."""

    values: pd.DataFrame
    case: FloatArray
    cohorts: NDArray[np.str_]
    cells: pd.DataFrame


def gene_effects(
    values: pd.DataFrame,
    case: FloatArray,
    cohorts: NDArray[np.str_],
    covariates: FloatArray | None = None,
) -> Effects:
    """Fit each gene on case and cohort, and on covariates where there are any.

    Args:
        values: People x genes; a person without a value of a gene takes no part in its fit.
        case: 1 case, 0 control.
        cohorts: Cohort of each person; each has a level of its own.
        covariates: People x covariates, all known.

    Returns:
        Effects of the genes for which case can be told from the rest; the others are left out.
    """
    from scipy.stats import t as student

    table = values.to_numpy(dtype=np.float64)
    known = np.isfinite(table)
    dummies = pd.get_dummies(pd.Series(cohorts.astype(str))).to_numpy(dtype=np.float64)
    others = dummies if covariates is None else np.column_stack([dummies, covariates])
    effect = np.full(table.shape[1], np.nan)
    t = effect.copy()
    p = effect.copy()
    # Genes that the same people lack are fitted at once.
    patterns, which = np.unique(known.T, axis=0, return_inverse=True)
    for number, rows in enumerate(patterns):
        genes = np.flatnonzero(which.ravel() == number)
        told = _fit(table[np.ix_(rows, genes)], case[rows], others[rows])
        if told is not None:
            slope, error, spread, spare = told
            usable = error > 1e-12
            effect[genes[usable]] = slope[usable] / spread[usable]
            t[genes[usable]] = slope[usable] / error[usable]
            p[genes[usable]] = 2 * student.sf(np.abs(t[genes[usable]]), spare)
    index = values.columns.astype(str)
    fitted = np.isfinite(t)
    return Effects(*(pd.Series(one[fitted], index=index[fitted]) for one in (effect, t, p)))


def _fit(
    values: FloatArray, case: FloatArray, others: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, int] | None:
    """Slope of case, its error, residual spread and degrees of freedom (Frisch, Waugh, Lovell)."""
    rank = int(np.linalg.matrix_rank(others)) if len(others) else 0
    spare = len(case) - rank - 1
    if spare < _FEWEST_SPARE:
        return None
    both = np.column_stack([case, values])
    rest = both - others @ np.linalg.lstsq(others, both, rcond=None)[0]
    left, outcome = rest[:, 0], rest[:, 1:]
    size = float(left @ left)
    if size < 1e-8:
        return None
    slope = left @ outcome / size
    residual = outcome - left[:, None] * slope
    spread = np.sqrt((residual**2).sum(axis=0) / spare)
    return slope, spread / np.sqrt(size), spread, spare


def associations(
    profiles: Mapping[str, pd.DataFrame],
    samples: Mapping[str, pd.DataFrame],
    composition: Mapping[str, pd.DataFrame],
    markers: Collection[str],
    options: EvaluationOptions,
    seed: int,
) -> dict[str, Any]:
    """Ask of each stratum which genes go with the disease beyond the kinds of cells, and compare.

    Args:
        profiles: Stratum to samples x genes (index gsm), as the models see them.
        samples: Stratum to its samples: gsm, cohort, subject, case.
        composition: Stratum to the cell scores of its samples (index gsm), NaN where they cannot be
            told; those of a cohort without are not to be had, and its people are left out.
        markers: Genes by which cells are scored; left out of everything here.
        options: Settings.
        seed: Of the resamplings of people.

    Returns:
        ``strata``: n, cases, cells (those held fixed), genes, unadjusted and adjusted (associated
        at a false discovery rate of .05, top), kept (share of the associated genes that stay so)
        and effect_correlation; or a reason. ``pairs``: for unadjusted and adjusted, correlation of
        the effects of two strata and share of genes that go the same way, over all common genes,
        and the number of common top genes.
    """
    people: dict[str, _People] = {}
    strata: dict[str, dict[str, Any]] = {}
    found: dict[str, dict[str, Effects]] = {}
    for name, table in profiles.items():
        one, why = _people_of(table, samples[name], composition.get(name), markers, options)
        if one is None:
            strata[name] = {"n": 0, "cases": 0, "reason": why}
            continue
        effects = {
            WITHOUT: gene_effects(one.values, one.case, one.cohorts),
            WITH: gene_effects(one.values, one.case, one.cohorts, one.cells.to_numpy(np.float64)),
        }
        head = {
            "n": len(one.case),
            "cases": int(one.case.sum()),
            "cohorts": sorted(set(one.cohorts.tolist())),
            "cells": list(one.cells.columns),
        }
        if effects[WITH].t.empty:
            why = (
                f"{len(one.case)} people are too few to hold {one.cells.shape[1]} kinds of cells "
                "fixed"
            )
            strata[name] = {**head, "reason": why}
            continue
        people[name], found[name] = one, effects
        strata[name] = {**head, **_said(effects, one, options, seed)}
    return {
        "false_discovery_rate": _FALSE_SHARE,
        "markers_left_out": len(set(markers)),
        "strata": strata,
        "pairs": [
            {
                "first": first,
                "second": second,
                **{
                    kind: _pair(found, people, first, second, kind, options, seed)
                    for kind in (WITHOUT, WITH)
                },
            }
            for first, second in combinations(found, 2)
        ],
    }


def _people_of(
    table: pd.DataFrame,
    samples: pd.DataFrame,
    composition: pd.DataFrame | None,
    markers: Collection[str],
    options: EvaluationOptions,
) -> tuple[_People | None, str]:
    """One row a person and class, of those whose cells can be told; none, and why not."""
    if composition is None or composition.empty:
        return None, "no blood composition was computed"
    rows = samples.loc[samples["gsm"].isin(table.index)].set_index("gsm", drop=False)
    scores = composition.reindex(rows.index)
    # A kind of cell counts where every sample of a cohort that has any score has it.
    told = scores.notna().any(axis=1)
    cells = [str(name) for name in scores if told.any() and scores[name][told].notna().all()]
    if not cells:
        return None, "the kinds of cells cannot be told from these tables"
    rows = rows.loc[told]
    genes = [gene for gene in table.columns if str(gene) not in set(markers)]
    keys = [rows[name].to_numpy() for name in ("cohort", "subject", "case")]
    together = pd.concat(
        [table.loc[rows.index, genes].astype(np.float64), scores.loc[rows.index, cells]], axis=1
    )
    averaged = together.groupby(keys, sort=True).mean()
    cohorts = averaged.index.get_level_values(0).to_numpy(dtype=str)
    case = averaged.index.get_level_values(2).to_numpy(dtype=np.float64)
    fewest = int(min(case.sum(), len(case) - case.sum()))
    if fewest < options.age.min_per_class:
        return None, (
            f"{int(case.sum())} cases and {int(len(case) - case.sum())} controls have cell scores"
        )
    values = averaged.iloc[:, : len(genes)]
    return _People(values, case, cohorts, averaged.iloc[:, len(genes) :]), ""


def _said(
    effects: Mapping[str, Effects], one: _People, options: EvaluationOptions, seed: int
) -> dict[str, Any]:
    associated = {kind: _associated(part) for kind, part in effects.items()}
    before = associated[WITHOUT]
    kept = before & associated[WITH]
    if before:
        low, high = intervals.wilson_interval(
            len(kept) / len(before), len(before), options.confidence
        )
        share = Interval(len(kept) / len(before), low, high)
    else:
        share = Interval(None, None, None, "no gene goes with the disease before adjustment")

    def correlation(rows: NDArray[np.int_]) -> float:
        parts = [
            gene_effects(
                one.values.iloc[rows],
                one.case[rows],
                one.cohorts[rows],
                None if kind == WITHOUT else one.cells.to_numpy(np.float64)[rows],
            )
            for kind in (WITHOUT, WITH)
        ]
        return _correlation(parts[0].effect, parts[1].effect)

    value = _correlation(effects[WITHOUT].effect, effects[WITH].effect)
    drawn = np.array([correlation(rows) for rows in _draws(one, options, seed)])
    return {
        "genes": len(effects[WITH].t),
        **{
            kind: {
                "associated": len(associated[kind]),
                "top": _top(part, options.top_genes),
            }
            for kind, part in effects.items()
        },
        "kept": {**share.as_json(), "genes": len(kept)},
        "effect_correlation": _interval(value, drawn, options).as_json(),
    }


def _pair(
    found: Mapping[str, Mapping[str, Effects]],
    people: Mapping[str, _People],
    first: str,
    second: str,
    kind: str,
    options: EvaluationOptions,
    seed: int,
) -> dict[str, Any]:
    one, other = found[first][kind], found[second][kind]
    common = one.effect.index.intersection(other.effect.index)
    if len(common) < 3:
        why = f"{len(common)} genes are common to both strata"
        nothing = Interval(None, None, None, why).as_json()
        return {"genes": len(common), "effect_correlation": nothing, "same_direction": nothing,
                "shared_top": None}  # fmt: skip

    def again(name: str, rows: NDArray[np.int_]) -> pd.Series:
        part = people[name]
        cells = None if kind == WITHOUT else part.cells.to_numpy(np.float64)[rows]
        return gene_effects(
            part.values.iloc[rows], part.case[rows], part.cohorts[rows], cells
        ).effect

    draws = [
        (again(first, left), again(second, right))
        for left, right in zip(
            _draws(people[first], options, seed),
            _draws(people[second], options, seed + 1),
            strict=True,
        )
    ]
    correlations = np.array([_correlation(left, right) for left, right in draws])
    alike = np.array([_alike(left, right) for left, right in draws])
    tops = [_top(part, options.top_genes) for part in (one, other)]
    shared = sorted(set(tops[0]) & set(tops[1]))
    return {
        "genes": len(common),
        "effect_correlation": _interval(
            _correlation(one.effect, other.effect), correlations, options
        ).as_json(),
        "same_direction": _interval(_alike(one.effect, other.effect), alike, options).as_json(),
        "shared_top": len(shared),
        "shared_genes": shared,
    }


def _draws(one: _People, options: EvaluationOptions, seed: int) -> list[NDArray[np.int_]]:
    """Resamples of people within cohort and class, so that none loses a class."""
    generator = np.random.default_rng(seed)
    cells = pd.Series(one.cohorts).str.cat(one.case.astype(int).astype(str), sep="|")
    groups = [np.flatnonzero((cells == name).to_numpy()) for name in cells.unique()]
    return [
        np.concatenate([generator.choice(rows, len(rows)) for rows in groups])
        for _ in range(options.age.effect_resamples)
    ]


def _associated(effects: Effects) -> set[str]:
    from scipy.stats import false_discovery_control

    if effects.p.empty:
        return set()
    return set(effects.p.index[false_discovery_control(effects.p.to_numpy()) < _FALSE_SHARE])


def _top(effects: Effects, k: int) -> list[str]:
    order = effects.t.abs().sort_index().sort_values(ascending=False, kind="stable")
    return [str(gene) for gene in order.index[:k]]


def _correlation(first: pd.Series, second: pd.Series) -> float:
    common = first.index.intersection(second.index)
    one, other = (part.loc[common].to_numpy(np.float64) for part in (first, second))
    if len(common) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _alike(first: pd.Series, second: pd.Series) -> float:
    common = first.index.intersection(second.index)
    if not len(common):
        return float("nan")
    return float((np.sign(first.loc[common]) == np.sign(second.loc[common])).mean())


def _interval(value: float, drawn: FloatArray, options: EvaluationOptions) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(known) < len(drawn) / 2:
        return Interval(None, None, None, "the effects cannot be told in enough resamples")
    return intervals.percentile_interval(value, known, options.confidence)
