"""Files of GEO, from NCBI or from a mirror with the same layout."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import httpx

from genellm_dagster.errors import GeoError
from genellm_dagster.files import atomic_path, sha256_of
from genellm_dagster.geo.compressed import CheckedStream, TruncatedError
from genellm_dagster.geo.http import (
    BrokenTransferError,
    MissingFileError,
    PoliteHttp,
    public_address,
)
from genellm_dagster.geo.options import NCBI_ROOT, NCBI_WEB, GeoOptions
from genellm_dagster.geo.records import FileRecord

_CHUNK_BYTES = 1 << 20
_WEB_SCHEMES = ("http", "https")


class GeoClient:
    """Reads files below a GEO root, wherever that is.

    Args:
        root: An http(s) address, a ``file://`` address or a folder, with ``series/`` and
            ``platforms/`` in NCBI's layout.
        options: Limits and manners; its own ``root`` is not used.

    Raises:
        GeoError: When the root is a folder that does not exist, or an address of another kind.

    Example:
        >>> with GeoClient("file:///data/geo", GeoOptions()) as client:
        ...     client.list_folder("series/GSE65nnn/GSE65682/matrix")
    """

    def __init__(self, root: str, options: GeoOptions) -> None:
        self.options = options
        self._http: PoliteHttp | None = None
        self._folder: Path | None = None
        parts = urlsplit(root)
        if parts.scheme in _WEB_SCHEMES:
            self._base = root.rstrip("/")
        elif parts.scheme == "file" or "://" not in root:
            self._folder = _local_folder(root)
            self._base = self._folder.as_uri()
        else:
            raise GeoError(
                f"the GEO root {public_address(root)!r} is neither an http(s) address, a file:// "
                "address nor a folder; correct --geo-root."
            )
        self.root = public_address(self._base)

    def __enter__(self) -> GeoClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, if any were opened."""
        if self._http is not None:
            self._http.close()
            self._http = None

    @property
    def folder(self) -> Path | None:
        """The root as a folder of this machine; None when it is reached over http(s)."""
        return self._folder

    @property
    def is_ncbi(self) -> bool:
        """Whether the root is NCBI's own."""
        return self._base == NCBI_ROOT

    @property
    def web(self) -> str | None:
        """Address above GEO's web pages (acc.cgi, download); None when the root is a folder."""
        if self._folder is not None:
            return None
        if self.options.web is not None:
            return self.options.web.rstrip("/")
        return NCBI_WEB if self.is_ncbi else self._base

    @property
    def http(self) -> PoliteHttp:
        """The connection, made when first used."""
        if self._http is None:
            self._http = PoliteHttp(self.options)
        return self._http

    def exists(self, path: str) -> bool:
        """Tell whether a file or folder is there.

        Args:
            path: Below the root, with ``/``.

        Raises:
            GeoError: When the server cannot be asked.
        """
        if self._folder is not None:
            return self._local(path).exists()
        try:
            self.http.text(self._address(path), method="HEAD")
        except MissingFileError:
            return False
        return True

    def list_folder(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; folders without their slash.

        Raises:
            MissingFileError: When there is no such folder.
            GeoError: When it cannot be listed.
        """
        if self._folder is not None:
            folder = self._local(path)
            try:
                return sorted(entry.name for entry in folder.iterdir())
            except (FileNotFoundError, NotADirectoryError) as error:
                raise MissingFileError(
                    f"{folder} does not exist; check the accession and the GEO root."
                ) from error
            except OSError as error:
                raise GeoError(f"{folder} cannot be listed ({error.strerror}).") from error
        parser = _Links()
        parser.feed(self.http.text(self._address(path) + "/"))
        return sorted(parser.names)

    def fetch(self, path: str, destination: Path, previous: FileRecord | None = None) -> FileRecord:
        """Copy a file of GEO to ``destination``, whole and checked, or not at all.

        Args:
            path: Below the root; or, for a root reached over http(s), a full address.
            destination: The file to write. A name that ends in ``.gz`` must turn out to be gzip.
            previous: What :meth:`fetch` returned last time. When GEO's file has not changed
                and ``destination`` still holds it, nothing is fetched and this is returned.

        Raises:
            MissingFileError: When GEO has no such file.
            GeoError: When what comes is HTML, truncated, damaged or too large, or when the server
                does not answer.
        """
        if previous is not None and not _is_intact(destination, previous):
            previous = None
        if self._folder is not None:
            return self._copy(self._local(path), destination, previous)
        address = path if urlsplit(path).scheme in _WEB_SCHEMES else self._address(path)
        return self.http.retrying(address, lambda: self._download(address, destination, previous))

    def _address(self, path: str) -> str:
        return f"{self._base}/{_checked(path)}"

    def _local(self, path: str) -> Path:
        if self._folder is None:
            raise AssertionError("the root is no folder")
        if urlsplit(path).scheme in _WEB_SCHEMES:
            raise MissingFileError(f"{path} is not in the mirror {self._folder}.")
        return self._folder / _checked(path)

    def _copy(self, source: Path, destination: Path, previous: FileRecord | None) -> FileRecord:
        try:
            status = source.stat()
            changed = datetime.fromtimestamp(status.st_mtime, UTC).isoformat()
            if (
                previous is not None
                and previous.address == source.as_uri()
                and (previous.size, previous.last_modified) == (status.st_size, changed)
            ):
                return previous
            with source.open("rb") as handle:
                pieces = iter(lambda: handle.read(_CHUNK_BYTES), b"")
                return self._keep(
                    pieces, source.as_uri(), destination, previous, {"last-modified": changed}
                )
        except FileNotFoundError as error:
            raise MissingFileError(
                f"{source} does not exist; check the accession and the GEO root."
            ) from error
        except OSError as error:
            raise GeoError(
                f"{source} cannot be copied to {destination} ({error.strerror or error})."
            ) from error

    def _download(self, address: str, destination: Path, previous: FileRecord | None) -> FileRecord:
        shown = public_address(address)
        known = previous if previous is not None and previous.address == shown else None
        with self.http.stream(address, headers=_conditions(known)) as response:
            if known is not None and _is_unchanged(response, known):
                return known
            length = _length(response)
            limit = self.options.max_file_bytes
            if length is not None and length > limit:
                raise GeoError(_too_large(shown, limit))
            try:
                return self._keep(
                    response.iter_raw(_CHUNK_BYTES),
                    shown,
                    destination,
                    previous,
                    response.headers,
                    length,
                )
            except TruncatedError as error:
                if length is not None:
                    raise
                # Nothing told how long it should be: the connection may have been cut.
                raise BrokenTransferError(str(error)) from error

    def _keep(
        self,
        pieces: Iterator[bytes],
        shown: str,
        destination: Path,
        previous: FileRecord | None,
        headers: Mapping[str, str],
        length: int | None = None,
    ) -> FileRecord:
        """Write a file as it comes, checking all that can be checked on the way."""
        stream = CheckedStream(
            shown,
            must_be_gzip=destination.suffix == ".gz",
            max_bytes=self.options.max_decompressed_bytes,
        )
        with atomic_path(destination) as temporary:
            with temporary.open("wb") as handle:
                size, digest = self._write(pieces, handle, stream, shown)
            if length is not None and size != length:
                raise BrokenTransferError(f"{size:,} bytes came instead of {length:,}")
            for _ in stream.finish():
                pass
        last_modified, etag = headers.get("last-modified"), headers.get("etag")
        if previous is not None and previous.sha256 == digest:
            # The same bytes under a new date: nothing that depends on them has to run again.
            return previous.model_copy(
                update={"address": shown, "last_modified": last_modified, "etag": etag}
            )
        return FileRecord(
            address=shown,
            size=size,
            sha256=digest,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
            last_modified=last_modified,
            etag=etag,
            name=destination.name,
        )

    def _write(
        self, pieces: Iterator[bytes], handle: BinaryIO, stream: CheckedStream, shown: str
    ) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        for piece in pieces:
            size += len(piece)
            if size > self.options.max_file_bytes:
                raise GeoError(_too_large(shown, self.options.max_file_bytes))
            digest.update(piece)
            handle.write(piece)
            for _ in stream.feed(piece):
                pass
        return size, digest.hexdigest()


class _Links(HTMLParser):
    """Collects the names in a web server's folder listing."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href") if tag == "a" else None
        if not target or "?" in target or "#" in target or "://" in target:
            return
        name = unquote(target).removeprefix("./").rstrip("/")
        if name and "/" not in name and not name.startswith("."):
            self.names.add(name)


def _local_folder(root: str) -> Path:
    parts = urlsplit(root)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise GeoError(
                f"the GEO root {root!r} names the host {parts.netloc!r}; write three slashes: "
                "file:///folder."
            )
        folder = Path(url2pathname(parts.path))
    else:
        folder = Path(root)
    if not folder.is_dir():
        raise GeoError(f"the GEO root {folder} is no folder; correct --geo-root.")
    return Path(os.path.normpath(folder.absolute()))


def _checked(path: str) -> str:
    """Return ``path`` when it stays below the root; names come from listings and descriptions."""
    pure = PurePosixPath(path.split("?", 1)[0])
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\x00" in path:
        raise GeoError(f"{path!r} is no path below the GEO root.")
    return path


def _is_intact(file: Path, record: FileRecord) -> bool:
    return (
        file.is_file() and file.stat().st_size == record.size and sha256_of(file) == record.sha256
    )


def _conditions(known: FileRecord | None) -> dict[str, str]:
    if known is None:
        return {}
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _is_unchanged(response: httpx.Response, known: FileRecord) -> bool:
    if response.status_code == httpx.codes.NOT_MODIFIED:
        return True
    # Some mirrors ignore the conditions and send the file again; the same date and size will do.
    changed = response.headers.get("last-modified")
    return changed is not None and (changed, _length(response)) == (known.last_modified, known.size)


def _length(response: httpx.Response) -> int | None:
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _too_large(shown: str, limit: int) -> str:
    return f"{shown} is larger than {limit:,} bytes; raise max_file_bytes if you trust it."
