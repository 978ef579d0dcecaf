"""Token profiles to input embeddings of the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone_words import word_tokens

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase


class GeneEmbedding:
    """Holds an embedding a gene and the direction along which a value moves it.

    A gene's embedding is the mean over the text tokens of its symbol, read as a word. The direction
    is the unit vector from the embedding of one word ("low") to that of another ("high").

    Args:
        model: The backbone, whose embedding table is read.
        tokenizer: Its text tokenizer.
        genes: The vocabulary.
        low_word: Word at the low end.
        high_word: Word at the high end.

    Attributes:
        table: Embeddings, genes x hidden.
        direction: Unit vector, hidden.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        genes: Sequence[str],
        low_word: str,
        high_word: str,
    ) -> None:
        import torch

        weight = model.model.embed_tokens.weight.detach()

        def word(text: str) -> torch.Tensor:
            ids = word_tokens(tokenizer, text)
            if not ids:
                raise ModelError(f"The text tokenizer of the backbone knows no token for {text!r}.")
            return weight[torch.as_tensor(ids, device=weight.device)].float().mean(dim=0)

        self.table = torch.stack([word(gene) for gene in genes])
        direction = word(high_word) - word(low_word)
        if float(direction.norm()) == 0.0:
            raise ModelError(f"The words {low_word!r} and {high_word!r} are the same to the model.")
        self.direction = direction / direction.norm()

    def __call__(self, genes: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Embed tokens.

        Args:
            genes: Gene indices, samples x tokens.
            values: Moves along the direction, samples x tokens; differentiable.

        Returns:
            Embeddings, samples x tokens x hidden, float32.
        """
        return self.table[genes] + values.unsqueeze(-1) * self.direction
