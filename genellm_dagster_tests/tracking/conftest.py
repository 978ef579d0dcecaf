"""A store, a tracking server and something to register."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genellm_dagster.files import write_text
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster_tests.served_process import served


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
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/served.db"]
    command += ["--artifacts-destination", str(folder / "served")]
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with served(command, folder, environment, "health") as address:
        yield address
