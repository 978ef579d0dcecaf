"""Normalisations that learn from training cohorts, and then place one new sample alone.

What they learned is a small JSON object, so that an adapter can keep it beside its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.normalisation import reference_quantiles, to_reference
from genellm_dagster.expression.profile_options import NormalisationOptions
from genellm_dagster.expression.tables import GENE, as_float32, checked

# A spread below this share of the gene's level is the rounding of float32, not a measurement.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ReferenceQuantiles:
    """The average distribution of the training samples.

    Attributes:
        values: Ascending, at evenly spaced shares from 0 to 1.
        samples: How many samples were averaged.
    """

    values: np.ndarray
    samples: int

    @classmethod
    def fit(cls, tables: Mapping[str, pd.DataFrame], size: int) -> ReferenceQuantiles:
        """Average the distributions of all training samples, each weighing the same.

        Args:
            tables: Cohort to genes x training samples; a missing value takes no part.
            size: How many quantiles.

        Raises:
            ExpressionError: When no sample has a value.
        """
        parts = []
        for table in _training(tables):
            measured = table.loc[:, table.notna().any()]
            if measured.shape[1]:
                parts.append((reference_quantiles(measured, size), measured.shape[1]))
        if not parts:
            raise ExpressionError(
                "No training sample has a value to learn reference quantiles from; look at the "
                "cohorts' QC."
            )
        counts = np.array([count for _, count in parts])
        mean = np.average([values for values, _ in parts], axis=0, weights=counts)
        return cls(mean, int(counts.sum()))

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Give each sample of genes x samples the reference distribution, by rank."""
        return to_reference(table, self.values)

    def as_json(self) -> dict[str, Any]:
        """What :func:`normalisation_from_json` takes."""
        return {
            "method": "reference_quantiles",
            "values": [float(value) for value in self.values],
            "samples": self.samples,
        }


@dataclass(frozen=True)
class GeneScale:
    """Level and spread of each gene over the training samples.

    Attributes:
        genes: Index gene; mean, spread (ddof 0; NaN where the gene does not vary, so that no z
            exists), samples.
    """

    genes: pd.DataFrame

    @classmethod
    def fit(cls, tables: Mapping[str, pd.DataFrame]) -> GeneScale:
        """Learn from all training samples, each weighing the same.

        Args:
            tables: Cohort to genes x training samples; a missing value takes no part.
        """
        together = pd.concat(_training(tables), axis=1).astype(np.float64)
        mean, spread = together.mean(axis=1), together.std(axis=1, ddof=0)
        varies = spread > _ROUNDING * (1 + mean.abs())
        genes = pd.DataFrame(
            {
                "mean": mean,
                "spread": spread.where(varies),
                "samples": together.notna().sum(axis=1),
            }
        )
        return cls(genes.rename_axis(index=GENE))

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Subtract the training mean and divide by the training spread.

        Args:
            table: genes x samples.

        Returns:
            The same shape, float32; missing where the value is, and for a gene without a scale:
            one that no training cohort measured, or that did not vary there.

        Raises:
            ExpressionError: When a value is so large that its z would be infinite.
        """
        known = self.genes.reindex(table.index)
        z = table.astype(np.float64).sub(known["mean"], axis=0).div(known["spread"], axis=0)
        return as_float32(z)

    def as_json(self) -> dict[str, Any]:
        """What :func:`normalisation_from_json` takes."""
        return {
            "method": "gene_z",
            "genes": [str(gene) for gene in self.genes.index],
            "mean": as_numbers(self.genes["mean"]),
            "spread": as_numbers(self.genes["spread"]),
            "samples": [int(count) for count in self.genes["samples"]],
        }


LearnedNormalisation = ReferenceQuantiles | GeneScale


def fit_normalisation(
    tables: Mapping[str, pd.DataFrame], genes: list[str], options: NormalisationOptions
) -> LearnedNormalisation | None:
    """Learn what the chosen method needs to know of the training samples.

    Args:
        tables: Cohort to genes x samples, log2, of the training side of a fold only.
        genes: The vocabulary.
        options: The method and its scope, as :func:`build_profiles` will get them.

    Returns:
        What to hand to :func:`build_profiles`; None for a method that learns nothing.

    Raises:
        ExpressionError: When there is nothing to learn from.
    """
    if not options.learned:
        return None
    # Gene by gene the other genes of a table take no part, whatever the scope.
    if options.scope == "vocabulary" or options.method == "gene_z":
        tables = {name: table.loc[table.index.isin(genes)] for name, table in tables.items()}
    if options.method == "gene_z":
        return GeneScale.fit(tables)
    return ReferenceQuantiles.fit(tables, options.reference_size)


def normalisation_from_json(found: Mapping[str, Any] | None) -> LearnedNormalisation | None:
    """Read what :meth:`as_json` wrote; None, of a method that learned nothing, stays None.

    Raises:
        ExpressionError: When it is something else.
    """
    if found is None:
        return None
    try:
        if found["method"] == "reference_quantiles":
            values = np.asarray(found["values"], dtype=np.float64)
            if values.ndim != 1 or len(values) < 2 or not (np.diff(values) >= 0).all():
                raise ValueError("the quantiles do not ascend")
            return ReferenceQuantiles(values, int(found["samples"]))
        if found["method"] == "gene_z":
            columns = {name: found[name] for name in ("mean", "spread", "samples")}
            index = pd.Index(found["genes"], name=GENE)
            genes = pd.DataFrame(columns, index=index)
            return GeneScale(genes.astype({"mean": np.float64, "spread": np.float64}))
        raise ValueError(f"the method {found['method']!r} is not known")
    except (KeyError, TypeError, ValueError) as error:
        raise ExpressionError(
            f"The adapter's learned normalisation cannot be read ({error}); train it again."
        ) from error


def as_numbers(values: pd.Series) -> list[float | None]:
    """Numbers as JSON has them: a missing one is null."""
    return [None if np.isnan(value) else float(value) for value in values]


def _training(tables: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame]:
    if not tables:
        raise ExpressionError(
            "There is no training cohort to learn a normalisation from; look at the stratum's plan."
        )
    return [
        checked(table, f"The training table of {name}") for name, table in sorted(tables.items())
    ]
