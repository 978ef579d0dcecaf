"""Quality control of one cohort's samples and genes, each with its reasons, without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.options import QcOptions
from genellm_dagster.expression.tables import GENE, MAD_TO_SD, checked, correlations, deviations

_MIN_GENES_TO_CORRELATE = 3


@dataclass(frozen=True)
class QcResult:
    """What quality control kept, and why not the rest.

    Attributes:
        table: genes x kept samples, float32.
        samples: One row a sample asked for: gsm, missing_share, median_log2, correlation (median
            Spearman with the others), pca_distance (robust deviations), kept, reasons ("; "
            between them; a kept sample can have remarks).
        genes: One row a gene: gene, missing_share, mean, sd (over the kept samples, log2), kept,
            reason.
        summary: JSON-safe counts and thresholds.
    """

    table: pd.DataFrame
    samples: pd.DataFrame
    genes: pd.DataFrame
    summary: dict[str, Any]


def median_correlations(table: pd.DataFrame) -> np.ndarray:
    """Return each sample's median Spearman correlation with the others.

    Ranks are taken in each sample over its own values, and each pair is correlated over the genes
    that both have. NaN for a sample without variation, and when there is no other sample.
    """
    ranks = table.rank(axis=0).to_numpy(dtype=np.float32) / np.float32(max(len(table), 1))
    # Centred, so that single precision suffices for sums over 20,000 genes.
    ranks = ranks - np.float32(0.5)
    matrix = correlations(ranks, ranks)
    np.fill_diagonal(matrix, np.nan)
    result = np.full(len(matrix), np.nan)
    seen = np.isfinite(matrix).any(axis=1)
    if seen.any():
        result[seen] = np.nanmedian(matrix[seen], axis=1)
    return result


def robust_pca_distances(table: pd.DataFrame, components: int) -> np.ndarray:
    """Return each sample's distance from the middle in robust principal components.

    Spherical principal components (Locantore et al., Test 1999, doi:10.1007/BF02595862): samples
    are centred by the gene-wise median and projected on the unit sphere before the components are
    found, so that an outlier cannot draw a component to itself; the scores are then measured in
    robust deviations. Only genes without a missing value take part.

    Args:
        table: genes x samples.
        components: How many components; fewer when there are fewer samples.

    Returns:
        Root mean square of the robust deviations over the components; NaN when there are fewer
        than three complete genes or three samples.
    """
    values = table.to_numpy(dtype=np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    n = table.shape[1]
    if len(values) < _MIN_GENES_TO_CORRELATE or n < _MIN_GENES_TO_CORRELATE:
        return np.full(n, np.nan)
    centred = values - np.median(values, axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=0)
    directions = centred / np.where(lengths > 0, lengths, 1.0)
    eigenvalues, vectors = np.linalg.eigh(directions.T @ directions)
    order = np.argsort(eigenvalues)[::-1][: min(components, n - 2)]
    order = order[eigenvalues[order] > np.finfo(np.float64).eps * n * eigenvalues.max(initial=0)]
    if len(order) == 0:
        return np.zeros(n)
    scores = (centred.T @ directions) @ vectors[:, order] / np.sqrt(eigenvalues[order])
    shift = scores - np.median(scores, axis=0)
    spread = MAD_TO_SD * np.median(np.abs(shift), axis=0)
    usable = spread > np.finfo(np.float64).eps * np.abs(scores).max(axis=0)
    if not usable.any():
        return np.zeros(n)
    return np.sqrt(((shift[:, usable] / spread[usable]) ** 2).mean(axis=1))


def _gene_frame(table: pd.DataFrame, options: QcOptions) -> pd.DataFrame:
    values = table.to_numpy(dtype=np.float64)
    seen = np.isfinite(values)
    n = seen.sum(axis=1)
    total = np.where(seen, values, 0.0).sum(axis=1)
    mean = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    shift = np.where(seen, values - mean[:, None], 0.0)
    sd = np.where(n > 1, np.sqrt((shift**2).sum(axis=1) / np.maximum(n - 1, 1)), np.nan)
    missing = 1 - n / max(table.shape[1], 1)
    highest = np.where(seen, values, -np.inf).max(axis=1, initial=-np.inf)
    lowest = np.where(seen, values, np.inf).min(axis=1, initial=np.inf)
    constant = (n > 2) & (highest == lowest)
    reason = np.where(constant, "one value in all samples", "").astype(object)
    too_few = missing > options.max_gene_missing
    reason[too_few] = f"missing in more than {options.max_gene_missing:.0%} of the samples"
    reason[n == 0] = "no value in any sample"
    kept = ~too_few & (n > 0) & ~(constant & options.drop_constant_genes)
    return pd.DataFrame(
        {
            "gene": table.index.astype(str),
            "missing_share": missing,
            "mean": mean,
            "sd": sd,
            "kept": kept,
            "reason": reason,
        }
    )


def _outlier_flags(
    frame: pd.DataFrame, n_genes: int, options: QcOptions
) -> tuple[dict[str, np.ndarray], bool]:
    """Per measure which samples are outliers, and whether they may be left out for it."""
    limit = options.outlier_deviations
    median = frame["median_log2"].to_numpy(dtype=np.float64)
    correlation = frame["correlation"].to_numpy(dtype=np.float64)
    distance = frame["pca_distance"].to_numpy(dtype=np.float64)
    shift = np.abs(median - np.nanmedian(median)) if np.isfinite(median).any() else median
    flags = {
        "its median lies apart": (np.abs(deviations(median)) > limit)
        & (shift > options.min_median_shift),
        "it correlates little with the others": (deviations(correlation) < -limit)
        & (correlation < options.max_correlation),
        "it lies apart in principal components": deviations(distance) > limit,
    }
    enough = len(frame) >= options.min_samples_for_outliers
    if not enough:
        flags = {name: np.zeros(len(frame), dtype=bool) for name in flags}
    return flags, enough and n_genes >= options.min_genes_for_outliers


def quality_control(
    table: pd.DataFrame, sheet_rows: pd.DataFrame, options: QcOptions | None = None
) -> QcResult:
    """Judge the samples of one cohort in one stratum.

    A sample leaves when too many of its genes are missing, or when several measures (intensity,
    correlation, robust PCA) call it an outlier; on panels and in very small cohorts outliers are
    remarked only. Labels take no part. A sample of the sheet that the table does not hold is
    listed.

    Args:
        table: genes x samples of the cohort, log2.
        sheet_rows: Rows of the sample sheet to judge; when there is a column ``used``, those used.
        options: The thresholds.

    Raises:
        ExpressionError: When no sample or no gene is left.
    """
    options = options or QcOptions()
    checked(table)
    rows = sheet_rows
    if "used" in rows:
        rows = rows[rows["used"].astype(bool)]
    wanted = list(dict.fromkeys(rows["gsm"].astype(str)))
    present = [gsm for gsm in wanted if gsm in table.columns]
    if not present:
        raise ExpressionError(
            f"None of the {len(wanted)} samples of the sheet has expression values; compare the "
            "sample accessions of the series with its values."
        )
    part = table[present]
    samples = pd.DataFrame({"gsm": present})
    samples["missing_share"] = part.isna().mean(axis=0).to_numpy()
    samples["median_log2"] = part.median(axis=0).to_numpy(dtype=np.float64)
    whole = part[part.notna().any(axis=1)]
    samples["correlation"] = median_correlations(whole)
    missing = samples["missing_share"].to_numpy(dtype=np.float64)
    measured = missing <= options.max_sample_missing
    # A sample with many gaps would take its genes from everyone's PCA.
    samples["pca_distance"] = np.nan
    samples.loc[measured, "pca_distance"] = robust_pca_distances(
        whole.loc[:, measured], options.pca_components
    )
    flags, may_leave = _outlier_flags(samples, len(whole), options)
    votes = np.sum(list(flags.values()), axis=0)
    out = may_leave & (votes >= options.outlier_votes)
    reasons = [
        "; ".join(
            ([] if measured[i] else [f"{missing[i]:.0%} of its genes missing"])
            + [name for name, flag in flags.items() if flag[i]]
        )
        for i in range(len(samples))
    ]
    samples["kept"] = measured & ~out
    samples["reasons"] = reasons
    absent = [gsm for gsm in wanted if gsm not in table.columns]
    if absent:
        samples = pd.concat(
            [
                samples,
                pd.DataFrame(
                    {
                        "gsm": absent,
                        "missing_share": 1.0,
                        "kept": False,
                        "reasons": "no expression values",
                    }
                ),
            ],
            ignore_index=True,
        )
    kept = samples.loc[samples["kept"], "gsm"].tolist()
    if not kept:
        raise ExpressionError(
            f"Quality control leaves none of {len(wanted)} samples ({samples['reasons'].iloc[0]}, "
            "for instance); look at the values of the series or loosen the QC settings."
        )
    genes = _gene_frame(part[kept], options)
    clean = part.loc[genes["kept"].to_numpy(), kept]
    if len(clean) == 0:
        raise ExpressionError(
            f"Quality control leaves none of {len(genes)} genes; look at the values of the series "
            "or loosen the QC settings."
        )
    summary = _summary(samples, genes, rows, flags, may_leave, options)
    return QcResult(clean.astype(np.float32).rename_axis(index=GENE), samples, genes, summary)


def _summary(
    samples: pd.DataFrame,
    genes: pd.DataFrame,
    rows: pd.DataFrame,
    flags: dict[str, np.ndarray],
    may_leave: bool,
    options: QcOptions,
) -> dict[str, Any]:
    kept, left_out = samples[samples["kept"]], samples[~samples["kept"]]
    cases = controls = None
    if "case" in rows:
        case = rows.drop_duplicates("gsm").set_index("gsm")["case"].reindex(kept["gsm"])
        cases, controls = int((case == 1).sum()), int((case == 0).sum())

    def middle(column: str) -> float | None:
        values = kept[column].dropna()
        return float(values.median()) if len(values) else None

    return {
        "samples": len(samples),
        "samples_kept": len(kept),
        "samples_left_out": [
            {"gsm": gsm, "reasons": reasons}
            for gsm, reasons in zip(left_out["gsm"], left_out["reasons"], strict=True)
        ],
        "samples_with_remarks": int((kept["reasons"] != "").sum()),
        "cases": cases,
        "controls": controls,
        "genes": len(genes),
        "genes_kept": int(genes["kept"].sum()),
        "genes_constant": int((genes["reason"] == "one value in all samples").sum()),
        "genes_missing": int((genes["missing_share"] > options.max_gene_missing).sum()),
        "missing_share": float(kept["missing_share"].mean()),
        "median_log2": middle("median_log2"),
        "correlation": middle("correlation"),
        "outliers": {name: int(flag.sum()) for name, flag in flags.items()},
        "outliers_can_be_left_out": may_leave,
        "thresholds": options.model_dump(),
    }
