"""What every tokenizer offers, and the table that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError

TOKEN_COLUMNS = ("gsm", "genes", "positions", "values")


@dataclass(frozen=True)
class TokenProfile:
    """One sample as the backbone reads it; the arrays have one entry a token, in reading order.

    Attributes:
        gsm: The sample.
        genes: Index of each token's gene in the vocabulary, int32.
        positions: Position of each token in the sequence (what the rotary embedding sees), int32.
        values: How far each token is moved along the value direction, float32.
    """

    gsm: str
    genes: np.ndarray
    positions: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.genes)


class Tokenizer(Protocol):
    """Turns profiles into token profiles, one sample at a time and without other samples.

    Attributes:
        learns: Whether it must see training profiles first. What it learned is part of
            :meth:`describe`; one that learns nothing gives every fold the same tokens.
        genes: The vocabulary, in order.
    """

    learns: ClassVar[bool]
    genes: list[str]

    def fit(self, profiles: pd.DataFrame) -> Self:
        """Return the tokenizer with what it learns from training profiles (samples x genes)."""
        ...

    def transform(self, profiles: pd.DataFrame) -> pd.DataFrame:
        """Tokenize profiles (samples x vocabulary genes, NaN absent).

        Returns:
            The columns of ``TOKEN_COLUMNS``, one row a sample, in the order of ``profiles``.
        """
        ...

    def expression(self, profiles: Sequence[TokenProfile]) -> pd.DataFrame:
        """Return what token profiles still tell of expression.

        Returns:
            gsm x vocabulary genes, float32, in the unit of the profiles; NaN without a token.
        """
        ...

    def details(self, profile: TokenProfile) -> dict[str, np.ndarray]:
        """Return what a person should see of each token beside its value, by column name."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return all that determines the tokens, JSON-like: part of every content address."""
        ...


def token_profiles(frame: pd.DataFrame) -> list[TokenProfile]:
    """Read the rows of a token table.

    Raises:
        ModelError: When columns are missing or a row's lists differ in length.
    """
    missing = [column for column in TOKEN_COLUMNS if column not in frame.columns]
    if missing:
        raise ModelError(
            f"The token table lacks {', '.join(missing)}; materialize token_dataset again."
        )
    profiles = []
    for gsm, genes, positions, values in zip(
        *(frame[column] for column in TOKEN_COLUMNS), strict=True
    ):
        profile = TokenProfile(
            gsm=str(gsm),
            genes=np.asarray(genes, dtype=np.int32),
            positions=np.asarray(positions, dtype=np.int32),
            values=np.asarray(values, dtype=np.float32),
        )
        if not len(profile.genes) == len(profile.positions) == len(profile.values):
            raise ModelError(
                f"The token profile of {gsm} is torn; materialize token_dataset again."
            )
        profiles.append(profile)
    return profiles
