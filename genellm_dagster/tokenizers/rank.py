"""The rank tokenizer: the symbols of a sample's genes, the one most above its median first."""

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

_OPTIONS = ("kind", "low_word", "high_word")
# Decimals of a deviation that count. What lies closer together ties, so that the rounding of
# float32 does not order genes.
_DECIMALS = 6
# Points of the curve from rank to deviation.
_POINTS = 101


@dataclass(frozen=True)
class Ranking:
    """What is learned from training profiles.

    Attributes:
        medians: Median of each gene, float64; NaN for a gene that no training sample has.
        curve: Deviation from the median at evenly spaced shares of the order, first to last;
            of the median training sample, falling.
    """

    medians: np.ndarray
    curve: np.ndarray


class RankTokenizer:
    """Orders a sample's genes by how far each lies above its training median.

    The order alone is read: every token is its symbol's embedding, none is moved. Genes that lie
    equally far stand in the order of their symbols. A gene that the sample lacks, or that no
    training sample had, has no token; the others are spread over as many positions as the
    vocabulary has genes, so that the middle of the order is read at the same place on a platform
    that lacks some.

    Args:
        genes: The vocabulary, in order.
        options: Which words the embedding asks for; the order does not depend on them.
        learned: What :meth:`fit` learns.
    """

    learns: ClassVar[bool] = True

    def __init__(
        self, genes: Iterable[str], options: TokenizerOptions, learned: Ranking | None = None
    ) -> None:
        self.genes = checked_genes(genes)
        self.options = options
        self._learned = learned
        by_symbol = sorted(range(len(self.genes)), key=self.genes.__getitem__)
        self._symbol_rank = np.empty(len(self.genes), dtype=np.int64)
        self._symbol_rank[by_symbol] = np.arange(len(self.genes))

    @property
    def learned(self) -> Ranking:
        """What was learned.

        Raises:
            ModelError: Before anything was.
        """
        if self._learned is None:
            raise ModelError("The rank tokenizer has not been fitted; fit it on training profiles.")
        return self._learned

    def fit(self, profiles: pd.DataFrame) -> Self:
        """Learn the genes' medians, and how far the genes at each rank deviate from theirs.

        Args:
            profiles: Training samples x genes, NaN absent; each sample weighs the same.

        Raises:
            ModelError: When the columns are not the vocabulary, or there is no value.
        """
        values = training_values(profiles, self.genes)
        medians = np.full(len(self.genes), np.nan)
        known = ~np.isnan(values).all(axis=0)
        medians[known] = np.nanmedian(values[:, known], axis=0)
        shares = np.linspace(0, 1, _POINTS)
        curves = []
        for row in _deviations(values, medians):
            ordered = np.sort(row[~np.isnan(row)])[::-1]
            if len(ordered):
                curves.append(_at(shares, ordered))
        # The median, which unlike a sum does not depend on the order of the samples.
        curve = np.median(curves, axis=0)
        return type(self)(self.genes, self.options, Ranking(medians, curve))

    def transform(self, profiles: pd.DataFrame) -> pd.DataFrame:
        """Tokenize profiles (samples x genes, NaN absent).

        Raises:
            ModelError: When the columns are not the vocabulary, a sample has no gene of it that
                training samples had too, or nothing was learned yet.
        """
        values = checked_values(profiles, self.genes)
        deviations = _deviations(values.astype(np.float64), self.learned.medians)
        known = ~np.isnan(deviations)
        require_tokens(profiles.index, known)
        # Genes without a token go last, from where they are cut off.
        falling = np.where(known, -deviations, np.inf)
        symbols = np.broadcast_to(self._symbol_rank, falling.shape)
        order = np.lexsort((symbols, falling), axis=-1).astype(np.int32)
        counts = known.sum(axis=1)
        return token_table(
            profiles.index,
            [row[:count] for row, count in zip(order, counts, strict=True)],
            [spread_positions(int(count), len(self.genes)) for count in counts],
            [np.zeros(count, dtype=np.float32) for count in counts],
        )

    def expression(self, profiles: Sequence[TokenProfile]) -> pd.DataFrame:
        """Return the gene's training median, plus how far training samples deviate at its rank."""
        told = (
            self.learned.medians[profile.genes] + _at(_shares(len(profile)), self.learned.curve)
            for profile in checked_tokens(profiles, self.genes)
        )
        return expression_table(profiles, told, self.genes)

    def details(self, profile: TokenProfile) -> dict[str, np.ndarray]:
        """Return each token's rank, from 1, and its gene's training median."""
        return {
            "rank": np.arange(1, len(profile) + 1),
            "median": self.learned.medians[profile.genes],
        }

    def describe(self) -> dict[str, Any]:
        """Return kind, options, vocabulary and what was learned."""
        options = self.options.model_dump()
        medians = [None if np.isnan(value) else float(value) for value in self.learned.medians]
        return {
            **{name: options[name] for name in _OPTIONS},
            "genes": self.genes,
            "medians": medians,
            "curve": [float(value) for value in self.learned.curve],
        }

    @classmethod
    def from_description(
        cls, genes: list[str], options: TokenizerOptions, found: Mapping[str, Any]
    ) -> Self:
        """Make it again from what :meth:`describe` gave.

        Raises:
            ValueError: When medians or curve are none.
        """
        medians = np.array(
            [np.nan if value is None else float(value) for value in found["medians"]]
        )
        curve = np.array([float(value) for value in found["curve"]])
        if len(medians) != len(genes) or np.isinf(medians).any():
            raise ValueError("there is not one median a gene")
        if (
            len(curve) < 2
            or not np.isfinite(curve).all()
            or (np.diff(curve) > 10**-_DECIMALS).any()
        ):
            raise ValueError("the curve does not fall")
        return cls(genes, options, Ranking(medians, curve))


def spread_positions(tokens: int, genes: int) -> np.ndarray:
    """Return the positions of an order of some of a vocabulary's genes, first to last, int32.

    The first is at 0 and the last at the vocabulary's end; with all genes, position is rank.
    """
    return (np.arange(tokens) * (genes - 1) // max(tokens - 1, 1)).astype(np.int32)


def _deviations(values: np.ndarray, medians: np.ndarray) -> np.ndarray:
    return np.round(values - medians, _DECIMALS) + 0.0


def _shares(tokens: int) -> np.ndarray:
    # One gene alone is neither first nor last.
    return np.linspace(0, 1, tokens) if tokens > 1 else np.full(tokens, 0.5)


def _at(shares: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    return np.interp(shares, _shares(len(ordered)), ordered)
