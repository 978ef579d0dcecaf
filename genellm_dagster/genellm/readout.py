"""The head layers: from prefix states to one representation a sample.

All head layers but the last run on every token. Of the last only what is pooled is computed: one
read-out position, whose query is the mean state of the sample's tokens and which attends to all of
them. A sample's representation is its read-out less the read-out of its reference (the same genes,
no value moved).

Virtual tokens (the adapter kind prompt) stand in front of the tokens of the sample and of its
reference alike, at positions below zero, so that the tokens keep those at which the prefix met
them. All layers and the read-out attend to them; the query's state is the mean of the sample's
tokens alone, for the mean of virtual ones is the same for every sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from genellm_dagster.genellm.kept_inputs import KeptInputs, represent_kept, splits
from genellm_dagster.genellm.states import StateSet

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import LlamaModel
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm


class ReadOut(nn.Module):
    """Runs the head layers of a decoder, adapted or not.

    Args:
        decoder: The backbone's decoder; its upper layers may carry LoRA or IA3.
        head_layers: How many upper layers to run.
        prompt: States of virtual tokens; none where the adapter has none.
    """

    last: LlamaDecoderLayer
    norm: LlamaRMSNorm

    def __init__(
        self, decoder: LlamaModel, head_layers: int, prompt: nn.Embedding | None = None
    ) -> None:
        super().__init__()
        layers = list(decoder.layers)
        self.full = nn.ModuleList(layers[len(layers) - head_layers : -1])
        self.last = cast("LlamaDecoderLayer", layers[-1])
        self.norm = decoder.norm
        self.rotary = decoder.rotary_emb
        self.prompt = prompt

    @classmethod
    def of(cls, wrapped: PeftModel, head_layers: int) -> ReadOut:
        """Return the read-out of a backbone that PEFT has wrapped."""
        prompt = None
        if wrapped.active_peft_config.is_prompt_learning:
            encoder = wrapped.prompt_encoder[str(wrapped.active_adapter)]
            prompt = cast("nn.Embedding", encoder.embedding)
        return cls(cast("LlamaModel", wrapped.get_base_model().model), head_layers, prompt)

    def forward(
        self,
        states: torch.Tensor,
        positions: torch.Tensor,
        present: torch.Tensor,
        readout_position: int,
    ) -> torch.Tensor:
        """Read samples out.

        Args:
            states: Prefix states, samples x tokens x hidden.
            positions: Sequence positions, samples x tokens.
            present: Which tokens are there, samples x tokens.
            readout_position: Position of the read-out query.

        Returns:
            Read-outs, samples x hidden.
        """
        hidden = states.to(self.norm.weight.dtype)
        virtual = 0
        if self.prompt is not None:
            prompt, before = self.virtual_tokens(self.prompt)
            virtual, samples = len(prompt), len(hidden)
            hidden = torch.cat([prompt.expand(samples, -1, -1), hidden], dim=1)
            positions = torch.cat([before.expand(samples, -1), positions], dim=1)
            present = nn.functional.pad(present, (virtual, 0), value=True)
        cos, sin = self.rotary(hidden, position_ids=positions)
        if len(self.full):
            mask = _causal_mask(present, hidden.dtype)
            for layer in self.full:
                hidden = layer(hidden, attention_mask=mask, position_embeddings=(cos, sin))
        pooled = self.pool(hidden[:, virtual:], present[:, virtual:])
        pooled = pooled + self._attend(pooled, hidden, (cos, sin), present, readout_position)
        pooled = pooled + self.last.mlp(self.last.post_attention_layernorm(pooled))
        read: torch.Tensor = self.norm(pooled).squeeze(1).float()
        return read

    def virtual_tokens(self, prompt: nn.Embedding) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the virtual tokens' states, tokens x hidden, and their positions below zero."""
        states = prompt.weight.to(self.norm.weight.dtype)
        return states, torch.arange(-len(states), 0, device=states.device)

    @staticmethod
    def pool(hidden: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Return the mean state of the tokens that are there, samples x 1 x hidden."""
        weight = present.to(hidden.dtype).unsqueeze(-1)
        return (hidden * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True)

    def _attend(
        self,
        pooled: torch.Tensor,
        hidden: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        present: torch.Tensor,
        readout_position: int,
    ) -> torch.Tensor:
        attention = self.last.self_attn
        samples, tokens, _ = hidden.shape
        normed = self.last.input_layernorm(hidden)

        def heads(projected: torch.Tensor, length: int) -> torch.Tensor:
            return projected.view(samples, length, -1, attention.head_dim).transpose(1, 2)

        query = heads(attention.q_proj(self.last.input_layernorm(pooled)), 1)
        key = heads(attention.k_proj(normed), tokens)
        value = heads(attention.v_proj(normed), tokens)
        where = torch.full((samples, 1), readout_position, device=hidden.device)
        query_cos, query_sin = self.rotary(hidden, position_ids=where)
        query, _ = apply_rotary_pos_emb(query, query, query_cos, query_sin)
        key, _ = apply_rotary_pos_emb(key, key, *rotary)
        attended = nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=present[:, None, None, :],
            scale=attention.scaling,
            enable_gqa=True,
        )
        out: torch.Tensor = attention.o_proj(attended.transpose(1, 2).reshape(samples, 1, -1))
        return out


def represent(
    readout: ReadOut, states: StateSet, rows: torch.Tensor, kept: KeptInputs | None = None
) -> torch.Tensor:
    """Return the representations of some samples: read-out less that of the reference.

    Args:
        readout: The head layers.
        states: Prefix states.
        rows: Which samples.
        kept: The frozen side of the last layer, when it was computed before; not used where the
            adapter does not leave it as it is.

    Returns:
        Representations, rows x hidden, float32.
    """
    if kept is not None and splits(readout):
        return represent_kept(readout, states, rows, kept)
    device = readout.norm.weight.device
    used, which = torch.unique(states.reference_of[rows], return_inverse=True)
    reference = states.reference[used].to(device)
    positions = states.positions[used].to(device)
    present = states.present[used].to(device)
    which = which.to(device)
    samples = reference[which] + states.delta[rows].to(device).float()
    at = states.readout_position
    own = readout(samples, positions[which], present[which], at)
    return own - readout(reference, positions, present, at)[which]


def _causal_mask(present: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    tokens = present.shape[1]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=present.device).tril()
    allowed = causal[None, None] & present[:, None, None, :]
    # A padded query attends to itself, so that its row is no softmax over nothing.
    allowed = allowed | torch.eye(tokens, dtype=torch.bool, device=present.device)[None, None]
    return torch.zeros(allowed.shape, dtype=dtype, device=present.device).masked_fill(
        ~allowed, torch.finfo(dtype).min
    )
