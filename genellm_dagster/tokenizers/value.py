"""The value tokenizer: one token a gene, in the order of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import TokenProfile
from genellm_dagster.tokenizers.tables import (
    checked_genes,
    checked_tokens,
    checked_values,
    expression_table,
    require_tokens,
    token_table,
)

# Named one by one, so that an option of another kind does not change the address of its states.
_OPTIONS = ("kind", "value_scale", "low_word", "high_word")


class ValueTokenizer:
    """Gives each measured gene a token; a gene that is absent from a sample has none.

    A gene keeps its position whether or not the genes before it were measured, so that the same
    value of the same gene is always read at the same place. Nothing is learned: one new sample
    alone gets the tokens it would get among others.

    Args:
        genes: The vocabulary, in order.
        options: Scale and direction of the value.
    """

    learns: ClassVar[bool] = False

    def __init__(self, genes: Iterable[str], options: TokenizerOptions) -> None:
        self.genes = checked_genes(genes)
        self.options = options

    def fit(self, profiles: pd.DataFrame) -> Self:
        """Return the tokenizer itself, which learns nothing."""
        return self

    def transform(self, profiles: pd.DataFrame) -> pd.DataFrame:
        """Tokenize profiles (samples x genes, float32, NaN absent).

        Raises:
            ModelError: When the columns are not the vocabulary, or a sample has no gene of it.
        """
        values = checked_values(profiles, self.genes)
        measured = ~np.isnan(values)
        require_tokens(profiles.index, measured)
        index = np.arange(len(self.genes), dtype=np.int32)
        genes = [index[row] for row in measured]
        scaled = values * np.float32(self.options.value_scale)
        moved = [row[present] for row, present in zip(scaled, measured, strict=True)]
        return token_table(profiles.index, genes, genes, moved)

    def expression(self, profiles: Sequence[TokenProfile]) -> pd.DataFrame:
        """Return the profiles that the tokens came from, to the precision of float32."""
        scale = self.options.value_scale
        told = (
            profile.values.astype(np.float64) / scale
            for profile in checked_tokens(profiles, self.genes)
        )
        return expression_table(profiles, told, self.genes)

    def details(self, profile: TokenProfile) -> dict[str, np.ndarray]:
        """Return nothing: the value is all there is."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return the tokenizer's kind, options and vocabulary."""
        options = self.options.model_dump()
        return {**{name: options[name] for name in _OPTIONS}, "genes": self.genes}

    @classmethod
    def from_description(cls, genes: list[str], options: TokenizerOptions, _: Any) -> Self:
        """Make it again from what :meth:`describe` gave."""
        return cls(genes, options)
