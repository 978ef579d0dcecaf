"""Backbones at work on a stratum's vocabulary, as the settings and the store say."""

from __future__ import annotations

from typing import Any

import pandas as pd

from genellm_dagster.genellm.backbone import Backbone, randomised
from genellm_dagster.genellm.session import Session
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.tokenizers.value import ValueTokenizer

PRETRAINED = "pretrained"
RANDOM = "random"


def pretrained_session(
    settings: Settings,
    store: Store,
    backbone: dict[str, Any],
    vocabulary: pd.DataFrame,
) -> Session:
    """Return the study's backbone on a vocabulary."""
    return _session(settings, store, Backbone.model_validate(backbone), vocabulary)


def sessions(
    settings: Settings,
    store: Store,
    backbone: dict[str, Any],
    vocabulary: pd.DataFrame,
) -> dict[str, Session]:
    """Return the study's backbone, and the random one of its shape when controls are run."""
    prepared = Backbone.model_validate(backbone)
    found = {PRETRAINED: _session(settings, store, prepared, vocabulary)}
    if settings.controls:
        found[RANDOM] = _session(settings, store, randomised(prepared), vocabulary)
    return found


def _session(
    settings: Settings, store: Store, backbone: Backbone, vocabulary: pd.DataFrame
) -> Session:
    tokenizer = ValueTokenizer(vocabulary["gene"].tolist(), settings.tokenizer)
    return Session(backbone, tokenizer.describe(), settings.model, store.prefix_states)
