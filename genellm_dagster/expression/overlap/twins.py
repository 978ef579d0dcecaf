"""Which correlations are too high for strangers, judged by the strangers' own tail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genellm_dagster.expression.options import OverlapOptions

# So many similar samples, after those that may be copies, show how the strangers' tail falls.
_TAIL = 16
# Between an exponential tail (1), which missed every tenth copy in cohorts of 30, and a normal one
# (2), which called strangers: with this power the highest evidence among n pairs of strangers was
# about log n, in simulated cohorts of 12 to 100.
_TAIL_POWER = 1.25
# A sample's own tail is believed as much as all samples' together when it has so many values.
_TAIL_OF_ALL_COUNTS = 8


@dataclass(frozen=True)
class Candidates:
    """Pairs of two chunks that stand out.

    Attributes:
        rows: Sample of the first chunk, one a pair.
        columns: Sample of the second.
        similarity: Their correlation.
        evidence: Minus the natural logarithm of the chance that one given pair of strangers
            correlates as high.
    """

    rows: np.ndarray
    columns: np.ndarray
    similarity: np.ndarray
    evidence: np.ndarray

    def where(self, keep: np.ndarray) -> Candidates:
        """Return those marked true."""
        return Candidates(
            self.rows[keep], self.columns[keep], self.similarity[keep], self.evidence[keep]
        )


def tail_evidence(similarity: np.ndarray, copies: int, min_background: int) -> np.ndarray | None:
    """Say for each value how improbable it is among the strangers of its row.

    The chance of a value whose height above the row's median is h is (k / m) exp(-(t - t_k) / b),
    t = h ** 1.25, t_k the k-th largest of the row's m values and b the mean of the scaled spacings
    j (t_j - t_j+1) below it, after Weissman (JASA 1978, doi:10.1080/01621459.1978.10480104). The
    ``copies`` largest take no part, since they may be the same array.

    Returns:
        Minus log chance, of the shape of ``similarity``; None when the rows have fewer than
        ``min_background`` values.
    """
    seen = np.isfinite(similarity)
    m = seen.sum(axis=1, keepdims=True)
    usable = int(m.min()) if m.size else 0
    first = copies + 1
    if usable < max(min_background, 2 * first):
        return None
    # Much slower where NaN may be.
    median = np.median if seen.all() else np.nanmedian
    height = similarity - median(similarity, axis=1, keepdims=True)
    height = np.where(seen, np.maximum(height, 0) ** _TAIL_POWER, -np.inf)
    last = max(min(first + _TAIL, (usable + 1) // 2), first + 1)
    top = -np.sort(-np.partition(height, -last, axis=1)[:, -last:], axis=1)
    steps = np.arange(first, last)
    spacings = steps * (top[:, first - 1 : last - 1] - top[:, first:last])
    alone = spacings.mean(axis=1, keepdims=True)
    weight = len(steps) / (len(steps) + _TAIL_OF_ALL_COUNTS)
    scale = weight * alone + (1 - weight) * np.median(alone)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    return np.log(m / first) + (height - top[:, first - 1 : first]) / scale


def stand_out(similarity: np.ndarray, options: OverlapOptions, least_evidence: float) -> Candidates:
    """Find the pairs above the strangers of both their samples.

    Args:
        similarity: Correlations of the samples of two chunks; NaN is no pair.
        options: What is looked at, and what makes a background.
        least_evidence: Pairs below can never be believed and are left out, to save memory.
    """
    alike = np.nan_to_num(similarity, nan=-1.0) >= options.min_similarity
    if not alike.any():
        none = np.zeros(0, dtype=np.intp)
        return Candidates(none, none, np.zeros(0), np.zeros(0))
    of_rows = tail_evidence(similarity, options.max_copies, options.min_background)
    of_columns = tail_evidence(similarity.T, options.max_copies, options.min_background)
    known = [] if of_rows is None else [of_rows]
    known += [] if of_columns is None else [of_columns.T]
    if known:
        # The mean of both: the smaller of the two missed copies in cohorts of 30, where a row of so
        # few values knows its own tail badly.
        evidence = known[0] if len(known) == 1 else (known[0] + known[1]) / 2
    else:
        evidence = np.where(similarity >= options.certain_similarity, np.inf, -np.inf)
    rows, columns = np.nonzero(alike & (evidence >= least_evidence))
    values = similarity[rows, columns].astype(np.float64)
    return Candidates(rows, columns, values, evidence[rows, columns].astype(np.float64))


def accepted(evidence: np.ndarray, compared: float, max_false_share: float) -> np.ndarray:
    """Say which pairs to believe so that the expected share of false ones stays small.

    Benjamini and Hochberg's rule over all pairs compared (J. R. Stat. Soc. B 1995), so that more
    comparisons ask for more evidence.

    Args:
        evidence: Minus log chance of each candidate.
        compared: How many pairs were compared in all.
        max_false_share: Expected share of strangers among the accepted.
    """
    order = np.argsort(-evidence, kind="stable")
    needed = np.log(compared / (max_false_share * np.arange(1, len(evidence) + 1)))
    good = np.flatnonzero(evidence[order] >= needed)
    keep = np.zeros(len(evidence), dtype=bool)
    if len(good):
        keep[order[: good[-1] + 1]] = True
    return keep
