"""Scaling factors of read counts by the trimmed mean of M-values, as RNAnorm computes them.

RNAnorm (https://github.com/genialis/RNAnorm, Apache-2.0) gives edgeR's factors (Robinson and
Oshlack, Genome Biology 2010, doi:10.1186/gb-2010-11-3-r25). A factor moves all log2 values of its
sample by one number: what looks at ranks within a sample does not see it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.quantiles import numbers_of

# RNAnorm chooses its reference sample by this quantile, and has none to choose where it is zero.
_UPPER_QUARTILE = 75


def tmm_factors(counts: pd.DataFrame) -> np.ndarray:
    """Return the factor of each sample's library; a sample without reads, or alone, has 1.

    All samples of the table take part in the factor of each (transductive).

    Args:
        counts: ids x samples, not negative; ids with a gap in any sample take no part.

    Returns:
        One factor a sample, in the order of the columns, of geometric mean 1.

    Raises:
        ExpressionError: When there are too few ids in common to compare samples by.
    """
    numbers = numbers_of(counts)
    libraries = np.atleast_1d(np.nansum(numbers, axis=0, dtype=np.float64))
    # By name, so that the order of samples does not choose between two that could be reference.
    order = [place for place in np.argsort(counts.columns.astype(str)) if libraries[place] > 0]
    factors = np.ones(numbers.shape[1])
    if len(order) < 2:
        return factors
    part = numbers[:, order]
    common = np.isfinite(part).all(axis=1) & (part > 0).any(axis=1)
    reads = part[common].T.astype(np.float64)
    bottom = np.percentile(reads, _UPPER_QUARTILE, axis=1) if reads.size else np.zeros(len(order))
    found = _factors(reads) if (bottom > 0).all() else np.where(bottom > 0, 1.0, np.nan)
    unusable = ~(np.isfinite(found) & (found > 0))
    if unusable.any():
        gsm = counts.columns[order[int(np.argmax(unusable))]]
        raise ExpressionError(
            f"Sample {gsm} shares too few ids with reads with the other samples for TMM; set "
            "expression.scale.counts to log2_cpm, which looks at each sample alone."
        )
    # RNAnorm's libraries are of the common ids; ours are of all.
    effective = found * reads.sum(axis=1) / libraries[order]
    factors[order] = effective / np.exp(np.log(effective).mean())
    return factors


def _factors(reads: np.ndarray) -> np.ndarray:
    from rnanorm import TMM

    with np.errstate(all="ignore"):
        found: np.ndarray = TMM().fit(reads).get_norm_factors(reads)
    return found
