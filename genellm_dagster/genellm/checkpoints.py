"""Checkpoints of a fit: each one file, found by all that determines the fit.

A checkpoint is there whole or not at all, and holds a checksum and the address of its fit: one that
is damaged, or was put in the place of another, is not used. Only the caller removes the folder, so
that a cross-validation that was killed trains no fold twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genellm_dagster.files import atomic_path
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.prefix_cache import content_address
from genellm_dagster.genellm.states import StateSet

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

logger = logging.getLogger(__name__)

# What a checkpoint holds; another number makes those of before another fit's.
_LAYOUT = 1
_SUFFIX = ".safetensors"
_ADDRESS, _FACTS, _CHECKSUM = "address", "facts", "sha256"
_CHUNK = 64


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        tensors: By name, on the CPU.
        facts: JSON-like.
    """

    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one fit.

    Args:
        folder: Where those of all fits are; none keeps nothing.
        address: Of the fit, from :func:`fit_address`.
    """

    def __init__(self, folder: Path | None, address: str) -> None:
        self._folder = None if folder is None else folder / address[:32]
        self._address = address

    def read(self, name: str) -> Snapshot | None:
        """Return a checkpoint; none where there is none, or none to trust."""
        from safetensors import SafetensorError, safe_open

        if self._folder is None:
            return None
        path = self._folder / f"{name}{_SUFFIX}"
        try:
            with safe_open(path, framework="pt") as opened:
                told = opened.metadata() or {}
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError) as error:
            logger.warning("The checkpoint %s is not read (%s); training starts over.", path, error)
            return None
        if told.get(_ADDRESS) != self._address:
            logger.warning("The checkpoint %s is of another fit; training starts over.", path)
            return None
        if told.get(_CHECKSUM) != _checksum(tensors, self._address, told.get(_FACTS, "")):
            logger.warning("The checkpoint %s is damaged; training starts over.", path)
            return None
        return Snapshot(tensors, json.loads(told[_FACTS]))

    def write(self, name: str, snapshot: Snapshot) -> None:
        """Write a checkpoint, whole or not at all; one of that name is replaced."""
        from safetensors.torch import save_file

        if self._folder is None:
            return
        facts = json.dumps(snapshot.facts, allow_nan=False)
        # Tensors of a file must not share memory.
        tensors = {key: value.clone().contiguous() for key, value in snapshot.tensors.items()}
        told = {
            _ADDRESS: self._address,
            _FACTS: facts,
            _CHECKSUM: _checksum(tensors, self._address, facts),
        }
        with atomic_path(self._folder / f"{name}{_SUFFIX}") as temporary:
            save_file(tensors, temporary, told)

    def remove(self, name: str) -> None:
        """Remove a checkpoint that another one has taken over."""
        if self._folder is not None:
            (self._folder / f"{name}{_SUFFIX}").unlink(missing_ok=True)


def fit_address(
    model: LlamaForCausalLM,
    backbone: Backbone,
    states: StateSet,
    rows: np.ndarray,
    cases: np.ndarray,
    cohorts: np.ndarray,
    persons: np.ndarray,
    head_layers: int,
    adapter: AdapterOptions,
    training: TrainingOptions,
) -> str:
    """Return the address of a fit: a hash of all that its result depends on.

    Args:
        model: The frozen backbone, for where and in which number type it runs.
        backbone: Its description.
        states: Prefix states.
        rows: The training samples among them.
        cases: 0 or 1 of each training sample.
        cohorts: Cohort of each.
        persons: Person of each.
        head_layers: Upper layers that carry the adapter.
        adapter: What is trained.
        training: How.

    Returns:
        SHA-256 as hexadecimal text.
    """
    import peft
    import torch

    weight = model.model.norm.weight
    return content_address(
        {
            "layout": _LAYOUT,
            # Other versions may round otherwise, or name the adapter's weights otherwise.
            "versions": [torch.__version__, peft.__version__],
            "backbone": backbone.sha256,
            "numbers": [str(weight.dtype), weight.device.type],
            "head_layers": head_layers,
            "adapter": adapter.model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            "states": _digest_of_states(states, rows),
            "cases": [int(case) for case in cases],
            "cohorts": [str(cohort) for cohort in cohorts],
            "persons": [str(person) for person in persons],
        }
    )


def _digest_of_states(states: StateSet, rows: np.ndarray) -> str:
    """Hash what training reads of its samples, not of others, and their order."""
    import torch

    digest = hashlib.sha256(f"{states.readout_position} {tuple(states.delta.shape)}".encode())
    for part in torch.as_tensor(rows).split(_CHUNK):
        for of_samples in (states.delta, states.genes, states.values, states.reference_of):
            _add(digest, of_samples[part])
        digest.update("\n".join(states.gsm[row] for row in part.tolist()).encode())
    for of_references in (states.reference, states.positions, states.present):
        _add(digest, of_references)
    return digest.hexdigest()


def _checksum(tensors: Mapping[str, torch.Tensor], address: str, facts: str) -> str:
    digest = hashlib.sha256(f"{address}\n{facts}\n".encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        _add(digest, tensors[name])
    return digest.hexdigest()


def _add(digest: hashlib._Hash, tensor: torch.Tensor) -> None:
    import torch

    # As bytes, because numpy lacks bfloat16.
    digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
