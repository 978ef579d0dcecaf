"""The two interfaces, Dagster's and MLflow's, started and stopped together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType

from genellm_dagster.errors import SettingsError
from genellm_dagster.settings import FILE_VARIABLE, PROJECT_ROOT, Settings, settings_file
from genellm_dagster.studies.study import Study
from genellm_dagster.tracking.tracker import Tracker

_STOP_SECONDS = 20.0
_START_SECONDS = 120.0
_POLL_SECONDS = 0.3


def serve(
    settings: Settings,
    study: Study,
    host: str,
    port: int,
    mlflow_port: int,
    say: Callable[[str], None],
) -> int:
    """Run both interfaces until one ends or a signal comes; no process is left behind.

    Args:
        settings: All settings.
        study: The study that the Dagster UI shows.
        host: Address to listen on; other than localhost only behind something that authenticates.
        port: Port of the Dagster UI.
        mlflow_port: Port of the MLflow UI.
        say: Where to print.

    Returns:
        0 when stopped by a signal, 1 when a server ended by itself.

    Raises:
        SettingsError: When a port is taken.
    """
    from genellm_dagster.defs.runs import dagster_home

    for number in (port, mlflow_port):
        _require_free(host, number)
    tracker = Tracker(settings.tracking, settings.store)
    tracker.prepare()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(dagster_home(settings)),
        "GENELLM_STUDY": _from_anywhere(settings.study),
        "GENELLM_STORE": str(settings.store.absolute()),
        # Workers for MLflow's own evaluation jobs, which nobody here asks for: ten processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GENELLM_DATA_DIR": str(settings.data_dir.absolute()),
    }
    if (file := settings_file()) is not None:
        environment[FILE_VARIABLE] = str(file.absolute())
    binaries = Path(sys.executable).parent
    commands = {
        "Dagster": [
            f"{binaries}/dagster", "dev", "-w", str(PROJECT_ROOT / "workspace.yaml"),
            "-h", host, "-p", str(port),
        ],
    }  # fmt: skip
    addresses = {"Dagster": (host, port)}
    if settings.tracking.uri is None or not settings.tracking.uri.startswith("http"):
        commands["MLflow"] = [
            f"{binaries}/mlflow", "server", "--backend-store-uri", tracker.uri,
            "--default-artifact-root", tracker.artifacts or "", "--host", host,
            "--port", str(mlflow_port), "--workers", "1",
        ]  # fmt: skip
        addresses["MLflow"] = (host, mlflow_port)
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    previous = {kind: signal.signal(kind, stop) for kind in (signal.SIGINT, signal.SIGTERM)}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            # A session of its own: dagster dev does not end on signals otherwise, and the whole
            # group can be ended at once.
            processes[name] = subprocess.Popen(  # noqa: S603
                command, env=environment, cwd=PROJECT_ROOT, start_new_session=True
            )
        waiting = dict(addresses)
        deadline = time.monotonic() + _START_SECONDS
        while not stopped:
            for name, address in list(waiting.items()):
                if _answers(*address):
                    say(f"{name}: http://{address[0]}:{address[1]}")
                    del waiting[name]
                    if not waiting:
                        say(f"Study {study.name}; Ctrl-C stops both.")
            for name, process in processes.items():
                if process.poll() is not None:
                    say(f"{name} ended by itself with status {process.returncode}.")
                    return 1
            if waiting and time.monotonic() > deadline:
                say(f"{', '.join(waiting)} did not answer within {_START_SECONDS:.0f} s.")
                return 1
            time.sleep(_POLL_SECONDS)
        return 0
    finally:
        _end(processes.values())
        for kind, handler in previous.items():
            signal.signal(kind, handler)


def _from_anywhere(study: str) -> str:
    """Make a path to a study file absolute: the servers work in another folder."""
    return str(Path(study).expanduser().absolute()) if Path(study).is_file() else study


def _end(processes: Collection[subprocess.Popen[bytes]]) -> None:
    running = [process for process in processes if process.poll() is None]
    for process in running:
        _signal_group(process, signal.SIGINT)
    deadline = time.monotonic() + _STOP_SECONDS
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGTERM)
    for process in processes:
        # Children that outlive their parent are in its group.
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], kind: signal.Signals) -> None:
    try:
        os.killpg(process.pid, kind)
    except ProcessLookupError:
        return


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"Port {port} on {host} cannot be used ({error.strerror}); stop what listens "
                "there, or name another port (--port, --mlflow-port)."
            ) from error
