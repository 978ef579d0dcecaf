"""Adapters on disk: what is read is what was written, and damage is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genellm_dagster.errors import ModelError
from genellm_dagster.files import sha256_of
from genellm_dagster.genellm.adapter import (
    Adapter,
    AdapterCard,
    ProfileRecipe,
    load_adapter,
    save_adapter,
)
from genellm_dagster.genellm.options import AdapterOptions, BackboneOptions
from genellm_dagster.genellm.prediction import predict, require_fitting
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
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.uncertainty, other.uncertainty)


def test_saving_again_replaces_the_whole_adapter(tiny: Setting, adapter: Adapter, tmp_path: Path):
    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    save_adapter(Adapter(adapter.card, adapter.members[:1]), tiny.model, tmp_path / "adapter")
    (member,) = load_adapter(tmp_path / "adapter").members
    assert all(torch.equal(member.peft[key], adapter.members[0].peft[key]) for key in member.peft)
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


def _older(description: dict[str, Any]) -> None:
    del description["card"]["numbers"]


def _newer(description: dict[str, Any]) -> None:
    description["card"]["something_new"] = 1


def _of_no_kind(description: dict[str, Any]) -> None:
    description["card"]["options"]["kind"] = "prefix"


def _without_hashes(description: dict[str, Any]) -> None:
    del description["sha256"]


def _naming_nothing(description: dict[str, Any]) -> None:
    description["sha256"] = {}


def _naming_half(description: dict[str, Any]) -> None:
    del description["sha256"]["member-1/head.safetensors"]


def _naming_elsewhere(description: dict[str, Any]) -> None:
    description["sha256"]["../head.safetensors"] = description["sha256"].pop(
        "member-1/head.safetensors"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_older, "another version .*card.numbers"),
        (_newer, "another version .*card.something_new"),
        (_of_no_kind, "another version .*card.options.kind"),
        (_without_hashes, "another version .*sha256"),
        (_naming_nothing, "another version .*sha256"),
        (_naming_half, "two files a member"),
        (_naming_elsewhere, "two files a member"),
    ],
)
def test_a_description_of_another_version_is_refused_in_one_sentence(
    tiny: Setting, adapter: Adapter, tmp_path: Path, change, said: str
):
    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter.json"
    description = json.loads(file.read_text())
    change(description)
    file.write_text(json.dumps(description))
    with pytest.raises(ModelError, match=said) as refused:
        load_adapter(tmp_path / "adapter")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b"half"])
def test_a_torn_description_is_refused_in_one_sentence(
    tiny: Setting, adapter: Adapter, tmp_path: Path, content: bytes
):
    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter.json"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content == b"half" else content)
    with pytest.raises(ModelError, match="damaged, or of another version") as refused:
        load_adapter(tmp_path / "adapter")
    assert "\n" not in str(refused.value)


def test_a_score_head_of_another_version_is_refused(
    tiny: Setting, adapter: Adapter, tmp_path: Path
):
    from safetensors.torch import save_file

    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    head, file = tmp_path / "adapter/member-0/head.safetensors", tmp_path / "adapter/adapter.json"
    save_file({"weight": torch.ones(3), "strange": torch.ones(1)}, head)
    description = json.loads(file.read_text())
    description["sha256"]["member-0/head.safetensors"] = sha256_of(head)
    file.write_text(json.dumps(description))
    with pytest.raises(ModelError, match="another version of the score head"):
        load_adapter(tmp_path / "adapter")


def test_a_member_that_the_description_does_not_name_is_not_read(
    tiny: Setting, adapter: Adapter, tmp_path: Path
):
    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    (tmp_path / "adapter" / "member-2").mkdir()
    (tmp_path / "adapter" / "member-2" / "head.safetensors").write_bytes(b"not ours")
    assert len(load_adapter(tmp_path / "adapter").members) == 2


def test_an_adapter_is_refused_on_numbers_of_another_type(tiny: Setting, adapter: Adapter):
    require_fitting(adapter.card, tiny.backbone)
    require_fitting(adapter.card, tiny.backbone, BackboneOptions().numbers)
    for other in (BackboneOptions(dtype="bfloat16"), BackboneOptions(quantisation="nf4")):
        with pytest.raises(ModelError, match="trained on states in float32, and these are in"):
            require_fitting(adapter.card, tiny.backbone, other.numbers)
