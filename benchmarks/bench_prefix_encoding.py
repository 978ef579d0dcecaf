"""How near the prefix encoder comes to the bare layers, and on an accelerator to its limit.

The bare forward pass runs the same layers in the same batches, number type and inference mode on
embeddings that are made beforehand, and leaves its states on the device. The encoder also embeds
the tokens and hands the states over as arrays; keeping them (`PrefixStates`) encodes the reference
too, rounds and writes. They take turns, and medians are told.

With `--train N` the adapter is trained on N of the profiles, and the time and memory of a training
step are told. `random:SHAPE` with one of the shapes below is made on the device, with random
weights and a text tokenizer of one token a letter; other backbones are prepared as always:

    python benchmarks/bench_prefix_encoding.py --device cuda --dtype bfloat16 \
        --backbone random:llama-7b --profiles 256 --batch-tokens 16384 --train 256
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from at_hand import simulated
from remote import peak_gigabytes
from timing import CLOCKS

from genellm_dagster.genellm.backbone import (
    Backbone,
    load_model,
    load_text_tokenizer,
    prepare_backbone,
    resolve_device,
)
from genellm_dagster.genellm.backbone_sources import tiny
from genellm_dagster.genellm.embedding import GeneEmbedding
from genellm_dagster.genellm.options import AdapterOptions, PrefixOptions, TrainingOptions
from genellm_dagster.genellm.prefix import PrefixEncoder
from genellm_dagster.genellm.states import PrefixStates
from genellm_dagster.genellm.training import fit, kept_for
from genellm_dagster.settings import load_settings
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

# hidden, MLP, layers, heads, key heads, embeddings
SHAPES = {
    "letters": (64, 128, 3, 4, 2, 512),
    "smollm2-135m": (576, 1536, 30, 9, 3, 49152),
    "tinyllama-1.1b": (2048, 5632, 22, 32, 4, 32000),
    "llama-7b": (4096, 11008, 32, 32, 32, 32000),
    "mistral-7b": (4096, 14336, 32, 32, 8, 32000),
    "llama-13b": (5120, 13824, 40, 40, 40, 32000),
}
GOAL, GOAL_OF_PEAK = 0.8, 0.4
# Large enough that a machine gives what it has; small enough for a CPU.
_SQUARE = {"cuda": 8192, "cpu": 1536}


def made(shape: str, device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
    """Random weights of a shape, made where they are used."""
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, inner, layers, heads, key_heads, embeddings = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=embeddings,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=4096,
    )
    with torch.device(device):
        model = LlamaForCausalLM._from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.requires_grad_(False)
    return model.eval()


def backbone_of(
    asked: argparse.Namespace, device: torch.device
) -> tuple[Backbone, LlamaForCausalLM, PreTrainedTokenizerBase]:
    """The backbone, its weights on the device, and its text tokenizer."""
    name = asked.backbone.removeprefix("random:")
    if name == asked.backbone or name not in SHAPES:
        backbone = prepare_backbone(asked.backbone, load_settings().store / "backbones")
        model = load_model(backbone, str(device), asked.dtype)
        return backbone, model, load_text_tokenizer(backbone)
    model = made(name, device, getattr(torch, asked.dtype))
    backbone = Backbone(
        name=asked.backbone,
        path=Path(),
        sha256="0" * 64,
        licence="none (random weights)",
        layers=model.config.num_hidden_layers,
        hidden=model.config.hidden_size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        pretrained=False,
    )
    return backbone, model, tiny().tokenizer


class Bare:
    """The same layers and batches, and nothing else."""

    def __init__(self, encoder: PrefixEncoder, profiles: list[TokenProfile]) -> None:
        decoder = encoder.model.model
        self.layers = decoder.layers[: encoder.depth]
        device = encoder.embedding.table.device
        self.batches = []
        size = max(1, encoder.batch_tokens // len(profiles[0]))
        for start in range(0, len(profiles), size):
            some = profiles[start : start + size]
            genes, positions, values = (
                torch.as_tensor(np.stack([getattr(one, name) for one in some]), device=device)
                for name in ("genes", "positions", "values")
            )
            hidden = encoder.embedding(genes.long(), values).to(decoder.embed_tokens.weight.dtype)
            rotary = decoder.rotary_emb(hidden, position_ids=positions.long())
            self.batches.append((hidden, rotary))

    def __call__(self) -> None:
        """Run them all."""
        with torch.inference_mode():
            for hidden, rotary in self.batches:
                states = hidden
                for layer in self.layers:
                    states = layer(states, attention_mask=None, position_embeddings=rotary)
        wait(states.device)


def wait(device: torch.device) -> None:
    """Let the device finish."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def operations(encoder: PrefixEncoder, tokens: int) -> float:
    """Floating-point operations of one token's way through the prefix, causal attention halved."""
    layers = encoder.model.model.layers[: encoder.depth]
    weights = sum(
        part.weight.numel()
        for layer in layers
        for part in layer.modules()
        if isinstance(part, torch.nn.Linear)
    )
    config = encoder.model.config
    width = config.num_attention_heads * getattr(
        config, "head_dim", config.hidden_size // config.num_attention_heads
    )
    return 2 * weights + len(layers) * 4 * width * (tokens + 1) / 2


def matrix_peak(device: torch.device, dtype: torch.dtype, now: Callable[[], float]) -> float:
    """Operations a second of one large matrix product, the best of several."""
    size = _SQUARE[device.type]
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def product() -> None:
        torch.mm(left, right)
        wait(device)

    product()
    times = []
    for _ in range(10):
        start = now()
        product()
        times.append(now() - start)
    return 2 * size**3 / min(times)


def encode_in_turns(
    asked: argparse.Namespace,
    backbone: Backbone,
    encoder: PrefixEncoder,
    description: dict[str, Any],
    profiles: list[TokenProfile],
) -> dict[str, float]:
    """Tokens a second of the bare layers, the encoder, and the encoder with keeping."""
    bare, device = Bare(encoder, profiles), encoder.embedding.table.device
    now = CLOCKS[asked.clock]
    tokens = sum(map(len, profiles))

    def encoded() -> int:
        for _ in encoder.encode(profiles):
            pass
        return tokens

    def kept() -> int:
        with tempfile.TemporaryDirectory() as folder:
            states = PrefixStates(Path(folder), backbone, description, asked.head_layers)
            return states.encode(profiles, lambda: encoder).tokens

    def plain() -> int:
        bare()
        return tokens

    ways: dict[str, Callable[[], int]] = {"bare": plain, "encoder": encoded, "kept": kept}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(asked.rounds + 1):
        # Each goes first in its turn, so that none always meets a warm or a busy machine.
        for name in [*ways][turn % 3 :] + [*ways][: turn % 3]:
            start = now()
            done = ways[name]()
            wait(device)
            if turn:  # The first turn warms up.
                speeds[name].append(done / (now() - start))
    return {name: statistics.median(found) for name, found in speeds.items()}


def train(
    asked: argparse.Namespace,
    backbone: Backbone,
    model: LlamaForCausalLM,
    encoder: PrefixEncoder,
    description: dict[str, Any],
    profiles: list[TokenProfile],
) -> dict[str, Any]:
    """Time and memory of training steps on kept states."""
    device, now = encoder.embedding.table.device, CLOCKS[asked.clock]
    options = TrainingOptions(
        epochs=asked.epochs,
        ensemble=1,
        batch_size=asked.batch_size,
        kept_megabytes=asked.kept_megabytes,
    )
    cases = np.arange(len(profiles)) % 2
    marks: list[float] = []

    def report(_done: int, _total: int) -> None:
        wait(device)
        marks.append(now())

    with tempfile.TemporaryDirectory() as folder:
        states = PrefixStates(Path(folder), backbone, description, asked.head_layers)
        states.encode(profiles, lambda: encoder)
        loaded = states.load(profiles)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start = now()
    kept = kept_for(model, loaded, asked.head_layers, options)
    wait(device)
    keeping = now() - start
    start = now()
    result = fit(
        model=model,
        backbone=backbone,
        states=loaded,
        rows=np.arange(len(profiles)),
        cases=cases,
        cohorts=np.zeros(len(profiles), dtype=int),
        head_layers=asked.head_layers,
        adapter=AdapterOptions(max_trainable_share=1.0),
        training=options,
        progress=report,
        kept=kept,
    )
    return {
        "seconds_a_step": statistics.median(np.diff(marks).tolist()),
        "steps": len(marks),
        "fit_seconds": now() - start,
        "keeping_seconds": keeping,
        "kept": kept is not None,
        "share": result.trainable / backbone.parameters,
        "device_gigabytes": (
            torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="smollm2", help="or random:SHAPE")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16")
    parser.add_argument("--profiles", type=int, default=24)
    parser.add_argument("--genes", type=int, default=256)
    parser.add_argument("--head-layers", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=PrefixOptions().batch_tokens)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", type=int, default=0, help="profiles to train on; 0 is none")
    parser.add_argument("--epochs", type=int, default=TrainingOptions().epochs)
    parser.add_argument("--batch-size", type=int, default=TrainingOptions().batch_size)
    parser.add_argument("--kept-megabytes", type=int, default=TrainingOptions().kept_megabytes)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu on a busy machine")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    asked = parser.parse_args()
    device = resolve_device(asked.device)
    backbone, model, words = backbone_of(asked, device)
    stratum = simulated(max(asked.profiles, asked.train), asked.genes, 2)
    tokenizer = ValueTokenizer(stratum.genes, TokenizerOptions())
    description = tokenizer.describe()
    profiles = token_profiles(tokenizer.transform(stratum.profiles()))
    embedding = GeneEmbedding(
        model, words, stratum.genes, description["low_word"], description["high_word"]
    )
    encoder = PrefixEncoder(model, embedding, asked.head_layers, asked.batch_tokens)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(
        f"{backbone.name} ({backbone.parameters / 1e6:.0f} M parameters, {encoder.depth} of "
        f"{backbone.layers} layers) in {asked.dtype} on {where}: {asked.profiles} SIMULATED "
        f"profiles x {asked.genes} genes, {asked.batch_tokens} tokens a batch; "
        f"{asked.clock} seconds, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    speeds = encode_in_turns(asked, backbone, encoder, description, profiles[: asked.profiles])
    a_token = operations(encoder, asked.genes)
    peak = matrix_peak(device, getattr(torch, asked.dtype), CLOCKS[asked.clock])
    print("\n| | tokens/s | over bare | 10^12 operations/s | of the matrix-product peak |")
    print("|---|---|---|---|---|")
    for name, speed in speeds.items():
        print(
            f"| {name} | {speed:,.0f} | {speed / speeds['bare']:.3f} | "
            f"{speed * a_token / 1e12:.3f} | {speed * a_token / peak:.1%} |"
        )
    print(f"matrix-product peak: {peak / 1e12:.3f} x 10^12 operations/s")
    ratio = speeds["encoder"] / speeds["bare"]
    print(f"encoder over bare: {ratio:.3f}, wanted {GOAL}: {'met' if ratio >= GOAL else 'MISSED'}")
    if device.type == "cuda":
        share = speeds["encoder"] * a_token / peak
        met = "met" if share >= GOAL_OF_PEAK else "MISSED"
        print(f"encoder over the peak: {share:.3f}, wanted {GOAL_OF_PEAK}: {met}")
    training = None
    if asked.train:
        chosen = profiles[: asked.train]
        training = train(asked, backbone, model, encoder, description, chosen)
        print(
            f"training on {asked.train} profiles, batches of {asked.batch_size}, "
            f"{asked.head_layers} head layer(s), {training['share']:.4%} trained: "
            f"{training['seconds_a_step'] * 1e3:.1f} ms a step (median of {training['steps']}), "
            f"{'keys and values kept in' if training['kept'] else 'nothing kept,'} "
            f"{training['keeping_seconds']:.1f} s, the fit {training['fit_seconds']:.1f} s"
        )
        if training["device_gigabytes"] is not None:
            print(f"most memory of the device: {training['device_gigabytes']:.1f} GB")
    print(f"most resident memory of the process: {peak_gigabytes():.2f} GB")
    if asked.json:
        found = {"tokens_a_second": speeds, "operations_a_token": a_token, "peak": peak}
        facts = {"machine": where, "backbone": backbone.name, "dtype": asked.dtype}
        asked.json.write_text(json.dumps({**facts, **found, "training": training}, indent=1))


if __name__ == "__main__":
    main()
