"""Backbones: prepared once, LLaMA only, identified by their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone import (
    load_model,
    load_text_tokenizer,
    prepare_backbone,
    randomised,
    resolve_device,
)
from genellm_dagster.genellm.embedding import GeneEmbedding
from genellm_dagster_tests.genellm.makers import Setting


def test_a_prepared_backbone_is_not_touched_again(tiny: Setting):
    folder = tiny.backbone.path
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prepare_backbone("tiny", folder.parent) == tiny.backbone
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_hash_belongs_to_the_weights_alone(tiny: Setting, tmp_path: Path):
    assert prepare_backbone("tiny", tmp_path).sha256 == tiny.backbone.sha256


def test_a_random_backbone_has_the_same_shape_and_other_weights(tiny: Setting):
    control = randomised(tiny.backbone, seed=1)
    assert (control.layers, control.hidden, control.parameters) == (
        tiny.backbone.layers, tiny.backbone.hidden, tiny.backbone.parameters,
    )  # fmt: skip
    assert control.sha256 != tiny.backbone.sha256
    assert not control.pretrained
    assert randomised(tiny.backbone, seed=1) == control
    assert randomised(tiny.backbone, seed=2).sha256 != control.sha256


def test_a_local_folder_of_llama_weights_is_taken(tiny: Setting, tmp_path: Path):
    taken = prepare_backbone(str(tiny.backbone.path), tmp_path)
    assert taken.sha256 == tiny.backbone.sha256
    assert taken.pretrained
    assert not any(parameter.requires_grad for parameter in load_model(taken).parameters())


def test_another_architecture_is_refused_by_its_name(tmp_path: Path):
    from transformers import GPT2Config

    source = tmp_path / "other"
    GPT2Config(n_layer=1, n_head=1, n_embd=8).save_pretrained(source)
    with pytest.raises(ModelError, match="'gpt2'; only LLaMA"):
        prepare_backbone(str(source), tmp_path / "store")
    assert list((tmp_path / "store").glob("**/*")) == []


def test_pickled_weights_are_not_read(tiny: Setting, tmp_path: Path):
    source = tmp_path / "pickled"
    tiny.model.config.save_pretrained(source)
    torch.save(tiny.model.state_dict(), source / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no folder with safetensors"):
        prepare_backbone(str(source), tmp_path / "store")


def test_damaged_weights_are_refused_with_the_folder(tmp_path: Path):
    backbone = prepare_backbone("tiny", tmp_path)
    (weights,) = backbone.path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="delete that folder"):
        load_model(backbone)


def test_devices_that_are_not_there_are_refused():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(ModelError, match="not known to PyTorch"):
        resolve_device("abacus")
    if not torch.cuda.is_available():
        assert resolve_device("auto").type == "cpu"
        with pytest.raises(ModelError, match="asks for CUDA"):
            resolve_device("cuda:0")


def test_words_that_give_no_direction_are_refused(tiny: Setting):
    with pytest.raises(ModelError, match="the same to the model"):
        GeneEmbedding(tiny.model, load_text_tokenizer(tiny.backbone), ["IL6"], "low", "low")
