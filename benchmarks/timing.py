"""What the benchmarks measure time with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_seconds(rounds: int, function: Callable[[], object]) -> float:
    """Return the median time of some calls."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
