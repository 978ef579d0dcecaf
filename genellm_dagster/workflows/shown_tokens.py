"""A sample of a study as the model sees it, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from genellm_dagster.errors import StoreError
from genellm_dagster.files import read_json, read_parquet
from genellm_dagster.genellm.backbone import Backbone, load_text_tokenizer
from genellm_dagster.genellm.backbone_words import word_tokens
from genellm_dagster.store import Store
from genellm_dagster.studies.study import Study
from genellm_dagster.tokenizers.kinds import tokenizer_from_description
from genellm_dagster.tokenizers.show import tokens_as_text
from genellm_dagster.workflows.profiles import COHORT, FOLD, profiles_of, tokens_of_set
from genellm_dagster.workflows.tokenizers import tokenizer_of

ROWS = 40
"""Tokens shown when not all are wanted, half from the start and half from the end."""


def tokens_of_sample(
    store: Store, study: Study, gsm: str, stratum: str | None, fold: str, rows: int | None
) -> str:
    """Write a sample's tokens as the model reads them.

    Args:
        store: Of the study.
        study: The study.
        gsm: The sample.
        stratum: Where it is looked for; in every one when none.
        fold: Whose tokens; ``all`` for those of the adapter that is put to use.
        rows: Most rows of the table; all when none.

    Raises:
        StoreError: When no stratum has tokens of the sample, or the fold has none.
    """
    for name in [stratum] if stratum else study.strata:
        if not store.place("token_dataset", name).is_dir():
            continue
        profiles = read_parquet(store.place("profiles", f"{name}.parquet"))
        own = profiles.loc[profiles["gsm"] == gsm, COHORT]
        if own.empty:
            continue
        tokenizers = read_json(store.place("tokenizer", f"{name}.json"))
        tokens = read_parquet(store.place("token_dataset", name, f"{own.iloc[0]}.parquet"))
        if fold not in set(tokens[FOLD]):
            raise StoreError(
                f"The stratum {name} has no tokens of its own for a fold {fold!r}; it has those of "
                f"{', '.join(tokens[FOLD].unique())}."
            )
        tokenizer = tokenizer_from_description(tokenizer_of(tokenizers, fold))
        return tokens_as_text(
            tokens_of_set(tokens, pd.Series([gsm]), fold)[0],
            tokenizer,
            profiles_of(profiles, fold).T[gsm],
            _pieces(read_json(store.place("backbone.json")), tokenizer.genes),
            rows,
        )
    where = f"the stratum {stratum} of " if stratum else ""
    raise StoreError(
        f"{gsm} has no tokens in {where}the study {study.name}; run the study, or see in its "
        "sample sheets why the sample is not used."
    )


def _pieces(backbone: Mapping[str, Any], genes: list[str]) -> dict[str, list[str]]:
    """Return the text tokens by which the backbone knows each symbol."""
    text = load_text_tokenizer(Backbone.model_validate(backbone))
    return {
        # As the model has them, a leading space included.
        gene: [str(text.decode([token])).replace(" ", "\N{OPEN BOX}") for token in tokens]
        for gene, tokens in ((gene, word_tokens(text, gene)) for gene in genes)
    }
