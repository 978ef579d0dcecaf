"""A web server on localhost that plays GEO: files, web pages, E-utilities, and moods."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]
    at: float


@dataclass
class Mood:
    """One answer out of the ordinary."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_after: int | None = None
    length: int | None = None
    without_length: bool = False


@dataclass
class FakeGeo:
    address: str
    root: Path
    requests: list[Request] = field(default_factory=list)
    moods: dict[str, deque[Mood]] = field(default_factory=lambda: defaultdict(deque))
    pages: dict[str, Callable[[Request], tuple[int, bytes]]] = field(default_factory=dict)
    lists_folders: bool = True

    def next(self, path: str, *moods: Mood) -> None:
        """Answer the next requests of ``path`` in these moods."""
        self.moods[path].extend(moods)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def serve_catalogue(self, series: list[dict[str, Any]]) -> None:
        """Play esearch and esummary over these series."""

        def esearch(request: Request) -> tuple[int, bytes]:
            found = {"count": str(len(series)), "webenv": "MCID_1", "querykey": "1"}
            return 200, json.dumps({"esearchresult": found}).encode()

        def esummary(request: Request) -> tuple[int, bytes]:
            assert (request.form["WebEnv"], request.form["query_key"]) == ("MCID_1", "1")
            start, size = int(request.form["retstart"]), int(request.form["retmax"])
            page = {str(start + n): entry for n, entry in enumerate(series[start : start + size])}
            return 200, json.dumps({"result": {"uids": list(page), **page}}).encode()

        self.pages |= {"/eutils/esearch.fcgi": esearch, "/eutils/esummary.fcgi": esummary}


def _handler(geo: FakeGeo) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            request = Request(
                self.command,
                parts.path,
                {key: values[0] for key, values in parse_qs(parts.query).items()},
                {key: values[0] for key, values in parse_qs(body).items()},
                {key.lower(): value for key, value in self.headers.items()},
                time.time(),
            )
            geo.requests.append(request)
            moods = geo.moods[parts.path]
            mood = moods.popleft() if moods else Mood()
            if parts.path in geo.pages and mood.status == 200 and mood.body is None:
                self._send(Mood(*_page(geo.pages[parts.path](request))))
                return
            if mood.status == 200 and mood.body is None:
                mood = self._file(parts.path, mood)
            self._send(mood)

        def _file(self, path: str, mood: Mood) -> Mood:
            file = geo.root / path.strip("/")
            if file.is_dir() and geo.lists_folders:
                links = "".join(f'<a href="{entry.name}">x</a>' for entry in file.iterdir())
                text = f'<html><a href="/geo/">Parent</a><a href="?C=N">Name</a>{links}</html>'
                return Mood(body=text.encode())
            if not file.is_file():
                return Mood(404, body=b"<html>not found</html>")
            changed = formatdate(file.stat().st_mtime, usegmt=True)
            if self.headers.get("If-Modified-Since") == changed:
                return Mood(304, body=b"")
            mood.body = file.read_bytes()
            mood.headers = {"Last-Modified": changed, **mood.headers}
            return mood

        def _send(self, mood: Mood) -> None:
            body = mood.body or b""
            self.send_response(mood.status)
            for name, value in mood.headers.items():
                self.send_header(name, value)
            if mood.without_length:
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(mood.length or len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body if mood.cut_after is None else body[: mood.cut_after])
            if mood.cut_after is not None or mood.without_length:
                self.close_connection = True

    return Handler


def _page(answer: tuple[int, bytes]) -> tuple[int, dict[str, str], bytes]:
    status, body = answer
    return status, {}, body


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent when a client hangs up, as it does on files that it refuses."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def fake_geo(root: Path) -> Iterator[FakeGeo]:
    """Serve ``root`` as GEO on localhost."""
    geo = FakeGeo("", root)
    server = _Server(("127.0.0.1", 0), _handler(geo))
    geo.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield geo
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
