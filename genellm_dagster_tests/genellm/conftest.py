"""Fixtures: the tiny backbone, and members trained on easy samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genellm_dagster.genellm.backbone import load_model, prepare_backbone
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.training import Fit, fit
from genellm_dagster_tests.genellm.folds import OPTIONS, Given
from genellm_dagster_tests.genellm.makers import Setting, simulated


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    backbone = prepare_backbone("tiny", tmp_path_factory.mktemp("backbones"))
    return Setting.of(backbone, load_model(backbone))


@pytest.fixture(scope="session")
def easy(tiny: Setting, tmp_path_factory: pytest.TempPathFactory):
    """States and samples of three cohorts in which cases are easy to tell."""
    profiles, samples = simulated(cohorts=3, each=24)
    return tiny.states(tmp_path_factory.mktemp("prefix"), profiles), samples


@pytest.fixture(scope="session")
def given(tiny: Setting, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """A session, profiles and samples of three cohorts in which cases are easy to tell."""
    profiles, samples = simulated(cohorts=3, each=24)
    session = tiny.session(tmp_path_factory.mktemp("given"), OPTIONS)
    return Given(session, tiny.tokens(profiles), samples)


@pytest.fixture(scope="session")
def fitted(tiny: Setting, easy) -> Fit:
    """Two members in which LoRA was trained hard enough to matter."""
    states, samples = easy
    training = TrainingOptions(epochs=4, ensemble=2, adapter_learning_rate=0.05)
    return fit(
        tiny.model, tiny.backbone, states, np.arange(len(samples)),
        samples["case"].to_numpy(), samples["cohort"].to_numpy(str), 1, AdapterOptions(), training,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
