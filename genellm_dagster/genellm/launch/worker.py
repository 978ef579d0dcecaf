"""A process that fits folds for another one, until that one is gone.

Tasks come on stdin, answers go to what was stdout when the process began.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from genellm_dagster.genellm.launch.frames import PROGRESS, Frame, read_frame, write_frame

_GONE = 1


def serve(
    log: Callable[[str], None] | None = None, before: Callable[[], object] | None = None
) -> None:
    """Fit what comes, until nothing more can come.

    Args:
        log: Called with a line for each fold that is done.
        before: Called before the first fold.
    """
    # Who started this one decides when it ends; an interrupt from the terminal reaches both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What anything prints must not get among the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    incoming: queue.Queue[Frame | None] = queue.Queue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, incoming, busy), daemon=True).start()

    from genellm_dagster.genellm.launch.answers import Fitter
    from genellm_dagster.genellm.team import team

    if before is not None:
        before()
    fitter = Fitter(log)

    def progress(step: int, steps: int) -> None:
        if team().leads:
            write_frame(answers, Frame(PROGRESS, json.dumps([step, steps]).encode()))

    while (frame := incoming.get()) is not None:
        answer = fitter.answer(frame.content, progress)
        busy.clear()
        try:
            write_frame(answers, answer)
        except BrokenPipeError:
            return  # Nobody is left to hear it.


def _listen(stream: BinaryIO, incoming: queue.Queue[Frame | None], busy: threading.Event) -> None:
    while (frame := read_frame(stream)) is not None:
        busy.set()
        incoming.put(frame)
    incoming.put(None)
    if busy.is_set():
        # Nobody waits for the fit that is going on: its reader is gone, perhaps killed.
        os._exit(_GONE)


if __name__ == "__main__":
    serve()
