"""The real backbone: small, but all the way from profiles to scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genellm_dagster.genellm.adapter import adapted, require_small, trainable_parameters
from genellm_dagster.genellm.backbone import Backbone, load_model, prepare_backbone
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.states import uncached
from genellm_dagster.genellm.training import fit
from genellm_dagster_tests.genellm.makers import GENES, Setting, simulated

_PREPARED = Path(__file__).parents[2] / "data" / "store" / "backbones"


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    ready = (_PREPARED / "smollm2" / "backbone.json").exists()
    # Preparing takes 20 seconds: what a run prepared is read, and never written, by this test.
    return prepare_backbone("smollm2", _PREPARED if ready else tmp_path_factory.mktemp("smollm2"))


def test_the_pretrained_backbone_learns_and_the_adapter_obeys_the_share(
    smollm2: Backbone, tmp_path: Path
):
    setting = Setting.of(smollm2, load_model(smollm2))
    profiles, samples = simulated(cohorts=1, each=12, effect=3.0, absent=False)
    states = setting.states(tmp_path, profiles)
    rows, cases = np.arange(12), samples["case"].to_numpy()
    adapter = AdapterOptions()
    result = fit(
        setting.model, smollm2, states, rows[:8], cases[:8],
        samples["cohort"].to_numpy(str)[:8], 1, adapter, TrainingOptions(ensemble=1, epochs=2),
    )  # fmt: skip
    assert smollm2.pretrained
    assert result.trainable / smollm2.parameters <= adapter.max_trainable_share
    said = predict(setting.model, states, rows, result.members, 1, adapter)
    assert said.score[cases == 1].min() > said.score[cases == 0].max()
    straight = uncached(setting.tokens(profiles), setting.encoder(), len(GENES))
    never_kept = predict(setting.model, straight, rows, result.members, 1, adapter)
    np.testing.assert_allclose(said.score, never_kept.score, atol=1e-4)


@pytest.mark.parametrize("kind", ["lora", "ia3", "prompt"])
def test_the_default_adapter_of_each_kind_obeys_the_share_with_256_genes(
    smollm2: Backbone, kind: str
):
    options = AdapterOptions(kind=kind)
    with adapted(load_model(smollm2), 1, options) as wrapped:
        trainable = trainable_parameters(wrapped, smollm2.hidden + 256, smollm2.hidden)
    assert trainable > smollm2.hidden + 256 + 1 + smollm2.hidden
    require_small(trainable, smollm2, options)
