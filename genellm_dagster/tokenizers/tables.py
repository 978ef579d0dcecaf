"""What the tokenizers share: the profiles they take, the tables they give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.protocol import TOKEN_COLUMNS, TokenProfile


def checked_genes(genes: Iterable[str]) -> list[str]:
    """Return a vocabulary as a list.

    Raises:
        ModelError: When it is empty or repeats a gene.
    """
    listed = list(genes)
    if len(set(listed)) != len(listed) or not listed:
        raise ModelError("A vocabulary must hold at least one gene, and each gene once.")
    return listed


def checked_values(profiles: pd.DataFrame, genes: Sequence[str]) -> np.ndarray:
    """Return the values of profiles, samples x genes, float32, NaN absent.

    Raises:
        ModelError: When the columns are not the vocabulary, or a value is infinite.
    """
    if list(profiles.columns) != list(genes):
        raise ModelError("The profiles' genes are not the vocabulary's, in its order.")
    values = profiles.to_numpy(dtype=np.float32)
    if np.isinf(values).any():
        raise ModelError("The profiles hold infinite values; look at the expression table.")
    return values


def training_values(profiles: pd.DataFrame, genes: Sequence[str]) -> np.ndarray:
    """Return the values of training profiles, float64, no zero being negative.

    Raises:
        ModelError: As :func:`checked_values`, and when there is nothing to learn from.
    """
    values = checked_values(profiles, genes).astype(np.float64)
    if np.isnan(values).all():
        raise ModelError(
            "No training sample has a value to fit the tokenizer on; look at the cohorts' QC."
        )
    # Which of two equal zeros stays would depend on the order of the samples.
    return values + 0.0


def require_tokens(index: pd.Index, tokens: np.ndarray) -> None:
    """Refuse samples that would have no token.

    Args:
        index: The samples.
        tokens: Which genes get a token, samples x genes.

    Raises:
        ModelError: When a sample has none.
    """
    empty = index[np.flatnonzero(~tokens.any(axis=1))]
    if len(empty):
        raise ModelError(
            f"{len(empty)} samples have none of the model's genes ({empty[0]} is the first)."
        )


def token_table(
    index: pd.Index,
    genes: list[np.ndarray],
    positions: list[np.ndarray],
    values: list[np.ndarray],
) -> pd.DataFrame:
    """Put token profiles together, one row a sample."""
    content = ([str(gsm) for gsm in index], genes, positions, values)
    return pd.DataFrame(dict(zip(TOKEN_COLUMNS, content, strict=True)))


def checked_tokens(
    profiles: Sequence[TokenProfile], genes: Sequence[str]
) -> Sequence[TokenProfile]:
    """Return token profiles that are of a vocabulary.

    Raises:
        ModelError: When a token is of no gene of the vocabulary, or of one that another token of
            the sample is of.
    """
    for profile in profiles:
        own = profile.genes
        if len(own) and not (own.min() >= 0 and own.max() < len(genes)):
            raise ModelError(
                f"The token profile of {profile.gsm} is of another vocabulary; materialize "
                "token_dataset again."
            )
        if len(np.unique(own)) != len(own):
            raise ModelError(
                f"The token profile of {profile.gsm} has two tokens of one gene; materialize "
                "token_dataset again."
            )
    return profiles


def expression_table(
    profiles: Sequence[TokenProfile], told: Iterable[np.ndarray], genes: Sequence[str]
) -> pd.DataFrame:
    """Put what tokens tell of expression in its place.

    Args:
        profiles: The token profiles, checked.
        told: What each token tells, in the tokens' order.
        genes: The vocabulary.

    Returns:
        gsm x genes, float32, NaN without a token.
    """
    table = np.full((len(profiles), len(genes)), np.nan, dtype=np.float32)
    for row, (profile, values) in enumerate(zip(profiles, told, strict=True)):
        table[row, profile.genes] = values
    index = pd.Index([profile.gsm for profile in profiles], name="gsm")
    return pd.DataFrame(table, index=index, columns=list(genes))
