"""Quantiles of many numbers, exact, without sorting them all.

Numbers of float32 are counted by their upper 16 bits (sign, exponent and seven more), which sort
as the numbers do; then only those of the few buckets that hold a wanted rank are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

_SHIFT = 16
_BUCKETS = 1 << 16
# Upper bits of the finite numbers from the lowest to the highest: with the sign set, the larger
# bits are the lower number; from 0x7F80 on there are infinity and NaN.
_ASCENDING = np.concatenate([np.arange(0xFF7F, 0x7FFF, -1), np.arange(0x7F80)])
# Numbers looked at at once: what is made of them stays in the processor's cache.
_PART = 1 << 18


def numbers_of(values: pd.DataFrame) -> np.ndarray:
    """Return the numbers of a table, without a copy where it is float32 or float64 throughout.

    Files give float32, and twice the memory would make nothing more exact: what is computed from
    them is computed wider where it matters and kept as float32.
    """
    numbers = values.to_numpy()
    if numbers.dtype in (np.float32, np.float64):
        return numbers
    return values.to_numpy(dtype=np.float64)


def count_by_sample(numbers: np.ndarray, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return how many numbers of each sample pass a test, without holding all the answers.

    Args:
        numbers: ids x samples.
        test: Says of each number whether it passes.
    """
    return np.array([np.count_nonzero(test(sample)) for sample in numbers.T], dtype=np.int64)


def finite_quantiles(numbers: np.ndarray, shares: Sequence[float]) -> tuple[int, list[float]]:
    """Return how many finite numbers there are, and their quantiles.

    Those between two numbers are by linear interpolation, as ``numpy.quantile`` of float64 gives
    them. Float32 takes a fraction of its time and no copy of the numbers.

    Args:
        numbers: Of any shape; NaN and infinite ones are left out.
        shares: Between 0 and 1.

    Returns:
        The number, and one quantile a share; none when nothing is finite.
    """
    # By the order in memory: neither layout of a table needs to be turned round for it.
    flat = numbers.ravel(order="K")
    if flat.dtype != np.float32:
        finite = flat[np.isfinite(flat)]
        found = np.quantile(finite, shares) if len(finite) else np.empty(0)
        return len(finite), [float(value) for value in found]
    bits = flat.view(np.uint32)
    sizes = np.zeros(_BUCKETS, dtype=np.int64)
    for part in _parts(bits):
        sizes += np.bincount(part >> _SHIFT, minlength=_BUCKETS)
    ends = np.cumsum(sizes[_ASCENDING])
    count = int(ends[-1])
    if count == 0:
        return 0, []
    places = np.asarray(shares, dtype=np.float64) * (count - 1)
    low = places.astype(np.int64)
    high = np.minimum(low + 1, count - 1)
    below, above = _at_ranks(bits, np.stack([low, high]), sizes, ends)
    return count, [float(value) for value in below + (above - below) * (places - low)]


def _at_ranks(
    bits: np.ndarray, ranks: np.ndarray, sizes: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Return the numbers of these ranks: only the buckets that hold them are gathered and sorted.

    Args:
        bits: Bits of the numbers.
        ranks: Ranks among the finite ones, from 0.
        sizes: Numbers in each bucket, by the upper bits.
        ends: Finite numbers up to the end of each bucket, in ascending order.
    """
    bucket = np.searchsorted(ends, ranks, side="right")
    wanted = np.zeros(_BUCKETS, dtype=bool)
    wanted[_ASCENDING[bucket]] = True
    held = np.concatenate([part[wanted[part >> _SHIFT]] for part in _parts(bits)])
    numbers = np.sort(held.view(np.float32)).astype(np.float64)
    not_held = np.where(wanted[_ASCENDING], 0, sizes[_ASCENDING])
    found: np.ndarray = numbers[ranks - np.cumsum(not_held)[bucket]]
    return found


def _parts(bits: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(bits), _PART):
        yield bits[start : start + _PART]


def row_quantiles(
    rows: np.ndarray, shares: Sequence[float], at_least: int, block: int = 2048
) -> np.ndarray:
    """Return quantiles of each row over its finite values, as ``numpy.nanquantile`` gives them.

    Args:
        rows: rows x values; NaN is missing.
        shares: Between 0 and 1.
        at_least: Rows with fewer finite values are left out.
        block: Rows sorted at once; bounds the memory.

    Returns:
        rows kept x shares, float64.
    """
    found = [np.empty((0, len(shares)))]
    for start in range(0, len(rows), block):
        part = np.array(rows[start : start + block], order="C")
        part[~np.isfinite(part)] = np.nan
        part.sort(axis=1)  # NaN comes last
        known = (~np.isnan(part)).sum(axis=1)
        part, known = part[known >= at_least], known[known >= at_least]
        place = np.outer(known - 1, shares)
        low = place.astype(np.int64)
        high = np.minimum(low + 1, (known - 1)[:, None])
        below = np.take_along_axis(part, low, axis=1).astype(np.float64)
        above = np.take_along_axis(part, high, axis=1).astype(np.float64)
        found.append(below + (above - below) * (place - low))
    return np.concatenate(found)
