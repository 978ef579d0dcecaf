"""A web server on localhost that plays GEO: files, web pages, E-utilities, and moods."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

# What NCBI holds to, whoever asks.
_MOST_SUMMARIES = 500
_MOST_SUMMARY_BYTES = 10 << 20


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
    #: After ``cut_after`` bytes: wait for this (the client may be killed meanwhile), then cut.
    hold: threading.Event | None = None


@dataclass
class FakeGeo:
    address: str
    root: Path
    requests: list[Request] = field(default_factory=list)
    moods: dict[str, deque[Mood]] = field(default_factory=lambda: defaultdict(deque))
    pages: dict[str, Callable[[Request], tuple[int, bytes]]] = field(default_factory=dict)
    lists_folders: bool = True
    sends_parts: bool = True
    tags_files: bool = False
    dates_files: bool = True
    summary_bytes: int = _MOST_SUMMARY_BYTES

    def next(self, path: str, *moods: Mood) -> None:
        """Answer the next requests of ``path`` in these moods."""
        self.moods[path].extend(moods)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def serve_catalogue(self, series: list[Any], knows_update_dates: bool = True) -> None:
        """Play esearch and esummary over these series, within NCBI's limits.

        A series is what esummary tells of it; its ``udat`` is searched but not told.
        """
        results: dict[str, list[Any]] = {}

        def esearch(request: Request) -> tuple[int, bytes]:
            term = request.form["term"]
            if not knows_update_dates:
                # A field that it does not know is dropped without a word.
                term = term.replace("[UDAT]", "")
            key = str(len(results) + 1)
            results[key] = [entry for entry in series if _is_meant(entry, term)]
            found = {
                "count": str(len(results[key])),
                "webenv": "MCID_1",
                "querykey": key,
                "querytranslation": term,
            }
            return 200, json.dumps({"esearchresult": found}).encode()

        def esummary(request: Request) -> tuple[int, bytes]:
            assert request.form["WebEnv"] == "MCID_1"
            start, size = int(request.form["retstart"]), int(request.form["retmax"])
            if size > _MOST_SUMMARIES:
                return 200, b'{"error": "Too many UIDs in request. Maximum number is 500"}'
            found = results[request.form["query_key"]][start : start + size]
            told = [
                {key: value for key, value in entry.items() if key != "udat"}
                if isinstance(entry, dict)
                else entry
                for entry in found
            ]
            page = {str(200_000_000 + start + n): entry for n, entry in enumerate(told)}
            text = json.dumps({"result": {"uids": list(page), **page}}).encode()
            if len(text) > self.summary_bytes:
                reason = f"Input XML size is {len(text)} bytes, and cannot be transformed to JSON."
                return 200, json.dumps({"eutilsresult": {"ERROR": reason}}).encode()
            return 200, text

        self.pages |= {"/eutils/esearch.fcgi": esearch, "/eutils/esummary.fcgi": esummary}


def _is_meant(entry: Any, term: str) -> bool:
    since = {tag: day for day, tag in re.findall(r'"([\d/]+)"\[([PU]DAT)\] : "3000"', term)}
    if not since or not isinstance(entry, dict):
        return True
    dates = {"PDAT": entry.get("pdat", ""), "UDAT": entry.get("udat", "")}
    return any(str(dates[tag]) >= day for tag, day in since.items())


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
            content = file.read_bytes()
            told = {}
            if geo.dates_files:
                told["Last-Modified"] = formatdate(file.stat().st_mtime, usegmt=True)
            if geo.tags_files:
                told["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            if self._is_known(told):
                return Mood(304, told, body=b"")
            status = mood.status
            part = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if part and geo.sends_parts and self.headers.get("If-Range") in told.values():
                start = int(part[1])
                if start >= len(content):
                    return Mood(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
                told["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                status, content = 206, content[start:]
            return replace(mood, status=status, body=content, headers={**told, **mood.headers})

        def _is_known(self, told: dict[str, str]) -> bool:
            if "If-None-Match" in self.headers:
                return self.headers["If-None-Match"] == told.get("ETag")
            since = self.headers.get("If-Modified-Since")
            return since is not None and since == told.get("Last-Modified")

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
            if mood.hold is not None:
                self.wfile.flush()
                mood.hold.wait(60)
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
