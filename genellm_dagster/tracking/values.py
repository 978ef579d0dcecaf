"""Nested settings and measurements as the flat names and texts that MLflow takes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from genellm_dagster.errors import GeneLLMError

# MLflow refuses longer ones (mlflow.utils.validation).
_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000
_NOT_IN_A_NAME = re.compile(r"[^\w.\- /]", re.ASCII)
_INTERVAL = {"value", "low", "high"}


def params_of(values: Mapping[str, Any] | BaseModel) -> dict[str, str]:
    """Flatten settings: ``{"training": {"epochs": 3}}`` becomes ``{"training.epochs": "3"}``.

    A text too long for MLflow (a vocabulary, for instance) becomes its length and SHA-256, enough
    to tell two runs apart.
    """
    flat = {}
    for key, value in _leaves(_plain(values), ""):
        as_json = value is None or isinstance(value, bool | list | tuple)
        text = json.dumps(value, default=str) if as_json else str(value)
        if len(text) > _LONGEST_PARAM:
            digest = hashlib.sha256(text.encode()).hexdigest()
            text = f"{len(text)} characters, sha256 {digest}"
        flat[key] = text
    return flat


def metrics_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Flatten measurements; what is ``None`` was not measured and is left out.

    An interval ``{"auroc": {"value", "low", "high"}}`` becomes ``auroc``, ``auroc_low`` and
    ``auroc_high``, the names of the model comparison.

    Raises:
        TypeError: When a value is no number.
    """
    flat = {}
    for key, value in _leaves(_intervals_joined(values), ""):
        if value is None:
            continue
        if isinstance(value, str | list | tuple):
            raise TypeError(f"the metric {key!r} is {value!r}, not a number")
        flat[key] = float(value)
    return flat


def tags_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Turn tags into text; what is ``None`` is left out."""
    return {
        _name(key): str(value)[:_LONGEST_TAG] for key, value in values.items() if value is not None
    }


def sentence_of(error: BaseException) -> str:
    """Say in one line what went wrong."""
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0] if isinstance(error, GeneLLMError) else f"{type(error).__name__}: {lines[0]}"


def _plain(value: Any) -> Any:
    # JSON mode masks secrets.
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _leaves(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name, plain = f"{before}{_name(key)}", _plain(value)
        if isinstance(plain, Mapping):
            yield from _leaves(plain, f"{name}.")
        else:
            yield name, plain


def _intervals_joined(values: Mapping[str, Any]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(value, Mapping):
            joined[key] = value
        elif set(value) == _INTERVAL:
            joined[key] = value["value"]
            joined[f"{key}_low"], joined[f"{key}_high"] = value["low"], value["high"]
        else:
            joined[key] = _intervals_joined(value)
    return joined


def _name(key: str) -> str:
    """Make a name that MLflow takes: its characters, and as a path no other name for itself."""
    parts = _NOT_IN_A_NAME.sub("_", str(key)).split("/")
    return "/".join(part for part in parts if part not in {"", ".", ".."}) or "_"
