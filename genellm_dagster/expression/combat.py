"""ComBat's estimates: each gene's location and scale in a batch, shrunk over the genes.

Johnson, Li and Rabinovic, Biostatistics 2007, doi:10.1093/biostatistics/kxj037, parametric priors,
written from its formulas so that a missing value takes no part, that a gene may be absent from a
cohort, and that what was learned can be kept and applied. No covariates: the only one at hand would
be the label. Variances inside a batch and over the genes are over n - 1; inmoose takes them over n,
and lies up to .04 deviations apart in batches of a few samples. Location without scale is shrunk by
the number of samples too, which inmoose leaves out of that variant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.profile_options import HarmonisationOptions

FloatArray = NDArray[np.float64]

# A variance below this share of the squared level is the rounding of float32, not a measurement.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Sums:
    """What a batch says of each gene: number of values, their mean, squares about it."""

    n: FloatArray
    mean: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, values: FloatArray) -> Sums:
        """Sum genes x samples; the mean of a gene without a value is NaN."""
        seen = np.isfinite(values)
        n = seen.sum(axis=1).astype(np.float64)
        # A missing value is left out of the sum and of the count, so this zero is no value.
        total = np.where(seen, values, 0.0).sum(axis=1)
        mean = np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
        squares = np.where(seen, values - mean[:, None], 0.0)
        return cls(n, mean, np.einsum("ij,ij->i", squares, squares))


@dataclass(frozen=True)
class Pooled:
    """The common distribution of each gene: grand mean and variance inside batches.

    Attributes:
        mean: NaN where no batch measured the gene.
        variance: NaN where it does not vary inside any batch; then only its location is moved.
        batches: How many batches measured the gene.
    """

    mean: FloatArray
    variance: FloatArray
    batches: NDArray[np.int_]


def pool(batches: list[Sums]) -> Pooled:
    """Pool the batches, each sample weighing the same."""
    n = np.array([one.n for one in batches])
    total = n.sum(axis=0)
    sums = np.where(n > 0, n * np.array([one.mean for one in batches]), 0.0).sum(axis=0)
    empty = np.full(len(total), np.nan)
    mean = np.divide(sums, total, out=empty.copy(), where=total > 0)
    squares = np.array([one.squares for one in batches]).sum(axis=0)
    variance = np.divide(squares, total, out=empty.copy(), where=total > 0)
    varies = variance > _ROUNDING * (1 + mean**2)
    return Pooled(mean, np.where(varies, variance, np.nan), (n > 0).sum(axis=0))


@dataclass(frozen=True)
class Shift:
    """A batch's place in the common distribution.

    Attributes:
        location: In pooled standard deviations (as it stands for a gene without a variance); NaN
            for a gene that the batch or the pool did not measure.
        scale: Variance, in pooled variances.
    """

    location: FloatArray
    scale: FloatArray


def shift(batch: Sums, pooled: Pooled, options: HarmonisationOptions) -> Shift:
    """Estimate a batch's location and scale by empirical Bayes.

    Raises:
        ExpressionError: When the estimate of a gene does not come to rest.
    """
    varies = np.isfinite(pooled.variance)
    spread = np.sqrt(np.where(varies, pooled.variance, 1.0))
    location = (batch.mean - pooled.mean) / spread
    scale = np.where(np.isfinite(location), 1.0, np.nan)
    used = varies & (batch.n > 0)
    if used.any():
        n, found = batch.n[used], location[used]
        squares = batch.squares[used] / pooled.variance[used]
        if options.scale and (n > 1).any():
            location[used], scale[used] = _location_and_scale(n, found, squares, options)
        else:
            location[used] = _location(n, found, np.ones(len(n)), *_normal_prior(found))
    return Shift(location, scale)


def no_shift(batch: Sums, pooled: Pooled) -> Shift:
    """Say of a batch that it lies where the pool lies, on the genes that it measured."""
    there = (batch.n > 0) & np.isfinite(pooled.mean)
    return Shift(np.where(there, 0.0, np.nan), np.where(there, 1.0, np.nan))


def move(values: FloatArray, pooled: Pooled, by: Shift) -> FloatArray:
    """Take a batch's location and scale out of genes x samples; what is missing stays missing."""
    varies = np.isfinite(pooled.variance)
    spread = np.sqrt(np.where(varies, pooled.variance, 1.0))[:, None]
    mean = pooled.mean[:, None]
    standard = (values - mean) / spread
    moved = (standard - by.location[:, None]) / np.sqrt(by.scale)[:, None]
    return moved * spread + mean


def _normal_prior(found: FloatArray) -> tuple[float, float]:
    """Mean and variance of the locations over the genes."""
    return float(found.mean()), float(found.var(ddof=1)) if len(found) > 1 else np.inf


def _location(
    n: FloatArray, found: FloatArray, scale: FloatArray, middle: float, width: float
) -> FloatArray:
    if not np.isfinite(width):
        return found
    return (width * n * found + scale * middle) / (width * n + scale)


def _location_and_scale(
    n: FloatArray, found: FloatArray, squares: FloatArray, options: HarmonisationOptions
) -> tuple[FloatArray, FloatArray]:
    middle, width = _normal_prior(found)
    repeated = n > 1
    scales = squares[repeated] / (n[repeated] - 1)
    level = float(scales.mean())
    spread = float(scales.var(ddof=1)) if len(scales) > 1 else 0.0
    scale = np.full(len(n), level)
    scale[repeated] = scales
    if len(scales) < 2 or spread <= _ROUNDING * level**2 or level <= 0:
        # No spread over the genes to learn a prior from: what was found stands.
        scale = np.where(scale > 0, scale, 1.0)
        return _location(n, found, scale, middle, width), scale
    # Moments of the inverse gamma distribution.
    shape = 2 + level**2 / spread
    rate = level * (shape - 1)
    location = found
    for _ in range(options.max_iterations):
        moved = _location(n, found, scale, middle, width)
        about = squares + n * (found - moved) ** 2
        rescaled = (0.5 * about + rate) / (0.5 * n + shape - 1)
        # A location may be near zero, where a relative change says nothing: in deviations, then.
        change = max(
            float(np.max(np.abs(moved - location) / np.sqrt(rescaled))),
            float(np.max(np.abs(rescaled - scale) / rescaled)),
        )
        location, scale = moved, rescaled
        if change <= options.tolerance:
            return location, scale
    raise ExpressionError(
        f"ComBat's estimates still move after {options.max_iterations} iterations; raise "
        "max_iterations, or look at the cohort's QC."
    )
