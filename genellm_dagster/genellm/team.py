"""Processes that train one adapter together, each on a device of its own.

A process is alone, or joins a team once, for all its life. Each step's batch is split over the team
and the gradients are added up, so that every process takes the step that one would take alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

T = TypeVar("T")


class Team:
    """The team of this process.

    Args:
        state: Of accelerate; none for a process that is alone.
    """

    def __init__(self, state: PartialState | None = None) -> None:
        self._state = state
        self.rank = state.process_index if state else 0
        self.size = state.num_processes if state else 1

    @property
    def leads(self) -> bool:
        """Whether what all processes have is this one's to tell and to keep."""
        return self.rank == 0

    def part(self, values: Sequence[T]) -> Sequence[T]:
        """Return this process's part of what is to be done once."""
        return values[self.rank :: self.size]

    def share(self, batch: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Return this process's samples of a batch, and what their mean counts in the batch's."""
        if len(batch) < self.size:
            # Too few to split: each process takes them all.
            return batch, 1.0 / self.size
        mine = batch[self.rank :: self.size]
        return mine, len(mine) / len(batch)

    def agree(self, tensors: Sequence[torch.Tensor]) -> None:
        """Give every process the tensors of the first one, in place."""
        if self.size > 1:
            import torch
            from accelerate.utils import broadcast

            with torch.no_grad():
                for tensor in tensors:
                    tensor.copy_(broadcast(tensor.detach().clone()))

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace tensors, in place, by their sums over the processes."""
        if self.size > 1:
            import torch
            from accelerate.utils import reduce

            flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
            parts = reduce(flat, "sum").split([tensor.numel() for tensor in tensors])
            with torch.no_grad():
                for tensor, part in zip(tensors, parts, strict=True):
                    tensor.copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self._state:
            self._state.wait_for_everyone()


_own = Team()


def team() -> Team:
    """Return the team of this process; it is alone until it joins one."""
    return _own


def join() -> Team:
    """Join the team that the environment describes, as ``torch.distributed`` reads it."""
    from accelerate import PartialState

    global _own
    _own = Team(PartialState(cpu=os.environ.get("ACCELERATE_USE_CPU") == "true"))
    return _own
