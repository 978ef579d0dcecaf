"""One request limit for every process of this user.

NCBI counts requests by address, not by process; so the time of the next free slot stands in a file
that is read and written under a lock.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from genellm_dagster.errors import GeoError

_NCBI = "ncbi.nlm.nih.gov"


class Throttle:
    """Hands out one slot a request, evenly spaced, across processes.

    Args:
        folder: Where the locks live; made when missing.
        per_second: Requests a second.
        lock_timeout_seconds: Longest wait for the lock itself.
    """

    def __init__(self, folder: Path, per_second: float, lock_timeout_seconds: float) -> None:
        self._folder = folder
        self._interval = 1.0 / per_second
        self._timeout = lock_timeout_seconds

    def wait(self, host: str) -> None:
        """Sleep until this process may send one request to ``host``.

        Raises:
            GeoError: When the lock folder cannot be used or another process never lets go.
        """
        with self._slot(host) as (slot_file, now):
            slot = max(now, self._read(slot_file, now))
            self._write(slot_file, slot + self._interval)
        time.sleep(max(0.0, slot - now))

    def hold(self, host: str, seconds: float) -> None:
        """Let no process send a request to ``host`` for a while: it said that it gets too many.

        Args:
            host: The host that refused a request.
            seconds: How long it asks to wait.

        Raises:
            GeoError: As :meth:`wait`.
        """
        with self._slot(host) as (slot_file, now):
            # Half of what is taken for a slot of another clock, so that the queue behind fits, too.
            until = now + min(seconds, self._timeout / 2)
            self._write(slot_file, max(until, self._read(slot_file, now)))

    @contextmanager
    def _slot(self, host: str) -> Iterator[tuple[Path, float]]:
        # All of NCBI's hosts share one limit.
        name = _NCBI if host == _NCBI or host.endswith(f".{_NCBI}") else host
        name = re.sub(r"[^A-Za-z0-9.-]", "_", name)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(str(self._folder / f"{name}.lock"), timeout=self._timeout):
                yield self._folder / f"{name}.next", time.time()
        except Timeout as error:
            raise GeoError(
                f"another process holds {self._folder / name}.lock for more than "
                f"{self._timeout:g} s; end it, or set another lock_folder."
            ) from error
        except OSError as error:
            raise GeoError(
                f"the lock folder {self._folder} cannot be written ({error.strerror or error}); "
                "set lock_folder to a folder that can."
            ) from error

    def _read(self, slot_file: Path, now: float) -> float:
        try:
            slot = float(slot_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return now
        # A slot far ahead is left over from a clock that was set back; nobody queues that deep.
        return slot if slot - now < self._timeout else now

    def _write(self, slot_file: Path, slot: float) -> None:
        slot_file.write_text(repr(slot), encoding="ascii")
