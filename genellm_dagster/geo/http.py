"""Polite HTTP: throttled, tried again when it makes sense, bounded, silent about keys."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.throttle import Throttle

T = TypeVar("T")
_GONE = (404, 410)
_TOO_MANY = 429


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
    """

    def __init__(self, options: GeoOptions) -> None:
        self._options = options
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

    def retrying(self, address: str, once: Callable[[], T]) -> T:
        """Call ``once`` until it does not raise :class:`BrokenTransferError`.

        Raises:
            GeoError: When every try failed, or the server asks for a longer pause than allowed.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(BrokenTransferError),
            stop=stop_after_attempt(self._options.retries + 1),
            wait=self._pause,
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
    ) -> Iterator[httpx.Response]:
        """Send one request and give the answer before its body is read.

        Redirects are followed for GET only: a form may hold the API key, which goes to no address
        but the one it was meant for.

        Raises:
            MissingFileError: For 404 and 410.
            BrokenTransferError: For 429, 5xx, and a connection that breaks or cannot be made.
            GeoError: For any other refusal.
        """
        shown = public_address(address)
        try:
            self._throttle.wait(httpx.URL(address).host)
            with self._http.stream(
                method, address, headers=headers, data=form, follow_redirects=form is None
            ) as response:
                self._judge(response, shown)
                yield response
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise GeoError(f"{shown} cannot be asked ({error}); check the address.") from error
        except httpx.TransportError as error:
            raise BrokenTransferError(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    def text(
        self, address: str, form: Mapping[str, str] | None = None, method: str | None = None
    ) -> str:
        """Fetch a small text (a folder listing, a search answer).

        Raises:
            GeoError: When it cannot be fetched or is larger than ``max_answer_bytes``.
        """

        def once() -> str:
            body = bytearray()
            how = method or ("GET" if form is None else "POST")
            with self.stream(address, method=how, form=form) as response:
                for piece in response.iter_bytes():
                    body.extend(piece)
                    if len(body) > self._options.max_answer_bytes:
                        raise GeoError(
                            f"{public_address(address)} answers with more than "
                            f"{self._options.max_answer_bytes:,} bytes; check the address."
                        )
            return body.decode("utf-8", "replace")

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
            raise BrokenTransferError(f"HTTP {status}", self._retry_after(response, shown))
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

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        doubled = self._options.backoff_seconds * 2 ** (state.attempt_number - 1)
        # Jitter keeps many processes that broke off together from coming back together.
        jitter = random.uniform(0.5, 1.0)  # noqa: S311
        wait = min(doubled, self._options.max_backoff_seconds) * jitter
        asked = error.retry_after if isinstance(error, BrokenTransferError) else None
        return wait if asked is None else asked + wait * 0.1
