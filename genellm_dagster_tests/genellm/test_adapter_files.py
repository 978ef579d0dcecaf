"""Adapters on disk: what is read is what was written, and damage is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import (
    Adapter,
    AdapterCard,
    ProfileRecipe,
    load_adapter,
    save_adapter,
)
from genellm_dagster.genellm.options import AdapterOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.training import Fit
from genellm_dagster_tests.genellm.makers import Setting


@pytest.fixture
def adapter(tiny: Setting, fitted: Fit) -> Adapter:
    card = AdapterCard(
        backbone="tiny",
        backbone_sha256=tiny.backbone.sha256,
        numbers="float32",
        tokenizer=tiny.tokenizer.describe(),
        profiles=ProfileRecipe(normalisation={"method": "rank_normal"}),
        head_layers=1,
        options=AdapterOptions(),
        trainable=fitted.trainable,
        total=tiny.backbone.parameters,
    )
    return Adapter(card, fitted.members)


def test_a_saved_adapter_gives_the_same_scores(
    tiny: Setting, easy, adapter: Adapter, tmp_path: Path
):
    states, samples = easy
    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    again = load_adapter(tmp_path / "adapter")
    assert again.card == adapter.card
    rows = np.arange(len(samples))
    one, other = (
        predict(tiny.model, states, rows, each.members, 1, each.card.options)
        for each in (adapter, again)
    )
    np.testing.assert_allclose(one.score, other.score, atol=1e-6)
    np.testing.assert_allclose(one.uncertainty, other.uncertainty, atol=1e-6)


def test_saving_again_replaces_the_whole_adapter(tiny: Setting, adapter: Adapter, tmp_path: Path):
    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    save_adapter(Adapter(adapter.card, adapter.members[:1]), tiny.model, tmp_path / "adapter")
    assert len(load_adapter(tmp_path / "adapter").members) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_each_member_is_an_adapter_that_peft_reads(
    tiny: Setting, easy, adapter: Adapter, tmp_path: Path
):
    from peft import PeftModel, get_peft_model_state_dict

    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    wrapped = PeftModel.from_pretrained(tiny.model, str(tmp_path / "adapter" / "member-1"))
    try:
        read = get_peft_model_state_dict(wrapped)
        assert read.keys() == adapter.members[1].peft.keys()
        assert all(bool((read[key] == adapter.members[1].peft[key]).all()) for key in read)
    finally:
        wrapped.unload()


@pytest.mark.parametrize("name", ["head.safetensors", "adapter_model.safetensors"])
def test_a_damaged_or_missing_file_is_refused_by_name(
    tiny: Setting, adapter: Adapter, tmp_path: Path, name: str
):
    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    file = tmp_path / "adapter" / "member-0" / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is missing or damaged"):
        load_adapter(tmp_path / "adapter")
    file.unlink()
    with pytest.raises(ModelError, match=f"{name} is missing or damaged"):
        load_adapter(tmp_path / "adapter")


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="no adapter"):
        load_adapter(tmp_path)
