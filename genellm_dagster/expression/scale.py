"""The scale of a table's values, recognised by GEO2R's rule, and the way from it to log2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.options import ScaleOptions

ScaleKind = Literal["log2", "linear", "counts", "centred"]

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.99, 1.0)
"""The quantiles that GEO2R's rule reads (its R script, https://www.ncbi.nlm.nih.gov/geo/geo2r/)."""
_MIN_SAMPLES_FOR_ROWS = 3
# Without rows to look at, only values spread evenly about zero are called centred.
_CENTRED_NEGATIVE_SHARE_WITHOUT_ROWS = 0.4


@dataclass(frozen=True)
class Scale:
    """What the values of a table are on.

    Attributes:
        kind: log2, linear or centred (log2 values less a gene's own level).
        quantiles: The values' quantiles by name (q0, q25, ..., q100).
        reason: One sentence: which part of the rule decided.
    """

    kind: Literal["log2", "linear", "centred"]
    quantiles: dict[str, float]
    reason: str


def quantiles_of(values: pd.DataFrame) -> dict[str, float]:
    """Return the quantiles of GEO2R's rule over all finite values.

    Raises:
        ExpressionError: When there is no finite value.
    """
    numbers = values.to_numpy(dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0:
        raise ExpressionError(
            "The table of values holds no number; look at the series file, and set the cohort to "
            "another source of values if it holds its header only."
        )
    found = np.quantile(numbers, QUANTILES)
    return {f"q{100 * q:g}": float(value) for q, value in zip(QUANTILES, found, strict=True)}


def _is_centred(values: pd.DataFrame, quantiles: dict[str, float], options: ScaleOptions) -> bool:
    numbers = values.to_numpy(dtype=np.float64)
    seen = np.isfinite(numbers)
    negative = float((numbers[seen] < 0).mean())
    if negative < options.centred_min_negative_share:
        return False
    if values.shape[1] < _MIN_SAMPLES_FOR_ROWS:
        near_zero = options.centred_max_row_median * (quantiles["q75"] - quantiles["q25"])
        return (
            negative >= _CENTRED_NEGATIVE_SHARE_WITHOUT_ROWS and abs(quantiles["q50"]) <= near_zero
        )
    rows = numbers[seen.sum(axis=1) >= _MIN_SAMPLES_FOR_ROWS]
    if len(rows) == 0:
        return False
    low, middle, high = np.nanquantile(rows, (0.25, 0.5, 0.75), axis=1)
    spread = float(np.median(high - low))
    return float(np.median(np.abs(middle))) <= options.centred_max_row_median * spread


def detect_scale(values: pd.DataFrame, options: ScaleOptions | None = None) -> Scale:
    """Recognise the scale of a table by its quantiles.

    GEO2R's rule: not log2 when q99 > 100, or when the range is above 50 with a positive first
    quartile, or when 0 < q25 < 1 and 1 < q75 < 2. Values that pass as log2 are centred when many
    are negative and the rows lie about zero; a few negative log2 values are legitimate.

    Args:
        values: ids x samples; NaN and infinite values are left out.
        options: The rule's bounds.

    Raises:
        ExpressionError: When there is no finite value.
    """
    options = options or ScaleOptions()
    quantiles = quantiles_of(values)
    q0, q25, q75 = quantiles["q0"], quantiles["q25"], quantiles["q75"]
    q99, q100 = quantiles["q99"], quantiles["q100"]
    if q99 > options.log_max_q99:
        return Scale("linear", quantiles, f"the 99th percentile {q99:g} is above 100")
    if q100 - q0 > options.log_max_range and q25 > 0:
        return Scale("linear", quantiles, f"the range {q100 - q0:g} is above 50")
    if 0 < q25 < 1 < q75 < 2:
        return Scale(
            "linear", quantiles, f"the quartiles {q25:g} and {q75:g} are those of ratios about 1"
        )
    if _is_centred(values, quantiles, options):
        return Scale("centred", quantiles, "the rows lie about zero, with values on both sides")
    return Scale("log2", quantiles, "no part of GEO2R's rule speaks against log2")


def log2_cpm(counts: pd.DataFrame) -> pd.DataFrame:
    """Turn read counts into log2 counts per million, by the formula of voom.

    log2((count + 0.5) / (library + 1) * 1e6), the library being the sample's sum over all ids (Law
    et al., Genome Biology 2014, doi:10.1186/gb-2014-15-2-r29). Each sample is computed alone.

    Args:
        counts: ids x samples, not negative; every id of the sample, as the sum is its library.

    Returns:
        The same shape; NaN where a count is missing, and all through a sample without reads.

    Raises:
        ExpressionError: When a count is negative.
    """
    numbers = counts.to_numpy(dtype=np.float64)
    if (numbers < 0).any():
        column = counts.columns[int(np.argmax((numbers < 0).any(axis=0)))]
        raise ExpressionError(
            f"Sample {column} has negative values, so they are no counts; set the cohort's scale "
            "to log2 or linear."
        )
    library = np.nansum(numbers, axis=0)
    library = np.where(library > 0, library, np.nan)
    result = np.log2((numbers + 0.5) / (library + 1.0) * 1e6)
    return pd.DataFrame(result, index=counts.index, columns=counts.columns)


def log2_linear(values: pd.DataFrame, floor_quantile: float) -> pd.DataFrame:
    """Turn linear values into log2, with a floor that each sample sets for itself.

    The floor is the sample's own ``floor_quantile`` among its positive values; lower values, zeros
    and negative ones (background-subtracted arrays) among them, are raised to it. No other sample
    takes part.

    Returns:
        The same shape; NaN where a value is missing, and all through a sample without one positive
        value.
    """
    numbers = values.to_numpy(dtype=np.float64)
    result = np.full(numbers.shape, np.nan)
    for column in range(numbers.shape[1]):
        one = numbers[:, column]
        positive = one[one > 0]
        if positive.size:
            # An attained value, so that the floor is a measurement of the sample.
            floor = np.quantile(positive, floor_quantile, method="lower")
            result[:, column] = np.log2(np.maximum(one, floor))
    return pd.DataFrame(result, index=values.index, columns=values.columns)


def to_log2(
    values: pd.DataFrame, kind: ScaleKind, options: ScaleOptions | None = None
) -> pd.DataFrame:
    """Bring values to log2, each sample by itself.

    Args:
        values: ids x samples, finite or NaN.
        kind: ``log2`` and ``centred`` stay as they are, ``linear`` goes through
            :func:`log2_linear`, ``counts`` through :func:`log2_cpm`.
        options: Where the floor of linear values lies.

    Raises:
        ExpressionError: When counts are negative or the kind is unknown.
    """
    options = options or ScaleOptions()
    if kind in ("log2", "centred"):
        return values.astype(np.float64)
    if kind == "linear":
        return log2_linear(values, options.linear_floor_quantile)
    if kind == "counts":
        return log2_cpm(values)
    raise ExpressionError(
        f"The scale {kind!r} is not known; set the cohort's scale to log2, linear, counts or "
        "centred."
    )
