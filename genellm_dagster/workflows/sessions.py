"""Backbones at work on a stratum's tokens, as the settings and the store say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from genellm_dagster.genellm.backbone import Backbone, randomised
from genellm_dagster.genellm.session import Session
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.workflows.tokenizers import Description, tokenizer_of

PRETRAINED = "pretrained"
RANDOM = "random"
SHUFFLED_GENES = "shuffled_genes"


def pretrained_session(
    settings: Settings,
    store: Store,
    backbone: dict[str, Any],
    tokenizers: Mapping[str, Description],
) -> Session:
    """Return the study's backbone on the tokens of the adapter that is put to use."""
    return _session(settings, store, Backbone.model_validate(backbone), tokenizers)


def sessions(
    settings: Settings,
    store: Store,
    backbone: dict[str, Any],
    tokenizers: Mapping[str, Description],
) -> dict[str, Session]:
    """Return the study's backbone, and those that the controls need.

    They are the random one of its shape, and the same one on permuted gene symbols.
    """
    prepared = Backbone.model_validate(backbone)
    own = _session(settings, store, prepared, tokenizers)
    found = {PRETRAINED: own}
    if settings.controls.random_backbone:
        found[RANDOM] = _session(settings, store, randomised(prepared), tokenizers)
    if settings.controls.shuffled_genes:
        permuted = with_permuted_genes(tokenizer_of(tokenizers), settings.model.training.seed)
        found[SHUFFLED_GENES] = own.with_tokenizer(permuted)
    return found


def with_permuted_genes(description: Description, seed: int) -> Description:
    """Give every gene the symbol of another one, so that names tell the model nothing true.

    Tokens stay as they are: the number of a gene, its value and its place; what changes is which
    symbol's embedding stands for the number. No gene keeps its own symbol (Sattolo's cyclic
    permutation, Inf. Process. Lett. 22 (1986) 315), unless it is the only one.

    Args:
        description: Of a tokenizer; those of all folds are permuted alike, by the order of their
            genes.
        seed: Of the permutation.
    """
    genes = list(description["genes"])
    random = np.random.default_rng(seed)
    for last in range(len(genes) - 1, 0, -1):
        other = int(random.integers(last))
        genes[last], genes[other] = genes[other], genes[last]
    return {**description, "genes": genes}


def _session(
    settings: Settings, store: Store, backbone: Backbone, tokenizers: Mapping[str, Description]
) -> Session:
    return Session(backbone, tokenizer_of(tokenizers), settings.model, store.prefix_states)
