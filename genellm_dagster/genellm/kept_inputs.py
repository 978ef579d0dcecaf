"""What training meets unchanged in every step, computed once: the frozen side of the last layer.

With one head layer the tokens' states never change in training, so neither do their keys and values
under the frozen projections, nor the pooled state. A step then needs only what the adapter adds,
the attention of one query, and the MLP at one position. The low-rank part of a value is linear in
the token's normed state, so it is pooled by the attention before it is raised to full width. IA3
scales keys before their rotation, and pooled values. Virtual tokens bring keys and values along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from genellm_dagster.genellm.states import StateSet

if TYPE_CHECKING:
    from genellm_dagster.genellm.readout import ReadOut

_CHUNK = 64


@dataclass(frozen=True)
class KeptTokens:
    """The frozen side of the last layer for some profiles.

    Attributes:
        pooled: Mean state, profiles x hidden.
        key: Keys with their rotation, profiles x key heads x tokens x head width.
        value: Values, of the same shape.
        inverse_rms: What the layer's norm multiplies each token's state by, before its weight;
            profiles x tokens.
    """

    pooled: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    inverse_rms: torch.Tensor


@dataclass(frozen=True)
class KeptInputs:
    """The frozen side of the last layer for all profiles of a state set.

    Attributes:
        samples: Of the samples.
        references: Of their references.
        query_rotary: Cosine and sine at the read-out position, 1 x 1 x head width.
    """

    samples: KeptTokens
    references: KeptTokens
    query_rotary: tuple[torch.Tensor, torch.Tensor]


def keep_inputs(readout: ReadOut, states: StateSet, megabytes: int) -> KeptInputs | None:
    """Compute the frozen side of the last layer once.

    Args:
        readout: The head layers, adapted or not.
        states: Prefix states.
        megabytes: Most memory that this may take.

    Returns:
        What :func:`represent_kept` needs; none when there is more than one head layer, when the
        adapter does not split (:func:`splits`), or when it would take more memory. Training is then
        slower, and the same.
    """
    attention = readout.last.self_attn
    if not splits(readout):
        return None
    width = _frozen(attention.k_proj).weight.shape[0]
    tokens = (len(states) + len(states.reference)) * states.delta.shape[1]
    if tokens * (2 * width + 1) * 4 > megabytes * 2**20:
        return None
    every = torch.arange(len(states))
    references = torch.arange(len(states.reference))
    with torch.no_grad():
        position = torch.tensor([[states.readout_position]], device=readout.norm.weight.device)
        return KeptInputs(
            samples=_together(
                [
                    _kept(readout, states, states.reference_of[part], states.delta[part])
                    for part in every.split(_CHUNK)
                ]
            ),
            references=_together(
                [_kept(readout, states, part, None) for part in references.split(_CHUNK)]
            ),
            query_rotary=readout.rotary(readout.norm.weight, position_ids=position),
        )


def splits(readout: ReadOut) -> bool:
    """Say whether keys and values of the last layer are frozen ones that an adapter adds to.

    They are with one head layer, and plain LoRA, IA3 or nothing on its two projections; in front of
    more layers than one, virtual tokens and whatever the layers carry change the tokens' states.
    """
    attention = readout.last.self_attn
    return not len(readout.full) and _splits(attention.k_proj) and _splits(attention.v_proj)


def represent_kept(
    readout: ReadOut, states: StateSet, rows: torch.Tensor, kept: KeptInputs
) -> torch.Tensor:
    """Return what :func:`genellm_dagster.genellm.readout.represent` does, from kept inputs.

    Args:
        readout: The head layers.
        states: Prefix states.
        rows: Which samples.
        kept: From :func:`keep_inputs`, of the same backbone and states.

    Returns:
        Representations, rows x hidden, float32.
    """
    device = readout.norm.weight.device
    attention = readout.last.self_attn
    used, which = torch.unique(states.reference_of[rows], return_inverse=True)
    present = states.present[used].to(device)
    at_rows, at_used, which = rows.to(device), used.to(device), which.to(device)

    def low_rank(down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Project the normed states of the samples and of the references down to LoRA's rank."""
        down = down * readout.last.input_layernorm.weight.float()
        reference = states.reference[used].to(device) @ down.T
        delta = states.delta[rows].to(device).float() @ down.T
        return (
            (reference[which] + delta) * kept.samples.inverse_rms[at_rows].unsqueeze(-1),
            reference * kept.references.inverse_rms[at_used].unsqueeze(-1),
        )

    keys = [kept.samples.key[at_rows], kept.references.key[at_used]]
    added, scaled = _lora(attention.k_proj), _scales(attention.k_proj, attention.head_dim)
    if added or scaled:
        cos, sin = readout.rotary(keys[0], position_ids=states.positions[used].to(device))
        turns = ((cos[which], sin[which]), (cos, sin))
    for down, up in added:
        for side, (lowered, turn) in enumerate(zip(low_rank(down), turns, strict=True)):
            raised = (lowered @ up.T).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            keys[side] = keys[side] + _rotated(raised, *turn)
    for vector in scaled:
        for side, (turn_cos, turn_sin) in enumerate(turns):
            plain = _rotated(keys[side], turn_cos, -turn_sin)
            keys[side] = _rotated(vector * plain, turn_cos, turn_sin)
    values = [(low_rank(down), up) for down, up in _lora(attention.v_proj)]
    scales = _scales(attention.v_proj, attention.head_dim)
    in_front = _virtual(readout)
    read = []
    for side, (part, at, mask) in enumerate(
        ((kept.samples, at_rows, present[which]), (kept.references, at_used, present))
    ):
        read.append(
            _read(
                readout,
                part.pooled[at],
                keys[side],
                part.value[at],
                [(lowered[side], up) for lowered, up in values],
                scales,
                in_front,
                mask,
                kept.query_rotary,
            )
        )
    return read[0] - read[1][which]


def _read(
    readout: ReadOut,
    pooled: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    low_rank: list[tuple[torch.Tensor, torch.Tensor]],
    scales: list[torch.Tensor],
    in_front: tuple[torch.Tensor, torch.Tensor] | None,
    present: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Attention of the one query and the MLP; key heads each serve a group of query heads."""
    attention = readout.last.self_attn
    heads = key.shape[1]
    dtype = readout.norm.weight.dtype
    pooled = pooled.to(dtype)
    if in_front is not None:
        key, value = (
            torch.cat([virtual.expand(len(own), -1, -1, -1), own], dim=2)
            for virtual, own in zip(in_front, (key, value), strict=True)
        )
        present = nn.functional.pad(present, (in_front[0].shape[2], 0), value=True)
    query = attention.q_proj(readout.last.input_layernorm(pooled))
    query = query.unflatten(-1, (-1, attention.head_dim)).unsqueeze(2)
    query = _rotated(query, *rotary).float().unflatten(1, (heads, -1)).squeeze(3)
    score = query @ key.transpose(2, 3) * attention.scaling
    share = score.masked_fill(~present[:, None, None, :], float("-inf")).softmax(dim=-1)
    attended = share @ value
    for lowered, up in low_rank:
        by_head = up.unflatten(0, (heads, attention.head_dim))
        attended = attended + (share @ lowered.unsqueeze(1)) @ by_head.transpose(1, 2)
    for vector in scales:
        attended = attended * vector
    pooled = pooled + attention.o_proj(attended.flatten(1).to(dtype))
    pooled = pooled + readout.last.mlp(readout.last.post_attention_layernorm(pooled))
    read: torch.Tensor = readout.norm(pooled).float()
    return read


def _kept(
    readout: ReadOut, states: StateSet, references: torch.Tensor, delta: torch.Tensor | None
) -> KeptTokens:
    attention = readout.last.self_attn
    norm = readout.last.input_layernorm
    device = readout.norm.weight.device
    hidden = states.reference[references].to(device)
    if delta is not None:
        hidden = hidden + delta.to(device).float()
    hidden = hidden.to(readout.norm.weight.dtype)
    present = states.present[references].to(device)
    normed = norm(hidden)
    key, value = (
        _frozen(projection)(normed).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for projection in (attention.k_proj, attention.v_proj)
    )
    rotary = readout.rotary(hidden, position_ids=states.positions[references].to(device))
    key = _rotated(key, *rotary)
    mean_square = hidden.float().square().mean(dim=-1)
    return KeptTokens(
        pooled=readout.pool(hidden, present).squeeze(1),
        key=key.float().contiguous(),
        value=value.float().contiguous(),
        inverse_rms=torch.rsqrt(mean_square + norm.variance_epsilon),
    )


def _together(parts: list[KeptTokens]) -> KeptTokens:
    names = ("pooled", "key", "value", "inverse_rms")
    return KeptTokens(**{name: torch.cat([getattr(p, name) for p in parts]) for name in names})


def _frozen(projection: nn.Module) -> nn.Linear:
    from peft.tuners.tuners_utils import BaseTunerLayer

    base = projection.get_base_layer() if isinstance(projection, BaseTunerLayer) else projection
    if not isinstance(base, nn.Linear):
        raise TypeError(f"a projection is a {type(base).__name__}, not a linear layer")
    return base


def _rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate keys or queries (samples x heads x tokens x width) to their positions."""
    rotated: torch.Tensor = apply_rotary_pos_emb(states, states, cos, sin)[0]
    return rotated


def _virtual(readout: ReadOut) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Keys, with their rotation, and values of the virtual tokens, 1 x heads x tokens x width."""
    if readout.prompt is None:
        return None
    attention = readout.last.self_attn
    states, positions = readout.virtual_tokens(readout.prompt)
    normed = readout.last.input_layernorm(states[None])
    key, value = (
        projection(normed).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for projection in (attention.k_proj, attention.v_proj)
    )
    rotary = readout.rotary(normed, position_ids=positions[None])
    return _rotated(key, *rotary).float(), value.float()


def _splits(projection: nn.Module) -> bool:
    """Whether a projection is linear, alone or with plain LoRA or IA3 on what it gives."""
    from peft.tuners import ia3, lora
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not isinstance(projection, BaseTunerLayer):
        return isinstance(projection, nn.Linear)
    if projection.merged:
        return False
    if isinstance(projection, ia3.Linear):
        return not projection.is_feedforward
    return isinstance(projection, lora.Linear) and not (
        any(projection.use_dora.values())
        or any(not isinstance(drop, nn.Identity) for drop in projection.lora_dropout.values())
    )


def _lora(projection: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """LoRA's matrices of a projection: down (rank x in) and, with its scaling, up (out x rank)."""
    from peft.tuners.lora import LoraLayer

    if not isinstance(projection, LoraLayer) or projection.disable_adapters:
        return []
    return [
        (
            cast("nn.Linear", projection.lora_A[name]).weight.float(),
            cast("nn.Linear", projection.lora_B[name]).weight.float() * projection.scaling[name],
        )
        for name in projection.active_adapters
        if name in projection.lora_A
    ]


def _scales(projection: nn.Module, width: int) -> list[torch.Tensor]:
    """IA3's vectors of a projection, heads x 1 x head width."""
    from peft.tuners.ia3 import IA3Layer

    if not isinstance(projection, IA3Layer) or projection.disable_adapters:
        return []
    return [
        projection.ia3_l[name].float().reshape(-1, 1, width)
        for name in projection.active_adapters
        if name in projection.ia3_l
    ]
