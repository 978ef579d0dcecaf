"""Progress of long steps: to Dagster's log now and then, to whoever listens all the time.

The command line, which runs jobs in its own process, listens on the logger ``genellm.progress``.
"""

import logging
import time
from collections.abc import Callable

import dagster as dg

PROGRESS_LOGGER = "genellm.progress"
_LOG_EVERY_SECONDS = 15.0
_ESTIMATE_EVERY_SECONDS = 1.0
# Steps that came so many times as fast as is usual were not done now: they were found done.
_FOUND = 20.0


def reporter(context: dg.AssetExecutionContext, label: str) -> Callable[[int, int], None]:
    """Return a callback for (done, total).

    Args:
        context: Of the asset; its log gets a line every fifteen seconds, with the time left.
        label: What is going on.

    Returns:
        The callback. Listeners get each call, as a record of the label with ``done``, ``total`` and
        ``left``: the time left in words, empty while nothing can be said.
    """
    listeners = logging.getLogger(PROGRESS_LOGGER)
    estimate = TimeLeft()
    last = estimated = time.monotonic()
    left = ""

    def report(done: int, total: int) -> None:
        nonlocal last, estimated, left
        now = time.monotonic()
        estimate.add(done, now)
        due = now - last >= _LOG_EVERY_SECONDS
        if due or now - estimated >= _ESTIMATE_EVERY_SECONDS:
            estimated = now
            left = time_in_words(estimate.seconds(total))
        listeners.info(label, extra={"done": done, "total": total, "left": left})
        if due and total:
            last = now
            context.log.info(f"{label}: {done / total:.0%}" + (f", {left}" if left else ""))

    return report


class TimeLeft:
    """Estimates how long it takes to the end from the steps that this process has done.

    Where a killed run goes on, or stops early, many steps count as done at once; they say nothing
    of how long a step takes, and are left out.
    """

    def __init__(self) -> None:
        self._done = 0
        self._at: float | None = None
        self._parts: list[tuple[int, float]] = []

    def add(self, done: int, now: float) -> None:
        """Take note that so many steps are done at a time in seconds.

        The first call says from where this process counts; one with fewer steps than before begins
        anew.
        """
        if self._at is not None and done > self._done:
            self._parts.append((done - self._done, now - self._at))
        elif done < self._done:
            self._parts.clear()
        elif self._at is not None:
            return
        self._done, self._at = done, now

    def seconds(self, total: int) -> float | None:
        """Return the seconds left to a total of steps; none while no step was seen."""
        usual = self._usual_pace()
        worked = [part for part in self._parts if part[1] * _FOUND >= usual * part[0]]
        steps = sum(number for number, _ in worked)
        if not steps:
            return None
        return sum(took for _, took in worked) / steps * max(0, total - self._done)

    def _usual_pace(self) -> float:
        """Return the seconds a step of which half the time was spent on faster ones."""
        half = sum(took for _, took in self._parts) / 2
        pace = 0.0
        for number, took in sorted(self._parts, key=lambda part: part[1] / part[0]):
            pace = took / number
            half -= took
            if half <= 0:
                break
        return pace


def time_in_words(seconds: float | None) -> str:
    """Return "about 40 s left" and the like; nothing for none."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} min left"
    return f"about {minutes // 60} h {minutes % 60:02d} min left"
