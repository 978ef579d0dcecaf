"""Both interfaces start together, end together, and leave no process behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
import pytest

from genellm_dagster import servers
from genellm_dagster.errors import SettingsError
from genellm_dagster.settings import PROJECT_ROOT, load_settings
from genellm_dagster_tests.defs.makers import a_study

_PATIENCE_SECONDS = 180
_MARK = "GENELLM_TEST_MARK"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _marked(mark: str) -> dict[int, str]:
    """Processes, of whatever group, that inherited a mark in their environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() not in (folder / "environ").read_bytes():
                continue
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def _wait(condition, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@pytest.fixture
def started(tmp_path: Path):
    """Start ``genellm ui`` in a process of its own."""
    mark = uuid.uuid4().hex
    ports = (_free_port(), _free_port())
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GENELLM_") and name != "DAGSTER_HOME"
    }
    command = [
        sys.executable, "-m", "genellm_dagster.cli", "ui",
        "--port", str(ports[0]), "--mlflow-port", str(ports[1]),
    ]  # fmt: skip
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command,
            env={**environment, _MARK: mark, "GENELLM_STORE": str(tmp_path / "store")},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            start_new_session=True,
        )
    try:
        yield process, ports, mark, tmp_path / "log.txt"
    finally:
        for pid in _marked(mark):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_both_answer_and_sigterm_ends_all(started) -> None:
    process, ports, mark, log = started
    for port in ports:
        _wait(lambda port=port: _answers(port) or process.poll() is not None, log.read_text())
    assert process.poll() is None, log.read_text()
    _wait(lambda: "Ctrl-C stops both" in log.read_text(), log.read_text())
    for name, port in zip(("Dagster", "MLflow"), ports, strict=True):
        assert f"{name}: http://127.0.0.1:{port}" in log.read_text()
    query = (
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }"
    )
    said = httpx.post(f"http://127.0.0.1:{ports[0]}/graphql", json={"query": query}, timeout=60)
    found = said.json()["data"]["repositoriesOrError"]["nodes"]
    assert [one["location"]["name"] for one in found] == ["genellm"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(_PATIENCE_SECONDS) == 0
    _wait(lambda: not _marked(mark), str(_marked(mark)))


def test_sigint_while_they_start_ends_all(started) -> None:
    process, _, mark, log = started
    _wait(
        lambda: (
            any("mlflow" in line and "server" in line for line in _marked(mark).values())
            or process.poll() is not None
        ),
        "MLflow did not start",
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(_PATIENCE_SECONDS) == 0, log.read_text()
    _wait(lambda: not _marked(mark), str(_marked(mark)))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return load_settings(store=tmp_path / "store")


def test_taken_port_is_refused_before_anything_starts(settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"Port {port} .* cannot be used .*--port"):
            servers.serve(settings, a_study("GSE1"), "127.0.0.1", port, _free_port(), print)


def _fake(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/bash\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_one_that_ends_by_itself_takes_the_other_and_its_children_along(
    settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = uuid.uuid4().hex
    monkeypatch.setenv(_MARK, mark)
    # A server that hears no polite signal, with a child that would outlive it.
    _fake(
        tmp_path, "dagster", f"trap '' INT TERM; touch {tmp_path}/up; sleep 600 & sleep 600; wait"
    )
    _fake(tmp_path, "mlflow", f"while [ ! -e {tmp_path}/up ]; do sleep 0.1; done; exit 3")
    monkeypatch.setattr(servers.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(servers, "_STOP_SECONDS", 0.5)
    monkeypatch.setattr(servers.Tracker, "prepare", lambda self: None)
    said: list[str] = []
    study = a_study("GSE1")
    before = signal.getsignal(signal.SIGTERM)
    status = servers.serve(settings, study, "127.0.0.1", _free_port(), _free_port(), said.append)
    assert status == 1
    assert said == ["MLflow ended by itself with status 3."]
    assert signal.getsignal(signal.SIGTERM) == before
    _wait(lambda: set(_marked(mark)) <= {os.getpid()}, str(_marked(mark)))


def test_servers_find_what_the_caller_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They work at the root of the project, the caller anywhere.
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("GENELLM_SETTINGS_FILE", raising=False)
    Path("mine.yaml").write_text("")
    Path("genellm.yaml").write_text(f"store: {tmp_path / 'store'}\n")
    for name in ("dagster", "mlflow"):
        _fake(tmp_path, name, f"pwd > {tmp_path}/{name}.txt; env >> {tmp_path}/{name}.txt; exit 3")
    monkeypatch.setattr(servers.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(servers.Tracker, "prepare", lambda self: None)
    settings = load_settings(study="mine.yaml", data_dir=Path("data"))
    ports = (_free_port(), _free_port())
    assert servers.serve(settings, a_study("GSE1"), "127.0.0.1", *ports, lambda _: None) == 1
    seen = (tmp_path / "dagster.txt").read_text().splitlines()
    assert seen[0] == str(PROJECT_ROOT)
    assert {
        f"GENELLM_STUDY={tmp_path}/mine.yaml",
        f"GENELLM_SETTINGS_FILE={tmp_path}/genellm.yaml",
        f"GENELLM_STORE={tmp_path}/store",
        f"GENELLM_DATA_DIR={tmp_path}/data",
        f"DAGSTER_HOME={tmp_path}/store/dagster",
    } <= set(seen)
