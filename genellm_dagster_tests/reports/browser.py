"""A headless Chromium, told by its own protocol what a reader would do: look, press keys, print.

The protocol (https://chromedevtools.github.io/devtools-protocol/) goes through two pipes of the
browser: no port is opened and no driver is needed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_PATIENCE = 120.0
# Key names of the protocol, and the codes that Chromium needs to act on them.
_KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " ")}


class Browser:
    """One page of a running Chromium.

    Attributes:
        events: What the browser told since the page was opened, oldest first.
    """

    def __init__(self, to: int, out: int) -> None:
        self._to, self._out = to, out
        self._number, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found['error']}"
                return dict(found["result"])
            self.events.append(found)

    def open(self, page: Path, width: int = 1280, scheme: str = "light") -> None:
        """Open a page in a window of this width, for a reader who likes it light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=1000, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.media("screen", scheme)
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        self._until("Page.loadEventFired")

    def media(self, kind: str, scheme: str = "light") -> None:
        """Show the page on screen or paper, light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=kind, features=features)

    def run(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript, awaited; the page's policy holds."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key as a hand does."""
        code, text = _KEYS[key]
        facts = {
            "key": key,
            "code": "Space" if key == " " else key,
            "windowsVirtualKeyCode": code,
        }
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **down, **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def printed(self) -> bytes:
        """Print the page and return the PDF."""
        found = self.call("Page.printToPDF", printBackground=True)
        return base64.b64decode(found["data"])

    def complaints(self) -> list[str]:
        """Return what the page wrote into the console, and errors of its script."""
        said = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [json.dumps(one["params"]) for one in self.events if one.get("method") in said]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for, the page's own and data within it apart."""
        asked = [
            one["params"]["request"]["url"]
            for one in self.events
            if one.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in asked[1:] if not url.startswith("data:")]

    def _until(self, method: str) -> None:
        while not any(one.get("method") == method for one in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._out], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium said nothing for {_PATIENCE:.0f} s"
            more = os.read(self._out, 1 << 20)
            assert more, "Chromium ended"
            self._rest += more
        one, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(one))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Run Chromium with a profile of its own in a folder.

    Yields:
        The browser, at an empty page.
    """
    assert CHROMIUM, "there is no chromium on this machine"
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()

    def connect() -> None:
        # The browser reads commands from 3 and answers on 4; copies first, as either may be taken.
        reads, writes = os.dup(in_read), os.dup(out_write)
        os.dup2(reads, 3)
        os.dup2(writes, 4)

    process = subprocess.Popen(
        [CHROMIUM, *_OPTIONS, f"--user-data-dir={folder / 'profile'}"],
        preexec_fn=connect,
        pass_fds=(3, 4),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    os.close(in_read)
    os.close(out_write)
    try:
        yield Browser(in_write, out_read)
    finally:
        os.close(in_write)
        os.close(out_read)
        process.terminate()
        process.wait(timeout=30)
