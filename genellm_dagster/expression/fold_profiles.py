"""Profiles of one fold: normalised, then harmonised, all that is learned from its training side."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from genellm_dagster.expression.harmonisation import Harmonisation, harmonise_fold
from genellm_dagster.expression.learned_normalisation import (
    LearnedNormalisation,
    fit_normalisation,
)
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
)
from genellm_dagster.expression.profiles import build_profiles


@dataclass(frozen=True)
class FoldProfiles:
    """Both sides of a fold as the models see them, and what a new cohort needs to join them.

    Attributes:
        profiles: gsm x vocabulary genes, float32, NaN where a gene is absent.
        normalised: The same before harmonisation.
        learned: What the normalisation learned; None when it learns nothing.
        harmonisation: What the harmonisation learned, cohorts of the test side included.
        marks: What the results must be marked with: steps that used other samples of a test cohort,
            or its labels.
    """

    profiles: pd.DataFrame
    normalised: pd.DataFrame
    learned: LearnedNormalisation | None
    harmonisation: Harmonisation
    marks: list[str]


def profiles_of_fold(
    tables: Mapping[str, pd.DataFrame],
    genes: list[str],
    train: Iterable[str],
    test: Iterable[str] = (),
    *,
    normalisation: NormalisationOptions | None = None,
    harmonisation: HarmonisationOptions | None = None,
    controls: Collection[str] = (),
) -> FoldProfiles:
    """Build the profiles of a fold; without a test side, those that a final adapter learns from.

    Args:
        tables: Cohort to genes x samples, log2; samples on no side take no part.
        genes: The vocabulary, in order.
        train: Samples to learn from.
        test: Samples to predict.
        normalisation: Within samples or against training samples; comes first.
        harmonisation: Between cohorts, on the normalised genes of the vocabulary.
        controls: Samples that are controls; read by COCONUT alone.

    Raises:
        ExpressionError: When a step has too little to learn from, or a sample has no gene.
    """
    normalisation = normalisation or NormalisationOptions()
    train, test = list(train), list(test)
    both = _chosen(tables, [*train, *test])
    learned = fit_normalisation(_chosen(tables, train), genes, normalisation)
    normalised = {
        name: build_profiles(table, genes, normalisation, learned).T.rename_axis(index="gene")
        for name, table in both.items()
    }
    found = harmonise_fold(normalised, train, test, harmonisation, controls)

    def together(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        rows = pd.concat([table.T for table in parts.values()])
        return rows.loc[[*train, *test], genes].rename_axis(index="gsm", columns=None)

    return FoldProfiles(
        profiles=together(found.tables),
        normalised=together(normalised),
        learned=learned,
        harmonisation=found.harmonisation,
        # A cohort of training samples only has its own distribution whoever is tested.
        marks=[*(normalisation.transductive if test else []), *found.marks],
    )


def profiles_of_new_cohort(
    name: str,
    table: pd.DataFrame,
    genes: list[str],
    normalisation: NormalisationOptions,
    learned: LearnedNormalisation | None,
    harmonisation: Harmonisation | None,
    controls: Collection[str] = (),
) -> FoldProfiles:
    """Build the profiles of a cohort that was not trained on, by what was learned in training.

    Args:
        name: The cohort. One that training knew is moved as it was there.
        table: genes x samples, log2.
        genes: The vocabulary, in order.
        normalisation: Within samples or against training samples.
        learned: What the normalisation learned.
        harmonisation: What the harmonisation learned; none where cohorts were left as they are.
        controls: Samples that are controls; read by COCONUT alone.

    Raises:
        ExpressionError: When a sample has no gene, or COCONUT has too few controls.
    """
    profiles = build_profiles(table, genes, normalisation, learned)
    if harmonisation is None:
        harmonisation = Harmonisation(HarmonisationOptions(), pd.Index(genes), None, {}, ())
    if name not in harmonisation.shifts:
        normalised = profiles.T.rename_axis(index="gene")
        harmonisation = harmonisation.with_cohort(name, normalised, controls)
    moved = harmonisation.apply(name, profiles.T.rename_axis(index="gene"))
    return FoldProfiles(
        profiles=moved.T[genes].rename_axis(index="gsm", columns=None),
        normalised=profiles,
        learned=learned,
        harmonisation=harmonisation,
        marks=[*normalisation.transductive, *harmonisation.marks],
    )


def _chosen(tables: Mapping[str, pd.DataFrame], gsm: Iterable[str]) -> dict[str, pd.DataFrame]:
    wanted = list(gsm)
    parts = {name: table.loc[:, table.columns.isin(wanted)] for name, table in tables.items()}
    return {name: part for name, part in parts.items() if part.shape[1]}
