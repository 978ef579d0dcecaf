"""A backbone at work on one vocabulary: loaded when needed, with its prefix states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

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
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase


class Weights:
    """The frozen weights and the text tokenizer of a backbone, loaded when first asked for.

    Args:
        backbone: A prepared backbone.
        options: Say the device and the numbers, and which layers stay whole in 4 bits.
    """

    def __init__(self, backbone: Backbone, options: GeneLLMOptions) -> None:
        self.backbone = backbone
        self.options = options

    def serve(self, backbone: Backbone, options: GeneLLMOptions) -> bool:
        """Whether these are the weights that other options ask for, too."""
        # In 4 bits the head layers stay whole, so that their number decides what is loaded.
        whole = options.backbone.quantisation == "none"
        alike = options.prefix.head_layers == self.options.prefix.head_layers
        return (
            backbone == self.backbone
            and options.backbone == self.options.backbone
            and (whole or alike)
        )

    @cached_property
    def model(self) -> LlamaForCausalLM:
        """The frozen weights, on the device of the settings."""
        device = resolve_device(self.options.backbone.device)
        numbers, head = self.options.backbone, self.options.prefix.head_layers
        return load_model(self.backbone, str(device), numbers.dtype, numbers.quantisation, head)

    @cached_property
    def text_tokenizer(self) -> PreTrainedTokenizerBase:
        """The text tokenizer, which reads gene symbols as words."""
        return load_text_tokenizer(self.backbone)


class Session:
    """Puts backbone, vocabulary and prefix states together.

    Args:
        backbone: A prepared backbone.
        tokenizer: The tokenizer's description: kind, options and ``genes``.
        options: All about the model.
        states_folder: Root of the prefix states.
        weights: Those of another session, where they serve; loaded when needed otherwise.
    """

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: dict[str, Any],
        options: GeneLLMOptions,
        states_folder: Path,
        weights: Weights | None = None,
    ) -> None:
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.options = options
        self.states_folder = states_folder
        if weights is None or not weights.serve(backbone, options):
            weights = Weights(backbone, options)
        self.weights = weights
        require_room(backbone, len(tokenizer["genes"]) + options.adapter.positions)
        self.states = PrefixStates(
            states_folder,
            backbone,
            tokenizer,
            options.prefix.head_layers,
            options.backbone.numbers,
            options.prefix.max_gigabytes,
        )

    def with_tokenizer(self, tokenizer: dict[str, Any]) -> Self:
        """Return a session on another tokenizer or vocabulary that shares the loaded weights.

        Args:
            tokenizer: The tokenizer's description: kind, options and ``genes``.
        """
        return self._with(tokenizer, self.options)

    def with_options(self, options: GeneLLMOptions) -> Self:
        """Return a session with other options, sharing the loaded weights where they serve.

        Args:
            options: All about the model.
        """
        return self if options == self.options else self._with(self.tokenizer, options)

    @property
    def model(self) -> LlamaForCausalLM:
        """The frozen weights, on the device of the settings."""
        return self.weights.model

    @cached_property
    def encoder(self) -> PrefixEncoder:
        """The prefix encoder; the weights are loaded when it is first asked for."""
        embedding = GeneEmbedding(
            self.model,
            self.weights.text_tokenizer,
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

    def _with(self, tokenizer: dict[str, Any], options: GeneLLMOptions) -> Self:
        return type(self)(self.backbone, tokenizer, options, self.states_folder, self.weights)
