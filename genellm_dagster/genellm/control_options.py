"""What can be set about the controls of GeneLLM."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ControlOptions(BaseModel):
    """Which controls of GeneLLM are run beside it; `false` instead of these leaves all out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shuffled_labels: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Permutations of the training labels; none leaves them out. One alone draws "
        "one direction and may lie well to either side of a coin, so that several tell.",
    )
    shuffled_genes: bool = Field(
        default=True,
        description="Also run GeneLLM with the symbols of its genes permuted: what the names are "
        "worth to it. Costs one more run of the frozen prefix.",
    )
    random_backbone: bool = Field(
        default=True,
        description="Also run GeneLLM on random weights: what the pretrained ones are worth. Costs "
        "one more run of the frozen prefix.",
    )

    @classmethod
    def read(cls, value: Any) -> Any:
        """Read `true` as all controls and `false` as none; leave everything else as it is."""
        if value is True:
            return cls()
        if value is False:
            return cls(shuffled_labels=0, shuffled_genes=False, random_backbone=False)
        return value
