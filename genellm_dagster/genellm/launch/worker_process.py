"""This side of a process that fits folds."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.launch.frames import Frame, read_frame, write_frame

WORKER = "genellm_dagster.genellm.launch.worker"
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]
_SECONDS_TO_END = 10.0

Heard = queue.Queue[tuple["WorkerProcess", Frame | None]]
"""What processes said; None is the last word of one."""


class WorkerProcess:
    """A process that fits folds; it ends with this one, however this one ends.

    Args:
        heard: Where what it says is put.
        environment: Variables beside this process's own.
        module: What it runs.
    """

    def __init__(self, heard: Heard, environment: Mapping[str, str], module: str = WORKER) -> None:
        path = os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH")]))
        # -P: what lies in the working directory is no module of this program.
        self._running = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
        self._to = cast("BinaryIO", self._running.stdin)
        self._from = cast("BinaryIO", self._running.stdout)
        self._heard = heard
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None:
            self._running.kill()
        with suppress(BrokenPipeError):
            self._to.close()
        try:
            self._running.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._running.pid

    def tell(self, frame: Frame) -> None:
        """Give it a message; that it is gone is said by what is heard of it."""
        # Where it broke, the process's last word is on its way.
        with suppress(BrokenPipeError):
            write_frame(self._to, frame)

    def ended(self, fold: str) -> ModelError:
        """Return the error of a process that ended in the middle of a fold."""
        status = self._running.wait()
        how = f"signal {-status} ({_signal(-status)})" if status < 0 else f"exit status {status}"
        return ModelError(
            f"The process that fitted fold {fold} ended before it was done ({how}); where its own "
            "message does not say why, memory may have run out: set fewer model.launch.processes "
            "and run again."
        )

    def _listen(self) -> None:
        with self._from as stream:
            while (frame := read_frame(stream)) is not None:
                self._heard.put((self, frame))
        self._heard.put((self, None))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
