"""What a folder of published weights must hold before a tensor of it is read.

The configuration and the headers of the safetensors files tell whether the weights are those of a
LLaMA decoder, whole and plain. What does not fit is refused here: the reading library would fill
what is missing with random numbers, and leave out what is left over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from genellm_dagster.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import LlamaConfig

ARCHITECTURES = ("llama", "mistral")
CONFIGURATION = "config.json"
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
UNKNOWN_LICENCE = "see the model's own page"

# Far above any real one; below it, a hostile file cannot fill the memory.
_MAX_TEXT_BYTES = 16 * 2**20
_MAX_LAYERS = 1000
_NUMBER_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# The scalings whose rotation depends on a token's own position alone. "dynamic" is the plain one up
# to the length it was trained on, and longer inputs are refused.
_ROTATIONS = {"default", "linear", "dynamic", "yarn", "llama3"}
# All that a decoder's shape and arithmetic rest on; nothing else of a configuration is read.
_SHAPE = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps",
    "initializer_range", "tie_word_embeddings", "attention_bias", "mlp_bias", "rope_theta",
    "rope_scaling", "rope_parameters", "sliding_window", "bos_token_id", "eos_token_id",
    "pad_token_id",
)  # fmt: skip


def read_configuration(folder: Path, name: str) -> tuple[LlamaConfig, int]:
    """Read the shape of a published model as that of a LLaMA decoder.

    Mistral's decoder is LLaMA's with a window, behind which attention does not look back. Inputs
    that fit in the window never meet it.

    Args:
        folder: Holds the file ``config.json``.
        name: Of the backbone, for messages.

    Returns:
        The configuration, and the most positions the model can be given.

    Raises:
        ModelError: When the file is missing or damaged, or when the model is of another
            architecture, stored in quantised numbers, or of a kind of position that is not known.
    """
    raw = _json(folder / CONFIGURATION, name)
    kind = raw.get("model_type")
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"The backbone {name!r} is of the architecture {kind!r}; only LLaMA architectures "
            f"({' and '.join(ARCHITECTURES)}) are taken."
        )
    if raw.get("quantization_config"):
        raise ModelError(
            f"The backbone {name!r} is stored in quantised numbers, which are not read; name the "
            "plain weights, and set model.backbone.quantisation to load them in 4 bits."
        )
    config, context = decoder_configuration(kind, raw, name)
    named = raw.get("dtype") or raw.get("torch_dtype")
    if named in _NUMBER_TYPES.values():
        config.dtype = named
    return config, context


def decoder_configuration(kind: str, raw: dict[str, Any], name: str) -> tuple[LlamaConfig, int]:
    """Turn the entries of a configuration into that of a LLaMA decoder; see read_configuration."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import LlamaConfig, MistralConfig

    wanted = {key: raw[key] for key in _SHAPE if raw.get(key) is not None}
    if kind == "mistral" and raw.get("sliding_window", 0) is None:
        wanted["sliding_window"] = None  # none is said, as against nothing being said
    try:
        # Each kind has defaults of its own for what a file leaves out.
        read = MistralConfig(**wanted) if kind == "mistral" else LlamaConfig(**wanted)
        kept = {key: value for key, value in read.to_dict().items() if key in _SHAPE}
        window = kept.pop("sliding_window", None)
        config = LlamaConfig(**kept)
        rotation = (config.rope_parameters or {}).get("rope_type", "default")
    except (StrictDataclassError, TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise ModelError(
            f"The configuration of the backbone {name!r} is none of a LLaMA decoder "
            f"({first_line(error)}); mend its {CONFIGURATION} or name another backbone."
        ) from error
    if rotation not in _ROTATIONS:
        raise ModelError(
            f"The backbone {name!r} rotates positions by {rotation!r}, which is not known here; "
            "name another backbone."
        )
    sizes = (
        config.vocab_size, config.hidden_size, config.intermediate_size, config.num_attention_heads,
        config.num_key_value_heads, config.head_dim, config.max_position_embeddings,
    )  # fmt: skip
    if (
        not all(size and size > 0 for size in sizes)
        or not 1 <= config.num_hidden_layers <= _MAX_LAYERS
    ):
        raise ModelError(
            f"The configuration of the backbone {name!r} asks for a shape that cannot be; mend its "
            f"{CONFIGURATION} or name another backbone."
        )
    context = config.max_position_embeddings
    return config, min(context, window) if window else context


def require_whole(folder: Path, config: LlamaConfig, name: str) -> torch.dtype:
    """Refuse weights that are not exactly those of the configuration; reads headers alone.

    Returns:
        The number type that holds all of them without loss.

    Raises:
        ModelError: When tensors are missing, left over, of another shape, or not plain numbers.
    """
    import torch
    from safetensors import SafetensorError, safe_open
    from transformers import LlamaForCausalLM

    found: dict[str, tuple[int, ...]] = {}
    types: set[str] = set()
    for file in _weight_files(folder, name):
        try:
            with safe_open(file, framework="pt") as handle:
                for key in handle.keys():  # noqa: SIM118 (a handle, not a mapping)
                    part = handle.get_slice(key)
                    if part.get_dtype() not in _NUMBER_TYPES:
                        raise ModelError(
                            f"The backbone {name!r} holds {key} as {part.get_dtype()}; only "
                            "float32, float16 and bfloat16 weights are read."
                        )
                    found[key] = tuple(part.get_shape())
                    types.add(_NUMBER_TYPES[part.get_dtype()])
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{file} of the backbone {name!r} is missing or damaged ({first_line(error)}); "
                "fetch it again."
            ) from error
    layers = {key.split(".")[2] for key in found if key.startswith("model.layers.")}
    if len(layers) != config.num_hidden_layers:
        raise ModelError(
            f"The backbone {name!r} holds the weights of {len(layers)} layers, but its "
            f"{CONFIGURATION} names {config.num_hidden_layers}; name another backbone."
        )
    with torch.device("meta"):
        shapes = LlamaForCausalLM(config).state_dict()
    wanted = {key: tuple(tensor.shape) for key, tensor in shapes.items()}
    if config.tie_word_embeddings:
        wanted.pop("lm_head.weight", None)
        found.pop("lm_head.weight", None)
    # A buffer that old versions of transformers stored; it is computed from the configuration.
    found = {key: shape for key, shape in found.items() if not key.endswith("rotary_emb.inv_freq")}
    differing = sorted(
        key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)
    )
    if differing:
        first = differing[0]
        raise ModelError(
            f"The weights of the backbone {name!r} do not fit its {CONFIGURATION}: {first} should "
            f"be {_shape(wanted.get(first))} and is {_shape(found.get(first))} "
            f"({len(differing)} such tensors); name another backbone."
        )
    return getattr(torch, types.pop()) if len(types) == 1 else torch.float32


def licence_of(folder: Path, name: str) -> str:
    """Return the licence that the model's page names in its first lines, or where to look."""
    page = folder / "README.md"
    try:
        if page.stat().st_size > _MAX_TEXT_BYTES:
            return UNKNOWN_LICENCE
        head = page.read_text(encoding="utf-8").split("---", 2)
        facts = yaml.safe_load(head[1]) if len(head) == 3 and not head[0].strip() else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return UNKNOWN_LICENCE
    named = facts.get("license") if isinstance(facts, dict) else None
    return f"{named} ({name})" if isinstance(named, str) and len(named) < 100 else UNKNOWN_LICENCE


def _weight_files(folder: Path, name: str) -> list[Path]:
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"The backbone {name!r} holds an adapter beside its weights, which would be put on "
            "them unseen; merge the two, or remove adapter_config.json."
        )
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if not (folder / INDEX).exists():
        pickled = sorted(
            file.name
            for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt")
            for file in folder.glob(pattern)
        )
        beside = (
            f" ({pickled[0]} is a pickle, which could run code and is never read)"
            if pickled
            else ""
        )
        raise ModelError(
            f"The backbone {name!r} is no folder with safetensors{beside}; convert its weights to "
            f"{WEIGHTS}, or name a GGUF file or another backbone."
        )
    named = _json(folder / INDEX, name).get("weight_map")
    files = set(named.values()) if isinstance(named, dict) else set()
    if not files or not all(
        isinstance(file, str) and file.endswith(".safetensors") and Path(file).name == file
        for file in files
    ):
        raise ModelError(
            f"{folder / INDEX} of the backbone {name!r} does not name its safetensors files; "
            "fetch it again."
        )
    return [folder / file for file in sorted(files)]


def _json(file: Path, name: str) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MAX_TEXT_BYTES:
            raise ValueError("it is too large to be one")
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no mapping")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{file} of the backbone {name!r} cannot be read ({first_line(error)}); name a folder "
            "or a model with weights of LLaMA architecture."
        ) from error
    return content


def _shape(sizes: tuple[int, ...] | None) -> str:
    return "absent" if sizes is None else " x ".join(map(str, sizes))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, for a message of one sentence."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
