"""What can be set about interpretation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class InterpretationOptions(BaseModel):
    """How much is explained, how exactly, and how it is summarised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(
        default=12,
        ge=1,
        description="Samples explained in a stratum, drawn evenly over cohort and class. Time "
        "grows in proportion.",
    )
    background: int = Field(
        default=12,
        ge=2,
        description="Training samples, drawn evenly over cohort and class, against which a sample "
        "is explained; their mean score is what attributions start from.",
    )
    gradient_samples: int = Field(
        default=2,
        ge=1,
        description="Gradients taken half-way between an explained sample and some of the "
        "background, before it is looked at whether its attributions add up. On the standard demo "
        "(SmolLM2, adults) the median sample misses 0.7 % with 1 and 0.2 % with 4.",
    )
    completeness: float = Field(
        default=0.02,
        gt=0,
        description="How far the attributions of a sample may be from adding up to its logit less "
        "the background's, relative to that difference. A sample beyond it gets more gradients, at "
        "most three for each background sample.",
    )
    batch_tokens: int = Field(
        default=512,
        ge=1,
        description="Tokens in one gradient; bounds memory (about 1.5 MB a token with SmolLM2).",
    )
    top_genes: int = Field(
        default=20, ge=1, description="Length k of a signature, for the stability of its genes."
    )
    bootstraps: int = Field(
        default=500, ge=10, description="Resamplings of the explained samples behind the stability."
    )
    neighbours: int = Field(
        default=15,
        ge=2,
        description="Neighbours of a sample that UMAP keeps together; fewer in small strata.",
    )
    min_distance: float = Field(
        default=0.2, ge=0, le=1, description="How near UMAP may put two samples on the map."
    )
    umap_min_samples: int = Field(
        default=10,
        ge=4,
        description="Below this number of samples neighbourhoods mean little, and the map shows "
        "the first two principal components instead.",
    )
    seed: int = Field(default=20, ge=0, description="Seed of every draw in this room.")
