"""Folders with weights: what is taken, and what is refused before a tensor of it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone import (
    load_model,
    load_text_tokenizer,
    prepare_backbone,
    randomised,
)
from genellm_dagster_tests.genellm.makers import Setting
from genellm_dagster_tests.genellm.published import published


def _configure(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def _reweigh(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_shards_and_one_file_are_the_same_weights(tmp_path: Path):
    whole = published(tmp_path / "whole")
    parts = published(tmp_path / "parts", shard_size="50KB")
    assert len(list(parts.glob("model-*.safetensors"))) > 2
    one, other = (prepare_backbone(str(folder), tmp_path / "store") for folder in (whole, parts))
    assert one.sha256 == other.sha256
    assert one.path != other.path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_kept_in_the_number_type_they_were_published_in(tmp_path: Path, dtype: Any):
    source = published(tmp_path / "source", dtype=dtype)
    backbone = prepare_backbone(str(source), tmp_path / "store")
    published_weights = load_file(source / "model.safetensors")
    (file,) = backbone.path.glob("*.safetensors")
    kept = load_file(file)
    assert kept.keys() == published_weights.keys()
    assert all(torch.equal(kept[key], published_weights[key]) for key in kept)
    loaded = load_model(backbone, dtype="float16")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float16}


def test_weights_of_mixed_types_lose_nothing_whatever_the_configuration_says(tmp_path: Path):
    source = published(tmp_path / "source", dtype=torch.bfloat16)
    exact = torch.linspace(0.1, 1.0, 48)
    _reweigh(source, _set("model.norm.weight", exact))
    backbone = prepare_backbone(str(source), tmp_path / "store")
    assert torch.equal(load_model(backbone).model.norm.weight, exact)


def test_the_source_is_left_as_it_was_and_nothing_of_its_configuration_is_run(tmp_path: Path):
    source = published(tmp_path / "source")
    bait = tmp_path / "ran"
    (source / "code.py").write_text(f"open({str(bait)!r}, 'w')\nclass Any: ...\n")
    _configure(
        source, auto_map={"AutoConfig": "code.Any", "AutoModelForCausalLM": "code.Any"},
        _attn_implementation="eager",
    )  # fmt: skip
    (source / "generation_config.json").write_text('{"num_return_sequences": 4}')
    before = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
    backbone = prepare_backbone(str(source), tmp_path / "store")
    assert not bait.exists()
    assert "auto_map" not in (backbone.path / "config.json").read_text()
    assert {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()} == before
    # Only this one reads a missing mask as causal.
    assert load_model(backbone).config._attn_implementation == "sdpa"


def test_text_tokens_stay_the_same_when_they_are_prepared(tmp_path: Path):
    from transformers import AutoTokenizer

    for shape in ("llama-1", "llama-3", "mistral"):
        source = published(tmp_path / shape, shape)
        backbone = prepare_backbone(str(source), tmp_path / "store")
        before = AutoTokenizer.from_pretrained(source)
        after = load_text_tokenizer(backbone)
        for text in ("IL6", " IL6", "HLA-DRB1 high", "low"):
            assert before(text)["input_ids"] == after(text)["input_ids"]


def _drop(key: str) -> Any:
    return lambda tensors: tensors.pop(key)


def _set(key: str, value: torch.Tensor) -> Any:
    return lambda tensors: tensors.update({key: value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_drop("model.layers.1.mlp.up_proj.weight"), "should be 80 x 48 and is absent"),
        (_drop("lm_head.weight"), "lm_head.weight should be 400 x 48 and is absent"),
        (_set("model.norm.weight", torch.ones(7)), "should be 48 and is 7"),
        (_set("model.layers.0.extra.weight", torch.ones(3)), "should be absent and is 3"),
        (_set("model.layers.3.mlp.up_proj.weight", torch.ones(80, 48)), "weights of 4 layers"),
        (_set("model.norm.weight", torch.ones(48, dtype=torch.int8)), "as I8; only"),
    ],
)
def test_weights_that_are_not_whole_are_refused_by_the_tensor(
    tmp_path: Path, change: Any, reason: str
):
    source = published(tmp_path / "source")
    _reweigh(source, change)
    with pytest.raises(ModelError, match=reason):
        prepare_backbone(str(source), tmp_path / "store")
    assert list((tmp_path / "store").glob("**/*")) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "qwen2"}, "'qwen2'; only LLaMA"),
        ({"quantization_config": {"quant_method": "gptq"}}, "stored in quantised numbers"),
        ({"num_hidden_layers": 10**9}, "a shape that cannot be"),
        ({"num_hidden_layers": 2}, "3 layers, but its config.json names 2"),
        ({"hidden_size": "48; import os"}, "none of a LLaMA decoder"),
        ({"num_attention_heads": 0}, "LLaMA decoder|shape that cannot be"),
        ({"rope_parameters": {"rope_type": "unheard-of"}}, "'unheard-of', which is not known"),
        ({"vocab_size": 401}, "should be 401 x 48 and is 400 x 48"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
):
    source = published(tmp_path / "source")
    _configure(source, **changes)
    with pytest.raises(ModelError, match=reason):
        prepare_backbone(str(source), tmp_path / "store")


def test_long_rope_whose_rotation_depends_on_the_batch_is_refused(tmp_path: Path):
    factors = [1.0] * 6
    source = published(tmp_path / "source")
    _configure(
        source,
        rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": factors,
            "long_factor": factors, "original_max_position_embeddings": 256,
        },
    )  # fmt: skip
    with pytest.raises(ModelError, match="'longrope', which is not known"):
        prepare_backbone(str(source), tmp_path / "store")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", "no json", "config.json .* cannot be read"),
        ("config.json", "[" * 100_000, "config.json .* cannot be read"),
        ("config.json", '["llama"]', "it holds no mapping"),
        ("model.safetensors", "\xff" * 64, "model.safetensors .* is missing or damaged"),
        ("tokenizer.json", "{}", "text tokenizer .* cannot be read"),
        ("adapter_config.json", "{}", "holds an adapter beside its weights"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, file: str, content: str, reason: str):
    source = published(tmp_path / "source")
    (source / file).write_text(content)
    with pytest.raises(ModelError, match=reason):
        prepare_backbone(str(source), tmp_path / "store")
    assert list((tmp_path / "store").glob("**/*")) == []


@pytest.mark.parametrize("named", ["../elsewhere.safetensors", "model.bin", 3])
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, named: Any):
    source = published(tmp_path / "source")
    (source / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (source / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"model.norm.weight": named}})
    )
    with pytest.raises(ModelError, match="does not name its safetensors files"):
        prepare_backbone(str(source), tmp_path / "store")


def test_a_shard_that_is_missing_is_named(tmp_path: Path):
    source = published(tmp_path / "source", shard_size="50KB")
    shard = sorted(source.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ModelError, match=f"{shard.name} .* is missing or damaged"):
        prepare_backbone(str(source), tmp_path / "store")


def test_the_licence_is_that_of_the_models_page(tmp_path: Path):
    source = published(tmp_path / "a")
    page = source / "README.md"
    page.write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert prepare_backbone(str(source), tmp_path / "1").licence == f"apache-2.0 ({source})"
    for text in ("no front matter", "---\n[\n---\n", "---\nlicense: [a]\n---\n"):
        page.write_text(text)
        unknown = prepare_backbone(str(source), tmp_path / str(abs(hash(text)))).licence
        assert unknown == "see the model's own page"


def test_random_needs_a_shape_and_no_weights(tmp_path: Path):
    source = published(tmp_path / "source", "mistral", torch.bfloat16)
    pretrained = prepare_backbone(str(source), tmp_path / "full")
    (source / "model.safetensors").unlink()
    control = prepare_backbone(f"random:{source}", tmp_path / "store")
    assert not control.pretrained
    assert (control.layers, control.hidden, control.parameters, control.context) == (
        pretrained.layers, pretrained.hidden, pretrained.parameters, 64,
    )  # fmt: skip
    assert control.sha256 != pretrained.sha256
    assert prepare_backbone(f"random:{source}", tmp_path / "store") == control
    # The same as the control of the prepared backbone, and its own control is another one.
    assert randomised(pretrained).sha256 == control.sha256
    assert randomised(control).sha256 != control.sha256


def test_random_of_a_built_in_backbone_is_its_control(tiny: Setting, tmp_path: Path):
    control = prepare_backbone("random:tiny", tmp_path)
    assert control == randomised(prepare_backbone("tiny", tmp_path))
    assert control.name == "tiny-random"


def test_four_bits_without_cuda_are_refused_with_a_way_out(tiny: Setting):
    with pytest.raises(ModelError, match="4-bit weights need CUDA, and the backbone runs on cpu"):
        load_model(tiny.backbone, quantisation="nf4")


def test_names_that_are_neither_here_nor_on_the_hub_are_refused(tmp_path: Path):
    (tmp_path / "model.bin").write_bytes(b"\x80\x04")
    for name in (str(tmp_path / "nowhere"), str(tmp_path / "model.bin"), "a/../b", "https://x/y"):
        with pytest.raises(ModelError, match="no name of a model on the hub"):
            prepare_backbone(name, tmp_path / "store")
