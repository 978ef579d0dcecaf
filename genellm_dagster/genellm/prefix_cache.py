"""Prefix states on disk, found by their content.

An address names all that determines a state apart from the profile (weights, depth, tokenizer,
vocabulary); a key names the profile. Nothing else invalidates an entry, and folds, seeds, strata
and adapters share them. States lie in shards: one array file, of which only what is asked for is
read, and one index file. A shard is there once its index is. The index holds a checksum of each
state: one that is damaged counts as missing, and is computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from isal import isal_zlib

from genellm_dagster.errors import StoreError
from genellm_dagster.files import atomic_path, read_json, write_json
from genellm_dagster.genellm.prefix_space import ARRAY, INDEX, PrefixSpace
from genellm_dagster.tokenizers.protocol import TokenProfile

logger = logging.getLogger(__name__)

# At least what an entry takes beside its state.
_INDEX_BYTES = 256


def content_address(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON-like parts as hexadecimal text."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def profile_key(profile: TokenProfile) -> str:
    """Return the content key of a token profile; the sample's name is no part of it."""
    digest = hashlib.sha256()
    for array in (profile.genes, profile.positions, profile.values):
        digest.update(_name(array.dtype))
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@cache
def _name(dtype: np.dtype) -> bytes:
    return str(dtype).encode()  # Numpy takes longer for this than the digest for the array.


class _Place(NamedTuple):
    """Where a state lies: its shard, first byte and number of tokens, and its checksum."""

    shard: Path
    start: int
    tokens: int
    checksum: int


class PrefixCache:
    """States of one address.

    Args:
        folder: Root of all addresses.
        address: From :func:`content_address`.
        hidden: Width of a state.
        dtype: Number type on disk.
        space: Keeps the root within its bound; caches of one run share it. Without one there is no
            bound.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        hidden: int,
        dtype: str,
        space: PrefixSpace | None = None,
    ) -> None:
        self.folder = folder / address[:32]
        self.hidden = hidden
        self.dtype = np.dtype(dtype)
        self._space = space or PrefixSpace(folder)
        self._places: dict[str, _Place] = {}
        self._seen: set[str] = set()
        self._sound: set[_Place] = set()

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys without a sound state, each once, in the order given.

        The states of the others are in use from now on: they stay until the space is released.
        """
        wanted = list(dict.fromkeys(keys))
        self.use(wanted)
        for shard, here in self._by_shard(wanted).items():
            unsure = [key for key in here if self._places[key] not in self._sound]
            array = self._mapped(shard) if unsure else None
            damaged = []
            for key in unsure:
                place = self._places[key]
                if array is not None and self._checksum(key, self._bytes(array, place)) == (
                    place.checksum
                ):
                    self._sound.add(place)
                else:
                    damaged.append(key)
            if damaged:
                self._forget(shard, damaged)
        return [key for key in wanted if key not in self._places]

    def use(self, keys: Iterable[str]) -> None:
        """Stamp the states of keys that are there as used now, and keep them."""
        if not self.folder.is_dir():
            self._places.clear()
            self._seen.clear()
            return
        with self._space.locked():
            self._refresh()
            self._space.use(self._places[key].shard for key in keys if key in self._places)

    def write(self, states: Mapping[str, np.ndarray]) -> None:
        """Store states (each tokens x hidden) as one shard, those apart that are there already.

        Raises:
            StoreError: When a state does not fit the number type, or the disk.
        """
        with np.errstate(over="ignore"):
            ready = {key: np.ascontiguousarray(s, dtype=self.dtype) for key, s in states.items()}
        if not all(np.isfinite(state).all() for state in ready.values()):
            raise StoreError(
                "The prefix states do not fit their number type on disk (infinite values); set "
                "another dtype for the backbone."
            )
        if not ready:
            return
        with self._space.locked():
            self._refresh()
            # Two writers may have computed the same at the same time.
            fresh = {key: state for key, state in ready.items() if key not in self._places}
            if fresh:
                self._space.make_room(
                    sum(state.nbytes + _INDEX_BYTES for state in fresh.values()) + _INDEX_BYTES
                )
                self._save(fresh)
            self._space.use(self._places[key].shard for key in ready)

    def read(self, keys: Sequence[str]) -> list[np.ndarray]:
        """Return the stored states of keys, memory-mapped, each tokens x hidden.

        Raises:
            StoreError: When a state is not stored or is damaged.
        """
        states = dict(self.each(keys))
        return [states[number] for number in range(len(keys))]

    def each(self, keys: Sequence[str]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the number of a key and its state, shard by shard, so that few are mapped at once.

        Raises:
            StoreError: When a state is not stored or is damaged.
        """
        if self.missing(keys):
            raise StoreError(
                f"A prefix state is missing in {self.folder}; materialize prefix_states again."
            )
        numbers: dict[str, list[int]] = {}
        for number, key in enumerate(keys):
            numbers.setdefault(key, []).append(number)
        for shard, here in self._by_shard(numbers).items():
            array = self._mapped(shard)
            for key in here:
                state = self._bytes(array, self._places[key]).view(self.dtype)
                for number in numbers[key]:
                    yield number, state.reshape(-1, self.hidden)

    def _by_shard(self, keys: Iterable[str]) -> dict[Path, list[str]]:
        shards: dict[Path, list[str]] = {}
        for key in keys:
            if key in self._places:
                shards.setdefault(self._places[key].shard, []).append(key)
        return shards

    def _mapped(self, shard: Path) -> np.ndarray:
        """All bytes of a shard, none of them read yet; none at all where there is no such file."""
        try:
            return np.memmap(shard, dtype=np.uint8, mode="r").view(np.ndarray)
        except (FileNotFoundError, ValueError):  # Numpy maps no empty file.
            return np.empty(0, dtype=np.uint8)
        except OSError as error:
            raise StoreError(
                f"{shard} cannot be read ({error.strerror or error}); mend the disk, or delete "
                f"{self.folder}."
            ) from error

    def _bytes(self, array: np.ndarray, place: _Place) -> np.ndarray:
        size = place.tokens * self.hidden * self.dtype.itemsize
        return array[place.start : place.start + size]

    def _checksum(self, key: str, state: np.ndarray) -> int:
        # Begun with what it is a state of, so that it tells states that were mixed up, too.
        begin = isal_zlib.crc32(f"{key} {self.dtype.str} {self.hidden} {state.nbytes}".encode())
        return isal_zlib.crc32(state, begin)

    def _save(self, states: Mapping[str, np.ndarray]) -> None:
        shard = self.folder / f"{secrets.token_hex(8)}{ARRAY}"
        about = {
            "descr": self.dtype.str,
            "fortran_order": False,
            "shape": (sum(map(len, states.values())), self.hidden),
        }
        places = {}
        try:
            with atomic_path(shard) as temporary, temporary.open("wb") as handle:
                np.lib.format.write_array_header_1_0(handle, about)
                for key, state in states.items():
                    flat = state.reshape(-1).view(np.uint8)
                    places[key] = _Place(
                        shard, handle.tell(), len(state), self._checksum(key, flat)
                    )
                    handle.write(flat.data)
            write_json(
                shard.with_suffix(INDEX), {"entries": {key: p[1:] for key, p in places.items()}}
            )
        except OSError as error:
            raise StoreError(
                f"The prefix states cannot be written to {self.folder} "
                f"({error.strerror or error}); free space there, or lower max_gigabytes."
            ) from error
        self._seen.add(shard.stem)
        self._places |= places
        self._sound.update(places.values())

    def _forget(self, shard: Path, keys: Sequence[str]) -> None:
        """Take damaged states out of a shard's index, and the shard away when none is left."""
        logger.warning("%s is damaged; %d of its states are computed again.", shard, len(set(keys)))
        with self._space.locked():
            left = {k: p for k, p in _read_index(shard).items() if k not in set(keys)}
            if left:
                write_json(
                    shard.with_suffix(INDEX), {"entries": {k: p[1:] for k, p in left.items()}}
                )
            else:
                self._space.drop(shard)
        for key in keys:
            del self._places[key]

    def _refresh(self) -> None:
        """Learn which shards came and which went; call it under the lock."""
        there = {
            index.stem for index in self.folder.glob(f"*{INDEX}") if not index.name.startswith(".")
        }
        if gone := self._seen - there:
            self._places = {k: p for k, p in self._places.items() if p.shard.stem not in gone}
        for stem in sorted(there - self._seen):
            shard = self.folder / f"{stem}{ARRAY}"
            entries = _read_index(shard)
            if not entries:
                logger.warning("%s is damaged; its states are computed again.", shard)
                self._space.drop(shard)
                there.discard(stem)
            for key, place in entries.items():
                self._places.setdefault(key, place)
        self._seen = there


def _read_index(shard: Path) -> dict[str, _Place]:
    """Read where the states of a shard lie; empty when its index is missing or damaged."""
    try:
        entries = read_json(shard.with_suffix(INDEX))["entries"]
        return {key: _placed(shard, *place) for key, place in entries.items()}
    except (StoreError, KeyError, TypeError, AttributeError, ValueError):
        return {}


def _placed(shard: Path, start: int, tokens: int, checksum: int) -> _Place:
    if not all(type(number) is int and number >= 0 for number in (start, tokens, checksum)):
        raise ValueError("no place of a state")
    return _Place(shard, start, tokens, checksum)
