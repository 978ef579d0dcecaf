"""The scale of a table's values, recognised by GEO2R's rule, and the way from it to log2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.collapse import SampleFunction
from genellm_dagster.expression.options import ScaleOptions
from genellm_dagster.expression.quantiles import (
    count_by_sample,
    finite_quantiles,
    numbers_of,
    row_quantiles,
)
from genellm_dagster.expression.tmm import tmm_factors

ScaleKind = Literal["log2", "linear", "counts", "centred"]
CENTRED = "centred"

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
    return _counted_quantiles(numbers_of(values))[1]


def _counted_quantiles(numbers: np.ndarray) -> tuple[int, dict[str, float]]:
    count, found = finite_quantiles(numbers, QUANTILES)
    if count == 0:
        raise ExpressionError(
            "The table of values holds no number; look at the series file, and set the cohort to "
            "another source of values if it holds its header only."
        )
    return count, {f"q{100 * q:g}": value for q, value in zip(QUANTILES, found, strict=True)}


def _is_centred(
    numbers: np.ndarray, count: int, quantiles: dict[str, float], options: ScaleOptions
) -> bool:
    finite_negative = count_by_sample(numbers, lambda sample: (sample < 0) & np.isfinite(sample))
    negative = int(finite_negative.sum()) / count
    if negative < options.centred_min_negative_share:
        return False
    if numbers.shape[1] < _MIN_SAMPLES_FOR_ROWS:
        near_zero = options.centred_max_row_median * (quantiles["q75"] - quantiles["q25"])
        return (
            negative >= _CENTRED_NEGATIVE_SHARE_WITHOUT_ROWS and abs(quantiles["q50"]) <= near_zero
        )
    found = row_quantiles(numbers, (0.25, 0.5, 0.75), at_least=_MIN_SAMPLES_FOR_ROWS)
    if len(found) == 0:
        return False
    low, middle, high = found.T
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
    numbers = numbers_of(values)
    count, found = _counted_quantiles(numbers)
    q0, q25, q75 = found["q0"], found["q25"], found["q75"]
    q99, q100 = found["q99"], found["q100"]
    if q99 > options.log_max_q99:
        return Scale("linear", found, f"the 99th percentile {q99:g} is above 100")
    if q100 - q0 > options.log_max_range and q25 > 0:
        return Scale("linear", found, f"the range {q100 - q0:g} is above 50")
    if 0 < q25 < 1 < q75 < 2:
        return Scale(
            "linear", found, f"the quartiles {q25:g} and {q75:g} are those of ratios about 1"
        )
    if _is_centred(numbers, count, found, options):
        return Scale("centred", found, "the rows lie about zero, with values on both sides")
    return Scale("log2", found, "no part of GEO2R's rule speaks against log2")


def log2_cpm(reads: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """Turn the read counts of one sample into log2 counts per million, by the formula of voom.

    log2((count + 0.5) / (library * factor + 1) * 1e6), the library being the sum over all ids (Law
    et al., Genome Biology 2014, doi:10.1186/gb-2014-15-2-r29).

    Args:
        reads: Of every id of the sample, not negative, as the sum is its library; NaN is missing.
        factor: Of the library, where samples are compared before (TMM).

    Returns:
        float64; NaN where a count is missing, and throughout when there are no reads.
    """
    reads = reads.astype(np.float64)
    library = np.nansum(reads) * factor
    return np.log2((reads + 0.5) / (library + 1.0) * 1e6) if library > 0 else reads * np.nan


def log2_linear(values: np.ndarray, floor_quantile: float) -> np.ndarray:
    """Turn the linear values of one sample into log2, with a floor that it sets for itself.

    The floor is the sample's own ``floor_quantile`` among its positive values; lower values, zeros
    and negative ones (background-subtracted arrays) among them, are raised to it.

    Returns:
        float64; NaN where a value is missing, and throughout without one positive value.
    """
    values = values.astype(np.float64)
    positive = values[values > 0]
    if positive.size == 0:
        return np.full(values.shape, np.nan)
    # An attained value, so that the floor is a measurement of the sample.
    place = int(floor_quantile * (len(positive) - 1))
    floor = np.partition(positive, place)[place]
    return np.log2(np.maximum(values, floor))


def log2_of(
    values: pd.DataFrame, kind: ScaleKind, options: ScaleOptions | None = None
) -> SampleFunction | list[SampleFunction] | None:
    """Return what brings one sample to log2, or None when its values are there already.

    Args:
        values: ids x samples, finite or NaN; only looked at.
        kind: ``log2`` and ``centred`` stay as they are, ``linear`` goes through
            :func:`log2_linear`, ``counts`` through :func:`log2_cpm`.
        options: Where the floor of linear values lies, and how counts are scaled.

    Returns:
        One function for every sample; a list of one a sample where each has a factor of its own.

    Raises:
        ExpressionError: When counts are negative, cannot be compared, or the kind is unknown.
    """
    options = options or ScaleOptions()
    if kind in ("log2", "centred"):
        return None
    if kind == "linear":
        return partial(log2_linear, floor_quantile=options.linear_floor_quantile)
    if kind == "counts":
        negative = count_by_sample(numbers_of(values), lambda sample: sample < 0)
        if negative.any():
            gsm = values.columns[int(np.argmax(negative > 0))]
            raise ExpressionError(
                f"Sample {gsm} has negative values, so they are no counts; set the cohort's scale "
                "to log2 or linear."
            )
        if options.counts == "tmm":
            return [partial(log2_cpm, factor=float(one)) for one in tmm_factors(values)]
        return log2_cpm
    raise ExpressionError(
        f"The scale {kind!r} is not known; set the cohort's scale to log2, linear, counts or "
        "centred."
    )


def centring_marks(scales: Mapping[str, str]) -> list[str]:
    """Say what results on these cohorts must be marked with because some are centred.

    A centred value says how far a gene lies from its own level in the cohort that was submitted,
    so that every sample of the cohort takes part in it; ranks of such values within a sample are
    other ranks than those of measured levels (they correlate .18 on three TB series).

    Args:
        scales: Cohort to the kind of scale that its expression report tells.

    Returns:
        No mark, or one that names the centred cohorts; where others are not centred it says that
        the level of scores differs. Measured on those TB series, a centred cohort's cases are told
        from its controls as well as before (mean AUROC .941 against .936), at another level.
    """
    centred = sorted(name for name, kind in scales.items() if kind == CENTRED)
    if not centred:
        return []
    level = "" if len(centred) == len(scales) else ", which puts its scores on a level of their own"
    return [
        f"centring of a cohort on its own samples by its submitter{level} ({', '.join(centred)})"
    ]
