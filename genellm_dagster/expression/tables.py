"""What every expression table must be, and the correlation that respects missing values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError

GENE = "gene"
MAD_TO_SD = 1.4826
"""Median absolute deviation to standard deviation under the normal law."""


def checked(table: pd.DataFrame, what: str = "The expression table") -> pd.DataFrame:
    """Return ``table`` when it is one: genes x samples, both named once, numbers or NaN.

    Raises:
        ExpressionError: When it is empty, repeats a gene or a sample, or holds something else.
    """
    if table.shape[0] == 0 or table.shape[1] == 0:
        raise ExpressionError(
            f"{what} has {table.shape[0]} genes and {table.shape[1]} samples; there is nothing to "
            "work on, so look at the cohort's file and its id_type."
        )
    for axis, name in ((table.index, "gene"), (table.columns, "sample")):
        if not axis.is_unique:
            raise ExpressionError(
                f"{what} holds the {name} {axis[axis.duplicated()][0]} twice; keep one of them."
            )
    if not all(dtype.kind in "fiu" for dtype in table.dtypes):
        column = next(c for c, dtype in table.dtypes.items() if dtype.kind not in "fiu")
        raise ExpressionError(
            f"{what} holds something other than numbers in {column}; mend the file that it is from."
        )
    if np.isinf(table.to_numpy(dtype=np.float64)).any():
        raise ExpressionError(
            f"{what} holds infinite values; build it by build_expression, which counts them as "
            "missing."
        )
    return table


def as_float32(values: pd.DataFrame) -> pd.DataFrame:
    """Return genes x samples as float32, where a value too large for it would become infinite.

    Raises:
        ExpressionError: When there is such a value.
    """
    with np.errstate(over="ignore"):  # what overflows is refused below
        result = values.astype(np.float32)
    infinite = np.isinf(result.to_numpy())
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise ExpressionError(
            f"The value of {values.index[row]} in {values.columns[column]} lies too far from those "
            "that were learned from to be a measurement; look at the values of the series, or "
            "leave the sample out."
        )
    return result


def correlations(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pearson correlation of every column of ``left`` with every column of ``right``.

    Args:
        left: genes x n values; NaN is left out pair by pair.
        right: genes x m values.

    Returns:
        n x m; NaN where a pair has fewer than 3 common genes or no variance in them.
    """
    a_seen, b_seen = np.isfinite(left), np.isfinite(right)
    # A missing value has no weight in any sum below, so the zero put there is no value.
    a = np.where(a_seen, left, left.dtype.type(0))
    # The product of a matrix with itself takes half the time, when it is seen to be one.
    b = a if right is left else np.where(b_seen, right, right.dtype.type(0))
    if a_seen.all() and b_seen.all():
        n = np.full((a.shape[1], b.shape[1]), float(a.shape[0]))
        sum_a, sum_b = a.sum(0)[:, None], b.sum(0)[None, :]
        sum_aa, sum_bb = (a * a).sum(0)[:, None], (b * b).sum(0)[None, :]
    else:
        wa, wb = a_seen.astype(a.dtype), b_seen.astype(b.dtype)
        n = wa.T @ wb
        sum_a, sum_b = a.T @ wb, wa.T @ b
        sum_aa, sum_bb = (a * a).T @ wb, wa.T @ (b * b)
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = a.T @ b - sum_a * sum_b / n
        spread_a, spread_b = sum_aa - sum_a**2 / n, sum_bb - sum_b**2 / n
        tiny = np.finfo(a.dtype).eps * np.maximum(n, 1)
        usable = (n >= 3) & (spread_a > tiny * sum_aa) & (spread_b > tiny * sum_bb)
        result = np.where(usable, covariance / np.sqrt(spread_a * spread_b), np.nan)
    return np.clip(result, -1.0, 1.0)


def deviations(values: np.ndarray) -> np.ndarray:
    """Robust deviations of values from their median, in MADs scaled to standard deviations.

    NaN stays NaN. Where the MAD is zero a value at the median is 0 and any other is infinite.
    """
    seen = np.isfinite(values)
    if not seen.any():
        return np.full(values.shape, np.nan)
    shift = values - np.median(values[seen])
    scale = MAD_TO_SD * np.median(np.abs(shift[seen]))
    if scale > 0:
        return shift / scale
    apart = np.where(shift == 0, 0.0, np.copysign(np.inf, shift))
    return np.where(seen, apart, np.nan)
