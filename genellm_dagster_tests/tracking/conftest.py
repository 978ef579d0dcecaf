"""A store, a tracking server and something to register."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from genellm_dagster.files import write_text
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.tracker import Tracker

_SERVER_START_SECONDS = 60


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests that do not break it; a space in its path, as people have them."""
    return tmp_path_factory.mktemp("a store")


@pytest.fixture(scope="session")
def tracker(store: Path) -> Tracker:
    tracker = Tracker(TrackingOptions(), store)
    tracker.prepare()
    return tracker


@pytest.fixture
def adapter_folder(tmp_path: Path) -> Path:
    """A folder that is laid out as an adapter's; the registry does not look inside."""
    folder = tmp_path / "adapter"
    write_text(folder / "adapter.json", '{"card": {}}\n')
    write_text(folder / "member-0" / "head.safetensors", "weights")
    return folder


@pytest.fixture(scope="session")
def server(
    tracker: Tracker, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A tracking server in its own process, with a database and artifacts of its own."""
    folder = tmp_path_factory.mktemp("server")
    # Making the tables takes seconds; a copy of a database that has them does not.
    shutil.copy(store / "mlflow" / "mlflow.db", folder / "served.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder}/served.db",
    ]
    command += ["--artifacts-destination", str(folder / "served")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = folder / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _await(address, process, log)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _await(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _SERVER_START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{address}/health", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"the tracking server did not start: {log.read_text()}")
