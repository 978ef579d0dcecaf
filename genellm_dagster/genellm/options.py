"""What can be set about the model and its training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# What each kind of adapter is put on when no targets are named; for ia3 those of its authors.
_OWN_TARGETS: dict[str, tuple[str, ...]] = {
    "lora": ("q_proj", "v_proj"),
    "ia3": ("k_proj", "v_proj", "down_proj"),
    "prompt": (),
}


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
    max_gigabytes: float | None = Field(
        default=20.0,
        gt=0,
        allow_inf_nan=False,
        description="Disk that the kept states may take, in GiB, all studies of the store "
        "together; above it, those used longest ago are removed and computed again when they are "
        "wanted. Those that a run is using stay, whatever they take. No bound when it is null in "
        "genellm.yaml.",
    )


class AdapterOptions(BaseModel):
    """The part that is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lora", "ia3", "prompt"] = Field(
        default="lora",
        description="lora: low-rank matrices beside projections of the head layers. ia3: vectors "
        "that scale what projections give, or what the MLP's down_proj takes. prompt: virtual "
        "tokens in front of the sample's own, where the head layers begin.",
    )
    rank: int = Field(default=4, ge=1, description="Rank of the LoRA matrices; lora alone.")
    alpha: int = Field(
        default=8, gt=0, description="LoRA's alpha; updates are scaled by alpha / rank; lora alone."
    )
    targets: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Projections of a layer that get lora or ia3. The kind's own when null: q_proj "
        "and v_proj for lora; k_proj, v_proj and down_proj for ia3.",
    )
    layers: tuple[int, ...] | None = Field(
        default=None,
        min_length=1,
        description="Head layers that get lora or ia3, counted from the top: 1 is the last layer. "
        "All head layers when null.",
    )
    virtual_tokens: int = Field(
        default=8, ge=1, le=1024, description="Number of virtual tokens; prompt alone."
    )
    max_trainable_share: float = Field(
        default=1e-4,
        gt=0,
        le=1,
        description="Largest share of the backbone's parameters that may be trained; the method's "
        "0.01 %. A larger adapter is refused.",
    )

    @property
    def projections(self) -> tuple[str, ...]:
        """Projections of a layer that get the adapter; none for virtual tokens."""
        return self.targets or _OWN_TARGETS[self.kind]

    @property
    def positions(self) -> int:
        """Positions that the adapter takes beside the sample's tokens: its virtual tokens."""
        return self.virtual_tokens if self.kind == "prompt" else 0

    @property
    def said(self) -> str:
        """The kind and its size in words, for the report."""
        if self.kind == "prompt":
            return f"prompt of {self.virtual_tokens} virtual tokens"
        size = f" of rank {self.rank}" if self.kind == "lora" else ""
        which = "all" if self.layers is None else ", ".join(map(str, self.layers))
        return f"{self.kind}{size} on {', '.join(self.projections)}; head layers: {which}"

    @field_validator("layers")
    @classmethod
    def _counted_from_one(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (min(value) < 1 or len(set(value)) < len(value)):
            raise ValueError("layers count from 1, the last layer, and each stands there once")
        return value

    @model_validator(mode="after")
    def _of_this_kind(self) -> AdapterOptions:
        if self.kind == "prompt" and (self.targets or self.layers):
            raise ValueError(
                "targets and layers belong to lora and ia3; virtual tokens enter where the head "
                "layers begin, so leave both out with kind prompt"
            )
        return self


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
    context_share: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Share of the variance of what the score head reads that is the pooled "
        "read-out's; the rest is one number a gene, read from the gene's own state. At 1 the head "
        "reads the pooled read-out alone, in which single genes are lost: with groups left out "
        "sepsis children reached 0.87 so, 0.95 with genes, logistic regression 0.93. It is not "
        "better everywhere: pooled over cohorts left out, sepsis adults fell from 0.83 to 0.79 "
        "(logistic regression 0.78).",
    )
    head_penalties: tuple[float, ...] = Field(
        default=(0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001),
        min_length=1,
        description="L2 penalties on the score head's weights to choose from, for features whose "
        "variances within cohorts add up to 1. Chosen for each fit on inner folds of its training "
        "samples: a cohort left out where there are two, else groups of persons. One value is "
        "taken as it is.",
    )
    inner_folds: int = Field(
        default=4, ge=2, description="Inner folds when the training samples are of one cohort."
    )
    whitening: float = Field(
        default=0.25,
        ge=0,
        le=0.5,
        description="How far the score head evens out the variances of the pooled read-out within "
        "cohorts before its penalty acts: 0 not at all, 0.5 fully. The genes share one direction "
        "of values, which otherwise rules it. The numbers of single genes are left as they are: "
        "evened out too they lost 0.04 AUROC between pairs of cohorts.",
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
        "alone it is nearly zero. The members' mean stays that of the samples as they are.",
    )
    loss: Literal["cross_entropy", "focal"] = Field(
        default="cross_entropy",
        description="What LoRA is trained on, each class of each cohort weighing the same. focal "
        "turns it to the samples that are still told wrong; on three real strata AUROC stayed "
        "within 0.001. The score head, solved before and after, stays a penalised logistic "
        "regression: its problem is convex.",
    )
    focal_gamma: float = Field(
        default=2.0,
        ge=0,
        le=10,
        description="How far focal loss leaves out what is told well; at 0 it is cross_entropy.",
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="Epochs without a lower log loss on an inner fold, after which a member stops; "
        "the weights of its best epoch are kept, those from before the first included. Each member "
        "leaves out another inner fold while LoRA is trained; its head is solved on all samples. 0 "
        "trains all epochs on all samples. Off, because with 5 epochs it changed AUROC by no more "
        "than 0.001 on four real strata and saved no time; with 20 it halved the time.",
    )
    mixed_precision: Literal["auto", "off", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number type of the products in a training step. auto: on CUDA bfloat16 where "
        "the card has it, else float16; elsewhere none. float16 scales the loss, so that small "
        "gradients are not lost. The heads are solved, and samples scored, without it.",
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

    @field_validator("head_penalties")
    @classmethod
    def _above_zero(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < penalty < float("inf") for penalty in value):
            raise ValueError("every penalty must be above zero and finite")
        return value


class LaunchOptions(BaseModel):
    """Where the folds of a cross-validation are fitted; the results are the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["in_process", "subprocess", "ray", "accelerate"] = Field(
        default="in_process",
        description="in_process: one after the other. subprocess: several at once, each in a "
        "process of its own, with its messages in Dagster (Pipes). ray: the same on the Ray "
        "cluster that RAY_ADDRESS names, else on Ray on this machine; its machines must see the "
        "store. accelerate: one after the other, each on several GPUs, which split every batch; "
        "numbers are then added up in another order.",
    )
    processes: int = Field(
        default=2,
        ge=1,
        description="How many processes, where there are any. Each loads the backbone; those of "
        "subprocess and ray share this machine's threads, and its GPUs where there are several.",
    )


class GeneLLMOptions(BaseModel):
    """All about the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: BackboneOptions = Field(default_factory=BackboneOptions, description="The backbone.")
    prefix: PrefixOptions = Field(default_factory=PrefixOptions, description="The frozen prefix.")
    adapter: AdapterOptions = Field(default_factory=AdapterOptions, description="The adapter.")
    training: TrainingOptions = Field(default_factory=TrainingOptions, description="Training.")
    launch: LaunchOptions = Field(
        default_factory=LaunchOptions, description="Where folds are fitted."
    )
    tuned: bool = Field(
        default=False,
        description="Train each fold, and the adapter, with the options that `genellm tune` found "
        "on inner folds of its own training samples.",
    )
    min_gene_coverage: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the model's genes that a new cohort must have to be scored.",
    )
