"""The head layers: from prefix states to one representation a sample.

All head layers but the last run on every token. Of the last only what is pooled is computed: one
read-out position, whose query is the mean state of the sample's tokens and which attends to all of
them. A sample's representation is its read-out less the read-out of its reference (the same genes,
no value moved).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from genellm_dagster.genellm.kept_inputs import KeptInputs, represent_kept
from genellm_dagster.genellm.states import StateSet

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import LlamaModel
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm


class ReadOut(nn.Module):
    """Runs the head layers of a decoder, adapted or not.

    Args:
        decoder: The backbone's decoder; its upper layers may carry LoRA.
        head_layers: How many upper layers to run.
    """

    last: LlamaDecoderLayer
    norm: LlamaRMSNorm

    def __init__(self, decoder: LlamaModel, head_layers: int) -> None:
        super().__init__()
        layers = list(decoder.layers)
        self.full = nn.ModuleList(layers[len(layers) - head_layers : -1])
        self.last = cast("LlamaDecoderLayer", layers[-1])
        self.norm = decoder.norm
        self.rotary = decoder.rotary_emb

    @classmethod
    def of(cls, wrapped: PeftModel, head_layers: int) -> ReadOut:
        """Return the read-out of a backbone that PEFT has wrapped."""
        return cls(cast("LlamaModel", wrapped.get_base_model().model), head_layers)

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
        cos, sin = self.rotary(hidden, position_ids=positions)
        if len(self.full):
            mask = _causal_mask(present, hidden.dtype)
            for layer in self.full:
                hidden = layer(hidden, attention_mask=mask, position_embeddings=(cos, sin))
        pooled = self.pool(hidden, present)
        pooled = pooled + self._attend(pooled, hidden, (cos, sin), present, readout_position)
        pooled = pooled + self.last.mlp(self.last.post_attention_layernorm(pooled))
        read: torch.Tensor = self.norm(pooled).squeeze(1).float()
        return read

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
        kept: The frozen side of the last layer, when it was computed before.

    Returns:
        Representations, rows x hidden, float32.
    """
    if kept is not None:
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
