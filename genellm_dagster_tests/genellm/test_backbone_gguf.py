"""GGUF files: the same weights as the safetensors, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone import load_model, load_text_tokenizer, prepare_backbone
from genellm_dagster.genellm.backbone_words import word_tokens
from genellm_dagster_tests.genellm.published import published, sentencepiece_text

_LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def _converted(source: Path, file: Path, **facts: Any) -> Path:
    """Write a published folder as GGUF, as llama.cpp's converter does."""
    writer = gguf.GGUFWriter(file, facts.get("architecture", "llama"))
    writer.add_block_count(3)
    writer.add_context_length(512)
    writer.add_embedding_length(48)
    writer.add_feed_forward_length(80)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(12)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(400)
    writer.add_license("mit")
    if "scaling" in facts:
        writer.add_rope_scaling_type(facts["scaling"])
    if "window" in facts:
        writer.add_sliding_window(facts["window"])
    text = sentencepiece_text()
    pieces = [*text.convert_ids_to_tokens(range(len(text)))]
    pieces += [f"<unused{n}>" for n in range(400 - len(pieces))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    # The longer a piece, the rather it is merged.
    writer.add_token_scores([-1000.0 + 10.0 * len(piece) for piece in pieces])
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.BYTE] * 256
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * (400 - len(kinds)))
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for key, tensor in load_file(source / "model.safetensors").items():
        stem = key.removesuffix(".weight")
        array = tensor.float().numpy()
        if stem in _TOP:
            name = _TOP[stem]
        else:
            _, _, layer, rest = stem.split(".", 3)
            name = f"blk.{layer}.{_LAYER[rest]}"
            heads = {"self_attn.q_proj": 4, "self_attn.k_proj": 2}.get(rest)
            if heads:  # GGUF keeps the two halves of a rotation side by side
                wide = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2)
                array = wide.reshape(array.shape)
        if f"{name}.weight" not in facts.get("without", ()):
            writer.add_tensor(f"{name}.weight", np.ascontiguousarray(array))
    for extra in facts.get("extra", ()):
        writer.add_tensor(extra, np.ones(6, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("published"))


def test_a_gguf_file_gives_the_weights_and_words_of_the_safetensors(source: Path, tmp_path: Path):
    file = _converted(source, tmp_path / "model.gguf")
    read = prepare_backbone(str(file), tmp_path / "store")
    plain = prepare_backbone(str(source), tmp_path / "store")
    assert read.sha256 == plain.sha256
    assert (read.context, read.licence, read.source) == (512, f"mit ({file})", str(file))
    ids = torch.arange(40)[None] * 7
    with torch.no_grad():
        one, other = (load_model(backbone)(ids).logits for backbone in (read, plain))
    assert torch.equal(one, other)
    for word in ("IL6", "HLA-DRB1", "low"):
        assert word_tokens(load_text_tokenizer(read), word) == word_tokens(
            load_text_tokenizer(plain), word
        )


def test_a_folder_with_one_gguf_file_is_that_file(source: Path, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    _converted(source, folder / "a.gguf", window=100)
    assert prepare_backbone(str(folder), tmp_path / "store").context == 100
    (folder / "b.gguf").write_bytes((folder / "a.gguf").read_bytes())
    with pytest.raises(ModelError, match=r"2 GGUF files; name one of them, such as .*a\.gguf"):
        prepare_backbone(str(folder), tmp_path / "other")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"architecture": "qwen2"}, "'qwen2'; only LLaMA"),
        ({"scaling": gguf.RopeScalingType.LINEAR}, "scaled positions, which are not read"),
        ({"extra": ("rope_freqs.weight",)}, "scaled positions, which are not read"),
        ({"without": ("blk.1.ffn_up.weight",)}, "does not hold exactly the weights"),
    ],
)
def test_what_the_reader_of_gguf_would_pass_over_is_refused(
    source: Path, tmp_path: Path, facts: dict[str, Any], reason: str
):
    file = _converted(source, tmp_path / "model.gguf", **facts)
    with pytest.raises(ModelError, match=reason):
        prepare_backbone(str(file), tmp_path / "store")
    assert list((tmp_path / "store").glob("**/*")) == []


def test_a_cut_off_gguf_file_is_refused_by_name(source: Path, tmp_path: Path):
    file = _converted(source, tmp_path / "model.gguf")
    whole = file.read_bytes()
    for length in (0, 100, len(whole) // 2):
        file.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"model\.gguf cannot be read"):
            prepare_backbone(str(file), tmp_path / "store")


def test_random_weights_cannot_take_their_shape_from_gguf(source: Path, tmp_path: Path):
    file = _converted(source, tmp_path / "model.gguf")
    with pytest.raises(ModelError, match="cannot be read apart from its weights"):
        prepare_backbone(f"random:{file}", tmp_path / "store")
