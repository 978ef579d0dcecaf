"""Small models as they are published: folders with random weights and a text tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

_SPECIAL = ("<unk>", "<s>", "</s>")
_SMALL: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
# By the model whose way it is.
SHAPES: dict[str, dict[str, Any]] = {
    "llama-1": {"max_position_embeddings": 256},
    "llama-2-grouped": {"num_key_value_heads": 2},
    "llama-3": {
        "num_key_value_heads": 2,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "linear": {"rope_scaling": {"type": "linear", "factor": 2.0}},
    "yarn": {
        "rope_scaling": {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128,
        }
    },
    "biased-tied": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "mistral": {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 64},
}  # fmt: skip


def sentencepiece_text() -> PreTrainedTokenizerFast:
    """A tokenizer as LLaMA-2 has it: it puts the mark of a space before a text by itself."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters, "▁I", "▁IL"]
    text = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=[("▁", "I"), ("▁I", "L")],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    text.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    text.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    return _fast(text)


def byte_text() -> PreTrainedTokenizerFast:
    """A tokenizer as Llama-3 and SmolLM2 have it: pieces of bytes, a space is part of the word."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*_SPECIAL, *alphabet, "ĠI", "ĠIL"]
    text = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=[("Ġ", "I"), ("ĠI", "L")],
        )
    )
    text.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text.decoder = decoders.ByteLevel()
    return _fast(text)


def published(
    folder: Path,
    shape: str = "llama-2-grouped",
    dtype: torch.dtype = torch.float32,
    shard_size: str = "1GB",
    **changes: Any,
) -> Path:
    """Write a model of one of the shapes with random weights into a folder.

    Args:
        folder: Where to.
        shape: A key of SHAPES.
        dtype: Number type of the weights.
        shard_size: Largest safetensors file.
        changes: Entries of the configuration that are otherwise.
    """
    options = {**_SMALL, **SHAPES[shape], **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = (
            MistralForCausalLM(MistralConfig(**options))
            if shape == "mistral"
            else LlamaForCausalLM(LlamaConfig(**options))
        )
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # zero at first, and then no test would see them
                torch.nn.init.normal_(parameter, std=0.2)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)
    text = byte_text() if shape == "llama-3" else sentencepiece_text()
    text.save_pretrained(folder)
    return folder


def _fast(text: Tokenizer) -> PreTrainedTokenizerFast:
    unknown, begin, end = _SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=text, bos_token=begin, eos_token=end, unk_token=unknown
    )
