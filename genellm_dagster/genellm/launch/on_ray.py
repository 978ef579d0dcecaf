"""Folds on a Ray cluster, or on Ray on this machine."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone import resolve_device
from genellm_dagster.genellm.fold_task import FoldResult, FoldTask
from genellm_dagster.genellm.launch.answers import Fitter, result_of
from genellm_dagster.genellm.launch.frames import Frame
from genellm_dagster.genellm.launch.processes import own_threads
from genellm_dagster.genellm.launch.protocol import FoldProgress
from genellm_dagster.genellm.launch.travel import packed

_SECONDS_BETWEEN_LOOKS = 0.5


class RayLauncher:
    """Fits folds by actors on Ray: on the cluster that ``RAY_ADDRESS`` names, else on this machine.

    The folders of the backbone and of the prefix states must lie at the same path on every machine
    of a cluster. States that are missing there are computed there.

    Args:
        processes: How many actors at once.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def run(self, tasks: Sequence[FoldTask], progress: FoldProgress) -> Generator[FoldResult]:
        """Fit every fold; see :class:`~genellm_dagster.genellm.launch.protocol.Launcher`.

        Args:
            tasks: What to fit.
            progress: Called now and then, with all training steps that were made.

        Yields:
            The results, as they come.

        Raises:
            ModelError: When Ray is not installed, a fold cannot be fitted, or its actor died.
        """
        ray = _ray()
        for task in tasks:
            # Once and with all threads, rather than in every actor.
            task.session.encode(task.profiles)
        count = min(self.processes, len(tasks))
        threads = int(own_threads(count)["OMP_NUM_THREADS"])
        cuda = {resolve_device(task.session.options.backbone.device).type for task in tasks}
        waiting = deque(tasks)
        with _connected(ray, count * threads):
            # Ray gives an actor as many threads as it has CPUs.
            kind = ray.remote(num_cpus=threads, num_gpus=int("cuda" in cuda))(_Actor)
            steps = ray.remote(num_cpus=0)(_Steps).remote()
            actors = [kind.remote() for _ in range(count)]
            at_work: dict[Any, tuple[FoldTask, Any]] = {}
            by_name = {task.fold: task for task in tasks}

            def next_task(actor: Any) -> None:
                if waiting:
                    task = waiting.popleft()
                    at_work[actor.fit.remote(packed(task), task.fold, steps)] = (task, actor)

            def tell() -> None:
                for fold, step, total in ray.get(steps.taken.remote()):
                    progress(by_name[fold], step, total)

            try:
                for actor in actors:
                    next_task(actor)
                while at_work:
                    done, _ = ray.wait(list(at_work), timeout=_SECONDS_BETWEEN_LOOKS)
                    tell()
                    for reference in done:
                        task, actor = at_work.pop(reference)
                        try:
                            answer = Frame(*ray.get(reference))
                        except ray.exceptions.RayError as error:
                            raise ModelError(
                                f"Ray lost the actor that fitted fold {task.fold} "
                                f"({type(error).__name__}); where its log does not say why, memory "
                                "may have run out: set fewer model.launch.processes and run again."
                            ) from error
                        result = result_of(task.fold, answer)
                        next_task(actor)
                        yield result
            finally:
                for actor in (*actors, steps):
                    ray.kill(actor)


class _Actor:
    """Fits folds somewhere on the cluster."""

    def __init__(self) -> None:
        self._fitter = Fitter()

    def fit(self, content: bytes, fold: str, steps: Any) -> tuple[bytes, bytes]:
        """Fit a packed task and return the frame of the answer."""
        import ray

        last = None

        def report(step: int, total: int) -> None:
            nonlocal last
            last = steps.told.remote(fold, step, total)

        answer = self._fitter.answer(content, report)
        if last is not None:
            ray.wait([last])  # What is told after the answer would be heard by nobody.
        return answer.kind, answer.content


class _Steps:
    """Collects the training steps that actors have made, until they are asked for."""

    def __init__(self) -> None:
        self._told: list[tuple[str, int, int]] = []

    def told(self, fold: str, step: int, total: int) -> None:
        """Take one step."""
        self._told.append((fold, step, total))

    def taken(self) -> list[tuple[str, int, int]]:
        """Give what was told since the last time."""
        told, self._told = self._told, []
        return told


def _ray() -> Any:
    # Nobody is told what is run.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ModelError(
            "model.launch.kind is ray, and Ray is not installed; install genellm-dagster[ray] or "
            "set another kind."
        ) from error
    return ray


@contextmanager
def _connected(ray: Any, cpus: int) -> Iterator[None]:
    """Connect to Ray for the length of a block, where that is not done yet."""
    if ray.is_initialized():
        yield
        return
    elsewhere = "RAY_ADDRESS" in os.environ
    ray.init(
        num_cpus=None if elsewhere else cpus,
        include_dashboard=None if elsewhere else False,
        log_to_driver=True,
        logging_level="WARNING",
    )
    try:
        yield
    finally:
        ray.shutdown()
