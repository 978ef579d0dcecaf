"""Transfers that broke off: what is kept of them, and who may go on with it.

A transfer writes to ``.<name>.part`` beside its destination. As soon as the server has named the
version of the file, ``.<name>.part.json`` says what was being fetched; only then can a later try,
in this process or another one, ask for the rest. One process at a time works on a destination.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genellm_dagster.errors import GeoError
from genellm_dagster.files import write_json
from genellm_dagster.geo.revisions import Revision

_MAX_NOTE_BYTES = 64 << 10


class Origin(BaseModel):
    """The version of a file that a transfer is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(description="Where it comes from; never holds a password or key.")
    etag: str | None = Field(default=None, description="The ETag header.")
    last_modified: str | None = Field(default=None, description="The Last-Modified header.")
    length: int | None = Field(default=None, ge=0, description="Bytes of the whole file.")

    @property
    def validator(self) -> str | None:
        """What If-Range takes: the ETag unless it is weak, else the date of change."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def is_continued_by(self, now: Revision) -> bool:
        """Tell whether a part belongs to this version; ``now`` is what its headers tell."""
        pairs = ((self.etag, now.etag), (self.last_modified, now.last_modified))
        return all(then == told for then, told in pairs if then and told)


class Partial:
    """What there is of a file that is being fetched.

    Args:
        destination: Where the file will lie once it is whole.
    """

    def __init__(self, destination: Path) -> None:
        self._destination = destination
        self.path = destination.with_name(f".{destination.name}.part")
        self._note = destination.with_name(f".{destination.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def origin(self, address: str) -> Origin | None:
        """Return what is there of the file at ``address``; None when one has to start anew.

        What cannot be used is removed.
        """
        try:
            with self._note.open("rb") as handle:
                said = json.loads(handle.read(_MAX_NOTE_BYTES))
            origin = Origin.model_validate(said)
        except (OSError, ValueError, ValidationError):
            self.discard()
            return None
        size = self.size
        if origin.length is not None and size == origin.length:
            # Ended before it could be renamed. One byte is asked for again, so that the server
            # tells whether the version is still the same.
            size -= 1
            os.truncate(self.path, max(0, size))
        too_long = origin.length is not None and size > origin.length
        if origin.address != address or not origin.validator or size < 1 or too_long:
            self.discard()
            return None
        return origin

    @contextmanager
    def writing(self, origin: Origin | None, *, append: bool = False) -> Iterator[BinaryIO]:
        """Open the part for writing; when the block breaks off, it is kept if it can be resumed.

        Args:
            origin: The version that is coming; without a validator nothing is kept.
            append: Go on behind what is there, instead of starting anew.

        Raises:
            GeoError: As the block does; then what is there is worth nothing and is removed.
        """
        resumable = origin is not None and origin.validator is not None
        try:
            if not append:
                self.discard()
            if origin is not None and resumable:
                write_json(self._note, origin.model_dump(mode="json"))
            with self.path.open("ab") as handle:
                yield handle
        except GeoError:
            self.discard()
            raise
        except BaseException:
            if not resumable:
                self.discard()
            raise

    def keep(self) -> None:
        """Make the part the destination: synced, then renamed."""
        with self.path.open("rb") as handle:
            os.fsync(handle.fileno())
        self.path.replace(self._destination)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what is there."""
        # The note goes first: a part without one is never resumed.
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@contextmanager
def alone(destination: Path, patience_seconds: float) -> Iterator[Partial]:
    """Let only one process at a time, and one thread of it, fetch to ``destination``.

    Args:
        destination: The file to be fetched; its folder is made when missing.
        patience_seconds: How long another one is waited for that gets nowhere.

    Raises:
        GeoError: When another one holds the file for that long and fetches nothing.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = Partial(destination)
    lock_file = destination.with_name(f".{destination.name}.lock")
    lock = FileLock(str(lock_file))
    before = -1
    while True:
        try:
            lock.acquire(timeout=patience_seconds)
            break
        except Timeout as error:
            now = partial.size
            if now == before:
                raise GeoError(
                    f"another process has been fetching {destination} for more than "
                    f"{patience_seconds:g} s without getting on; end it, or try again later."
                ) from error
            before = now
    try:
        yield partial
    finally:
        # Removed while it is held: whoever waits for it sees that it has no name any more and
        # makes a new one.
        with suppress(OSError):
            lock_file.unlink()
        lock.release()
