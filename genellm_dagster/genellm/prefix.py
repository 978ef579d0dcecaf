"""The frozen prefix: the lower layers, run once per token profile.

What is kept of a profile is how its states *differ* from those of its reference, the profile with
the same genes and no value moved. The reference depends only on which genes were measured, so that
subtracting it takes away what a platform's gene list alone does to the states, and the difference
keeps its precision in float16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from genellm_dagster.genellm.embedding import GeneEmbedding
from genellm_dagster.tokenizers.protocol import TokenProfile

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


def reference_of(profile: TokenProfile) -> TokenProfile:
    """Return the same genes, in the vocabulary's order, and every value at zero."""
    return TokenProfile(
        gsm=profile.gsm,
        genes=np.sort(profile.genes),
        positions=profile.positions,
        values=np.zeros_like(profile.values),
    )


class PrefixEncoder:
    """Runs the layers below the head on token profiles.

    Args:
        model: The backbone.
        embedding: Its gene embeddings.
        head_layers: How many upper layers are left to the head.
        batch_tokens: Tokens in one forward pass.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        embedding: GeneEmbedding,
        head_layers: int,
        batch_tokens: int,
    ) -> None:
        self.model = model
        self.embedding = embedding
        self.depth = model.config.num_hidden_layers - head_layers
        self.batch_tokens = batch_tokens

    def states(
        self, genes: torch.Tensor, positions: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Run the prefix on tokens of equal number per sample; differentiable in the values.

        Args:
            genes: Gene indices, samples x tokens.
            positions: Sequence positions, samples x tokens.
            values: Moves along the value direction, samples x tokens.

        Returns:
            States that enter the head layers, samples x tokens x hidden, float32.
        """
        decoder = self.model.model
        hidden = self.embedding(genes, values).to(decoder.embed_tokens.weight.dtype)
        rotary = decoder.rotary_emb(hidden, position_ids=positions)
        for layer in decoder.layers[: self.depth]:
            # Without a mask the attention is causal, as the layers were trained.
            hidden = layer(hidden, attention_mask=None, position_embeddings=rotary)
        return hidden.float()

    def encode(
        self,
        profiles: Sequence[TokenProfile],
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Encode profiles, batched by their number of tokens, so that no token is padding.

        Args:
            profiles: What to encode.
            progress: Called with the number of tokens done and the total.

        Yields:
            Index of a profile and its states (tokens x hidden, float32), not in order.
        """
        import torch

        device = self.embedding.table.device
        total = sum(len(profile) for profile in profiles)
        done = 0
        for batch in self._batches(profiles):
            genes, positions, values = (
                torch.as_tensor(
                    np.stack([getattr(profiles[i], name) for i in batch]), device=device
                )
                for name in ("genes", "positions", "values")
            )
            with torch.inference_mode():
                states = self.states(genes.long(), positions.long(), values).cpu().numpy()
            done += genes.numel()
            if progress is not None:
                progress(done, total)
            yield from zip(batch, states, strict=True)

    def _batches(self, profiles: Sequence[TokenProfile]) -> Iterator[list[int]]:
        by_length: dict[int, list[int]] = {}
        for number, profile in enumerate(profiles):
            by_length.setdefault(len(profile), []).append(number)
        # Profiles of one length share a batch even where their genes differ: each token carries its
        # own gene and position.
        for length, members in sorted(by_length.items(), reverse=True):
            size = max(1, self.batch_tokens // length)
            for start in range(0, len(members), size):
                yield members[start : start + size]
