"""What every launcher offers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from genellm_dagster.genellm.fold_task import FoldResult, FoldTask

FoldProgress = Callable[[FoldTask, int, int], None]
"""Called with a task, its training steps done, and its steps in all."""


class Launcher(Protocol):
    """Runs fits of folds somewhere."""

    def run(self, tasks: Sequence[FoldTask], progress: FoldProgress) -> Generator[FoldResult]:
        """Fit every fold.

        Args:
            tasks: What to fit.
            progress: Called after each training step.

        Yields:
            The results as they come, which may be in another order.

        Raises:
            ModelError: When a fold cannot be fitted; no other one goes on then.
        """
        ...
