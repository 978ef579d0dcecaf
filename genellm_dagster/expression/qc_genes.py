"""What is measured on each gene over the samples that quality control keeps, and its judgement."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genellm_dagster.expression.qc_options import QcOptions

CONSTANT = "one value in all samples"
SUSPICIOUS = "one value in all samples, not at their floor"
AT_FLOOR = "at the floor in all samples"
NO_VALUE = "no value in any sample"

_MIN_SAMPLES = 3
_SUSPICIOUS_FLOOR_SHARE = 0.5
# Genes measured at once: bounds the memory of their double precision.
_BLOCK = 2048


def _measured(values: np.ndarray, floors: np.ndarray) -> dict[str, np.ndarray]:
    numbers = values.astype(np.float64)
    seen = np.isfinite(numbers)
    n = seen.sum(axis=1)
    mean = np.where(n > 0, np.where(seen, numbers, 0.0).sum(axis=1) / np.maximum(n, 1), np.nan)
    shift = np.where(seen, numbers - mean[:, None], 0.0)
    squares = (shift**2).sum(axis=1)
    highest = np.where(seen, numbers, -np.inf).max(axis=1, initial=-np.inf)
    lowest = np.where(seen, numbers, np.inf).min(axis=1, initial=np.inf)
    at_floor = (values == floors).sum(axis=1)
    return {
        "missing_share": 1 - n / max(values.shape[1], 1),
        "mean": mean,
        "sd": np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan),
        "floor_share": np.where(n > 0, at_floor / np.maximum(n, 1), np.nan),
        "constant": (n >= _MIN_SAMPLES) & (highest == lowest),
        "seen": n,
    }


def judged_genes(table: pd.DataFrame, options: QcOptions) -> pd.DataFrame:
    """Measure and judge each gene.

    Args:
        table: genes x samples kept, float32.
        options: The bounds.

    Returns:
        One row a gene: gene, missing_share, mean, sd, floor_share (share of its values that are
        their sample's lowest), kept, reason (a kept gene can have a remark). A gene with one value
        above the floor of most samples was filled in or saturated rather than not expressed.
    """
    values = table.to_numpy()
    floors = np.full(values.shape[1], np.nan, dtype=values.dtype)
    known = np.isfinite(values).any(axis=0)
    if known.any():
        floors[known] = np.nanmin(values[:, known], axis=0)
    blocks = [
        pd.DataFrame(_measured(values[start : start + _BLOCK], floors))
        for start in range(0, len(values), _BLOCK)
    ]
    found = pd.concat(blocks, ignore_index=True)
    n, constant, floor = found["seen"], found["constant"], found["floor_share"]
    too_few = found["missing_share"] > options.max_gene_missing
    reason = np.select(
        [
            n == 0,
            too_few,
            constant & (floor < _SUSPICIOUS_FLOOR_SHARE),
            constant,
            (floor == 1) & (n >= _MIN_SAMPLES),
        ],
        [
            NO_VALUE,
            f"missing in more than {options.max_gene_missing:.0%} of the samples",
            SUSPICIOUS,
            CONSTANT,
            AT_FLOOR,
        ],
        default="",
    )
    frame = pd.DataFrame({"gene": table.index.astype(str)})
    for name in ("missing_share", "mean", "sd", "floor_share"):
        frame[name] = found[name]
    frame["kept"] = ~too_few & (n > 0) & ~(constant & options.drop_constant_genes)
    frame["reason"] = reason.astype(object)
    return frame
