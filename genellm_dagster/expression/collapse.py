"""Several probes of a gene become one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from genellm_dagster.expression.quantiles import numbers_of
from genellm_dagster.expression.tables import GENE

CollapseMethod = Literal["median", "mean", "highest_mean", "highest_variance"]
SampleFunction = Callable[[np.ndarray], np.ndarray]

# Bytes of the samples worked on at once: they stay in the processor's cache.
_BLOCK_BYTES = 2 << 20
# Up to so many probes a gene are sorted by comparing neighbours, all genes at once.
_MAX_EXCHANGED = 16


def collapse(
    values: pd.DataFrame,
    genes: np.ndarray,
    method: CollapseMethod = "median",
    rows: np.ndarray | None = None,
    to_log2: SampleFunction | Sequence[SampleFunction] | None = None,
) -> tuple[pd.DataFrame, dict[str, int | str]]:
    """Make one row a gene out of the rows of its probes.

    ``median`` and ``mean`` are taken in each sample over the probes that have a value there.
    ``highest_mean`` and ``highest_variance`` keep the one probe that stands out over the samples;
    a tie goes to the probe whose id, then values, sort first, so that the order of rows is nothing.

    Args:
        values: probes x samples; NaN is missing.
        genes: The gene of each row.
        method: How.
        rows: The places in ``values`` that ``genes`` speaks of; all, in order, when None. A place
            may stand repeatedly.
        to_log2: What brings the values of one sample (all of ``values``) to log2, one for all
            or each its own; None when they are. It is applied to a few samples at a time, so that
            no second table is held.

    Returns:
        genes x samples (index "gene", sorted, unique; float32 when ``values`` are) and counts:
        probes, without_values, not_chosen (dropped in favour of another probe), merged (averaged
        with another), genes.
    """
    numbers = numbers_of(values)
    each = [to_log2] * numbers.shape[1] if callable(to_log2) else to_log2
    if each is not None and method not in ("median", "mean"):
        numbers, each = _whole(numbers, each), None
    places = np.arange(len(values)) if rows is None else np.asarray(rows)
    seen = _with_values(numbers, each)[places]
    names, places = np.asarray(genes, dtype=object)[seen], places[seen]
    unique, gene_of = np.unique(names, return_inverse=True)
    sizes = np.bincount(gene_of, minlength=len(unique))
    repeated = sizes[gene_of] > 1
    not_chosen = merged = 0
    if method in ("median", "mean"):
        merged = int(repeated.sum())
    elif repeated.any():
        chosen = _stand_out(values, numbers, places[repeated], gene_of[repeated], method)
        not_chosen = int(repeated.sum()) - len(chosen)
        kept = ~repeated
        kept[np.flatnonzero(repeated)[chosen]] = True
        gene_of, places = gene_of[kept], places[kept]
    table = pd.DataFrame(
        _merged(numbers, each, _groups(places, gene_of), len(unique), method),
        index=pd.Index(unique, dtype=object, name=GENE),
        columns=values.columns.rename(None),
        copy=False,
    )
    counts: dict[str, int | str] = {
        "method": method,
        "probes": len(seen),
        "without_values": int((~seen).sum()),
        "merged": merged,
        "not_chosen": not_chosen,
        "genes": len(table),
    }
    return table, counts


def _samples(
    numbers: np.ndarray, to_log2: Sequence[SampleFunction] | None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield some samples at a time: their places, and samples x probes in one piece of memory."""
    step = max(1, _BLOCK_BYTES // max(1, numbers.itemsize * numbers.shape[0]))
    for start in range(0, numbers.shape[1], step):
        part = slice(start, min(start + step, numbers.shape[1]))
        block = np.ascontiguousarray(numbers[:, part].T)
        if to_log2 is not None:
            pairs = zip(to_log2[part], block, strict=True)
            block = np.stack([function(sample) for function, sample in pairs]).astype(numbers.dtype)
        yield part, block


def _whole(numbers: np.ndarray, to_log2: Sequence[SampleFunction]) -> np.ndarray:
    return np.concatenate([block for _, block in _samples(numbers, to_log2)]).T


def _with_values(numbers: np.ndarray, to_log2: Sequence[SampleFunction] | None) -> np.ndarray:
    """Tell which rows have a value in any sample."""
    seen = np.zeros(numbers.shape[0], dtype=bool)
    for _, block in _samples(numbers, to_log2):
        seen |= np.isfinite(block).any(axis=0)
        if seen.all():
            break
    return seen


def _merged(
    numbers: np.ndarray,
    to_log2: Sequence[SampleFunction] | None,
    groups: list[tuple[np.ndarray, np.ndarray]],
    n_genes: int,
    method: CollapseMethod,
) -> np.ndarray:
    """Return genes x samples, each sample in one piece of memory."""
    merge = _mean if method == "mean" else _middle
    table = np.empty((numbers.shape[1], n_genes), dtype=numbers.dtype)
    for part, block in _samples(numbers, to_log2):
        gaps = np.isnan(block).any()
        for of_size, members in groups:
            cells = [np.take(block, each, axis=1) for each in members]
            if len(cells) == 1:
                table[part, of_size] = cells[0]
            elif gaps:
                table[part, of_size] = _with_gaps(cells, merge)
            else:
                table[part, of_size] = merge(_sorted(cells))
    return table.T


def _groups(places: np.ndarray, gene_of: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each number n of probes a gene has, its genes and their probes (n x genes)."""
    order = np.argsort(gene_of, kind="stable")
    genes, first, sizes = np.unique(gene_of[order], return_index=True, return_counts=True)
    groups = []
    for size in np.unique(sizes):
        of_size = sizes == size
        members = first[of_size] + np.arange(size)[:, None]
        groups.append((genes[of_size], places[order[members]]))
    return groups


def _sorted(cells: list[np.ndarray]) -> list[np.ndarray]:
    """Sort the cells of each gene: smallest in the first array, largest in the last."""
    if len(cells) > _MAX_EXCHANGED:
        return list(np.sort(np.stack(cells), axis=0))
    for turn in range(len(cells) if len(cells) > 2 else 1):
        for left in range(turn % 2, len(cells) - 1, 2):
            one, other = cells[left], cells[left + 1]
            cells[left], cells[left + 1] = np.minimum(one, other), np.maximum(one, other)
    return cells


def _middle(cells: list[np.ndarray]) -> np.ndarray:
    half = len(cells) // 2
    if len(cells) % 2:
        return cells[half]
    # Halved first: the sum of two large values would overflow.
    return cells[half - 1] * cells[half].dtype.type(0.5) + cells[half] * cells[half].dtype.type(0.5)


def _mean(cells: list[np.ndarray]) -> np.ndarray:
    # Added in the order of size, so that the order of probes does not even change the rounding.
    total = np.zeros(cells[0].shape, dtype=np.float64)
    for cell in cells:
        total += cell
    return total / len(cells)


def _with_gaps(
    cells: list[np.ndarray], merge: Callable[[list[np.ndarray]], np.ndarray]
) -> np.ndarray:
    """Merge cells of which some have no value: those that have one, where there is one."""
    gap = np.isnan(cells[0])
    for cell in cells[1:]:
        gap |= np.isnan(cell)
    torn = np.sort(np.stack([cell[gap] for cell in cells]), axis=0)  # NaN comes last
    known = len(cells) - np.isnan(torn).sum(axis=0)
    mended = np.full(known.shape, np.nan, dtype=torn.dtype)
    for number in np.unique(known[known > 0]):
        here = known == number
        mended[here] = merge(list(torn[:number, here]))
    result = merge(_sorted(cells))
    result[gap] = mended
    return result


def _stand_out(
    values: pd.DataFrame,
    numbers: np.ndarray,
    places: np.ndarray,
    gene_of: np.ndarray,
    method: CollapseMethod,
) -> np.ndarray:
    """Return, for each gene, which of ``places`` has the highest mean or variance."""
    # In the order of names, so that the samples' own order does not even change the rounding.
    by_name = np.argsort(values.columns.astype(str).to_numpy(), kind="stable")
    rows = numbers[np.ix_(places, by_name)].astype(np.float64, order="C")
    frame = pd.DataFrame(rows)
    statistic = frame.mean(axis=1) if method == "highest_mean" else frame.var(axis=1)
    order = pd.DataFrame(
        {
            "gene": gene_of,
            "statistic": statistic.fillna(-np.inf).to_numpy(),
            "id": values.index[places].astype(str),
            "by_values": 0,
        }
    )
    tied = np.flatnonzero(order.duplicated(["gene", "statistic", "id"], keep=False))
    order.loc[tied[np.lexsort(rows[tied].T[::-1])], "by_values"] = np.arange(len(tied))
    order = order.sort_values(
        ["gene", "statistic", "id", "by_values"], ascending=[True, False, True, True]
    )
    return order.drop_duplicates("gene").index.to_numpy()
