"""Files of GEO looked at where they are: their beginning, or only which version they have."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager

import httpx

from genellm_dagster.geo.compressed import CheckedStream
from genellm_dagster.geo.http import PoliteHttp, breaks_told, public_address, refuse_too_large
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.revisions import Revision, revision_of_answer

# Little is waited for by those who want the beginning only.
_CHUNK_BYTES = 64 << 10
_NO_HEAD = (httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED)


@contextmanager
def opened(http: PoliteHttp, address: str, options: GeoOptions) -> Iterator[Iterator[bytes]]:
    """Open a file over http(s) for reading its content once, from its beginning.

    Args:
        http: The connection.
        address: The file's full address.
        options: Limits.

    Yields:
        The content in pieces, decompressed.

    Raises:
        MissingFileError: When the server has no such file.
        GeoError: When what comes is HTML, damaged or too large, or when the server does not
            answer; also while the pieces are read.
    """
    shown = public_address(address)
    stack = ExitStack()

    def begin() -> Iterator[bytes]:
        with ExitStack() as trial:
            response = trial.enter_context(http.stream(address))
            pieces = trial.enter_context(closing(_content(response, shown, options)))
            # Until something has come, a broken connection may be tried again without harm.
            first = next(pieces, b"")
            stack.push(trial.pop_all())
        return _told(first, pieces, shown)

    with stack:
        yield http.retrying(address, begin)


def asked_revision(http: PoliteHttp, address: str) -> Revision:
    """Ask a server which version of a file it has.

    Raises:
        MissingFileError: When it has none.
        GeoError: When it cannot be asked.
    """

    def once(method: str) -> Revision | None:
        with http.stream(address, method=method, accept=_NO_HEAD) as response:
            if method == "HEAD" and response.status_code in _NO_HEAD:
                return None
            return revision_of_answer(response.headers)

    told = http.retrying(address, lambda: once("HEAD"))
    # Pages made by a program may answer GET only; the body is left unread then.
    return told or http.retrying(address, lambda: once("GET")) or Revision()


def _content(
    response: httpx.Response, shown: str, options: GeoOptions
) -> Generator[bytes, None, None]:
    stream = CheckedStream(
        shown, must_be_gzip=shown.endswith(".gz"), max_bytes=options.max_decompressed_bytes
    )
    refuse_too_large(shown, revision_of_answer(response.headers).size, options)
    received = 0
    for data in response.iter_raw(_CHUNK_BYTES):
        received += len(data)
        refuse_too_large(shown, received, options)
        yield from stream.feed(data)
    yield from stream.finish()


def _told(first: bytes, others: Iterator[bytes], shown: str) -> Iterator[bytes]:
    yield first
    with breaks_told(shown):
        yield from others
