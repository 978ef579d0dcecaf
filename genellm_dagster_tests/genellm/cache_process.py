"""A process of its own that uses a prefix cache, told what to do by its arguments.

It imports no torch, so that it starts fast, says a word on stdout when it is ready, and goes on
when a line comes on stdin.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from genellm_dagster.genellm import prefix_cache, prefix_space
from genellm_dagster.genellm.prefix_cache import PrefixCache
from genellm_dagster.genellm.prefix_space import PrefixSpace

ADDRESS = "a" * 64
HIDDEN = 4


def cache(folder: Path, gigabytes: float | None = None, hidden: int = HIDDEN) -> PrefixCache:
    """The cache that all these tests share."""
    return PrefixCache(folder, ADDRESS, hidden, "float32", PrefixSpace(folder, gigabytes))


def state(number: int, tokens: int = 2) -> np.ndarray:
    """The state of the profile of a number."""
    return np.full((tokens, HIDDEN), number, dtype=np.float32)


@contextmanager
def process(*arguments: object):
    """Start this file with arguments, wait until it says that it is ready, and end it at last."""
    command = [sys.executable, "-m", __name__, *map(str, arguments)]
    running = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        assert running.stdout is not None
        running.word = running.stdout.readline().strip()  # type: ignore[attr-defined]
        yield running
    finally:
        running.kill()
        running.communicate()


def _wait(word: str = "ready") -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
    sys.stdin.readline()


def _write(folder: Path, start: str, count: str) -> None:
    kept = cache(folder)
    _wait()
    for number in range(int(start), int(start) + int(count)):
        kept.write({str(number): state(number), "shared": state(-1, 1)})


def _hold(folder: Path, *keys: str) -> None:
    kept = cache(folder)
    _wait(" ".join(kept.missing(keys)))


def _stop(folder: Path, where: str) -> None:
    """Stop for good in the middle of a write."""
    kept = cache(folder)
    if where == "array":
        straight = kept._checksum
        kept._checksum = lambda key, part: _wait() if key == "2" else straight(key, part)  # type: ignore[method-assign]
    elif where == "index":
        prefix_cache.write_json = lambda path, content: _wait()
    else:
        prefix_space.json = SimpleNamespace(dumps=lambda _: _wait())
    kept.write({"1": state(1, 5000), "2": state(2)})


def _peak(folder: Path, hidden: str, *keys: str) -> None:
    """Say how many KiB the peak memory grew when the states of some keys were read."""
    kept = cache(folder, hidden=int(hidden))
    before = _peak_kibibytes()
    for _, part in kept.each(keys):
        assert part.sum() > 0
    _wait(str(_peak_kibibytes() - before))


def _peak_kibibytes() -> int:
    # Not getrusage: that counts the process that started this one, too.
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1])


if __name__ == "__main__":
    _, what, where, *rest = sys.argv
    {"write": _write, "hold": _hold, "stop": _stop, "peak": _peak}[what](Path(where), *rest)
