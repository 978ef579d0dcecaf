"""What is measured on each sample before it is judged: by itself, and against the others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genellm_dagster.expression.qc_options import QcOptions
from genellm_dagster.expression.quantiles import row_quantiles
from genellm_dagster.expression.tables import MAD_TO_SD, correlations, deviations

MEDIAN_APART = "its median lies apart"
SPREAD_APART = "its spread lies apart"
CORRELATES_LITTLE = "it correlates little with the others"
APART_IN_COMPONENTS = "it lies apart in principal components"
APART_FROM_COMPONENTS = "it lies apart from what principal components describe"
MUCH_AT_FLOOR = "more of its values lie at its floor than in the others"

_MIN_GENES_TO_CORRELATE = 3
_MAX_MISSING_OF_A_GENE = 0.1
_ROUNDING = 1e-9


def _own(values: np.ndarray) -> tuple[list[float], np.ndarray]:
    """Measures of one sample, and the ranks of its values as shares of the genes, NaN as they are.

    One sort gives them all: missing share, median, interquartile range, shares at the lowest and
    at the highest value.
    """
    ranks = np.full(len(values), np.nan, dtype=np.float32)
    seen = np.flatnonzero(~np.isnan(values))
    n = len(seen)
    missing = 1 - n / len(values)
    if n == 0:
        return [missing, np.nan, np.nan, np.nan, np.nan], ranks
    order = seen[np.argsort(values[seen], kind="stable")]
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(starts, n))
    # Ties share the mean of their ranks.
    ranks[order] = np.repeat(starts + (sizes + 1) / 2, sizes) / len(values)
    places = np.array([0.25, 0.5, 0.75]) * (n - 1)
    low = places.astype(int)
    below, above = ordered[low].astype(float), ordered[np.minimum(low + 1, n - 1)].astype(float)
    q25, median, q75 = below + (above - below) * (places - low)
    # A value that stands alone at the end is the sample's extreme, not a floor or a ceiling.
    ends = [float(size) / n if size > 1 else 0.0 for size in (sizes[0], sizes[-1])]
    return [missing, median, q75 - q25, *ends], ranks


def _median_correlations(ranks: np.ndarray) -> np.ndarray:
    # Centred, so that single precision suffices for sums over 20,000 genes.
    centred = ranks - np.float32(0.5)
    matrix = correlations(centred, centred)
    np.fill_diagonal(matrix, np.nan)
    result = np.full(len(matrix), np.nan)
    seen = np.isfinite(matrix).any(axis=1)
    if seen.any():
        result[seen] = np.nanmedian(matrix[seen], axis=1)
    return result


def robust_pca_distances(table: pd.DataFrame, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each sample's distance from the middle in robust principal components, and from them.

    Spherical principal components (Locantore et al., Test 1999, doi:10.1007/BF02595862): samples
    are centred by the gene-wise median and projected on the unit sphere before the components are
    found, so that an outlier cannot draw a component to itself; the scores are then measured in
    robust deviations. An array of noise has small scores, but lies far off the components: both
    distances are looked at, as by Hubert et al., Technometrics 2005,
    doi:10.1198/004017004000000563. Genes missing in more than a tenth of the samples take no part;
    another missing value counts for nothing, as if it lay at its gene's median.

    Args:
        table: genes x samples.
        components: How many components; fewer when there are fewer samples.

    Returns:
        Root mean square of the robust deviations over the components, and root mean square, over
        the genes, of what the components leave of a sample; NaN when there are fewer than three
        such genes or three samples.
    """
    values = table.to_numpy()
    n = table.shape[1]
    usable_genes = np.isnan(values).sum(axis=1) <= _MAX_MISSING_OF_A_GENE * n
    if usable_genes.sum() < _MIN_GENES_TO_CORRELATE or n < _MIN_GENES_TO_CORRELATE:
        return np.full(n, np.nan), np.full(n, np.nan)
    values = values[usable_genes]
    centred = values - row_quantiles(values, (0.5,), at_least=1)
    centred[np.isnan(values)] = 0.0
    # Everything below is in products of samples with samples, which one multiplication gives.
    products = centred.T @ centred
    squares = np.diag(products).copy()
    lengths = np.where(squares > 0, np.sqrt(squares), 1.0)
    eigenvalues, vectors = np.linalg.eigh(products / np.outer(lengths, lengths))
    order = np.argsort(eigenvalues)[::-1][: min(components, n - 2)]
    order = order[eigenvalues[order] > np.finfo(np.float64).eps * n * eigenvalues.max(initial=0)]
    scores = (products / lengths) @ vectors[:, order] / np.sqrt(eigenvalues[order])
    left = squares - (scores**2).sum(axis=1)
    # What is left where the components describe everything is rounding.
    left = np.sqrt(np.where(left > _ROUNDING * squares, left, 0.0) / len(values))
    shift = scores - np.median(scores, axis=0)
    spread = MAD_TO_SD * np.median(np.abs(shift), axis=0)
    usable = spread > np.finfo(np.float64).eps * np.abs(scores).max(axis=0, initial=0.0)
    if not usable.any():
        return np.zeros(n), left
    return np.sqrt(((shift[:, usable] / spread[usable]) ** 2).mean(axis=1)), left


def measured_samples(table: pd.DataFrame, options: QcOptions) -> pd.DataFrame:
    """Measure each sample.

    Args:
        table: genes x samples, float32.
        options: How many components; which samples have too many gaps for them.

    Returns:
        One row a sample, index gsm: missing_share, median_log2, iqr_log2, floor_share and
        ceiling_share (share of its values that are its lowest, its highest; 0 where that value
        stands once), correlation (median Spearman with the others, each pair over the genes that
        both have), pca_distance (robust deviations; NaN with too many gaps, as such a sample
        would take its genes from everyone).
    """
    numbers = table.to_numpy()
    ranks = np.empty(numbers.shape, dtype=np.float32)
    own = []
    for at in range(numbers.shape[1]):
        measures, ranks[:, at] = _own(numbers[:, at])
        own.append(measures)
    names = ["missing_share", "median_log2", "iqr_log2", "floor_share", "ceiling_share"]
    frame = pd.DataFrame(own, index=pd.Index(table.columns, name="gsm"), columns=names)
    anywhere = np.isfinite(ranks).any(axis=1)
    frame["correlation"] = _median_correlations(ranks if anywhere.all() else ranks[anywhere])
    measured = (frame["missing_share"] <= options.max_sample_missing).to_numpy()
    for name in ("pca_distance", "pca_residual"):
        frame[name] = np.nan
    part = table if measured.all() else table.loc[:, measured]
    both = np.column_stack(robust_pca_distances(part, options.pca_components))
    frame.loc[measured, ["pca_distance", "pca_residual"]] = both
    return frame


def outlier_flags(
    measured: pd.DataFrame, n_genes: int, options: QcOptions
) -> tuple[pd.DataFrame, np.ndarray, bool]:
    """Say of each measure which samples are outliers of it.

    Args:
        measured: As :func:`measured_samples` gives it.
        n_genes: How many genes were measured in any sample.
        options: The bounds.

    Returns:
        One column of booleans a measure, named by the remark; the votes of each sample to leave,
        where intensity (median and spread together), correlation and PCA distances have one each;
        and whether votes count here.
    """
    limit = options.outlier_deviations
    enough = len(measured) >= options.min_samples_for_outliers

    def apart(column: str) -> tuple[np.ndarray, np.ndarray, float]:
        values = measured[column].to_numpy(dtype=np.float64)
        middle = float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
        return deviations(values), values - middle, middle

    median, median_shift, _ = apart("median_log2")
    spread, spread_shift, usual = apart("iqr_log2")
    floor, floor_shift, _ = apart("floor_share")
    correlation = measured["correlation"].to_numpy(dtype=np.float64)
    distance = measured["pca_distance"].to_numpy(dtype=np.float64)
    residual, _, usual_residual = apart("pca_residual")
    least = usual_residual * (1 + options.min_residual_change)
    flags = pd.DataFrame(
        {
            MEDIAN_APART: (np.abs(median) > limit)
            & (np.abs(median_shift) > options.min_median_shift),
            SPREAD_APART: (np.abs(spread) > limit)
            & (np.abs(spread_shift) > options.min_spread_change * usual)
            & (usual > 0),
            CORRELATES_LITTLE: (deviations(correlation) < -limit)
            & (correlation < options.max_correlation),
            APART_IN_COMPONENTS: deviations(distance) > limit,
            APART_FROM_COMPONENTS: (residual > limit)
            & (measured["pca_residual"].to_numpy(dtype=np.float64) > least)
            & (usual_residual > 0),
            MUCH_AT_FLOOR: (floor > limit) & (floor_shift > options.min_floor_shift),
        },
        index=measured.index,
    )
    flags &= enough
    votes = (
        (flags[MEDIAN_APART] | flags[SPREAD_APART]).astype(int)
        + flags[CORRELATES_LITTLE]
        + (flags[APART_IN_COMPONENTS] | flags[APART_FROM_COMPONENTS])
    )
    return flags, votes.to_numpy(), enough and n_genes >= options.min_genes_for_outliers
