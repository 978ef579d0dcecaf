"""Compressed files read as a stream: checked to their last byte, bounded in size.

A file counts as complete only when its gzip stream has ended with the right checksum. What arrives
is decompressed in pieces, so that a bomb is stopped at the limit and not at the end of memory.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from isal import igzip_lib

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.options import MAX_DECOMPRESSED_BYTES

# The type stubs of isal have an instance here instead of a class.
_GZIP_ERROR: Any = igzip_lib.IsalError
GZIP_MAGIC = b"\x1f\x8b"
# How many bytes tell gzip, HTML and text apart.
_SNIFF_BYTES = 512
_READ_BYTES = 1 << 20
_PIECE_BYTES = 4 << 20
# GEO's widest tables stay below 10 MB a line; a longer one is no table.
_MAX_LINE_BYTES = 256 << 20

T = TypeVar("T")


class TruncatedError(GeoError):
    """A compressed file ends before its content does."""


class HtmlError(GeoError):
    """A web page came where a file was asked for."""


def looks_like_html(start: bytes) -> bool:
    """Tell whether a file that starts with these bytes is a web page."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<!--", b"<?xml"))


class CheckedStream:
    """Bytes of one file in, its decompressed content out, in pieces.

    Args:
        where: The file's name or address, for sentences.
        must_be_gzip: Refuse anything that is not gzip. Without it plain text passes through, too.
        max_bytes: The largest content accepted, in bytes.
    """

    def __init__(self, where: str, *, must_be_gzip: bool, max_bytes: int) -> None:
        self._where = where
        self._must_be_gzip = must_be_gzip
        self._max_bytes = max_bytes
        self._total = 0
        self._start: bytes | None = b""
        self._gzip: igzip_lib.IgzipDecompressor | None = None
        self._padding = False
        self._is_first = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes as they come and yield the content they complete.

        Raises:
            HtmlError: When the file is a web page.
            GeoError: When it is no gzip, is damaged, or its content is larger than the limit.
        """
        if self._start is not None:
            data = self._start + data
            if len(data) < _SNIFF_BYTES:
                self._start = data
                return
            self._begin(data)
        yield from self._content(data)

    def finish(self) -> Iterator[bytes]:
        """End the file; yields what was held back.

        Raises:
            TruncatedError: When the gzip stream has not come to its end.
            HtmlError: When the file is a web page.
            GeoError: When the file is empty, no gzip, or damaged.
        """
        if self._start is not None:
            data = self._start
            if not data:
                raise TruncatedError(f"{self._where} is empty; fetch it again.")
            self._begin(data)
            yield from self._content(data)
        if self._gzip is not None and not self._gzip.eof:
            raise TruncatedError(
                f"{self._where} is a truncated gzip file (it breaks off after {self._total:,} "
                "bytes of content); delete it and fetch it again."
            )

    def _begin(self, data: bytes) -> None:
        self._start = None
        if data.startswith(GZIP_MAGIC):
            self._gzip = _decompressor()
        elif looks_like_html(data[:_SNIFF_BYTES]):
            raise HtmlError(
                f"{self._where} is a web page (HTML), not the file that was asked for; open the "
                "address in a browser to see what GEO says, then fetch it again."
            )
        elif self._must_be_gzip:
            raise GeoError(
                f"{self._where} is not a gzip file (it starts with {data[:8]!r}); delete it and "
                "fetch it again."
            )

    def _content(self, data: bytes) -> Iterator[bytes]:
        if self._gzip is None:
            yield self._counted(data)
            return
        while True:
            if self._gzip.eof:
                data = self._next_member(data) if data else b""
                if not data:
                    return
            elif not data and self._gzip.needs_input:
                return
            try:
                piece = self._gzip.decompress(data, _PIECE_BYTES)
            except _GZIP_ERROR as error:
                raise GeoError(
                    f"{self._where} is a damaged gzip file ({error}, after {self._total:,} bytes "
                    "of content); delete it and fetch it again."
                ) from error
            data = self._gzip.unused_data if self._gzip.eof else b""
            if piece:
                self._refuse_disguise(piece)
                yield self._counted(piece)

    def _refuse_disguise(self, piece: bytes) -> None:
        """Look at the first content of a gzip file for what is no content at all."""
        if not self._is_first:
            return
        self._is_first = False
        if looks_like_html(piece[:_SNIFF_BYTES]):
            raise HtmlError(
                f"{self._where} is a compressed web page (HTML), not the file that was asked for; "
                "open the address in a browser to see what GEO says, then fetch it again."
            )
        if piece.startswith(GZIP_MAGIC):
            raise GeoError(
                f"{self._where} is gzip inside gzip; decompress it once, or report it to GEO."
            )

    def _next_member(self, data: bytes) -> bytes:
        """Start the next gzip member; zeros that pad the end of a file are let pass."""
        if self._padding or not data.startswith(GZIP_MAGIC[: len(data)]):
            if data.strip(b"\x00"):
                raise GeoError(
                    f"{self._where} has something else behind the end of its gzip stream; delete "
                    "it and fetch it again."
                )
            self._padding = True
            return b""
        self._gzip = _decompressor()
        return data

    def _counted(self, piece: bytes) -> bytes:
        self._total += len(piece)
        if self._total > self._max_bytes:
            raise GeoError(
                f"{self._where} holds more than {self._max_bytes:,} bytes once decompressed; "
                "raise max_decompressed_bytes if you trust it."
            )
        return piece


def _decompressor() -> igzip_lib.IgzipDecompressor:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def read_pieces(
    path: Path, max_bytes: int = MAX_DECOMPRESSED_BYTES
) -> Generator[bytes, None, None]:
    """Yield the content of a file, decompressed when it is gzip.

    Args:
        path: The file; a name that ends in ``.gz`` must hold gzip.
        max_bytes: The largest content accepted, in bytes.

    Raises:
        GeoError: When the file is missing, truncated, damaged, HTML, or too large.
    """
    stream = CheckedStream(str(path), must_be_gzip=path.suffix == ".gz", max_bytes=max_bytes)
    try:
        with path.open("rb") as handle:
            while data := handle.read(_READ_BYTES):
                yield from stream.feed(data)
    except OSError as error:
        raise GeoError(
            f"{path} cannot be read ({error.strerror or error}); fetch the series again."
        ) from error
    yield from stream.finish()


def read_blocks(path: Path, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> Iterator[bytes]:
    r"""Yield the content of a file in blocks of whole lines that end in ``\n``.

    Blocks hold about 4 MB; the last line may lack its end. ``\r\n`` becomes ``\n``.

    Raises:
        GeoError: As :func:`read_pieces`, and for a line longer than any table's.
    """
    held: list[bytes | memoryview] = []
    size = 0
    for piece in read_pieces(path, max_bytes):
        held.append(piece)
        size += len(piece)
        if size < _PIECE_BYTES or b"\n" not in piece:
            if size > _MAX_LINE_BYTES:
                raise GeoError(
                    f"{path} has a line of more than {_MAX_LINE_BYTES:,} bytes; it is no table of "
                    "GEO, fetch it again."
                )
            continue
        cut = piece.rfind(b"\n") + 1
        held[-1] = memoryview(piece)[:cut]  # copied once only
        yield _with_unix_ends(b"".join(held))
        held = [piece[cut:]]
        size = len(piece) - cut
    if size:
        yield _with_unix_ends(b"".join(held))


def _with_unix_ends(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n") if b"\r" in text else text


@contextmanager
def prefetch(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Give ``items`` so that the next one is already being made in a second thread.

    The thread ends with the block. It must not be left to the garbage collector, which may join it
    in the middle of the start of another thread and wait for ever.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="geo-read") as pool:
        yield _ahead(iter(items), pool)


def _ahead(iterator: Iterator[T], pool: ThreadPoolExecutor) -> Iterator[T]:
    nothing = object()
    coming = pool.submit(next, iterator, nothing)
    while (item := coming.result()) is not nothing:
        coming = pool.submit(next, iterator, nothing)
        yield item  # type: ignore[misc]
