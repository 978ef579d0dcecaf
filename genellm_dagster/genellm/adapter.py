"""The trained part: PEFT's weights on the head layers and the score head, and their files.

An adapter is an ensemble of members that differ in their seeds. On disk each member is a folder in
PEFT's own format beside the score head in safetensors; ``adapter.json`` says what they belong to.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genellm_dagster.errors import ModelError, StoreError
from genellm_dagster.files import atomic_folder, read_json, sha256_of, write_json
from genellm_dagster.genellm.adapter_kinds import peft_config, smaller
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.options import AdapterOptions

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM

_DESCRIPTION = "adapter.json"
_HEAD = "head.safetensors"
_WEIGHTS = "adapter_model.safetensors"
_HEAD_PARTS = ("weight", "bias", "scale", "direction", "centre")


def _nothing() -> torch.Tensor:
    import torch

    return torch.empty(0)


@dataclass(frozen=True)
class Member:
    """One trained adapter of an ensemble.

    Attributes:
        peft: PEFT's weights, by its own names, whatever the kind.
        weight: Score head, on scaled representations; hidden, then genes where it reads them.
        bias: Score head's intercept; a tensor of one number.
        scale: What each dimension of the representation is divided by; as many.
        direction: Direction along which a gene's state is read, hidden; empty where the head reads
            the pooled read-out alone.
        centre: Mean of each gene's reading on the training samples, genes; empty likewise.
    """

    peft: dict[str, torch.Tensor]
    weight: torch.Tensor
    bias: torch.Tensor
    scale: torch.Tensor
    direction: torch.Tensor = field(default_factory=_nothing)
    centre: torch.Tensor = field(default_factory=_nothing)


class ProfileRecipe(BaseModel):
    """How expression became the profiles that an adapter was trained on.

    Attributes:
        normalisation: Its options.
        learned: What the normalisation learned on the training samples; none where nothing is.
        harmonisation: What the harmonisation learned; none where cohorts were left as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    normalisation: dict[str, Any]
    learned: dict[str, Any] | None = None
    harmonisation: dict[str, Any] | None = None


class AdapterCard(BaseModel):
    """What an adapter belongs to; everything needed to use it on a new sample.

    Attributes:
        backbone: Name of the backbone.
        backbone_sha256: Hash of its weights; an adapter refuses others.
        numbers: Number type of the states it was trained on, as ``BackboneOptions.numbers`` says.
        tokenizer: The tokenizer's description, vocabulary included.
        profiles: How expression becomes a profile.
        head_layers: Upper layers that the head runs.
        options: Of the adapter.
        trainable: Parameters that were trained, of one member.
        total: Parameters of the backbone.
        temperature: By which logits are divided for a calibrated probability; 1 where none was
            learned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    backbone_sha256: str
    numbers: str
    tokenizer: dict[str, Any]
    profiles: ProfileRecipe
    head_layers: int
    options: AdapterOptions
    trainable: int
    total: int
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @property
    def share(self) -> float:
        """Trained parameters over the backbone's."""
        return self.trainable / self.total


class _Description(BaseModel):
    """What ``adapter.json`` holds: the card, and the hash of every weights file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: AdapterCard
    sha256: dict[str, str] = Field(min_length=1)


@dataclass(frozen=True)
class Adapter:
    """A trained adapter: its card and its members."""

    card: AdapterCard
    members: tuple[Member, ...]


def trainable_parameters(model: PeftModel, head: int, direction: int = 0) -> int:
    """Count what a fit trains.

    Args:
        model: The backbone with its adapter.
        head: Weights of the score head; its intercept comes on top.
        direction: Numbers of the direction along which genes are read.
    """
    own = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return own + head + 1 + direction


def require_small(trainable: int, backbone: Backbone, options: AdapterOptions) -> None:
    """Refuse an adapter that trains more than the allowed share of the backbone.

    Raises:
        ModelError: When it does. A backbone with random weights has no such bound: it is a control
            or a test, not the method.
    """
    share = trainable / backbone.parameters
    if backbone.pretrained and share > options.max_trainable_share:
        raise ModelError(
            f"The adapter would train {trainable:,} of {backbone.parameters:,} parameters "
            f"({share:.3%}), more than max_trainable_share allows "
            f"({options.max_trainable_share:.3%}); lower {smaller(options)}."
        )


@contextmanager
def adapted(
    model: LlamaForCausalLM, head_layers: int, options: AdapterOptions
) -> Iterator[PeftModel]:
    """Give the backbone an adapter on its head layers for the length of a block.

    Args:
        model: The backbone; it is itself again afterwards.
        head_layers: How many upper layers are the head.
        options: Kind, size, place.

    Yields:
        PEFT's model around the backbone. LoRA and IA3 start so that they change nothing yet;
        virtual tokens cannot.

    Raises:
        ModelError: When the backbone has no such layers or projections.
    """
    from peft import get_peft_model

    config = peft_config(model, head_layers, options)
    with warnings.catch_warnings():
        # PEFT asks transformers by an old name of a property; nothing a user could do about.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        wrapped = get_peft_model(model, config)
    try:
        yield wrapped
    finally:
        _take_out(wrapped)


def trained_weights(wrapped: PeftModel) -> dict[str, torch.Tensor]:
    """Return a copy of the adapter's weights by PEFT's names, on the CPU."""
    from peft import get_peft_model_state_dict

    # No adapter trains embeddings; asked to find out, PEFT would look the backbone up on the hub.
    state = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def put_weights(wrapped: PeftModel, member: Member) -> None:
    """Give the adapted backbone a member's weights.

    Raises:
        ModelError: When they are not the weights of this adapter on this backbone.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    own = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    # PEFT would leave out what it does not know and keep at random what it is not given.
    if {name: value.shape for name, value in own.items()} != {
        name: value.shape for name, value in member.peft.items()
    }:
        raise ModelError(
            "The adapter's weights are not those that its options describe on this backbone; "
            "materialize the asset adapter again."
        )
    set_peft_model_state_dict(wrapped, member.peft)


def save_adapter(adapter: Adapter, model: LlamaForCausalLM, folder: Path) -> None:
    """Write an adapter, whole or not at all.

    Args:
        adapter: What to write.
        model: The backbone, which PEFT needs to write its files.
        folder: Where to; one that is there is replaced.
    """
    from safetensors.torch import save_file

    with atomic_folder(folder) as temporary:
        for number, member in enumerate(adapter.members):
            place = temporary / f"member-{number}"
            with adapted(model, adapter.card.head_layers, adapter.card.options) as wrapped:
                put_weights(wrapped, member)
                wrapped.save_pretrained(str(place), save_embedding_layers=False)
            head = {name: getattr(member, name).contiguous() for name in _HEAD_PARTS}
            save_file(head, place / _HEAD)
        files = sorted(file for file in temporary.rglob("*.safetensors"))
        described = _Description(
            card=adapter.card,
            sha256={file.relative_to(temporary).as_posix(): sha256_of(file) for file in files},
        )
        write_json(temporary / _DESCRIPTION, described.model_dump(mode="json"))


def load_adapter(folder: Path) -> Adapter:
    """Read an adapter and verify the hashes of its files.

    Raises:
        ModelError: When a file is missing, damaged or not of this adapter, or the description is
            torn or of another version.
    """
    from safetensors.torch import load_file

    if not (folder / _DESCRIPTION).exists():
        raise ModelError(f"There is no adapter in {folder}; materialize the asset adapter first.")
    described = _description(folder / _DESCRIPTION)
    places = [f"member-{number}" for number in range(len(described.sha256) // 2)]
    if described.sha256.keys() != {f"{p}/{name}" for p in places for name in (_HEAD, _WEIGHTS)}:
        raise ModelError(
            f"{folder / _DESCRIPTION} does not name two files a member; materialize the asset "
            "adapter again."
        )
    for name, expected in described.sha256.items():
        file = folder / name
        if not file.exists() or sha256_of(file) != expected:
            raise ModelError(f"{file} is missing or damaged; materialize the asset adapter again.")
    members = []
    for place in places:
        head = load_file(folder / place / _HEAD)
        if head.keys() != set(_HEAD_PARTS):
            raise ModelError(
                f"{folder / place / _HEAD} is of another version of the score head; materialize "
                "the asset adapter again."
            )
        members.append(Member(peft=load_file(folder / place / _WEIGHTS), **head))
    return Adapter(card=described.card, members=tuple(members))


def _description(file: Path) -> _Description:
    try:
        return _Description.model_validate(read_json(file))
    except (StoreError, ValidationError) as error:
        why = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            why = f"{where}: {first['msg']}"
        raise ModelError(
            f"{file} is damaged, or of another version ({why}); materialize the asset adapter "
            "again."
        ) from error


def _take_out(wrapped: PeftModel) -> None:
    """Put the backbone's own modules back."""
    from peft.tuners.tuners_utils import BaseTuner

    if isinstance(wrapped.base_model, BaseTuner):
        # IA3's own unload refuses where the prefix is in 4 bits, though no weight is touched.
        BaseTuner._unload_and_optionally_merge(wrapped.base_model, merge=False)
