"""Normalisations of an expression table that learn nothing.

All but :func:`quantile` look at each sample alone. An infinite value counts as missing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.quantiles import numbers_of

# Blom's plotting positions: (rank - 3/8) / (n + 1/4), nearly the expected normal order statistics
# (Blom 1958; Beasley, Erickson & Allison, Behavior Genetics 2009, doi:10.1007/s10519-009-9281-0).
_BLOM_OFFSET = 0.375


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with infinite values missing: they are no measurements, and have no rank."""
    infinite = np.isinf(numbers_of(table))
    return table.mask(infinite) if infinite.any() else table


def rank_normal(table: pd.DataFrame) -> pd.DataFrame:
    """Replace each value by the normal score of its rank within its sample.

    Ties share the mean of their ranks. Missing values stay missing and take no rank. A second
    application changes nothing. No other sample takes part.

    Args:
        table: genes x samples.

    Returns:
        The same shape, float32, of mean about 0 and standard deviation about 1 in each sample.
    """
    from scipy.special import ndtri

    table = _measured(table)
    ranks = table.rank(axis=0, method="average", na_option="keep")
    n = table.notna().sum(axis=0)
    shares = (ranks - _BLOM_OFFSET) / (n + 1 - 2 * _BLOM_OFFSET)
    scores = ndtri(shares.to_numpy(dtype=np.float64))
    return pd.DataFrame(scores, index=table.index, columns=table.columns).astype(np.float32)


def within_sample_z(table: pd.DataFrame) -> pd.DataFrame:
    """Subtract each sample's mean and divide by its standard deviation (over its genes, ddof 0).

    Missing values stay missing. A sample whose values are all one value becomes zeros: it has a
    value, and no gene stands out in it.

    Args:
        table: genes x samples.

    Returns:
        The same shape, float32.
    """
    values = _measured(table).astype(np.float64)
    centred = values - values.mean(axis=0)
    spread = values.std(axis=0, ddof=0)
    constant = values.max(axis=0) == values.min(axis=0)
    result = centred / spread.mask(constant, 1.0)
    result = result.mask(constant & result.notna(), 0.0)
    return result.astype(np.float32)


def reference_quantiles(table: pd.DataFrame, size: int | None = None) -> np.ndarray:
    """Average the samples' distributions: what quantile normalisation brings every sample to.

    Args:
        table: genes x samples; a sample's missing values are left out of its distribution.
        size: How many quantiles; as many as genes by default.

    Returns:
        ``size`` ascending values at evenly spaced shares from 0 to 1.

    Raises:
        ExpressionError: When no sample has a value.
    """
    shares = np.linspace(0, 1, size or len(table))
    columns = [one[np.isfinite(one)] for one in table.to_numpy(dtype=np.float64).T]
    # As numpy.quantile has it, in a twentieth of its time for as many quantiles as genes.
    distributions = [
        np.interp(shares, np.linspace(0, 1, one.size), np.sort(one)) for one in columns if one.size
    ]
    if not distributions:
        raise ExpressionError(
            "No sample has a value to take quantiles of; look at the cohort's QC."
        )
    return np.mean(distributions, axis=0)


def to_reference(table: pd.DataFrame, reference: np.ndarray) -> pd.DataFrame:
    """Give each sample the distribution ``reference``, by rank; ties get the same value.

    Args:
        table: genes x samples; missing values stay missing.
        reference: Ascending values, as :func:`reference_quantiles` gives them.

    Returns:
        The same shape, float32.
    """
    measured = _measured(table)
    ranks = measured.rank(axis=0, method="average", na_option="keep").to_numpy(dtype=np.float64)
    n = np.isfinite(ranks).sum(axis=0)
    # One value alone lies in the middle of the reference; a missing one has no rank and no share.
    shares = np.where(n > 1, (ranks - 1) / np.maximum(n - 1, 1), 0.5 * ranks)
    grid = np.linspace(0, 1, len(reference))
    values = np.interp(shares, grid, reference)
    return pd.DataFrame(values, index=table.index, columns=table.columns).astype(np.float32)


def quantile(table: pd.DataFrame) -> pd.DataFrame:
    """Give every sample the average distribution of all samples (transductive).

    Bolstad et al., Bioinformatics 2003, doi:10.1093/bioinformatics/19.2.185; ties get the mean of
    their ranks' values by interpolation.

    Args:
        table: genes x samples; missing values stay missing.

    Returns:
        The same shape, float32.
    """
    return to_reference(table, reference_quantiles(table))
