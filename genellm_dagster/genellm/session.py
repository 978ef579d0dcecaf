"""A backbone at work on one vocabulary: loaded when needed, with its prefix states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genellm_dagster.genellm.backbone import (
    Backbone,
    load_model,
    load_text_tokenizer,
    require_room,
    resolve_device,
)
from genellm_dagster.genellm.embedding import GeneEmbedding
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.prefix import PrefixEncoder
from genellm_dagster.genellm.states import CacheReport, PrefixStates, StateSet
from genellm_dagster.tokenizers.protocol import TokenProfile

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


class Session:
    """Puts backbone, vocabulary and prefix states together.

    Args:
        backbone: A prepared backbone.
        tokenizer: The tokenizer's description: kind, options and ``genes``.
        options: All about the model.
        states_folder: Root of the prefix states.
    """

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: dict[str, Any],
        options: GeneLLMOptions,
        states_folder: Path,
    ) -> None:
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.options = options
        require_room(backbone, len(tokenizer["genes"]) + options.adapter.positions)
        self.states = PrefixStates(
            states_folder,
            backbone,
            tokenizer,
            options.prefix.head_layers,
            options.backbone.numbers,
            options.prefix.max_gigabytes,
        )

    @cached_property
    def model(self) -> LlamaForCausalLM:
        """The frozen weights, on the device of the settings."""
        device = resolve_device(self.options.backbone.device)
        numbers, head = self.options.backbone, self.options.prefix.head_layers
        return load_model(self.backbone, str(device), numbers.dtype, numbers.quantisation, head)

    @cached_property
    def encoder(self) -> PrefixEncoder:
        """The prefix encoder; the weights are loaded when it is first asked for."""
        embedding = GeneEmbedding(
            self.model,
            load_text_tokenizer(self.backbone),
            self.tokenizer["genes"],
            self.tokenizer["low_word"],
            self.tokenizer["high_word"],
        )
        prefix = self.options.prefix
        return PrefixEncoder(self.model, embedding, prefix.head_layers, prefix.batch_tokens)

    def encode(
        self,
        profiles: Sequence[TokenProfile],
        progress: Callable[[int, int], None] | None = None,
    ) -> CacheReport:
        """Store the prefix states of profiles that are not stored yet."""
        return self.states.encode(profiles, lambda: self.encoder, progress)

    def load(self, profiles: Sequence[TokenProfile]) -> StateSet:
        """Return the prefix states of profiles, computing what is not stored."""
        self.encode(profiles)
        return self.states.load(profiles)
