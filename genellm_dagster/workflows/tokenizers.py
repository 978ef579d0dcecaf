"""The tokenizers of a stratum: one for all folds, or one a fold where something is learned.

A tokenizer that learns (medians, bins) must learn on a fold's training side, as normalisation must.
They travel as descriptions, JSON-like: what made the tokens is what an adapter keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from genellm_dagster.evaluation.folds import Folds
from genellm_dagster.tokenizers.kinds import fit_tokenizer, learns, tokenizer_from_description
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import TOKEN_COLUMNS
from genellm_dagster.tokenizers.round_trip import round_trip
from genellm_dagster.workflows.profiles import ALL, COHORT, FOLD, profiles_of, set_of

Description = dict[str, Any]


def stratum_tokenizers(
    profiles: pd.DataFrame, folds: Folds, options: TokenizerOptions
) -> dict[str, Description]:
    """Fit the tokenizers of a stratum.

    Args:
        profiles: Table of the asset ``profiles``.
        folds: The folds; read only where something is learned.
        options: Kind and what belongs to it.

    Returns:
        Set to description: ``all``, and where the tokenizer learns each fold's name, learned on the
        profiles of its training side.

    Raises:
        ModelError: When there is nothing to learn from.
    """
    every = profiles_of(profiles)
    genes = every.columns.tolist()
    made = {ALL: fit_tokenizer(genes, options, every).describe()}
    if learns(options):
        for fold in folds.folds:
            training = profiles_of(profiles, fold.name).loc[list(fold.train)]
            made[fold.name] = fit_tokenizer(genes, options, training).describe()
    return made


def tokenizer_of(tokenizers: Mapping[str, Description], fold: str = ALL) -> Description:
    """Return the description of a fold's tokenizer, or of the one that all folds share."""
    return tokenizers.get(fold, tokenizers[ALL])


def tokens_of(
    profiles: pd.DataFrame, cohort: str, tokenizers: Mapping[str, Description]
) -> pd.DataFrame:
    """Tokenize one cohort's profiles, every set of them.

    Args:
        profiles: Table of the asset ``profiles``.
        cohort: Its name.
        tokenizers: Set to description.

    Returns:
        fold and the columns of a token table; no row for a cohort that quality control left with
        one class, so that it is no part of the stratum.
    """
    parts = []
    for fold in dict.fromkeys([*profiles[FOLD], *tokenizers]):
        rows = set_of(profiles, fold)
        part = rows[rows[COHORT] == cohort].drop(columns=[FOLD, COHORT]).set_index("gsm")
        if len(part):
            tokenizer = tokenizer_from_description(tokenizer_of(tokenizers, fold))
            tokens = tokenizer.transform(part)
            tokens.insert(0, FOLD, fold)
            parts.append(tokens)
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in (FOLD, *TOKEN_COLUMNS)})
    return pd.concat(parts, ignore_index=True)


def kept_of_expression(
    profiles: pd.DataFrame, folds: Folds, tokenizers: Mapping[str, Description]
) -> pd.DataFrame:
    """Say what tokens keep of the profiles of samples that the tokenizer has not seen.

    Args:
        profiles: Table of the asset ``profiles``.
        folds: The folds.
        tokenizers: Set to description.

    Returns:
        One row a fold: fold, samples, r2, r2_within_genes (of what tells samples apart), values,
        lost (measured values without a token).
    """
    rows = []
    for fold in folds.folds:
        tokenizer = tokenizer_from_description(tokenizer_of(tokenizers, fold.name))
        tested = profiles_of(profiles, fold.name).loc[list(fold.test)]
        found = round_trip(tokenizer, tested)
        rows.append(
            {
                "fold": fold.name,
                "samples": len(tested),
                "r2": found.r2,
                "r2_within_genes": found.r2_within_genes,
                "values": found.values,
                "lost": found.lost,
            }
        )
    return pd.DataFrame(rows)
