"""Folds in processes of their own on this machine.

Processes stand in teams: of one each, or of several that share the work on one fold.
"""

from __future__ import annotations

import json
import os
import queue
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from genellm_dagster.genellm.fold_task import FoldResult, FoldTask
from genellm_dagster.genellm.launch.answers import result_of
from genellm_dagster.genellm.launch.frames import DONE, PROGRESS, TASK, Frame
from genellm_dagster.genellm.launch.protocol import FoldProgress
from genellm_dagster.genellm.launch.travel import packed
from genellm_dagster.genellm.launch.worker_process import WORKER, Heard, WorkerProcess

Around = Callable[[], AbstractContextManager[Mapping[str, str]]]
"""Opens something around a process and gives it environment variables."""


class SubprocessLauncher:
    """Fits folds in a bounded pool of processes, which share this one's threads.

    Args:
        processes: How many at once.
        module: What a process runs; it must end in
            :func:`genellm_dagster.genellm.launch.worker.serve`.
        around: What is open around each process.
    """

    def __init__(
        self, processes: int, *, module: str = WORKER, around: Around = lambda: nullcontext({})
    ) -> None:
        self.processes = processes
        self.module = module
        self.around = around

    def run(self, tasks: Sequence[FoldTask], progress: FoldProgress) -> Generator[FoldResult]:
        """Fit every fold; see :class:`~genellm_dagster.genellm.launch.protocol.Launcher`.

        Args:
            tasks: What to fit.
            progress: Called after each training step.

        Yields:
            The results, as they come.

        Raises:
            ModelError: When a fold cannot be fitted, or its process was killed.
        """
        for task in tasks:
            # Once and with all threads, rather than in every process; the weights are loaded only
            # where something is missing.
            task.session.encode(task.profiles)
        count = min(self.processes, len(tasks))
        teams = [[{**own_threads(count), **own_device(number)}] for number in range(count)]
        yield from run_in_teams(teams, tasks, progress, self.module, self.around)


def run_in_teams(
    teams: Sequence[Sequence[Mapping[str, str]]],
    tasks: Sequence[FoldTask],
    progress: FoldProgress,
    module: str = WORKER,
    around: Around = lambda: nullcontext({}),
) -> Generator[FoldResult]:
    """Fit folds in teams of processes, each team one after the other.

    Args:
        teams: Environment variables of each process, by team.
        tasks: What to fit.
        progress: Called after each training step.
        module: What a process runs.
        around: What is open around each process.

    Yields:
        The results, as they come. When the caller stops before the last one, all processes end.

    Raises:
        ModelError: When a fold cannot be fitted, or a process was killed.
    """
    heard: Heard = queue.Queue()
    waiting = deque(tasks)
    with ExitStack() as stack:
        at_work: dict[WorkerProcess, FoldTask] = {}
        team_of: dict[WorkerProcess, list[WorkerProcess]] = {}

        def next_task(team: list[WorkerProcess]) -> None:
            if waiting:
                task = waiting.popleft()
                content = packed(task)
                for one in team:
                    at_work[one] = task
                    one.tell(Frame(TASK, content))

        started = []
        for environments in teams:
            team = []
            for environment in environments:
                opened = stack.enter_context(around())
                process = WorkerProcess(heard, {**environment, **opened}, module)
                team.append(stack.enter_context(process))
            team_of |= dict.fromkeys(team, team)
            started.append(team)
        for team in started:
            next_task(team)
        while at_work:
            process, frame = heard.get()
            task = at_work[process]
            if frame is None:
                raise process.ended(task.fold)
            if frame.kind == PROGRESS:
                progress(task, *json.loads(frame.content))
                continue
            result = None if frame.kind == DONE else result_of(task.fold, frame)
            del at_work[process]
            team = team_of[process]
            if not any(one in at_work for one in team):
                next_task(team)
            if result is not None:
                yield result


def own_threads(processes: int) -> dict[str, str]:
    """Return the variables that give a process its part of this one's threads."""
    import torch

    return {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // processes))}


def own_device(number: int) -> dict[str, str]:
    """Return the variables that give a process one of several GPUs; none where there are fewer."""
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        return {}
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = named.split(",") if named else [str(device) for device in range(count)]
    return {"CUDA_VISIBLE_DEVICES": every[number % count]}
