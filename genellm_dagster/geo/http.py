"""Polite HTTP: throttled, tried again when it makes sense, bounded, silent about keys."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.throttle import Throttle

T = TypeVar("T")
_GONE = (404, 410)
_TOO_MANY = 429
# What httpx takes apart without growing by more than a thousand times at once.
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
# A try that fetched this much more was no failure of the server: the count of tries starts anew.
_PROGRESS_BYTES = 4 << 20


class MissingFileError(GeoError):
    """GEO has no such file."""


class BrokenTransferError(Exception):
    """A transfer that failed in a way that may pass; it is tried again.

    Attributes:
        retry_after: Seconds that the server asked to wait, or None.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def public_address(address: str) -> str:
    """Return an address without the user name and password it may carry."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class PoliteHttp:
    """Requests to GEO under NCBI's rules.

    Args:
        options: Limits, patience, and who is asking.
        root: An address whose user name and password, if it has them, go with every request to its
            server. So do those of ``options.web`` and ``options.eutils``.
    """

    def __init__(self, options: GeoOptions, root: str = "") -> None:
        self._options = options
        self._accounts = _accounts(root, options.web or "", options.eutils)
        self._throttle = Throttle(
            options.lock_folder, options.requests_per_second, options.lock_timeout_seconds
        )
        contact = f" ({options.email})" if options.email else ""
        self._http = httpx.Client(
            # identity: files are kept as they lie on the server, and Content-Length is theirs.
            headers={"User-Agent": options.tool + contact, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(
                options.read_timeout_seconds, connect=options.connect_timeout_seconds
            ),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def retrying(
        self, address: str, once: Callable[[], T], received: Callable[[], int] = lambda: 0
    ) -> T:
        """Call ``once`` until it does not raise :class:`BrokenTransferError`.

        Args:
            address: For sentences.
            once: One try.
            received: Tells how many bytes are there. Tries that add to them are not counted.

        Raises:
            GeoError: When every try failed, or the server asks for a longer pause than allowed.
        """
        tries = _Tries(self._options, received)
        retrying = Retrying(
            retry=retry_if_exception_type(BrokenTransferError),
            stop=tries.are_spent,
            wait=tries.pause,
            reraise=True,
        )
        try:
            return retrying(once)
        except BrokenTransferError as error:
            raise GeoError(
                f"{public_address(address)} could not be fetched after "
                f"{retrying.statistics['attempt_number']} tries ({error}); try again later."
            ) from error

    @contextmanager
    def stream(
        self,
        address: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> Iterator[httpx.Response]:
        """Send one request and give the answer before its body is read.

        Redirects are followed for GET only: a form may hold the API key, which goes to no address
        but the one it was meant for.

        Args:
            address: Where; its user name and password are sent, but never logged.
            method: The method.
            headers: Further headers.
            form: What to send.
            accept: Statuses to give to the caller that would be refusals otherwise.

        Raises:
            MissingFileError: For 404 and 410.
            BrokenTransferError: For 429, 5xx, and a connection that breaks or cannot be made.
            GeoError: For any other refusal.
        """
        # httpx logs addresses as they are, so none with a password may reach it.
        shown = public_address(address)
        account = _accounts(address) or self._accounts
        try:
            self._throttle.wait(httpx.URL(shown).host)
            with self._http.stream(
                method,
                shown,
                headers=headers,
                data=form,
                auth=account.get(_server(shown)),
                follow_redirects=form is None,
            ) as response:
                if response.status_code not in accept:
                    self._judge(response, shown)
                encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
                if encoding not in _ENCODINGS:
                    raise GeoError(
                        f"{shown} comes as {encoding[:40]!r} although it was asked for as it is; "
                        "check the address."
                    )
                yield response
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise GeoError(f"{shown} cannot be asked ({error}); check the address.") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _broken(error) from error

    def text(
        self, address: str, form: Mapping[str, str] | None = None, method: str | None = None
    ) -> str:
        """Fetch a small text (a folder listing, a search answer).

        Raises:
            GeoError: When it cannot be fetched or is larger than ``max_answer_bytes``.
        """
        return self.answer(address, str, form=form, method=method)

    def answer(
        self,
        address: str,
        read: Callable[[str], T],
        *,
        form: Mapping[str, str] | None = None,
        method: str | None = None,
        accept: Collection[int] = (),
    ) -> T:
        """Fetch a small text and make something of it.

        Args:
            address: Where.
            read: Gets the text. When it raises :class:`BrokenTransferError`, the text is no answer
                but a passing failure, and is asked for again.
            form: What to send.
            method: The method; by default POST with a form and GET without.
            accept: Statuses whose text is read, too.

        Raises:
            GeoError: When it cannot be fetched or is larger than ``max_answer_bytes``.
        """

        def once() -> T:
            body = bytearray()
            how = method or ("GET" if form is None else "POST")
            with self.stream(address, method=how, form=form, accept=accept) as response:
                for piece in response.iter_bytes():
                    body.extend(piece)
                    if len(body) > self._options.max_answer_bytes:
                        raise GeoError(
                            f"{public_address(address)} answers with more than "
                            f"{self._options.max_answer_bytes:,} bytes; check the address."
                        )
            return read(body.decode("utf-8", "replace"))

        return self.retrying(address, once)

    def _judge(self, response: httpx.Response, shown: str) -> None:
        status = response.status_code
        if status < 300 or status == 304:
            return
        if status in _GONE:
            raise MissingFileError(
                f"{shown} does not exist (HTTP {status}); check the accession and the GEO root."
            )
        if status == _TOO_MANY or status >= 500:
            wait = self._retry_after(response, shown)
            if status == _TOO_MANY:
                pause = self._options.backoff_seconds if wait is None else wait
                self._throttle.hold(httpx.URL(shown).host, pause)
            raise BrokenTransferError(f"HTTP {status}", wait)
        raise GeoError(f"{shown} refuses the request (HTTP {status}); check the address.")

    def _retry_after(self, response: httpx.Response, shown: str) -> float | None:
        text = response.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"\d{1,9}", text):
            seconds = float(text)
        else:
            try:
                then = parsedate_to_datetime(text)
            except ValueError:
                return None
            seconds = (then.astimezone(UTC) - datetime.now(UTC)).total_seconds()
        if seconds > self._options.max_retry_after_seconds:
            raise GeoError(
                f"{shown} asks to wait {seconds:,.0f} s before the next request; try again then, "
                "or raise max_retry_after_seconds."
            )
        return max(0.0, seconds)


@contextmanager
def breaks_told(shown: str) -> Iterator[None]:
    """Tell a connection that breaks while a body is read as :class:`GeoError`."""
    try:
        yield
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise GeoError(f"{shown} broke off ({_broken(error)}); try again later.") from error


def refuse_too_large(shown: str, size: int | None, options: GeoOptions) -> None:
    """Raise GeoError when a file has more bytes than are accepted."""
    if size is not None and size > options.max_file_bytes:
        raise GeoError(
            f"{shown} is larger than {options.max_file_bytes:,} bytes; raise max_file_bytes if "
            "you trust it."
        )


class _Tries:
    """Counts the tries that got nowhere, and paces them."""

    def __init__(self, options: GeoOptions, received: Callable[[], int]) -> None:
        self._options = options
        self._received = received
        self._before = received()
        self._failed = 0

    def are_spent(self, state: RetryCallState) -> bool:
        return self._failed > self._options.retries

    def pause(self, state: RetryCallState) -> float:
        """Return the wait before the next try; tenacity asks for it first, once a failure."""
        now = self._received()
        if now - self._before >= _PROGRESS_BYTES:
            self._failed = 0
        self._before = max(now, self._before)
        self._failed += 1
        error = state.outcome.exception() if state.outcome else None
        doubled = self._options.backoff_seconds * 2 ** (self._failed - 1)
        # Jitter keeps many processes that broke off together from coming back together.
        jitter = random.uniform(0.5, 1.0)  # noqa: S311
        wait = min(doubled, self._options.max_backoff_seconds) * jitter
        asked = error.retry_after if isinstance(error, BrokenTransferError) else None
        return wait if asked is None else asked + wait * 0.1


def _broken(error: httpx.RequestError) -> BrokenTransferError:
    return BrokenTransferError(f"{type(error).__name__}: {error}".rstrip(": "))


def _server(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def _accounts(*addresses: str) -> dict[str, httpx.BasicAuth]:
    """Return server -> user name and password, for the addresses that carry them."""
    accounts = {}
    for address in addresses:
        account, at, _ = urlsplit(address).netloc.rpartition("@")
        if at:
            name, _, password = account.partition(":")
            accounts[_server(address)] = httpx.BasicAuth(unquote(name), unquote(password))
    return accounts
