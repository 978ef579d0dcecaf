"""Backbones at work on a stratum's tokens, as the settings and the store say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genellm_dagster.genellm.backbone import Backbone, randomised
from genellm_dagster.genellm.session import Session
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.workflows.tokenizers import Description, tokenizer_of

PRETRAINED = "pretrained"
RANDOM = "random"


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
    """Return the study's backbone, and the random one of its shape when controls are run."""
    prepared = Backbone.model_validate(backbone)
    found = {PRETRAINED: _session(settings, store, prepared, tokenizers)}
    if settings.controls:
        found[RANDOM] = _session(settings, store, randomised(prepared), tokenizers)
    return found


def _session(
    settings: Settings, store: Store, backbone: Backbone, tokenizers: Mapping[str, Description]
) -> Session:
    return Session(backbone, tokenizer_of(tokenizers), settings.model, store.prefix_states)
