"""Files on their way from GEO to a folder: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx

from genellm_dagster.errors import GeoError
from genellm_dagster.files import sha256_of
from genellm_dagster.geo.compressed import CheckedStream, TruncatedError
from genellm_dagster.geo.http import (
    BrokenTransferError,
    MissingFileError,
    PoliteHttp,
    public_address,
    refuse_too_large,
)
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.partial import Origin, Partial, alone
from genellm_dagster.geo.records import FileRecord
from genellm_dagster.geo.revisions import Revision, revision_of_answer, revision_of_file

_CHUNK_BYTES = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


def copy(
    source: Path, destination: Path, previous: FileRecord | None, options: GeoOptions
) -> FileRecord:
    """Copy a file of a mirror in a folder.

    Args:
        source: The file.
        destination: The file to write.
        previous: What was returned last time.
        options: Limits.

    Raises:
        MissingFileError: When there is no such file.
        GeoError: When it is no gzip although its name says so, damaged, or too large.
    """
    shown = source.as_uri()
    try:
        with (
            source.open("rb") as handle,
            alone(destination, options.lock_timeout_seconds) as partial,
        ):
            intact = _intact(previous, destination)
            now = revision_of_file(source)
            if intact is not None and intact.address == shown and now.is_of(intact):
                return intact
            received = _Received(shown, destination, options)
            refuse_too_large(shown, now.size, options)
            pieces = iter(lambda: handle.read(_CHUNK_BYTES), b"")
            _write(pieces, received, partial, None, now.size)
            return _record(received, destination, intact, now)
    except BrokenTransferError as error:
        raise GeoError(f"{source} changes while it is read ({error}); try again later.") from error
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{source} does not exist; check the accession and the GEO root."
        ) from error
    except OSError as error:
        raise GeoError(
            f"{source} cannot be copied to {destination} ({error.strerror or error})."
        ) from error


def download(
    http: PoliteHttp,
    address: str,
    destination: Path,
    previous: FileRecord | None,
    options: GeoOptions,
) -> FileRecord:
    """Fetch a file over http(s), going on where an earlier transfer broke off.

    Args:
        http: The connection.
        address: The file's full address.
        destination: The file to write.
        previous: What was returned last time; an unchanged file is not sent again.
        options: Limits.

    Raises:
        MissingFileError: When the server has no such file.
        GeoError: When what comes is HTML, truncated, damaged or too large, or when the server does
            not answer.
    """
    shown = public_address(address)
    try:
        with alone(destination, options.lock_timeout_seconds) as partial:
            intact = _intact(previous, destination)
            transfer = _Download(http, address, destination, intact, options, partial)
            return http.retrying(address, transfer.once, lambda: partial.size)
    except OSError as error:
        raise GeoError(
            f"{shown} cannot be written to {destination} ({error.strerror or error}); make room "
            "or choose another store."
        ) from error


class _Received:
    """What has come of a file so far, with all that can be checked on the way."""

    def __init__(self, shown: str, destination: Path, options: GeoOptions) -> None:
        self.shown = shown
        self.size = 0
        self.digest = hashlib.sha256()
        self._options = options
        self._stream = CheckedStream(
            shown,
            must_be_gzip=destination.suffix == ".gz",
            max_bytes=options.max_decompressed_bytes,
        )

    def take(self, piece: bytes) -> None:
        self.size += len(piece)
        refuse_too_large(self.shown, self.size, self._options)
        self.digest.update(piece)
        for _ in self._stream.feed(piece):
            pass

    def finish(self) -> None:
        for _ in self._stream.finish():
            pass


class _OtherVersionError(Exception):
    """The server cannot go on with what is there."""


class _Download:
    """One file from one address; :meth:`once` is one try."""

    def __init__(
        self,
        http: PoliteHttp,
        address: str,
        destination: Path,
        intact: FileRecord | None,
        options: GeoOptions,
        partial: Partial,
    ) -> None:
        self._http = http
        self._address = address
        self._shown = public_address(address)
        self._destination = destination
        self._intact = intact
        same_place = intact is not None and intact.address == self._shown
        self._known = intact if same_place else None
        self._options = options
        self._partial = partial

    def once(self) -> FileRecord:
        origin, received = self._what_is_there()
        try:
            return self._ask(origin, received)
        except _OtherVersionError:
            self._partial.discard()
            return self._ask(None, self._nothing())
        except MissingFileError:
            self._partial.discard()
            raise
        except GeoError:
            if origin is None:
                raise
            # Two versions of one date and size, put together: the whole file may be sound.
            self._partial.discard()
            return self._ask(None, self._nothing())

    def _nothing(self) -> _Received:
        return _Received(self._shown, self._destination, self._options)

    def _what_is_there(self) -> tuple[Origin | None, _Received]:
        """Read what an earlier try left through the same checks as what will come."""
        origin = self._partial.origin(self._shown)
        received = self._nothing()
        if origin is None:
            return None, received
        try:
            with self._partial.path.open("rb") as handle:
                while piece := handle.read(_CHUNK_BYTES):
                    received.take(piece)
        except GeoError:
            self._partial.discard()
            return None, self._nothing()
        return origin, received

    def _ask(self, origin: Origin | None, received: _Received) -> FileRecord:
        headers = _conditions(self._known)
        if origin is not None and origin.validator:
            headers |= {"Range": f"bytes={received.size}-", "If-Range": origin.validator}
        accept = () if origin is None else (httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE,)
        with self._http.stream(self._address, headers=headers, accept=accept) as response:
            if self._known is not None and _is_unchanged(response, self._known):
                self._partial.discard()
                return self._known
            now = revision_of_answer(response.headers)
            status = response.status_code
            if origin is not None and status == httpx.codes.PARTIAL_CONTENT:
                origin = _continued(origin, response, received.size)
                append = True
            elif status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise _OtherVersionError
            elif status == httpx.codes.PARTIAL_CONTENT:
                raise GeoError(
                    f"{self._shown} gives a part where the whole file was asked for; check the "
                    "address."
                )
            else:
                # The server never sends parts, or has another version by now.
                received, append = self._nothing(), False
                origin = Origin(
                    address=self._shown,
                    etag=now.etag,
                    last_modified=now.last_modified,
                    length=now.size,
                )
            refuse_too_large(self._shown, origin.length, self._options)
            pieces = response.iter_raw(_CHUNK_BYTES)
            _write(pieces, received, self._partial, origin, origin.length, append=append)
        version = Revision(origin.etag, origin.last_modified, received.size)
        return _record(received, self._destination, self._intact, version)


def _continued(origin: Origin, response: httpx.Response, size: int) -> Origin:
    """Return what the rest of a file belongs to, when it fits what is there.

    Raises:
        _OtherVersionError: When it does not.
    """
    now = revision_of_answer(response.headers)
    told = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if told is None or int(told[1]) != size or not origin.is_continued_by(now):
        raise _OtherVersionError
    length = origin.length if told[3] == "*" else int(told[3])
    if origin.length is not None and length != origin.length:
        raise _OtherVersionError
    return origin.model_copy(update={"length": length})


def _write(
    pieces: Iterator[bytes],
    received: _Received,
    partial: Partial,
    origin: Origin | None,
    length: int | None,
    *,
    append: bool = False,
) -> None:
    """Write a file as it comes, and make it the destination when all is well with it."""
    with partial.writing(origin, append=append) as handle:
        for piece in pieces:
            received.take(piece)
            handle.write(piece)
        if length is not None and received.size != length:
            raise BrokenTransferError(f"{received.size:,} bytes came instead of {length:,}")
        try:
            received.finish()
        except TruncatedError as error:
            if length is not None:
                raise
            # Nothing told how long it should be: the connection may have been cut.
            raise BrokenTransferError(str(error)) from error
    partial.keep()


def _record(
    received: _Received, destination: Path, intact: FileRecord | None, version: Revision
) -> FileRecord:
    digest = received.digest.hexdigest()
    told = {"last_modified": version.last_modified, "etag": version.etag}
    if intact is not None and intact.sha256 == digest:
        # The same bytes under a new date: nothing that depends on them has to run again.
        return intact.model_copy(update={"address": received.shown, **told})
    return FileRecord(
        address=received.shown,
        size=received.size,
        sha256=digest,
        fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
        name=destination.name,
        **told,
    )


def _intact(record: FileRecord | None, file: Path) -> FileRecord | None:
    """Return what is known of a file, as long as it is still the one that was fetched."""
    if record is None or not file.is_file() or file.stat().st_size != record.size:
        return None
    return record if sha256_of(file) == record.sha256 else None


def _conditions(known: FileRecord | None) -> dict[str, str]:
    if known is None:
        return {}
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _is_unchanged(response: httpx.Response, known: FileRecord) -> bool:
    if response.status_code == httpx.codes.NOT_MODIFIED:
        return True
    # Some mirrors ignore the conditions and send the file again; the same date and size will do.
    whole = response.status_code == httpx.codes.OK
    return whole and bool(revision_of_answer(response.headers).is_of(known))
