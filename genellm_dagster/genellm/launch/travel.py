"""Tasks and results as bytes, so that they can travel to another process or machine and back.

JSON beside safetensors, of a closed list of classes: nothing that comes in can run anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load, save

from genellm_dagster.genellm.adapter import Member
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.fold_task import FoldResult, FoldTask
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.prediction import Prediction
from genellm_dagster.genellm.session import Session, Weights
from genellm_dagster.genellm.training import Fit
from genellm_dagster.tokenizers.protocol import TokenProfile

_PLAIN = (FoldTask, FoldResult, Fit, Member, Prediction)
_BY_NAME = {kind.__name__: kind for kind in _PLAIN}
_SIZE_BYTES = 8
_TOKEN_PARTS = ("genes", "positions", "values")

Travelling = TypeVar("Travelling", FoldTask, FoldResult)


def packed(value: FoldTask | FoldResult) -> bytes:
    """Return a task or a result as bytes.

    Args:
        value: What travels. Of a session its description goes, not the weights.

    Raises:
        TypeError: When it holds something that cannot travel.
    """
    tensors: dict[str, torch.Tensor] = {}
    words = json.dumps(_apart(value, tensors)).encode()
    return len(words).to_bytes(_SIZE_BYTES, "big") + words + save(tensors)


def unpacked(content: bytes, kind: type[Travelling], weights: Weights | None = None) -> Travelling:
    """Return what :func:`packed` was given.

    Args:
        content: Its bytes.
        kind: What it must be.
        weights: Loaded weights for its session, used where they serve.

    Raises:
        TypeError: When it is something else.
    """
    start = _SIZE_BYTES + int.from_bytes(content[:_SIZE_BYTES], "big")
    tensors = load(content[start:])
    value = _together(json.loads(content[_SIZE_BYTES:start]), tensors, weights)
    if not isinstance(value, kind):
        raise TypeError(f"a {kind.__name__} was expected, not a {type(value).__name__}")
    return value


def _apart(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Take a value apart into JSON, its numbers put among the tensors."""

    def kept(tensor: torch.Tensor) -> str:
        # What several members share goes once for each: safetensors holds no shared memory.
        tensors[str(len(tensors))] = tensor.detach().cpu().contiguous().clone()
        return str(len(tensors) - 1)

    def each(values: Sequence[Any]) -> list[Any]:
        return [_apart(one, tensors) for one in values]

    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.generic():
            return value.item()
        case torch.Tensor():
            return {"tensor": kept(value)}
        case np.ndarray() if value.dtype.kind == "U":
            return {"words": value.tolist()}
        case np.ndarray():
            return {"numbers": kept(torch.from_numpy(np.ascontiguousarray(value)))}
        case [TokenProfile(), *_]:
            return {"profiles": _profiles_apart(value, kept)}
        case list():
            return each(value)
        case tuple():
            return {"tuple": each(value)}
        case dict():
            return {"dict": [[key, _apart(one, tensors)] for key, one in value.items()]}
        case Path():
            return {"path": str(value.absolute())}
        case Session():
            described = (value.backbone, value.options)
            return {
                "session": [part.model_dump(mode="json") for part in described],
                "tokenizer": value.tokenizer,
                "folder": str(value.states_folder.absolute()),
            }
        case _ if is_dataclass(value) and type(value) in _PLAIN:
            parts = {one.name: _apart(getattr(value, one.name), tensors) for one in fields(value)}
            return {type(value).__name__: parts}
    raise TypeError(f"a {type(value).__name__} cannot travel to another process")


def _together(value: Any, tensors: dict[str, torch.Tensor], weights: Weights | None) -> Any:
    """Put together what :func:`_apart` took apart."""

    def again(one: Any) -> Any:
        return _together(one, tensors, weights)

    match value:
        case {"tensor": name}:
            return tensors[name]
        case {"numbers": name}:
            return tensors[name].numpy()
        case {"words": words}:
            return np.array(words, dtype=str)
        case {"profiles": parts}:
            return _profiles_together(parts, tensors)
        case {"tuple": values}:
            return tuple(map(again, values))
        case {"dict": pairs}:
            return {key: again(one) for key, one in pairs}
        case {"path": path}:
            return Path(path)
        case {"session": [backbone, options], "tokenizer": tokenizer, "folder": folder}:
            return Session(
                Backbone.model_validate(backbone),
                tokenizer,
                GeneLLMOptions.model_validate(options),
                Path(folder),
                weights,
            )
        case list():
            return [again(one) for one in value]
        case dict():
            ((name, parts),) = value.items()
            return _BY_NAME[name](**{part: again(one) for part, one in parts.items()})
    return value


def _profiles_apart(profiles: Sequence[TokenProfile], kept: Any) -> dict[str, Any]:
    """Lay the tokens of all profiles end to end: one tensor a part, not three a sample."""
    return {
        "gsm": [profile.gsm for profile in profiles],
        "tokens": [len(profile) for profile in profiles],
        **{
            part: kept(torch.from_numpy(np.concatenate([getattr(one, part) for one in profiles])))
            for part in _TOKEN_PARTS
        },
    }


def _profiles_together(
    parts: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> list[TokenProfile]:
    ends = np.cumsum(parts["tokens"])[:-1]
    split = [np.split(tensors[parts[part]].numpy(), ends) for part in _TOKEN_PARTS]
    return [TokenProfile(gsm, *arrays) for gsm, *arrays in zip(parts["gsm"], *split, strict=True)]
