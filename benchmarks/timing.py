"""What the benchmarks measure time with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""What seconds are: those that pass, or those that all threads of the process compute. The second
tells ratios where others are at work on the same cores, best with one thread."""


def median_seconds(rounds: int, function: Callable[[], object]) -> float:
    """Return the median time of some calls."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
