"""The states of a set of samples, as the head layers take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.prefix import PrefixEncoder, reference_of
from genellm_dagster.genellm.prefix_cache import PrefixCache, content_address, profile_key
from genellm_dagster.genellm.prefix_space import PrefixSpace
from genellm_dagster.tokenizers.protocol import TokenProfile

if TYPE_CHECKING:
    import torch

# What a kill may lose, and what goes at once when room is made.
_SHARD_PROFILES = 64
_SHARD_BYTES = 64 * 2**20
# What of a tokenizer's description the input embeddings are made from.
_EMBEDDING = ("genes", "low_word", "high_word")
# How states are rounded is part of their address.
_ROUNDING = "nearest, sum kept"
# Share of a step by which a number may lie off the nearest one before it takes the other.
_NEAR = 0.25


@dataclass(frozen=True)
class StateSet:
    """Prefix states of samples, padded to the longest.

    Attributes:
        gsm: Samples, in order.
        delta: States less those of the reference, samples x tokens x hidden; float16 when they
            were kept, float32 when not.
        reference: States of the distinct references, references x tokens x hidden, float32.
        reference_of: Index of each sample's reference.
        positions: Sequence positions, references x tokens; padding holds 0.
        present: Which tokens are there, references x tokens.
        readout_position: Position at which the read-out query stands.
        genes: Index of each token's gene in the vocabulary, samples x tokens; padding holds 0.
        values: Value of each token, samples x tokens; padding holds 0.
    """

    gsm: tuple[str, ...]
    delta: torch.Tensor
    reference: torch.Tensor
    reference_of: torch.Tensor
    positions: torch.Tensor
    present: torch.Tensor
    readout_position: int
    genes: torch.Tensor
    values: torch.Tensor

    def __len__(self) -> int:
        return len(self.gsm)

    @property
    def vocabulary(self) -> int:
        """Number of genes of the vocabulary; the read-out query stands behind the last."""
        return self.readout_position


@dataclass(frozen=True)
class CacheReport:
    """What an encoding did.

    Attributes:
        address: Content address of the states.
        profiles: Token profiles asked for, references apart.
        encoded: Profiles that had to be run, references included.
        tokens: Tokens that had to be run.
        stored_bytes: Size of the newly stored states.
    """

    address: str
    profiles: int
    encoded: int
    tokens: int
    stored_bytes: int


class PrefixStates:
    """Computes prefix states that are not stored yet and reads those that are.

    What was asked for is in use, and stays where it is, until this object or its process ends.

    Args:
        folder: Root of the cache.
        backbone: Whose prefix.
        tokenizer: The tokenizer's description, vocabulary included.
        head_layers: How many upper layers are left to the head.
        dtype: Number type in which the prefix is run.
        max_gigabytes: Most that the root may take, in GiB; no bound when none.
    """

    def __init__(
        self,
        folder: Path,
        backbone: Backbone,
        tokenizer: dict[str, Any],
        head_layers: int,
        dtype: str = "float32",
        max_gigabytes: float | None = None,
    ) -> None:
        parts = {
            "backbone": backbone.sha256,
            "depth": backbone.layers - head_layers,
            # What a tokenizer learned decides which tokens a profile gets, not what their states
            # are: folds that learn of their own share those of equal tokens.
            "embedding": {name: tokenizer[name] for name in _EMBEDDING},
            "dtype": dtype,
        }
        self.address = content_address({**parts, "rounding": _ROUNDING})
        self.readout_position = len(tokenizer["genes"])
        self._space = PrefixSpace(folder, max_gigabytes)
        self._deltas = PrefixCache(folder, self.address, backbone.hidden, "float16", self._space)
        self._references = PrefixCache(
            folder,
            content_address({**parts, "kind": "reference"}),
            backbone.hidden,
            "float32",
            self._space,
        )

    def encode(
        self,
        profiles: Sequence[TokenProfile],
        encoder: Callable[[], PrefixEncoder],
        progress: Callable[[int, int], None] | None = None,
    ) -> CacheReport:
        """Store the states of profiles that are not stored yet, or are damaged.

        Args:
            profiles: What is wanted.
            encoder: Gives the encoder; called only when something is missing, because loading
                weights takes time.
            progress: Called with tokens done and tokens in all.

        Returns:
            What was done.
        """
        by_key = {profile_key(profile): profile for profile in profiles}
        base_of = {key: _reference(profile) for key, profile in by_key.items()}
        references = dict(base_of.values())
        new_profiles = self._deltas.missing(by_key)
        new_references = self._references.missing(references)
        total = sum(len(by_key[key]) for key in new_profiles)
        total += sum(len(references[key]) for key in new_references)
        done = 0

        def report(now: int, _: int) -> None:
            if progress is not None:
                progress(done + now, total)

        if new_references:
            todo = [references[key] for key in new_references]
            encoded = dict(encoder().encode(todo, report))
            self._references.write({key: encoded[i] for i, key in enumerate(new_references)})
            done = sum(map(len, todo))
        stored = 0
        if new_profiles:
            base_keys = list(dict.fromkeys(base_of[key][0] for key in new_profiles))
            bases = dict(zip(base_keys, self._references.read(base_keys), strict=True))
            todo = [by_key[key] for key in new_profiles]
            stored = self._keep(
                (new_profiles[number], state, bases[base_of[new_profiles[number]][0]])
                for number, state in encoder().encode(todo, report)
            )
        # Used after what rests on them, so that no bound ever takes them first.
        self._references.use(references)
        with self._space.locked():
            self._space.make_room()
        return CacheReport(
            address=self.address,
            profiles=len(profiles),
            encoded=len(new_references) + len(new_profiles),
            tokens=total,
            stored_bytes=stored,
        )

    def load(self, profiles: Sequence[TokenProfile]) -> StateSet:
        """Read the stored states of profiles.

        Raises:
            StoreError: When one is not stored.
        """
        references = [_reference(profile) for profile in profiles]
        distinct = dict(references)
        deltas = self._deltas.each([profile_key(profile) for profile in profiles])
        bases = self._references.each(list(distinct))
        number = {key: index for index, key in enumerate(distinct)}
        return _gathered(
            profiles,
            [number[key] for key, _ in references],
            list(distinct.values()),
            deltas,
            bases,
            np.float16,
            self.readout_position,
        )

    def release(self) -> None:
        """Use nothing any more: what was asked for may be removed when room is needed."""
        self._space.release()

    def _keep(self, states: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> int:
        """Store how states differ from their bases, in shards, while the next ones are computed."""
        stored = 0
        pending: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        writing: Future[int] | None = None

        def write(shard: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> int:
            self._deltas.write({key: _halved(state - base) for key, (state, base) in shard.items()})
            return sum(state.size * 2 for state, _ in shard.values())

        with ThreadPoolExecutor(max_workers=1) as writer:
            for key, state, base in states:
                pending[key] = (state, base)
                full = len(pending) * state.size * 2 >= _SHARD_BYTES
                if full or len(pending) >= _SHARD_PROFILES:
                    stored += writing.result() if writing else 0
                    writing = writer.submit(write, pending)
                    pending = {}
            stored += writing.result() if writing else 0
            stored += write(pending)
        return stored


def uncached(
    profiles: Sequence[TokenProfile], encoder: PrefixEncoder, readout_position: int
) -> StateSet:
    """Compute the states of profiles and keep them nowhere, in float32.

    Args:
        profiles: What is wanted.
        encoder: Runs the prefix.
        readout_position: Position at which the read-out query stands.
    """
    references = [_reference(profile) for profile in profiles]
    distinct = dict(references)
    number = {key: index for index, key in enumerate(distinct)}
    which = [number[key] for key, _ in references]
    bases = dict(encoder.encode(list(distinct.values())))
    return _gathered(
        profiles,
        which,
        list(distinct.values()),
        ((row, state - bases[which[row]]) for row, state in encoder.encode(profiles)),
        bases.items(),
        np.float32,
        readout_position,
    )


def _halved(state: np.ndarray) -> np.ndarray:
    """Round a profile's state to float16 so that its tokens' errors cancel and none is spoiled.

    The read-out averages over tokens, and single genes are read from single tokens. So each number
    becomes the nearest one, but for as many as it takes to make the sum over the tokens right:
    those that lie nearest to the middle between two numbers take the other one. No error is more
    than three quarters of its own number's step. Where a token draws all attention its state is
    thousands of times the others', and so is its error: it stays where it is, because what would
    make up for it in another token would be more than that token's state.
    """
    with np.errstate(over="ignore"):
        rounded = state.T.astype(np.float16)
    if not np.isfinite(rounded).all():
        return rounded.T  # Writing refuses it.
    error = rounded.astype(np.float32) - state.T
    other = np.nextafter(rounded, np.where(error > 0, -np.inf, np.inf).astype(np.float16))
    change = other.astype(np.float32) - rounded
    total = error.sum(axis=1, keepdims=True)
    nearness = np.abs(error) / np.abs(change)
    useful = (error * total > 0) & (nearness >= _NEAR) & (np.abs(change) <= np.abs(total))
    order = np.argsort(np.where(useful, -nearness, 1.0), axis=1)
    change = np.take_along_axis(np.where(useful, change, 0.0), order, axis=1)
    left = np.hstack([total, total + change.cumsum(axis=1)])
    number = np.abs(left).argmin(axis=1)[:, None]
    turned = np.zeros_like(useful)
    np.put_along_axis(turned, order, np.arange(change.shape[1]) < number, axis=1)
    return np.where(turned & useful, other, rounded).T


def _reference(profile: TokenProfile) -> tuple[str, TokenProfile]:
    reference = reference_of(profile)
    return profile_key(reference), reference


def _gathered(
    profiles: Sequence[TokenProfile],
    which: list[int],
    references: Sequence[TokenProfile],
    deltas: Iterable[tuple[int, np.ndarray]],
    bases: Iterable[tuple[int, np.ndarray]],
    dtype: type[np.floating],
    readout_position: int,
) -> StateSet:
    """Put states together, padded to the longest profile; ``which`` reference is each sample's."""
    import torch

    longest = max(map(len, profiles))
    positions = np.zeros((len(references), longest), dtype=np.int64)
    present = np.zeros((len(references), longest), dtype=bool)
    for row, profile in enumerate(references):
        positions[row, : len(profile)] = profile.positions
        present[row, : len(profile)] = True
    genes = np.zeros((len(profiles), longest), dtype=np.int64)
    values = np.zeros((len(profiles), longest), dtype=np.float32)
    for row, profile in enumerate(profiles):
        genes[row, : len(profile)] = profile.genes
        values[row, : len(profile)] = profile.values
    return StateSet(
        gsm=tuple(profile.gsm for profile in profiles),
        delta=torch.from_numpy(_padded(deltas, len(profiles), longest, dtype)),
        reference=torch.from_numpy(_padded(bases, len(references), longest, np.float32)),
        reference_of=torch.as_tensor(which),
        positions=torch.from_numpy(positions),
        present=torch.from_numpy(present),
        readout_position=readout_position,
        genes=torch.from_numpy(genes),
        values=torch.from_numpy(values),
    )


def _padded(
    states: Iterable[tuple[int, np.ndarray]], rows: int, tokens: int, dtype: type[np.floating]
) -> np.ndarray:
    padded = np.zeros((rows, tokens, 0), dtype=dtype)
    for row, state in states:
        if not padded.size:
            padded = np.zeros((rows, tokens, state.shape[1]), dtype=dtype)
        padded[row, : len(state)] = state
    return padded
