"""The space that kept prefix states take on disk: bounded, and shared by processes.

All changes to files are made under one lock. Whoever holds it may therefore take each unfinished
file for what a killed writer left, and remove it. What a process is using it names in a *lease*,
which nobody's clean-up touches and which ends with its process, however that ends: the system lets
go of the lock on it. When a shard was last used is the time stamp of its file, so that it outlasts
processes.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from genellm_dagster.errors import StoreError
from genellm_dagster.files import read_json

logger = logging.getLogger(__name__)

ARRAY, INDEX = ".npy", ".json"
_LOCK = ".lock"
_LEASES = ".leases"
_LOCK_SECONDS = 600.0
_POLL_SECONDS = 0.01


class PrefixSpace:
    """Keeps the shards of all addresses within a bound, and those in use where they are.

    Args:
        root: Root of all addresses.
        max_gigabytes: Most that the shards may take, in GiB; no bound when none.
    """

    def __init__(self, root: Path, max_gigabytes: float | None = None) -> None:
        self.root = root
        self.max_gigabytes = max_gigabytes
        self._used: set[str] = set()
        self._lease: Path | None = None
        self._end: weakref.finalize | None = None
        self._warned = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process, and every other thread, from changing files.

        Raises:
            StoreError: When the folder cannot be written or another process never lets go.
        """
        lock = FileLock(self.root / _LOCK, timeout=_LOCK_SECONDS, poll_interval=_POLL_SECONDS)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise StoreError(
                f"Another process holds {self.root / _LOCK} for more than {_LOCK_SECONDS:g} s; "
                "end it, or wait and run again."
            ) from error
        except OSError as error:
            raise StoreError(
                f"The prefix states in {self.root} cannot be changed ({error.strerror or error}); "
                "make the folder writable, or set another store."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def use(self, shards: Iterable[Path]) -> None:
        """Stamp shards as used now, and keep them until :meth:`release`; call it under the lock."""
        now = time.time_ns()
        names = set()
        for shard in dict.fromkeys(shards):
            if shard.exists():
                with suppress(PermissionError):  # Another user's file keeps the time it has.
                    os.utime(shard, ns=(now, now))
                names.add(self._name(shard))
        if names <= self._used:
            return
        self._used |= names
        if self._lease is None:
            self._lease = self.root / _LEASES / f"{secrets.token_hex(8)}{INDEX}"
            self._lease.parent.mkdir(exist_ok=True)
            lock = _lock_of(self._lease)
            lock.acquire(timeout=0)
            self._end = weakref.finalize(self, _end_lease, self._lease, lock, os.getpid())
        # Read under the lock alone, and worth nothing without this process: a plain write does.
        self._lease.write_text(json.dumps(sorted(self._used)), encoding="utf-8")

    def release(self) -> None:
        """Use nothing any more; what was used may be removed from now on."""
        if self._end is not None:
            self._end()
        self._used, self._lease, self._end = set(), None, None

    def make_room(self, size: int = 0) -> None:
        """Remove what killed writers left, then shards until ``size`` bytes more are within bounds.

        The one that was used longest ago goes first; one that a process is using never goes. Call
        it under the lock.
        """
        busy = self._in_use()
        shards = list(self._shards())
        if self.max_gigabytes is None:
            return
        bound = self.max_gigabytes * 2**30
        total = size + sum(taken for _, taken, _ in shards)
        for _, taken, shard in sorted(shards):
            if total <= bound:
                return
            if self._name(shard) not in busy:
                self.drop(shard)
                total -= taken
        if total > bound and not self._warned:
            self._warned = True
            logger.warning(
                "The prefix states that are in use take %.3g GiB, more than max_gigabytes=%g; they "
                "are kept as long as they are used.",
                total / 2**30,
                self.max_gigabytes,
            )

    @staticmethod
    def drop(shard: Path) -> None:
        """Remove a shard, its index first; call it under the lock."""
        with suppress(PermissionError):  # Windows keeps a file that is mapped; the next call tries.
            shard.with_suffix(INDEX).unlink(missing_ok=True)
            shard.unlink(missing_ok=True)

    def _shards(self) -> Iterator[tuple[int, int, Path]]:
        """When each whole shard was used last, its size and file; the rest is removed."""
        for folder in self.root.iterdir():
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            found = {file: file.stat() for file in folder.iterdir()}
            for file, facts in found.items():
                other = file.with_suffix(INDEX if file.suffix == ARRAY else ARRAY)
                unfinished = file.name.startswith(".") and file.suffix == ".part"
                if unfinished or (file.suffix in {ARRAY, INDEX} and other not in found):
                    file.unlink(missing_ok=True)
                elif file.suffix == ARRAY:
                    yield facts.st_mtime_ns, facts.st_size + found[other].st_size, file
            if not found:
                folder.rmdir()

    def _in_use(self) -> set[str]:
        """Names of the shards under a lease; leases whose process is gone are removed."""
        busy: set[str] = set()
        for file in (self.root / _LEASES).glob("*"):
            if file.suffix != _LOCK:
                continue
            lease = file.with_suffix(INDEX)
            lock = _lock_of(lease)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                # A lease that cannot be read keeps nothing: the worst is that states are made anew.
                with suppress(StoreError, TypeError):
                    busy.update(read_json(lease))
                continue
            _end_lease(lease, lock, os.getpid())
        return busy

    def _name(self, shard: Path) -> str:
        # Not its path: another process may have come to the root by another one.
        return f"{shard.parent.name}/{shard.stem}"


def _lock_of(lease: Path) -> FileLock:
    return FileLock(lease.with_suffix(_LOCK), thread_local=False)


def _end_lease(lease: Path, lock: FileLock, owner: int) -> None:
    if os.getpid() != owner:  # A forked child must not end what its parent uses.
        return
    lease.unlink(missing_ok=True)
    lease.with_suffix(_LOCK).unlink(missing_ok=True)
    lock.release()
