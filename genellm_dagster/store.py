"""Where things lie in the store: ``<store>/<study>/<asset>/<partition>``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Store:
    """The folder that runs write to, seen from one study.

    Attributes:
        root: The whole store.
        study: Name of the study.
    """

    root: Path
    study: str

    def place(self, asset: str, *parts: str) -> Path:
        """Return a path of one of the study's assets."""
        return self.root.joinpath(self.study, asset, *parts)

    def checkpoints(self, asset: str, partition: str) -> Path:
        """Return where training keeps what it has done until an asset's partition is done."""
        return self.place("checkpoints", asset, partition)

    @property
    def report(self) -> Path:
        """The study's report."""
        return self.root / self.study / "report.html"

    @property
    def backbones(self) -> Path:
        """Prepared backbones, shared by studies."""
        return self.root / "backbones"

    @property
    def prefix_states(self) -> Path:
        """Prefix states by content address, shared by studies."""
        return self.root / "prefix_states"
