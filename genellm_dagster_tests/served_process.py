"""A server in a process of its own, for the length of a test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

_START_SECONDS = 120


@contextmanager
def served(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], asked: str
) -> Iterator[str]:
    """Start a server on a free port of this machine, and stop it with all that it started.

    Args:
        command: Without the address, which is added as ``--host`` and ``--port``.
        folder: Where it runs and logs.
        environment: What differs from this process's.
        asked: Path that answers 200 once it is up.

    Yields:
        Its address.
    """
    with socket.socket() as free:
        try:
            free.bind(("127.0.0.1", 0))
        except OSError as error:
            pytest.skip(f"no port of this machine can be listened on ({error})")
        port = free.getsockname()[1]
    log = folder / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=folder,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _await(f"{address}/{asked}", process, log)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"{url} did not answer: {log.read_text()}")
