"""Loading the frozen prefix in 4 bits by bitsandbytes, where CUDA is there."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from genellm_dagster.errors import ModelError

if TYPE_CHECKING:
    import torch


def require_four_bit(device: str) -> None:
    """Refuse 4-bit numbers where they cannot be computed with.

    Raises:
        ModelError: When the device is no CUDA device, or bitsandbytes is not installed.
    """
    import torch

    remedy = (
        "set model.backbone.quantisation to none and dtype to bfloat16 to save memory otherwise"
    )
    if torch.device(device).type != "cuda" or not torch.cuda.is_available():
        raise ModelError(f"4-bit weights need CUDA, and the backbone runs on {device}; {remedy}.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            "4-bit weights need the package bitsandbytes, which is not installed; run `pip install "
            f"bitsandbytes`, or {remedy}."
        )


def four_bit_arguments(
    device: str, dtype: torch.dtype, layers: int, head_layers: int
) -> dict[str, Any]:
    """Return what ``from_pretrained`` needs to load the prefix in 4-bit NormalFloat numbers.

    The head layers stay plain: they are few, they carry the adapter, and their inputs are kept.

    Args:
        device: Where the weights go.
        dtype: Number type to compute in.
        layers: Of the backbone.
        head_layers: How many upper ones stay plain.
    """
    from transformers import BitsAndBytesConfig

    plain = [f"model.layers.{layer}" for layer in range(max(0, layers - head_layers), layers)]
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=[*plain, "lm_head"],
        ),
        "device_map": {"": device},
    }
