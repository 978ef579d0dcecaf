"""What can be set about the search for hyper-parameters: its space is data, not code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.options import GeneLLMOptions

RANK = "adapter.rank"
OF_LORA = (RANK, "adapter.alpha")
KIND = "adapter.kind"
HEAD_LAYERS = "prefix.head_layers"
_SECTIONS = ("adapter", "training")
# The bound that the method sets itself, and what changes noise, speed or room and no model.
_NEVER = {
    "adapter.max_trainable_share",
    "training.ensemble",
    "training.seed",
    "training.kept_megabytes",
}


class Range(BaseModel):
    """Numbers between two bounds, both included.

    Attributes:
        low: The least.
        high: The greatest.
        log: Whether factors count rather than differences.
        whole: Whole numbers only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} has no logarithm")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"{self.low:g} to {self.high:g} are no whole numbers")
        return self

    def extremes(self) -> tuple[Any, ...]:
        """Return the values that options must take for all others to be taken."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def including(self, value: Any) -> Range:
        """Return a range that holds a value too.

        Raises:
            ValueError: When the value cannot stand in such a range.
        """
        number = float(value)
        return Range(
            low=min(self.low, number), high=max(self.high, number), log=self.log, whole=self.whole
        )


class Choice(BaseModel):
    """Values to choose from, in no order.

    Attributes:
        one_of: The values, JSON-like.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    one_of: tuple[Any, ...] = Field(min_length=1)

    def extremes(self) -> tuple[Any, ...]:
        """Return all values: each must be one that options take."""
        return self.one_of

    def including(self, value: Any) -> Choice:
        """Return a choice that holds a value too."""
        # As JSON, in which a tuple and a list are the same.
        if json.dumps(value) in map(json.dumps, self.one_of):
            return self
        return Choice(one_of=(value, *self.one_of))


Space = dict[str, Range | Choice]

_SPACE: Space = {
    RANK: Range(low=1, high=8, log=True, whole=True),
    "adapter.alpha": Range(low=4, high=32, log=True, whole=True),
    "training.epochs": Range(low=0, high=10, whole=True),
    "training.adapter_learning_rate": Range(low=1e-4, high=1e-2, log=True),
    "training.head_learning_rate": Range(low=1e-4, high=1e-2, log=True),
    "training.context_share": Range(low=0.01, high=0.5, log=True),
    "training.whitening": Range(low=0.0, high=0.5),
}


class SearchOptions(BaseModel):
    """How hyper-parameters are searched, on inner folds of the training side alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(
        default=20,
        ge=1,
        description="Candidates of each search, the options as they are set being the first. A "
        "rerun goes on from those that are done, also with more trials than before.",
    )
    random_trials: int = Field(
        default=6,
        ge=1,
        description="Of these, the first and candidates drawn at random, all tried on every inner "
        "fold; after them the sampler (TPE) learns, and a candidate that falls behind is given up.",
    )
    members: int = Field(
        default=1,
        ge=1,
        description="Members of the ensemble of a candidate; one member is trained on the samples "
        "as they are weighed, not on drawn weights.",
    )
    inner_folds: int = Field(
        default=4,
        ge=2,
        description="Inner folds when the training side is of one cohort; otherwise each of its "
        "cohorts is left out once.",
    )
    seed: int = Field(default=20, ge=0, description="Seed of the inner folds and the candidates.")
    space: Space = Field(
        default_factory=lambda: dict(_SPACE),
        description="What is searched: the name of a setting of the model below adapter or "
        "training (prefix.head_layers too, but each depth has the frozen prefix run again) to "
        "{low, high, log, whole} or {one_of}. Rank (no more than max_trainable_share allows), "
        "alpha, epochs, both learning rates, context_share and whitening unless set.",
    )

    @field_validator("space")
    @classmethod
    def _of_the_model(cls, value: Space) -> Space:
        if not value:
            raise ValueError("the space is empty; name at least one setting")
        for name, part in value.items():
            for extreme in part.extremes():
                try:
                    with_values(GeneLLMOptions(), {name: extreme})
                except ModelError as error:
                    raise ValueError(str(error).rstrip(".")) from error
        return value


def with_values(options: GeneLLMOptions, values: Mapping[str, Any]) -> GeneLLMOptions:
    """Return options with some values replaced, validated again.

    Args:
        options: Of the model.
        values: Dotted name to value.

    Raises:
        ModelError: When a name is of nothing that may be searched, or a value cannot be used.
    """
    content = options.model_dump()
    for name, value in values.items():
        section, _, last = name.partition(".")
        searched = (section in _SECTIONS and name not in _NEVER) or name == HEAD_LAYERS
        if not searched or last not in content[section]:
            raise ModelError(
                f"The setting model.{name} cannot be searched; take one of model.adapter or "
                "model.training that changes the trained model."
            )
        content[section][last] = value
    try:
        return GeneLLMOptions.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(
            f"The setting model.{'.'.join(map(str, first['loc']))} cannot be {first['input']!r} "
            f"({first['msg']}); mend search.space."
        ) from error


def value_of(options: GeneLLMOptions, name: str) -> Any:
    """Return the value of a dotted name."""
    section, _, last = name.partition(".")
    return getattr(getattr(options, section), last)


def space_around(options: GeneLLMOptions, space: Space) -> Space:
    """Widen a space so that it holds the options themselves.

    Raises:
        ModelError: When an option cannot stand in its range.
    """
    widened: Space = {}
    for name, part in space.items():
        value = value_of(options, name)
        try:
            widened[name] = part.including(value)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"The setting model.{name} is {value!r}, which the range to search it in cannot "
                f"hold; mend search.space."
            ) from error
    return widened
