"""Folds one after the other, each on several GPUs at once, by accelerate."""

from __future__ import annotations

import socket
from collections.abc import Generator, Sequence

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone import resolve_device
from genellm_dagster.genellm.fold_task import FoldResult, FoldTask
from genellm_dagster.genellm.launch.processes import own_threads, run_in_teams
from genellm_dagster.genellm.launch.protocol import FoldProgress

_TEAM_WORKER = "genellm_dagster.genellm.launch.team_worker"
_HERE = "127.0.0.1"


class AccelerateLauncher:
    """Fits each fold in a team of processes that split every batch, and the prefix's profiles.

    The results are those of one process but for the order in which numbers are added up. Without
    CUDA the processes share the CPU.

    Args:
        processes: How many in the team; with CUDA, each has a GPU.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def run(self, tasks: Sequence[FoldTask], progress: FoldProgress) -> Generator[FoldResult]:
        """Fit every fold; see :class:`~genellm_dagster.genellm.launch.protocol.Launcher`.

        Args:
            tasks: What to fit.
            progress: Called after each training step.

        Yields:
            The results, in order.

        Raises:
            ModelError: When there are too few GPUs, a fold cannot be fitted, or a process was
                killed.
        """
        cuda = {self._uses_cuda(task.session.options.backbone.device) for task in tasks}
        if len(cuda) > 1:
            raise ModelError("Some folds ask for CUDA and some do not; set one device for all.")
        shared = {
            "MASTER_ADDR": _HERE,
            "MASTER_PORT": str(_free_port()),
            "WORLD_SIZE": str(self.processes),
            "LOCAL_WORLD_SIZE": str(self.processes),
            "ACCELERATE_USE_CPU": str(cuda != {True}).lower(),
            **own_threads(self.processes),
        }
        members = [
            {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(self.processes)
        ]
        yield from run_in_teams([members], tasks, progress, _TEAM_WORKER)

    def _uses_cuda(self, device: str) -> bool:
        import torch

        if resolve_device(device).type != "cuda":
            return False
        if device not in ("auto", "cuda"):
            raise ModelError(
                f"The device {device} is one, and {self.processes} processes ask for one each; set "
                "model.backbone.device to auto."
            )
        if torch.cuda.device_count() < self.processes:
            raise ModelError(
                f"{self.processes} processes ask for a GPU each and there are "
                f"{torch.cuda.device_count()}; set fewer model.launch.processes."
            )
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HERE, 0))
        port: int = probe.getsockname()[1]
        return port
