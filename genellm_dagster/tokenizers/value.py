"""The value tokenizer: one token a gene, in the order of the vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.options import TokenizerOptions


class ValueTokenizer:
    """Gives each measured gene a token; a gene that is absent from a sample has none.

    A gene keeps its position whether or not the genes before it were measured, so that the same
    value of the same gene is always read at the same place. Nothing is learned: one new sample
    alone gets the tokens it would get among others.

    Args:
        genes: The vocabulary, in order.
        options: Scale and direction of the value.
    """

    def __init__(self, genes: list[str], options: TokenizerOptions) -> None:
        if len(set(genes)) != len(genes) or not genes:
            raise ModelError("A vocabulary must hold at least one gene, and each gene once.")
        self.genes = list(genes)
        self.options = options

    def transform(self, profiles: pd.DataFrame) -> pd.DataFrame:
        """Tokenize profiles (samples x genes, float32, NaN absent).

        Raises:
            ModelError: When the columns are not the vocabulary, or a sample has no gene of it.
        """
        if list(profiles.columns) != self.genes:
            raise ModelError("The profiles' genes are not the vocabulary's, in its order.")
        values = profiles.to_numpy(dtype=np.float32)
        if np.isinf(values).any():
            raise ModelError("The profiles hold infinite values; look at the expression table.")
        measured = ~np.isnan(values)
        empty = profiles.index[~measured.any(axis=1)]
        if len(empty):
            raise ModelError(
                f"{len(empty)} samples have none of the model's genes ({empty[0]} is the first)."
            )
        index = np.arange(len(self.genes), dtype=np.int32)
        genes = [index[row] for row in measured]
        scaled = values * np.float32(self.options.value_scale)
        moved = [row[present] for row, present in zip(scaled, measured, strict=True)]
        return pd.DataFrame(
            {
                "gsm": [str(gsm) for gsm in profiles.index],
                "genes": genes,
                "positions": genes,
                "values": moved,
            }
        )

    def describe(self) -> dict[str, Any]:
        """Return the tokenizer's kind, options and vocabulary."""
        return {**self.options.model_dump(), "genes": self.genes}
