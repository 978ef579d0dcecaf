"""The trained part: LoRA matrices of the head layers and the score head, and their files.

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

from pydantic import BaseModel, ConfigDict, Field

from genellm_dagster.errors import ModelError
from genellm_dagster.files import atomic_folder, read_json, sha256_of, write_json
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.options import AdapterOptions

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM

_DESCRIPTION = "adapter.json"
_HEAD = "head.safetensors"
_HEAD_PARTS = ("weight", "bias", "scale", "direction", "centre")


def _nothing() -> torch.Tensor:
    import torch

    return torch.empty(0)


@dataclass(frozen=True)
class Member:
    """One trained adapter of an ensemble.

    Attributes:
        lora: PEFT's state, by its own names.
        weight: Score head, on scaled representations; hidden, then genes where it reads them.
        bias: Score head's intercept; a tensor of one number.
        scale: What each dimension of the representation is divided by; as many.
        direction: Direction along which a gene's state is read, hidden; empty where the head reads
            the pooled read-out alone.
        centre: Mean of each gene's reading on the training samples, genes; empty likewise.
    """

    lora: dict[str, torch.Tensor]
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


@dataclass(frozen=True)
class Adapter:
    """A trained adapter: its card and its members."""

    card: AdapterCard
    members: tuple[Member, ...]


def trainable_parameters(model: PeftModel, head: int, direction: int = 0) -> int:
    """Count what a fit trains.

    Args:
        model: The backbone with its LoRA matrices.
        head: Weights of the score head; its intercept comes on top.
        direction: Numbers of the direction along which genes are read.
    """
    lora = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return lora + head + 1 + direction


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
            f"({options.max_trainable_share:.3%}); lower the rank, the number of head layers, or "
            "the number of genes."
        )


@contextmanager
def adapted(
    model: LlamaForCausalLM, head_layers: int, options: AdapterOptions
) -> Iterator[PeftModel]:
    """Give the backbone LoRA on its head layers for the length of a block.

    Args:
        model: The backbone; it is itself again afterwards.
        head_layers: How many upper layers carry LoRA.
        options: Rank, alpha, targets.

    Yields:
        PEFT's model around the backbone, LoRA initialised so that it changes nothing yet.
    """
    from peft import LoraConfig, get_peft_model

    layers = model.config.num_hidden_layers
    if head_layers > layers:
        raise ModelError(
            f"head_layers is {head_layers}, but the backbone has only {layers} layers; lower it."
        )
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        target_modules=list(options.targets),
        layers_to_transform=list(range(layers - head_layers, layers)),
        bias="none",
    )
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers by an old name of a property; nothing a user could do about.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            wrapped = get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"LoRA cannot be put on {', '.join(options.targets)} of this backbone ({error}); "
            "mend the adapter's targets in the settings."
        ) from error
    try:
        yield wrapped
    finally:
        wrapped.unload()


def save_adapter(adapter: Adapter, model: LlamaForCausalLM, folder: Path) -> None:
    """Write an adapter, whole or not at all.

    Args:
        adapter: What to write.
        model: The backbone, which PEFT needs to write its files.
        folder: Where to; one that is there is replaced.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import save_file

    with atomic_folder(folder) as temporary:
        for number, member in enumerate(adapter.members):
            place = temporary / f"member-{number}"
            with adapted(model, adapter.card.head_layers, adapter.card.options) as wrapped:
                set_peft_model_state_dict(wrapped, member.lora)
                wrapped.save_pretrained(str(place), safe_serialization=True)
            head = {name: getattr(member, name).contiguous() for name in _HEAD_PARTS}
            save_file(head, place / _HEAD)
        files = sorted(file for file in temporary.rglob("*.safetensors"))
        write_json(
            temporary / _DESCRIPTION,
            {
                "card": adapter.card.model_dump(mode="json"),
                "sha256": {
                    file.relative_to(temporary).as_posix(): sha256_of(file) for file in files
                },
            },
        )


def load_adapter(folder: Path) -> Adapter:
    """Read an adapter and verify the hashes of its files.

    Raises:
        ModelError: When a file is missing, damaged or not of this adapter.
    """
    from safetensors.torch import load_file

    if not (folder / _DESCRIPTION).exists():
        raise ModelError(f"There is no adapter in {folder}; materialize the asset adapter first.")
    description = read_json(folder / _DESCRIPTION)
    for name, expected in description["sha256"].items():
        file = folder / name
        if not file.exists() or sha256_of(file) != expected:
            raise ModelError(f"{file} is missing or damaged; materialize the asset adapter again.")
    members = []
    for place in sorted(folder.glob("member-*"), key=lambda path: int(path.name.split("-")[1])):
        head = load_file(place / _HEAD)
        members.append(Member(lora=load_file(place / "adapter_model.safetensors"), **head))
    return Adapter(card=AdapterCard.model_validate(description["card"]), members=tuple(members))
