"""Prefix states on disk, found by their content.

An address names all that determines a state apart from the profile (weights, depth, tokenizer,
vocabulary); a key names the profile. Nothing else invalidates an entry, and folds, seeds, strata
and adapters share them. States lie in shards: one array file that is memory-mapped and one index
file. A shard is complete once its index is there, and two writers at once write two shards.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genellm_dagster.errors import StoreError
from genellm_dagster.files import atomic_path, read_json, write_json
from genellm_dagster.tokenizers.protocol import TokenProfile


def content_address(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON-like parts as hexadecimal text."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def profile_key(profile: TokenProfile) -> str:
    """Return the content key of a token profile; the sample's name is no part of it."""
    digest = hashlib.sha256()
    for array in (profile.genes, profile.positions, profile.values):
        digest.update(str(array.dtype).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class PrefixCache:
    """States of one address.

    Args:
        folder: Root of all addresses.
        address: From :func:`content_address`.
        hidden: Width of a state.
        dtype: Number type on disk.
    """

    def __init__(self, folder: Path, address: str, hidden: int, dtype: str) -> None:
        self.folder = folder / address[:32]
        self.hidden = hidden
        self.dtype = np.dtype(dtype)
        self._entries: dict[str, tuple[Path, int, int]] = {}
        self._maps: dict[Path, np.ndarray] = {}
        self._seen: set[Path] = set()

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys without a stored state, each once, in the order given."""
        self._refresh()
        return [key for key in dict.fromkeys(keys) if key not in self._entries]

    def write(self, states: Mapping[str, np.ndarray]) -> None:
        """Store states (each tokens x hidden) as one shard."""
        if not states:
            return
        shard = self.folder / f"{secrets.token_hex(8)}.npy"
        stacked = np.concatenate([state.astype(self.dtype) for state in states.values()])
        if not np.isfinite(stacked).all():
            raise StoreError(
                "The prefix states do not fit their number type on disk (infinite values); set "
                "another dtype for the backbone."
            )
        with atomic_path(shard) as temporary, temporary.open("wb") as handle:
            np.save(handle, stacked, allow_pickle=False)
        write_json(
            shard.with_suffix(".json"),
            {"entries": {key: len(state) for key, state in states.items()}},
        )
        self._refresh()

    def read(self, keys: Sequence[str]) -> list[np.ndarray]:
        """Return the stored states of keys, memory-mapped, each tokens x hidden.

        Raises:
            StoreError: When a state is not stored or its shard is damaged.
        """
        self._refresh()
        states = []
        for key in keys:
            if key not in self._entries:
                raise StoreError(
                    f"A prefix state is missing in {self.folder}; materialize prefix_states again."
                )
            shard, start, length = self._entries[key]
            state = self._map(shard)[start : start + length]
            if len(state) != length:
                raise self._damaged(shard, "shorter than its index says")
            states.append(state)
        return states

    def _map(self, shard: Path) -> np.ndarray:
        if shard not in self._maps:
            try:
                array = np.load(shard, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise self._damaged(shard, str(error)) from error
            if array.ndim != 2 or array.shape[1] != self.hidden or array.dtype != self.dtype:
                raise StoreError(
                    f"{shard} holds another kind of state; delete {self.folder} and materialize "
                    "prefix_states again."
                )
            self._maps[shard] = array
        return self._maps[shard]

    def _damaged(self, file: Path, how: str) -> StoreError:
        return StoreError(
            f"{file} is damaged ({how}); delete {self.folder} and materialize prefix_states again."
        )

    def _refresh(self) -> None:
        if not self.folder.is_dir():
            return
        for index in self.folder.glob("*.json"):
            if index in self._seen or index.name.startswith("."):
                continue
            try:
                lengths = {key: int(n) for key, n in read_json(index)["entries"].items()}
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise self._damaged(index, "no index of states") from error
            start = 0
            for key, length in lengths.items():
                self._entries.setdefault(key, (index.with_suffix(".npy"), start, length))
                start += length
            self._seen.add(index)
