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
    quantisation: Literal["none", "nf4"] = Field(
        default="none",
        description="nf4: the layers below the head are loaded in 4 bits by bitsandbytes and "
        "compute in dtype, so that a large backbone takes a quarter of the memory. Needs CUDA.",
    )

    @property
    def numbers(self) -> str:
        """What the states' address names: numbers of another kind give other states."""
        if self.quantisation == "none":
            return self.dtype
        return f"{self.dtype}, weights {self.quantisation}"


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
    alpha: int = Field(
        default=8, gt=0, description="LoRA's alpha; updates are scaled by alpha / rank."
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

    epochs: int = Field(
        default=5,
        ge=0,
        description="Passes over the training samples in which LoRA is trained; 0 trains the score "
        "head alone. On the real adult panels 0, 8 and 10 gave the same AUROC within 0.002: LoRA "
        "adds nothing there that the head does not find.",
    )
    batch_size: int = Field(default=64, ge=1, description="Samples in one step.")
    head_learning_rate: float = Field(
        default=1e-3,
        gt=0,
        description="Step size of the score head while LoRA is trained; small, because the head "
        "starts at its optimum and is solved again at the end.",
    )
    adapter_learning_rate: float = Field(
        default=1e-3,
        gt=0,
        description="Step size of the LoRA matrices. Ten times more lowered the training loss and, "
        "leaving one cohort out, the discrimination too (TB, 30 epochs: 0.938 to 0.918).",
    )
    head_penalty: float = Field(
        default=3.0,
        ge=0,
        description="L2 penalty on the score head's weights, which act on standardised and evened "
        "features. Head alone, one cohort or group left out, AUROC in a cohort / pooled / Brier at "
        "1 and 3: TB adults 0.892/0.749/0.34 and 0.924/0.749/0.26; sepsis adults 0.899/0.886/0.12 "
        "and 0.896/0.885/0.12; sepsis children 0.885 and 0.869.",
    )
    whitening: float = Field(
        default=0.25,
        ge=0,
        le=0.5,
        description="How far the score head evens out the variances of the representation within "
        "cohorts before its penalty acts: 0 not at all, 0.5 fully. The genes share one direction "
        "of values, which otherwise rules the score: at 0 and this penalty sepsis children fell "
        "from 0.869 to 0.837, pooled sepsis adults from 0.885 to 0.869; 0.5 lost 0.15 in TB.",
    )
    intercept_penalty: float = Field(
        default=0.0,
        ge=0,
        description="L2 penalty on how far a training cohort's intercept lies from the common one. "
        "With 0.01 and more the head seeks directions in which its training cohorts happen to "
        "agree: pooled AUROC of TB fell from 0.74 to 0.66, that of sepsis rose by 0.01.",
    )
    reweigh: bool = Field(
        default=True,
        description="Give each member of the ensemble random sample weights (Bayesian bootstrap), "
        "so that its spread shows what the training samples leave open; from the seeds of LoRA "
        "alone it is nearly zero. With 3 members it costs about 0.01 in Brier score.",
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
    kept_megabytes: int = Field(
        default=1024,
        ge=0,
        description="Memory that the frozen keys and values of the last layer may take, so that no "
        "step computes them again. Where they would take more, steps are slower and the same.",
    )


class GeneLLMOptions(BaseModel):
    """All about the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: BackboneOptions = Field(default_factory=BackboneOptions, description="The backbone.")
    prefix: PrefixOptions = Field(default_factory=PrefixOptions, description="The frozen prefix.")
    adapter: AdapterOptions = Field(default_factory=AdapterOptions, description="The adapter.")
    training: TrainingOptions = Field(default_factory=TrainingOptions, description="Training.")
    min_gene_coverage: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the model's genes that a new cohort must have to be scored.",
    )
