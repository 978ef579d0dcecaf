"""What can be set about tokenizers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TokenizerOptions(BaseModel):
    """How a profile becomes a token profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["value"] = Field(
        default="value",
        description="value: one position a gene, the embedding of its symbol moved along the "
        "direction from `low_word` to `high_word` by the gene's normalised value.",
    )
    value_scale: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="Length of the move for a value of 1, in units of the embedding space (the "
        "rows of SmolLM2's embedding have a mean norm of 3.2). Small enough that the frozen layers "
        "answer almost linearly: on the real sepsis panels 0.3 and more made platform differences "
        "grow through the layers and broke leave-one-cohort-out discrimination.",
    )
    low_word: str = Field(
        default="low", min_length=1, description="Word at the low end of the direction."
    )
    high_word: str = Field(default="high", min_length=1, description="Word at the high end of it.")
