"""Work in a process of its own, and its peak memory.

A process of its own, so that the memory of one way of doing something is told apart from another's,
and they can take turns on the same cores.
"""

from __future__ import annotations

import multiprocessing
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


class Remote:
    """An object in a process of its own, whose methods are called from here.

    Args:
        way: Its class.
        task: What it is made from.
    """

    def __init__(self, way: type, task: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, way, task), daemon=True)
        self._process.start()
        far.close()

    def __call__(self, name: str, *arguments: Any) -> Any:
        """Have a method called there; return what it returns."""
        self._pipe.send((name, arguments))
        kind, found = self._pipe.recv()
        if kind == "error":
            raise SystemExit(f"{name} failed in a process of its own: {found}")
        return found

    def close(self) -> float:
        """End the process; return its peak memory, in GB."""
        peak: float = self("peak")
        self._pipe.close()
        self._process.join()
        return peak


def peak_gigabytes() -> float:
    """Return the largest resident memory that this process ever had, in GB (Linux)."""
    # Not getrusage, whose number a process takes over from the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def _serve(pipe: Connection, way: type, task: Any) -> None:
    work = way(task)
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        try:
            found = peak_gigabytes() if name == "peak" else getattr(work, name)(*arguments)
        except Exception as error:
            traceback.print_exc()
            pipe.send(("error", str(error)))
            return
        pipe.send(("done", found))
