"""What every room's tests may use: a finished run, and the command line in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from filelock import FileLock

from genellm_dagster_tests.finished import Finished, run_demo, set_environment

# Nobody is told what is run, and nothing is fetched.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Say nothing of Dagster's beta features here either; see ``genellm_dagster.defs``."""
    config.addinivalue_line("filterwarnings", "ignore:.*is currently in (beta|preview)")


@dataclass(frozen=True)
class Said:
    """What a command gave."""

    status: int
    out: str
    err: str

    @property
    def sentences(self) -> list[str]:
        """What is on stderr, progress and the indented lines of tables apart."""
        return [line for line in self.err.splitlines() if line and line[0] not in "[ "]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One finished run for the whole session; with xdist the workers share it."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, mark = root / "finished", root / "finished.mark"
    with FileLock(root / "finished.lock"):
        if not mark.exists():
            run_demo(folder)
            mark.touch()
    return Finished(folder)


@pytest.fixture
def genellm(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """Run ``genellm`` in this process, as its entry point does."""
    from genellm_dagster.cli import main

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["genellm", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        else:
            status = 0
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture
def of_finished(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The finished run, with the environment that ``genellm`` needs to find it."""
    set_environment(monkeypatch, finished.settings_file)
    return finished
