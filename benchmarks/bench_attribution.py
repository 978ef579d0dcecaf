"""How long attributions take, and how exactly they add up.

An ensemble is trained on SIMULATED profiles, and a few of them are explained as the asset
`gene_attributions` does. What a background costs is paid once for samples with the same genes, so
the time for `--goal-samples` is that of the background plus that of one sample times their number:
it is computed, not measured, unless `--explain` is as large.

    python benchmarks/bench_attribution.py --explain 8

On an overfitted ensemble (few profiles) the logit bends more, and more gradients are taken.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from at_hand import simulated
from timing import CLOCKS

from genellm_dagster.genellm.backbone import load_model, load_text_tokenizer, prepare_backbone
from genellm_dagster.genellm.embedding import GeneEmbedding
from genellm_dagster.genellm.options import AdapterOptions, PrefixOptions, TrainingOptions
from genellm_dagster.genellm.prefix import PrefixEncoder
from genellm_dagster.genellm.states import PrefixStates
from genellm_dagster.genellm.training import fit
from genellm_dagster.interpretation.attribution import attribute
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.settings import load_settings
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer

GOAL_MINUTES, GOAL_ERROR = 10.0, 0.02


def main() -> None:
    """Measure and print."""
    default = InterpretationOptions()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="smollm2")
    parser.add_argument("--genes", type=int, default=256)
    parser.add_argument("--train", type=int, default=40, help="profiles to train on")
    parser.add_argument("--explain", type=int, default=8, help="of these, how many to explain")
    parser.add_argument("--background", type=int, default=default.background)
    parser.add_argument("--gradient-samples", type=int, default=default.gradient_samples)
    parser.add_argument("--completeness", type=float, default=default.completeness)
    parser.add_argument("--batch-tokens", type=int, default=default.batch_tokens)
    parser.add_argument("--ensemble", type=int, default=TrainingOptions().ensemble)
    parser.add_argument("--goal-samples", type=int, default=100)
    parser.add_argument("--threads", type=int, help="of torch; its own choice when not given")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu on a busy machine")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    options = InterpretationOptions(
        background=asked.background,
        gradient_samples=asked.gradient_samples,
        completeness=asked.completeness,
        batch_tokens=asked.batch_tokens,
    )
    backbone = prepare_backbone(asked.backbone, load_settings().store / "backbones")
    model = load_model(backbone)
    stratum = simulated(max(asked.train, asked.explain), asked.genes, 2)
    tokenizer = ValueTokenizer(stratum.genes, TokenizerOptions())
    description = tokenizer.describe()
    profiles = token_profiles(tokenizer.transform(stratum.profiles()))
    words = (description["low_word"], description["high_word"])
    embedding = GeneEmbedding(model, load_text_tokenizer(backbone), stratum.genes, *words)
    prefix, adapter = PrefixOptions(), AdapterOptions(max_trainable_share=1.0)
    encoder = PrefixEncoder(model, embedding, prefix.head_layers, prefix.batch_tokens)
    with tempfile.TemporaryDirectory() as folder:
        states = PrefixStates(Path(folder), backbone, description, prefix.head_layers)
        states.encode(profiles, lambda: encoder)
        trained = fit(
            model,
            backbone,
            states.load(profiles),
            np.arange(len(profiles)),
            np.arange(len(profiles)) % 2,
            np.zeros(len(profiles), dtype=int),
            prefix.head_layers,
            adapter,
            TrainingOptions(ensemble=asked.ensemble),
        )
    print(
        f"{backbone.name}, {asked.ensemble} members: {asked.explain} SIMULATED samples x "
        f"{asked.genes} genes against {asked.background}; {asked.clock} seconds, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    clock = CLOCKS[asked.clock]
    marks: list[float] = []

    def mark(done: int, _planned: int) -> None:
        if done <= asked.background:
            marks.append(clock())

    start = clock()
    found = attribute(
        encoder,
        trained.members,
        adapter,
        stratum.genes,
        profiles[: asked.explain],
        profiles[-asked.background :],
        options,
        mark,
    )
    seconds, once = clock() - start, marks[-1] - start
    each = (seconds - once) / asked.explain
    minutes = (once + each * asked.goal_samples) / 60
    error = found.completeness_error
    print("\n| | |\n|---|---|")
    for name, told in {
        "seconds for the background": f"{once:.1f}",
        "seconds for a sample": f"{each:.2f}",
        "gradients for a sample": f"{found.gradients.mean():.1f}",
        "completeness error, median": f"{error.median():.2%}",
        "completeness error, 95th percentile": f"{error.quantile(0.95):.2%}",
        "completeness error, worst": f"{error.max():.2%}",
    }.items():
        print(f"| {name} | {told} |")
    measured = asked.explain >= asked.goal_samples
    print(
        f"{asked.goal_samples} samples x {asked.genes} genes: {minutes:.1f} minutes "
        f"({'measured' if measured else f'computed from {asked.explain}'}), wanted "
        f"{GOAL_MINUTES:.0f}: {'met' if minutes <= GOAL_MINUTES else 'MISSED'}"
    )
    print(
        f"worst error {error.max():.2%}, wanted {GOAL_ERROR:.0%}: "
        f"{'met' if error.max() <= GOAL_ERROR else 'MISSED'}"
    )
    if asked.json:
        told = {
            "background_seconds": once,
            "seconds_a_sample": each,
            "minutes": minutes,
            "gradients": found.gradients.tolist(),
            "errors": error.tolist(),
        }
        asked.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
