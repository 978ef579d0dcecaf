"""Weights from a GGUF file: plain LLaMA decoders, dequantised to float32."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone_files import decoder_configuration, first_line

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GGUFContent:
    """What a GGUF file holds.

    Attributes:
        model: The decoder, to be saved: what is computed from its configuration is not filled in.
        tokenizer: The text tokenizer.
        licence: As the file names it; empty when it names none.
        context: The most positions the model can be given.
    """

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase
    licence: str
    context: int


def read_gguf(file: Path, name: str) -> GGUFContent:
    """Read a GGUF file.

    Args:
        file: The file.
        name: Of the backbone, for messages.

    Returns:
        Its content.

    Raises:
        ModelError: When the file is damaged, holds another architecture, or names something about
            its positions that the reading library would pass over.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    facts = _plain_facts(file, name)
    logger.info("Reading %s; done once, about 20 seconds for 135 million weights.", file.name)
    try:
        # With what is told about the loading, a pair is returned, which its type does not say.
        read: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True, output_loading_info=True
        )
        loaded, told = read
        tokenizer = AutoTokenizer.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True
        )
    # The readers of GGUF raise whatever a damaged file leads them to.
    except Exception as error:
        raise _damaged(file, error) from error
    config, context = decoder_configuration("llama", loaded.config.to_dict(), name)
    absent = set(told["missing_keys"])
    if config.tie_word_embeddings:
        absent.discard("lm_head.weight")
    if absent or told["mismatched_keys"] or told["unexpected_keys"]:
        raise ModelError(
            f"The GGUF file {file} does not hold exactly the weights of the shape it names; name "
            "the model's safetensors."
        )
    # save_pretrained refuses a model loaded from GGUF: its configuration says "quantised", though
    # the weights are plain by now. A fresh model takes them over.
    config.dtype = loaded.dtype
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    window = facts.get("llama.attention.sliding_window")
    licence = facts.get("general.license")
    return GGUFContent(
        model=model,
        tokenizer=tokenizer,
        licence=licence if isinstance(licence, str) and len(licence) < 100 else "",
        context=min(context, int(window)) if window else context,
    )


def _plain_facts(file: Path, name: str) -> dict[str, Any]:
    """Return the file's small metadata; refuse what the reading library would pass over."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        facts = {
            key: field.contents()
            for key, field in reader.fields.items()
            if key.startswith(("general.", "llama."))
        }
        tensors = {tensor.name for tensor in reader.tensors}
    except Exception as error:
        raise _damaged(file, error) from error
    kind = facts.get("general.architecture")
    if kind != "llama":
        raise ModelError(
            f"The backbone {name!r} is of the architecture {kind!r}; only LLaMA architectures are "
            "taken from GGUF."
        )
    scaling = facts.get("llama.rope.scaling.type", "none")
    if facts.get("llama.expert_count") or scaling != "none" or "rope_freqs.weight" in tensors:
        what = "several experts" if facts.get("llama.expert_count") else "scaled positions"
        raise ModelError(
            f"The GGUF file {file} has {what}, which are not read from GGUF; name the model's "
            "safetensors."
        )
    return facts


def _damaged(file: Path, error: Exception) -> ModelError:
    return ModelError(
        f"The GGUF file {file} cannot be read ({first_line(error)}); fetch it again, or name the "
        "model's safetensors."
    )
