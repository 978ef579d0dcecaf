"""The tokenizers by kind: from options, fitted, and again from a description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from pydantic import ValidationError

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.bins import BinsTokenizer
from genellm_dagster.tokenizers.options import Kind, TokenizerOptions
from genellm_dagster.tokenizers.protocol import Tokenizer
from genellm_dagster.tokenizers.rank import RankTokenizer
from genellm_dagster.tokenizers.value import ValueTokenizer

_KINDS: dict[Kind, type[ValueTokenizer | RankTokenizer | BinsTokenizer]] = {
    "value": ValueTokenizer,
    "rank": RankTokenizer,
    "bins": BinsTokenizer,
}


def fit_tokenizer(
    genes: Iterable[str], options: TokenizerOptions, training: pd.DataFrame
) -> Tokenizer:
    """Make the tokenizer of some options, fitted where it learns something.

    Args:
        genes: The vocabulary, in order.
        options: Its kind and what belongs to it.
        training: Profiles of training samples only, samples x genes, NaN absent.

    Raises:
        ModelError: When the profiles are not the vocabulary's, or hold nothing to learn from.
    """
    return _KINDS[options.kind](genes, options).fit(training)


def learns(options: TokenizerOptions) -> bool:
    """Whether tokens depend on which samples trained the tokenizer, so that each fold has its own.

    One that learns nothing may be fitted on no sample at all.
    """
    return _KINDS[options.kind].learns


def tokenizer_from_description(description: Mapping[str, Any]) -> Tokenizer:
    """Make a tokenizer again from what its ``describe`` gave, as an adapter keeps it.

    Raises:
        ModelError: When it is something else.
    """
    try:
        genes = [_symbol(gene) for gene in description["genes"]]
        known = TokenizerOptions.model_fields
        given = {name: description[name] for name in known if name in description}
        if "kind" not in given:
            raise KeyError("kind")
        options = TokenizerOptions.model_validate(given)
        return _KINDS[options.kind].from_description(genes, options, description)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        said = "its options are none" if isinstance(error, ValidationError) else str(error)
        raise ModelError(
            f"The description of the tokenizer cannot be read ({said}); train the adapter again."
        ) from error


def _symbol(gene: Any) -> str:
    if not isinstance(gene, str):
        raise TypeError(f"{gene!r} is no gene")
    return gene
