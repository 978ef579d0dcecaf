"""A small Hugging Face hub on localhost: the addresses that a download asks for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c0ffee" * 6 + "abcd"


class Hub:
    """Serves folders as models.

    Attributes:
        models: Folder by ``owner/name``.
        gated: Models that want an accepted licence.
        asked: Files that were fetched.
        url: Address of the server.
    """

    def __init__(self, models: dict[str, Path], gated: frozenset[str] = frozenset()) -> None:
        self.models = models
        self.gated = gated
        self.asked: list[str] = []
        self.url = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: Any) -> None:
            pass

        def _send(self, status: int, content: bytes, body: bool, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def _answer(self, body: bool) -> None:
            path = self.path.split("?")[0].strip("/")
            model = next((m for m in hub.models if f"{m}/" in f"{path}/"), None)
            if model is None:
                self._send(404, b"{}", body, X_Error_Code="RepoNotFound")
                return
            if model in hub.gated:
                self._send(403, b"{}", body, X_Error_Code="GatedRepo")
                return
            folder = hub.models[model]
            files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
            rest = path.split(f"{model}/", 1)[1] if f"{model}/" in path else ""
            if path.startswith("api/"):
                if rest.startswith("revision/") and rest not in {"revision/main", f"revision/{COMMIT}"}:  # fmt: skip  # noqa: E501
                    self._send(404, b"{}", body, X_Error_Code="RevisionNotFound")
                    return
                listed = [
                    {
                        "type": "file",
                        "path": file.relative_to(folder).as_posix(),
                        "size": file.stat().st_size,
                        "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
                    }
                    for file in files
                ]
                siblings = [{"rfilename": entry["path"]} for entry in listed]
                about = {"id": model, "sha": COMMIT, "siblings": siblings}
                answer = listed if rest.startswith("tree/") else about
                self._send(200, json.dumps(answer).encode(), body, Content_Type="application/json")
                return
            name = rest.split("/", 2)[2]
            if not (folder / name).is_file():
                self._send(404, b"", body, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
                return
            content = (folder / name).read_bytes()
            if body:
                hub.asked.append(name)
            self._send(
                200, content, body, X_Repo_Commit=COMMIT,
                ETag=f'"{hashlib.sha1(content).hexdigest()}"',
            )  # fmt: skip

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
