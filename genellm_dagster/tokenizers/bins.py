"""The bins tokenizer: a value is read as one of a few levels that training samples had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import TokenProfile
from genellm_dagster.tokenizers.tables import (
    checked_genes,
    checked_tokens,
    checked_values,
    expression_table,
    require_tokens,
    token_table,
    training_values,
)

_OPTIONS = ("kind", "value_scale", "low_word", "high_word", "bin_edges", "bin_count")


@dataclass(frozen=True)
class Bins:
    """The bins of one gene or of all, from low to high.

    Attributes:
        edges: Ascending; a value on an edge belongs to the bin above it. One fewer than bins; none
            where values did not differ.
        centres: Median training value of each bin, ascending. None at all for a gene that no
            training sample has.
    """

    edges: np.ndarray
    centres: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, count: int) -> Bins:
        """Bin values so that each bin holds about as many, equal values never being parted."""
        ordered = np.sort(values)
        if not len(ordered):
            return cls(np.empty(0), np.empty(0))
        # Values that were measured, not points between them: no bin is empty.
        edges = np.unique(ordered[np.arange(1, count) * len(ordered) // count])
        edges = edges[edges > ordered[0]]
        parts = np.split(ordered, np.searchsorted(ordered, edges, side="left"))
        return cls(edges, np.array([np.median(part) for part in parts]))

    def number(self, values: np.ndarray) -> np.ndarray:
        """Return which bin values fall into, from 0."""
        return np.searchsorted(self.edges, values, side="right")


class BinsTokenizer:
    """Reads as :class:`ValueTokenizer` does, but each value as the centre of its bin.

    Bins are learned from the training samples. Beyond their range a value is read as the outermost
    bin: no outlier moves a token further than training did. A gene that the sample lacks has no
    token; nor, where each gene has bins of its own, one that no training sample had.

    Args:
        genes: The vocabulary, in order.
        options: Whose bins, how many; scale and direction of the value.
        learned: What :meth:`fit` learns: the bins of each gene, or those of all.
    """

    learns: ClassVar[bool] = True

    def __init__(
        self,
        genes: Iterable[str],
        options: TokenizerOptions,
        learned: Sequence[Bins] | None = None,
    ) -> None:
        self.genes = checked_genes(genes)
        self.options = options
        self._learned = learned

    @property
    def learned(self) -> Sequence[Bins]:
        """The bins of each gene, or, of the option ``common``, the only ones.

        Raises:
            ModelError: Before anything was learned.
        """
        if self._learned is None:
            raise ModelError("The bins tokenizer has not been fitted; fit it on training profiles.")
        return self._learned

    def bins_of(self, gene: int) -> Bins:
        """Return the bins of a gene of the vocabulary, by its index."""
        return self.learned[0 if self.options.bin_edges == "common" else gene]

    def fit(self, profiles: pd.DataFrame) -> Self:
        """Learn the bins.

        Args:
            profiles: Training samples x genes, NaN absent; each value weighs the same.

        Raises:
            ModelError: When the columns are not the vocabulary, or there is no value.
        """
        values = training_values(profiles, self.genes)
        parts = [values] if self.options.bin_edges == "common" else list(values.T)
        bins = [Bins.of(part[~np.isnan(part)], self.options.bin_count) for part in parts]
        return type(self)(self.genes, self.options, bins)

    def transform(self, profiles: pd.DataFrame) -> pd.DataFrame:
        """Tokenize profiles (samples x genes, NaN absent).

        Raises:
            ModelError: When the columns are not the vocabulary, a sample has no gene of it that
                has bins, or nothing was learned yet.
        """
        values = checked_values(profiles, self.genes)
        binned = np.full(values.shape, np.nan)
        for column in range(len(self.genes)):
            bins = self.bins_of(column)
            measured = ~np.isnan(values[:, column])
            if len(bins.centres):
                which = bins.number(values[measured, column])
                binned[measured, column] = bins.centres[which]
        known = ~np.isnan(binned)
        require_tokens(profiles.index, known)
        index = np.arange(len(self.genes), dtype=np.int32)
        genes = [index[row] for row in known]
        scaled = (binned * self.options.value_scale).astype(np.float32)
        moved = [row[present] for row, present in zip(scaled, known, strict=True)]
        return token_table(profiles.index, genes, genes, moved)

    def expression(self, profiles: Sequence[TokenProfile]) -> pd.DataFrame:
        """Return the centre of each token's bin."""
        told = (
            np.array([self.bins_of(gene).centres[which] for gene, which in self._numbers(profile)])
            for profile in checked_tokens(profiles, self.genes)
        )
        return expression_table(profiles, told, self.genes)

    def details(self, profile: TokenProfile) -> dict[str, np.ndarray]:
        """Return each token's bin, from 1 at the low end, and how many its gene has."""
        numbers = self._numbers(profile)
        return {
            "bin": np.array([which + 1 for _, which in numbers], dtype=int),
            "bins": np.array([len(self.bins_of(gene).centres) for gene, _ in numbers], dtype=int),
        }

    def describe(self) -> dict[str, Any]:
        """Return kind, options, vocabulary and what was learned."""
        options = self.options.model_dump()
        return {
            **{name: options[name] for name in _OPTIONS},
            "genes": self.genes,
            "edges": [[float(value) for value in bins.edges] for bins in self.learned],
            "centres": [[float(value) for value in bins.centres] for bins in self.learned],
        }

    @classmethod
    def from_description(
        cls, genes: list[str], options: TokenizerOptions, found: Mapping[str, Any]
    ) -> Self:
        """Make it again from what :meth:`describe` gave.

        Raises:
            ValueError: When edges or centres are none.
        """
        owners = ["all genes"] if options.bin_edges == "common" else genes
        if not len(owners) == len(found["edges"]) == len(found["centres"]):
            raise ValueError("there are not bins for each gene")
        learned = []
        for gene, edges, centres in zip(owners, found["edges"], found["centres"], strict=True):
            bins = Bins(
                np.array([float(value) for value in edges]),
                np.array([float(value) for value in centres]),
            )
            if len(bins.edges) != max(0, len(bins.centres) - 1):
                raise ValueError(f"the bins of {gene} do not meet")
            for values in (bins.edges, bins.centres):
                if not np.isfinite(values).all() or (np.diff(values) <= 0).any():
                    raise ValueError(f"the bins of {gene} do not ascend")
            learned.append(bins)
        return cls(genes, options, learned)

    def _numbers(self, profile: TokenProfile) -> list[tuple[int, int]]:
        """Gene and bin of each token; the bin whose centre lies nearest, as the value is scaled."""
        told = profile.values.astype(np.float64) / self.options.value_scale
        strange = [gene for gene in profile.genes if not len(self.bins_of(gene).centres)]
        if strange:
            raise ModelError(
                f"The token profile of {profile.gsm} has {self.genes[strange[0]]}, of which the "
                "tokenizer learned no bins; materialize token_dataset again."
            )
        return [
            (int(gene), int(np.abs(self.bins_of(gene).centres - value).argmin()))
            for gene, value in zip(profile.genes, told, strict=True)
        ]
