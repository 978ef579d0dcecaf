"""Progress of long steps: to Dagster's log now and then, to whoever listens all the time.

The command line, which runs jobs in its own process, listens on the logger ``genellm.progress``.
"""

import logging
import time
from collections.abc import Callable

import dagster as dg

PROGRESS_LOGGER = "genellm.progress"
_LOG_EVERY_SECONDS = 15.0


def reporter(context: dg.AssetExecutionContext, label: str) -> Callable[[int, int], None]:
    """Return a callback for (done, total).

    Args:
        context: Of the asset; its log gets a line every fifteen seconds, with the time left.
        label: What is going on.
    """
    listeners = logging.getLogger(PROGRESS_LOGGER)
    started = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        listeners.info(label, extra={"done": done, "total": total})
        if now - last >= _LOG_EVERY_SECONDS and done:
            last = now
            left = (now - started) / done * (total - done)
            context.log.info(f"{label}: {done / total:.0%}, about {left:.0f} s left")

    return report
