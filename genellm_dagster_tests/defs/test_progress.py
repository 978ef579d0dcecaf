"""Progress: what is left is told from what this process has done, not from what it found done."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress, TextColumn

from genellm_dagster.defs import progress as module
from genellm_dagster.defs.progress import PROGRESS_LOGGER, TimeLeft, reporter, time_in_words
from genellm_dagster.terminal import _BarHandler


def _after(*calls: tuple[int, float]) -> TimeLeft:
    estimate = TimeLeft()
    for done, now in calls:
        estimate.add(done, now)
    return estimate


def test_steady_steps_are_carried_on():
    steady = _after(*((step, 10.0 + 2.0 * step) for step in range(1, 11)))
    assert steady.seconds(30) == pytest.approx(40.0)
    assert steady.seconds(10) == 0.0


def test_nothing_is_said_before_a_step_was_seen():
    assert _after().seconds(10) is None
    assert _after((60, 5.0)).seconds(100) is None
    assert _after((60, 5.0), (60, 9.0)).seconds(100) is None


def test_steps_found_done_at_the_start_say_nothing_of_the_time_left():
    resumed = _after((60, 5.0), *((60 + step, 5.0 + 3.0 * step) for step in range(1, 5)))
    assert resumed.seconds(100) == pytest.approx(36 * 3.0)


def test_steps_found_done_in_between_say_nothing_of_the_time_left():
    estimate = _after(*((step, 3.0 * step) for step in range(1, 6)))
    for found, now in ((40, 15.1), (70, 15.15)):
        estimate.add(found, now)
    estimate.add(71, 18.2)
    assert estimate.seconds(100) == pytest.approx(29 * 3.0, rel=0.05)


def test_a_pause_between_steps_counts_as_it_may_come_again():
    estimate = _after((1, 1.0), (2, 2.0), (3, 3.0), (4, 10.0), (5, 11.0))
    assert estimate.seconds(10) == pytest.approx(5 * 10.0 / 4)


def test_what_begins_anew_is_estimated_anew():
    estimate = _after((1, 0.0), (2, 100.0), (1, 101.0), (2, 102.0), (3, 103.0))
    assert estimate.seconds(10) == pytest.approx(7.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 10)), max_size=30), st.integers(0, 200))
def test_whatever_is_reported_the_estimate_is_none_or_a_time(steps, total):
    estimate, done, now = TimeLeft(), 0, 0.0
    for number, took in steps:
        done, now = done + number, now + took
        estimate.add(done, now)
    left = estimate.seconds(total)
    assert left is None or left >= 0


def test_time_is_told_in_words():
    told = [time_in_words(seconds) for seconds in (None, 12.4, 89, 300, 7500)]
    assert told == [
        "", "about 12 s left", "about 89 s left", "about 5 min left", "about 2 h 05 min left",
    ]  # fmt: skip


def test_the_log_gets_a_line_now_and_then_and_the_terminal_each_step(
    monkeypatch: pytest.MonkeyPatch,
):
    clock = iter(float(second) for second in [0, *range(0, 400, 4)])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    lines: list[str] = []
    context = SimpleNamespace(log=SimpleNamespace(info=lines.append))
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    bars = Progress(
        TextColumn("{task.description} {task.completed:.0f}/{task.total:.0f} {task.fields[left]}"),
        console=console,
        auto_refresh=False,
    )
    handler, logger = _BarHandler(bars), logging.getLogger(PROGRESS_LOGGER)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        report = reporter(context, "folds")  # type: ignore[arg-type]
        for done in (50, 51, 52, 53, 54):
            report(done, 100)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert lines == ["folds: 54%, about 3 min left"]
    (task,) = bars.tasks
    assert (task.completed, task.total, task.fields["left"]) == (54, 100, "about 3 min left")
