"""One fold after the other in this process, all on the same loaded weights and states."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from genellm_dagster.genellm.fold_task import FoldResult, FoldTask, SharedStates, fit_fold
from genellm_dagster.genellm.launch.protocol import FoldProgress


class InProcessLauncher:
    """Fits folds here."""

    def run(self, tasks: Sequence[FoldTask], progress: FoldProgress) -> Generator[FoldResult]:
        """Fit every fold, in order; see :class:`~genellm_dagster.genellm.launch.protocol.Launcher`.

        Args:
            tasks: What to fit.
            progress: Called after each training step.

        Yields:
            The results.
        """
        shared = SharedStates()
        for task in tasks:

            def report(step: int, steps: int, task: FoldTask = task) -> None:
                progress(task, step, steps)

            yield fit_fold(task, report, shared)
