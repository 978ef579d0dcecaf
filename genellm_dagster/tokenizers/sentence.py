"""A rank token profile as text: the cell sentence, which a person can read and a program too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.protocol import TokenProfile
from genellm_dagster.tokenizers.rank import spread_positions
from genellm_dagster.tokenizers.tables import checked_genes


def cell_sentence(profile: TokenProfile, genes: Sequence[str], first: int | None = None) -> str:
    """Write the symbols of a token profile in reading order, parted by spaces.

    Args:
        profile: From the rank tokenizer.
        genes: The vocabulary.
        first: Only so many genes from the start, and an ellipsis; all when not given.

    Raises:
        ModelError: When a symbol holds white space, so that the sentence could not be read back.
    """
    symbols = [genes[gene] for gene in profile.genes]
    strange = next((symbol for symbol in symbols if symbol.split() != [symbol]), None)
    if strange is not None:
        raise ModelError(
            f"The gene {strange!r} holds white space and cannot stand in a sentence; leave genes "
            "without an approved symbol out."
        )
    if first is not None and first < len(symbols):
        return " ".join([*symbols[:first], "…"])
    return " ".join(symbols)


def profile_of_sentence(sentence: str, genes: Sequence[str], gsm: str) -> TokenProfile:
    """Read a whole cell sentence back.

    Args:
        sentence: From :func:`cell_sentence`, or written by hand.
        genes: The vocabulary.
        gsm: What the sample is to be called.

    Returns:
        What the rank tokenizer gives for a sample whose genes lie in this order.

    Raises:
        ModelError: When a word is no gene of the vocabulary, or there twice, or there is none.
    """
    number = {gene: index for index, gene in enumerate(checked_genes(genes))}
    # One word more than the vocabulary has is one too many; no more need be looked at.
    words = sentence.split(maxsplit=len(number))
    unknown = next((word for word in words if word not in number), None)
    if unknown is not None:
        raise ModelError(
            f"The sentence has {unknown[:40]!r}, which is no gene of the model's vocabulary; write "
            "approved symbols parted by spaces, and the whole sentence."
        )
    if not words or len(set(words)) != len(words):
        raise ModelError("A sentence must hold at least one gene, and each gene once.")
    return TokenProfile(
        gsm=gsm,
        genes=np.array([number[word] for word in words], dtype=np.int32),
        positions=spread_positions(len(words), len(number)),
        values=np.zeros(len(words), dtype=np.float32),
    )
