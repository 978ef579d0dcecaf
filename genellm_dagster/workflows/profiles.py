"""The profiles of a stratum: one set for all folds, or one a fold where something is learned.

A normalisation or a harmonisation that is learned must be learned on a fold's training side, so
that the same sample has another profile in each fold. What learns nothing gives one set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from genellm_dagster.errors import StoreError
from genellm_dagster.evaluation.folds import Folds
from genellm_dagster.expression.batch_view import BatchView, batch_view, states_of_stratum
from genellm_dagster.expression.fold_profiles import FoldProfiles, profiles_of_fold
from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.expression.profile_options import HarmonisationOptions
from genellm_dagster.studies.study import Study
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles
from genellm_dagster.workflows.stratum import StratumSamples

ALL = "all"
"""The set learned on all samples: of the adapter that is put to use, and of every fold that has no
set of its own."""
FOLD, GSM, COHORT = "fold", "gsm", "cohort"


@dataclass(frozen=True)
class StratumProfiles:
    """What the asset keeps.

    Attributes:
        table: fold (``all``, or the fold whose training side it was learned on), gsm, cohort, and
            one column a gene of the vocabulary, float32, NaN absent.
        final: The set ``all``, as it was made.
        learned: What the set ``all`` learned, JSON-like: ``normalisation`` and ``harmonisation``,
            null where nothing was learned; an adapter keeps them.
        marks: What results on the folds must be marked with: steps that used other samples of a
            test cohort, or its labels.
    """

    table: pd.DataFrame
    final: FoldProfiles
    learned: dict[str, Any]
    marks: list[str]


def stratum_profiles(
    data: StratumSamples,
    genes: list[str],
    folds: Folds,
    options: ExpressionOptions,
    table_marks: Sequence[str] = (),
) -> StratumProfiles:
    """Make the profiles of a stratum.

    Args:
        data: The stratum after quality control.
        genes: The vocabulary.
        folds: The folds; read only where something is learned.
        options: Normalisation and harmonisation.
        table_marks: What the expression tables must be marked with already.

    Raises:
        ExpressionError: When a step has too little to learn from.
    """
    everyone = data.samples[GSM].tolist()
    final = _made(data, genes, everyone, [], options)
    sets = {ALL: final}
    if options.learned_on_folds:
        sets |= {
            fold.name: _made(data, genes, fold.train, fold.test, options) for fold in folds.folds
        }
    cohort_of = data.samples.set_index(GSM)[COHORT]
    parts = []
    for name, found in sets.items():
        part = found.profiles.reset_index()
        part.insert(0, FOLD, name)
        part.insert(2, COHORT, part[GSM].map(cohort_of))
        parts.append(part)
    harmonised = options.harmonisation.method != "none"
    return StratumProfiles(
        table=pd.concat(parts, ignore_index=True),
        final=final,
        learned={
            "normalisation": None if final.learned is None else final.learned.as_json(),
            "harmonisation": final.harmonisation.as_json() if harmonised else None,
        },
        marks=[
            *table_marks,
            *options.normalisation.transductive,
            *_marks_of(sets, options.harmonisation),
        ],
    )


def profiles_of(table: pd.DataFrame, fold: str = ALL) -> pd.DataFrame:
    """Return the profiles of a fold, or those of all folds: gsm x genes.

    Args:
        table: Of the asset.
        fold: Its name; one without a set of its own reads the common one.
    """
    rows = set_of(table, fold)
    return rows.drop(columns=[FOLD, COHORT]).set_index(GSM)


def set_of(table: pd.DataFrame, fold: str) -> pd.DataFrame:
    """Return the rows of a fold's own set, else those of the common one."""
    own = table[FOLD] == fold
    return table[own] if own.any() else table[table[FOLD] == ALL]


def token_profiles_of(
    tokens: Mapping[tuple[str, str], pd.DataFrame],
    stratum: str,
    samples: pd.Series,
    fold: str = ALL,
) -> list[TokenProfile]:
    """Return the token profiles of samples in a fold, in their order.

    Args:
        tokens: (stratum, cohort) to its token table.
        stratum: The stratum.
        samples: gsm.
        fold: Its name; one without a set of its own reads the common one.

    Raises:
        StoreError: When a sample has no tokens.
    """
    frames = [frame for (name, _), frame in tokens.items() if name == stratum and len(frame)]
    return tokens_of_set(pd.concat(frames, ignore_index=True), samples, fold)


def tokens_of_set(tokens: pd.DataFrame, samples: pd.Series, fold: str = ALL) -> list[TokenProfile]:
    """Return the token profiles of samples in a fold, in their order.

    Args:
        tokens: Token table of (at least) their cohorts.
        samples: gsm.
        fold: As for :func:`token_profiles_of`.

    Raises:
        StoreError: When a sample has no tokens.
    """
    together = set_of(tokens, fold).drop_duplicates(GSM).set_index(GSM)
    missing = pd.Index(samples).difference(together.index)
    if len(missing):
        raise StoreError(
            f"{len(missing)} samples have no tokens ({missing[0]} is the first); materialize "
            "token_dataset again."
        )
    return token_profiles(together.loc[list(samples)].reset_index())


def view_of_stratum(
    data: StratumSamples,
    genes: list[str],
    made: StratumProfiles,
    study: Study,
    sheets: Mapping[str, pd.DataFrame],
    options: ExpressionOptions,
) -> BatchView:
    """Look at a stratum before and after each step that brings its cohorts together.

    Args:
        data: The stratum after quality control.
        genes: The vocabulary.
        made: Its profiles.
        study: Knows the cohorts' platforms.
        sheets: Cohort to its sample sheet, which knows the sex.
        options: Normalisation and harmonisation.
    """
    rows = data.samples.set_index(GSM)
    sex = pd.concat([sheet[[GSM, "sex"]] for sheet in sheets.values()]).drop_duplicates(GSM)
    factors = pd.DataFrame(
        {
            "cohort": rows[COHORT],
            "platform": rows[COHORT].map(lambda name: study.cohort(name).platform),
            "sex": sex.set_index(GSM)["sex"].reindex(rows.index),
            "case": rows["case"],
        }
    )
    states = states_of_stratum(data.tables, genes, made.final, options)
    return batch_view(states, factors, options.variance)


def marks_of_models(
    models: Iterable[str], signatures: Collection[str], marks: list[str], tables: list[str]
) -> dict[str, list[str]]:
    """Say of each model which transductive steps it rests on.

    Args:
        models: All of them.
        signatures: Those that read expression tables, not profiles.
        marks: Of the profiles.
        tables: Of the expression tables.
    """
    return {name: list(tables if name in signatures else marks) for name in models}


def _made(
    data: StratumSamples, genes: list[str], train: Any, test: Any, options: ExpressionOptions
) -> FoldProfiles:
    return profiles_of_fold(
        data.tables,
        genes,
        train,
        test,
        normalisation=options.normalisation,
        harmonisation=options.harmonisation,
        controls=data.samples.loc[data.samples["case"] == 0, GSM].tolist(),
    )


def _marks_of(sets: Mapping[str, FoldProfiles], options: HarmonisationOptions) -> list[str]:
    """Say which cohorts were harmonised by what no single new patient brings along."""
    added = {
        cohort
        for one in sets.values()
        for cohort in set(one.harmonisation.shifts) - set(one.harmonisation.trained_on)
    }
    return [f"{mark} ({', '.join(sorted(added))})" for mark in options.transductive if added]
