"""The states of a set of samples, as the head layers take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.prefix import PrefixEncoder, reference_of
from genellm_dagster.genellm.prefix_cache import PrefixCache, content_address, profile_key
from genellm_dagster.tokenizers.protocol import TokenProfile

if TYPE_CHECKING:
    import torch

_SHARD_PROFILES = 64


@dataclass(frozen=True)
class StateSet:
    """Prefix states of samples, padded to the longest.

    Attributes:
        gsm: Samples, in order.
        delta: States less those of the reference, samples x tokens x hidden, float16.
        reference: States of the distinct references, references x tokens x hidden, float32.
        reference_of: Index of each sample's reference.
        positions: Sequence positions, references x tokens; padding holds 0.
        present: Which tokens are there, references x tokens.
        readout_position: Position at which the read-out query stands.
    """

    gsm: tuple[str, ...]
    delta: torch.Tensor
    reference: torch.Tensor
    reference_of: torch.Tensor
    positions: torch.Tensor
    present: torch.Tensor
    readout_position: int

    def __len__(self) -> int:
        return len(self.gsm)


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

    Args:
        folder: Root of the cache.
        backbone: Whose prefix.
        tokenizer: The tokenizer's description, vocabulary included.
        head_layers: How many upper layers are left to the head.
        dtype: Number type in which the prefix is run.
    """

    def __init__(
        self,
        folder: Path,
        backbone: Backbone,
        tokenizer: dict[str, Any],
        head_layers: int,
        dtype: str = "float32",
    ) -> None:
        parts = {
            "backbone": backbone.sha256,
            "depth": backbone.layers - head_layers,
            "tokenizer": tokenizer,
            "dtype": dtype,
        }
        self.address = content_address(parts)
        self.readout_position = len(tokenizer["genes"])
        self._deltas = PrefixCache(folder, self.address, backbone.hidden, "float16")
        self._references = PrefixCache(
            folder, content_address({**parts, "kind": "reference"}), backbone.hidden, "float32"
        )

    def encode(
        self,
        profiles: Sequence[TokenProfile],
        encoder: Callable[[], PrefixEncoder],
        progress: Callable[[int, int], None] | None = None,
    ) -> CacheReport:
        """Store the states of profiles that are not stored yet.

        Args:
            profiles: What is wanted.
            encoder: Gives the encoder; called only when something is missing, because loading
                weights takes time.
            progress: Called with tokens done and tokens in all.

        Returns:
            What was done.
        """
        by_key = {profile_key(profile): profile for profile in profiles}
        references = {profile_key(reference_of(profile)): profile for profile in profiles}
        new_references = self._references.missing(references)
        new_profiles = self._deltas.missing(by_key)
        if not new_references and not new_profiles:
            return CacheReport(self.address, len(profiles), 0, 0, 0)
        runner = encoder()
        total = sum(len(references[key]) for key in new_references)
        total += sum(len(by_key[key]) for key in new_profiles)
        done = 0

        def report(now: int, _: int) -> None:
            if progress is not None:
                progress(done + now, total)

        if new_references:
            todo = [reference_of(references[key]) for key in new_references]
            encoded = dict(runner.encode(todo, report))
            self._references.write({key: encoded[i] for i, key in enumerate(new_references)})
            done += sum(len(profile) for profile in todo)
        stored = 0
        for start in range(0, len(new_profiles), _SHARD_PROFILES):
            keys = new_profiles[start : start + _SHARD_PROFILES]
            todo = [by_key[key] for key in keys]
            bases = self._references.read([profile_key(reference_of(p)) for p in todo])
            shard = {keys[i]: state - bases[i] for i, state in runner.encode(todo, report)}
            self._deltas.write(shard)
            done += sum(len(profile) for profile in todo)
            stored += sum(state.size * 2 for state in shard.values())
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
        import torch

        longest = max(len(profile) for profile in profiles)
        deltas = self._deltas.read([profile_key(profile) for profile in profiles])
        keys = [profile_key(reference_of(profile)) for profile in profiles]
        distinct = list(dict.fromkeys(keys))
        number = {key: index for index, key in enumerate(distinct)}
        holder = dict(zip(keys, profiles, strict=True))
        hidden = deltas[0].shape[1]
        delta = np.zeros((len(profiles), longest, hidden), dtype=np.float16)
        for row, state in enumerate(deltas):
            delta[row, : len(state)] = state
        reference = np.zeros((len(distinct), longest, hidden), dtype=np.float32)
        positions = np.zeros((len(distinct), longest), dtype=np.int64)
        present = np.zeros((len(distinct), longest), dtype=bool)
        for row, state in enumerate(self._references.read(distinct)):
            reference[row, : len(state)] = state
            positions[row, : len(state)] = holder[distinct[row]].positions
            present[row, : len(state)] = True
        return StateSet(
            gsm=tuple(profile.gsm for profile in profiles),
            delta=torch.from_numpy(delta),
            reference=torch.from_numpy(reference),
            reference_of=torch.as_tensor([number[key] for key in keys]),
            positions=torch.from_numpy(positions),
            present=torch.from_numpy(present),
            readout_position=self.readout_position,
        )
