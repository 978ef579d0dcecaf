"""What keeping prefix states costs: writing, finding and reading them, and its share of a run.

The first part keeps made-up states of the size of SmolLM2's and needs no model. The second runs a
small stratum on the prepared SmolLM2 of the store, first with nothing kept and then with all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from timing import median_seconds

from genellm_dagster.evaluation.folds import make_folds
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.expression.symbols import approved_symbols
from genellm_dagster.genellm.backbone import Backbone, prepare_backbone
from genellm_dagster.genellm.cross_validation import cross_validate
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.states import PrefixStates
from genellm_dagster.settings import load_settings
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer

BATCH = 8


class Timed:
    """An encoder whose own time is taken."""

    def __init__(self, encode: Callable[..., Iterator[tuple[int, np.ndarray]]]) -> None:
        self.straight = encode
        self.seconds = 0.0

    def encode(
        self,
        profiles: Sequence[TokenProfile],
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield what the encoder gives."""
        start = time.perf_counter()
        for found in self.straight(profiles, progress):
            self.seconds += time.perf_counter() - start
            yield found
            start = time.perf_counter()
        self.seconds += time.perf_counter() - start


def made_up(hidden: int) -> Callable[..., Iterator[tuple[int, np.ndarray]]]:
    """An encoder that takes no time to speak of."""
    random = np.random.default_rng(0)
    states: dict[int, np.ndarray] = {}

    def encode(profiles: Sequence[TokenProfile], _: Any) -> Iterator[tuple[int, np.ndarray]]:
        for number, profile in enumerate(profiles):
            length = len(profile)
            if length not in states:
                states[length] = random.normal(size=(BATCH, length, hidden)).astype(np.float32)
            yield number, states[length][number % BATCH]

    return encode


def profiles_of(samples: int, genes: int) -> tuple[dict[str, Any], list[TokenProfile]]:
    """A tokenizer's description and its token profiles."""
    symbols = approved_symbols()
    names = sorted(symbols.loc[symbols["locus_group"] == "protein-coding gene", "symbol"])[:genes]
    values = np.random.default_rng(1).normal(size=(samples, genes)).astype(np.float32)
    tokenizer = ValueTokenizer(names, load_settings().tokenizer)
    frame = pd.DataFrame(values, [f"GSM{number}" for number in range(samples)], names)
    return tokenizer.describe(), token_profiles(tokenizer.transform(frame))


def mechanics(samples: int, genes: int, hidden: int) -> None:
    """Keep made-up states."""
    description, profiles = profiles_of(samples, genes)
    backbone = Backbone(
        name="made-up", path=Path(), sha256="0" * 64, licence="", layers=30, hidden=hidden,
        parameters=1, pretrained=False,
    )  # fmt: skip
    encoder = Timed(made_up(hidden))
    with tempfile.TemporaryDirectory() as folder:

        def states() -> PrefixStates:
            return PrefixStates(Path(folder), backbone, description, 1)

        def run(some: list[TokenProfile]) -> None:
            again = states()
            again.encode(some, lambda: encoder)  # type: ignore[arg-type,return-value]
            again.load(some)

        start = time.perf_counter()
        states().encode(profiles, lambda: encoder)  # type: ignore[arg-type,return-value]
        wrote = time.perf_counter() - start - encoder.seconds
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.npy")) / 2**20
        all_of_them = median_seconds(3, lambda: run(profiles))
        few = median_seconds(5, lambda: run(profiles[:: samples // 8]))
        keys = median_seconds(3, lambda: states().encode(profiles, lambda: encoder))  # type: ignore[arg-type,return-value]
    print(f"{samples} profiles x {genes} genes x {hidden}: {size:.0f} MiB on disk")
    print(f"  keep all             {wrote:7.3f} s  {size / wrote:6.0f} MiB/s")
    print(f"  find all             {keys:7.3f} s")
    print(f"  find and read all    {all_of_them:7.3f} s  {size / all_of_them:6.0f} MiB/s")
    print(f"  find and read eight  {few:7.3f} s")


def share_of_a_run(samples: int, genes: int, folds: int) -> None:
    """Run a stratum with nothing kept, and with all."""
    settings = load_settings()
    backbone = prepare_backbone("smollm2", settings.store / "backbones")
    description, profiles = profiles_of(samples, genes)
    gsm = [profile.gsm for profile in profiles]
    table = pd.DataFrame(
        {"gsm": gsm, "cohort": "GSE1", "subject": gsm, "case": np.arange(samples) % 2,
         "stratum": "all", "age_years": 1.0}
    )  # fmt: skip
    overlap = pd.DataFrame(
        columns=["gsm_a", "cohort_a", "gsm_b", "cohort_b", "reason", "similarity"]
    )
    made = make_folds(table, overlap, EvaluationOptions(k_folds=folds))
    options = GeneLLMOptions()
    print(f"{samples} profiles x {genes} genes on SmolLM2, {folds} folds")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("nothing kept", "all kept"):
            session = Session(backbone, description, options, Path(folder))
            encoder = Timed(session.encoder.encode)
            start = time.perf_counter()
            session.states.encode(profiles, lambda encoder=encoder: encoder)  # type: ignore[misc]
            session.states.load(profiles)
            kept = time.perf_counter() - start - encoder.seconds
            cross_validate(
                table,
                made,
                lambda _, session=session: session,  # type: ignore[misc]
                lambda _: profiles,
                lambda _: options,
            )
            whole = time.perf_counter() - start
            print(
                f"  {name:13s} {whole:6.1f} s: prefix {encoder.seconds:5.1f} s, keeping and "
                f"reading {kept:.3f} s ({kept / whole:.2%})"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--genes", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--run-samples", type=int, default=48, help="0 leaves the run out")
    parser.add_argument("--run-genes", type=int, default=64)
    parser.add_argument("--folds", type=int, default=3)
    asked = parser.parse_args()
    mechanics(asked.samples, asked.genes, asked.hidden)
    if asked.run_samples:
        share_of_a_run(asked.run_samples, asked.run_genes, asked.folds)


if __name__ == "__main__":
    main()
