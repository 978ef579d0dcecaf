"""Kinds of adapter: what PEFT is told to put on the head layers.

*lora* adds low-rank matrices to projections, *ia3* scales by vectors what projections give (of the
MLP's ``down_proj``, what it takes). *prompt* puts virtual tokens in front of the sample's own. In
PEFT they stand at the model's input; here they enter where the head layers begin, as states, since
the prefix below is frozen and run without them. With all layers in the head the two are the same.
They start, as PEFT has it, as embeddings of words drawn at random. The files are PEFT's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.options import AdapterOptions

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import LlamaForCausalLM

# Its vector scales the MLP's inner activations, which are this projection's input.
_SCALED_INPUT = "down_proj"


def peft_config(model: LlamaForCausalLM, head_layers: int, options: AdapterOptions) -> PeftConfig:
    """Return PEFT's description of an adapter on a backbone.

    Args:
        model: The backbone.
        head_layers: Its upper layers, which may carry the adapter.
        options: Kind, size, place.

    Raises:
        ModelError: When the backbone has no such layers or projections.
    """
    from peft import IA3Config, LoraConfig, PromptTuningConfig

    layers = model.config.num_hidden_layers
    if head_layers > layers:
        raise ModelError(
            f"head_layers is {head_layers}, but the backbone has only {layers} layers; lower it."
        )
    if options.kind == "prompt":
        return PromptTuningConfig(
            task_type="FEATURE_EXTRACTION",
            num_virtual_tokens=options.virtual_tokens,
            prompt_tuning_init="SAMPLE_VOCAB",
        )
    names = _names(model, head_layers, options)
    if options.kind == "ia3":
        scaled = [name for name in names if name.endswith(f".{_SCALED_INPUT}")]
        return IA3Config(target_modules=names, feedforward_modules=scaled)
    return LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=names, bias="none")


def smaller(options: AdapterOptions) -> str:
    """Say what makes an adapter of this kind smaller."""
    sizes = {
        "lora": "the rank, the number of targets or of layers",
        "ia3": "the number of targets or of layers",
        "prompt": "the number of virtual tokens",
    }
    return f"{sizes[options.kind]}, or the number of genes"


def _names(model: LlamaForCausalLM, head_layers: int, options: AdapterOptions) -> list[str]:
    """Return the full names of the projections that carry the adapter, each proven to be one.

    PEFT would pass over a name that it does not find, as long as it finds another, and stop half
    way at a module that it cannot adapt.
    """
    from torch import nn

    from_top = options.layers or range(1, head_layers + 1)
    if max(from_top) > head_layers:
        raise ModelError(
            f"The adapter's layers name layer {max(from_top)} from the top, but only {head_layers} "
            "are head layers; mend the adapter's layers, or raise head_layers, in the settings."
        )
    layers = model.config.num_hidden_layers
    names = []
    for number in sorted(layers - place for place in from_top):
        linear = [
            name
            for name, module in model.model.layers[number].named_modules()
            if isinstance(module, nn.Linear)
        ]
        for target in options.projections:
            found = [name for name in linear if f".{name}".endswith(f".{target}")]
            if not found:
                raise ModelError(
                    f"The backbone's layer {number} has no projection {target} to put "
                    f"{options.kind} on (it has {', '.join(linear)}); mend the adapter's targets "
                    "in the settings."
                )
            names += [f"model.layers.{number}.{name}" for name in found]
    return list(dict.fromkeys(names))
