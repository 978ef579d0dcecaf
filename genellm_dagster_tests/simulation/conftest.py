"""One small simulated study that the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import pytest

from genellm_dagster.simulation.options import SimulationOptions
from genellm_dagster.simulation.study import SimulatedStudy, simulate_study

SMALL = SimulationOptions(genes=300, sample_share=0.3)


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> SimulatedStudy:
    folder: Path = tmp_path_factory.mktemp("simulated") / "small"
    return simulate_study(folder, SMALL, seed=3)
