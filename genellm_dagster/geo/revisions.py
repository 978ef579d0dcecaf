"""Which version of a file GEO has, told without fetching it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from genellm_dagster.geo.records import FileRecord


@dataclass(frozen=True)
class Revision:
    """What GEO, or a mirror, says of a file as it is now.

    Attributes:
        etag: The ETag header.
        last_modified: The Last-Modified header, or the time of change of a mirror's file.
        size: Bytes, as served.
    """

    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None

    def is_of(self, record: FileRecord) -> bool | None:
        """Tell whether this is the version that was fetched; None when that cannot be told."""
        if self.size is not None and self.size != record.size:
            return False
        # Servers behind one name may tag the same file differently, so a date and a size will do.
        if self.etag and record.etag and _strong(self.etag) == _strong(record.etag):
            return True
        if self.last_modified and record.last_modified:
            if self.last_modified != record.last_modified:
                return False
            return None if self.size is None else True
        return False if self.etag and record.etag else None


def revision_of_answer(headers: Mapping[str, str]) -> Revision:
    """Read the version of a file from the headers of an answer."""
    return Revision(headers.get("etag"), headers.get("last-modified"), _length(headers))


def revision_of_file(path: Path) -> Revision:
    """Read the version of a mirror's file from the file system.

    Raises:
        OSError: When it cannot be asked.
    """
    status = path.stat()
    changed = datetime.fromtimestamp(status.st_mtime, UTC).isoformat()
    return Revision(None, changed, status.st_size)


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _strong(etag: str) -> str:
    return etag.removeprefix("W/")
