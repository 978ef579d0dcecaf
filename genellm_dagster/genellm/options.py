"""What can be set about the model and its training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class BackboneOptions(BaseModel):
    """Where and in which number type the backbone runs; its name is the setting ``backbone``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(
        default="auto", description="auto (CUDA when it is there), cpu, or cuda:0 and so on."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Number type of the frozen layers. On CPUs bfloat16 is slower than float32.",
    )


class PrefixOptions(BaseModel):
    """How the frozen lower layers are run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head_layers: int = Field(
        default=1,
        ge=1,
        description="Upper layers that carry the adapter; all below are the frozen prefix, "
        "computed once per sample.",
    )
    batch_tokens: int = Field(
        default=1536,
        ge=1,
        description="Tokens in one forward pass of the prefix; bounds its memory.",
    )


class AdapterOptions(BaseModel):
    """The part that is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=4, ge=1, description="Rank of the LoRA matrices.")
    alpha: float = Field(
        default=8.0, gt=0, description="LoRA's alpha; updates are scaled by alpha / rank."
    )
    targets: tuple[str, ...] = Field(
        default=("q_proj", "v_proj"),
        min_length=1,
        description="Projections of a layer that get LoRA.",
    )
    max_trainable_share: float = Field(
        default=1e-4,
        gt=0,
        le=1,
        description="Largest share of the backbone's parameters that may be trained; the method's "
        "0.01 %. A larger adapter is refused.",
    )


class TrainingOptions(BaseModel):
    """How an adapter is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=30, ge=1, description="Passes over the training samples.")
    batch_size: int = Field(default=64, ge=1, description="Samples in one step.")
    head_learning_rate: float = Field(
        default=0.02, gt=0, description="Step size of the score head."
    )
    adapter_learning_rate: float = Field(
        default=1e-3, gt=0, description="Step size of the LoRA matrices."
    )
    head_penalty: float = Field(
        default=0.01,
        ge=0,
        description="L2 penalty on the score head's weights, which act on standardised features.",
    )
    warmup_share: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps that warm up."
    )
    clip_norm: float = Field(default=1.0, gt=0, description="Largest norm of a gradient step.")
    ensemble: int = Field(
        default=3,
        ge=1,
        description="Adapters trained with different seeds whose mean is the score and whose "
        "spread is the uncertainty.",
    )
    seed: int = Field(default=20, ge=0, description="Seed of everything random in training.")


class GeneLLMOptions(BaseModel):
    """All about the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: BackboneOptions = Field(default_factory=BackboneOptions, description="The backbone.")
    prefix: PrefixOptions = Field(default_factory=PrefixOptions, description="The frozen prefix.")
    adapter: AdapterOptions = Field(default_factory=AdapterOptions, description="The adapter.")
    training: TrainingOptions = Field(default_factory=TrainingOptions, description="Training.")
