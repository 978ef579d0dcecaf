"""How fast fine-tuning over folds is: ours, ours without kept states, and the usual way.

All three get the same token profiles, folds, epochs and seeds, and take turns on the same cores,
each in a process of its own. Ours runs whole. The other two take hours at the default size, so that
a bounded number of their training steps is measured and multiplied; `--complete` runs them whole,
at a smaller size (`--samples 120 --genes 64 --complete`), and compares what they found out too.

The usual way is transformers' `Trainer` with PEFT's LoRA on the queries and values of all layers
and a sequence classification head, on the same tokens as `inputs_embeds`. Ours without kept states
trains the same adapter on the same head layers, but runs the prefix in every step.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from at_hand import of_store, simulated
from remote import Remote
from timing import CLOCKS
from usual_way import Trained
from ways import Done, Kept, Recomputing, Task, Usual

from genellm_dagster.evaluation.intervals import auroc_interval
from genellm_dagster.genellm.backbone import prepare_backbone
from genellm_dagster.genellm.options import GeneLLMOptions, PrefixOptions, TrainingOptions
from genellm_dagster.settings import load_settings

# A step of the recomputing way on so many samples costs as much a sample as a full one.
_SAMPLES_A_STEP = 16
_CONFIDENCE = 0.95
GOALS = {"usual": 6.0, "recomputing": 2.5, "further": 0.4, "gigabytes": 3.0, "auroc": 0.01}


def auroc(done: Done) -> dict[str, float | None]:
    """AUROC of all folds together, with its interval."""
    case = done.predictions["case"].to_numpy(dtype=int)
    score = done.predictions["score"].to_numpy(dtype=float)
    found = auroc_interval(case, score, np.arange(len(case)), _CONFIDENCE)
    return {"value": found.value, "low": found.low, "high": found.high}


def shown(interval: dict[str, float | None]) -> str:
    """A value with its interval."""
    return "{value:.3f} [{low:.3f}, {high:.3f}]".format(**interval)


def load() -> str:
    """How busy the machine is."""
    return "load " + " ".join(f"{number:.1f}" for number in os.getloadavg())


def ours(task: Task, asked: argparse.Namespace, others: list[tuple[Remote, Any]]) -> dict[str, Any]:
    """Run ours whole; between its pieces the others have their turns."""
    remote = Remote(Kept, task)
    remote("load")
    edges = np.linspace(0, len(task.profiles), asked.rounds + 1).round().astype(int)
    encoding = 0.0
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        encoding += remote("encode", start, stop)
        for _, turn in others:
            turn()
    done: Done = remote("folds")
    first, further = encoding + done.seconds[0], float(np.mean(done.seconds[1:]))
    return {
        "seconds": encoding + sum(done.seconds),
        "encoding": encoding,
        "folds": done.seconds,
        "further_over_first": further / first,
        "gigabytes": remote.close(),
        "auroc": auroc(done),
        "share": done.share,
    }


def compare(task: Task, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure the three ways."""
    usual, again = Remote(Trained, task), Remote(Recomputing, task)
    for remote in (usual, again):
        remote("load")
    if asked.complete:
        found = {"kept": ours(task, asked, [])}
        for name, remote in (("recomputing", again), ("usual", usual)):
            found[name] = whole(task, remote("folds"))
            found[name]["gigabytes"] = remote.close()
        return found
    steps: dict[str, list[float]] = {"usual": [], "recomputing": []}
    each = math.ceil(asked.steps / asked.rounds)
    turns = [
        (usual, lambda: steps["usual"].extend(usual("steps", each))),
        (again, lambda: steps["recomputing"].extend(again("steps", each, _SAMPLES_A_STEP))),
    ]
    found = {"kept": ours(task, asked, turns)}
    few = min(32, len(task.profiles))
    reads = {"usual": usual("read", few) / few, "recomputing": again("read", few) / few}
    training = sum(len(fold.train) for fold in task.stratum.folds)
    tested = sum(len(fold.test) for fold in task.stratum.folds)
    epochs = task.options.training.epochs
    sizes = {"usual": task.usual.batch_size, "recomputing": _SAMPLES_A_STEP}
    # Ours solves its head before and after training, each time on read-outs of all.
    passes = {"usual": tested, "recomputing": tested + 2 * training}
    for name, remote in (("usual", usual), ("recomputing", again)):
        a_sample = float(np.mean(steps[name])) / sizes[name]
        found[name] = {
            "seconds": a_sample * training * epochs + reads[name] * passes[name],
            "measured_steps": len(steps[name]),
            "seconds_a_step": float(np.mean(steps[name])),
            "samples_a_step": sizes[name],
            "steps_in_all": sum(
                epochs * math.ceil(len(fold.train) / sizes[name]) for fold in task.stratum.folds
            ),
            "seconds_a_sample_read": reads[name],
            "gigabytes": remote.close(),
        }
    return found


def whole(task: Task, done: Done) -> dict[str, Any]:
    """What a complete run gave; reading that a leaner program would spare is not counted."""
    seconds, spared = sum(done.seconds), 0.0
    if "read" in done.notes:
        training = sum(len(fold.train) for fold in task.stratum.folds)
        tested = sum(len(fold.test) for fold in task.stratum.folds)
        # One pass before training, and for each member one an epoch, one after the last and one to
        # predict; the rest reads the genes' own states, which a program without kept states would
        # take from the same passes.
        members, epochs = task.ensemble, task.options.training.epochs
        needed = training * (1 + members * (epochs + 1)) + tested * members
        spared = done.notes["prefix"] * max(0.0, 1 - needed / done.notes["read"])
    return {
        "seconds": seconds - spared,
        "spared": spared,
        "auroc": auroc(done),
        "share": done.share,
    }


def curve(task: Task, asked: argparse.Namespace) -> dict[int, dict[str, Any]]:
    """Run ours with more head layers, however large the adapter becomes."""
    found = {}
    for layers in asked.curve:
        adapter = task.options.adapter.model_copy(update={"max_trainable_share": 1.0})
        options = task.options.model_copy(
            update={"adapter": adapter, "prefix": PrefixOptions(head_layers=layers)}
        )
        found[layers] = ours(replace(task, options=options), asked, [])
    return found


def told(name: str, found: dict[str, Any], base: float) -> str:
    """One line of the table."""
    kind = "" if "measured_steps" not in found else " (projected)"
    cells = [name, f"{found['seconds']:.0f} s{kind}", f"{found['seconds'] / base:.1f}"]
    cells.append(f"{found['gigabytes']:.2f} GB{' (of those steps)' if kind else ''}")
    cells.append(f"{found['share']:.4%}" if "share" in found else "")
    cells.append(shown(found["auroc"]) if "auroc" in found else "not run whole")
    return f"| {' | '.join(cells)} |"


def report(task: Task, found: dict[str, Any], curves: dict[int, dict[str, Any]]) -> None:
    """Print what was measured and how it stands to the goals."""
    kept, base = found["kept"], found["kept"]["seconds"]
    names = {
        "kept": "ours",
        "recomputing": "ours, prefix run in every step",
        "usual": f"Trainer + LoRA r{task.usual.rank} on all layers",
    }
    print("\n| way | time | over ours | peak memory | trained | AUROC [95 %] |")
    print("|---|---|---|---|---|---|")
    for key, name in names.items():
        print(told(name, found[key], base))
    print(
        f"\nours: prefix {kept['encoding']:.1f} s, folds "
        f"{', '.join(f'{seconds:.2f}' for seconds in kept['folds'])} s"
    )
    for key in ("recomputing", "usual"):
        part = found[key]
        if "measured_steps" in part:
            print(
                f"{names[key]}: {part['measured_steps']} steps of {part['samples_a_step']} samples "
                f"measured, {part['seconds_a_step']:.2f} s each, multiplied to "
                f"{part['steps_in_all']} such steps; reading {part['seconds_a_sample_read']:.3f} s "
                "a sample"
            )
        elif part["spared"]:
            print(f"{names[key]}: {part['spared']:.0f} s of reading twice are not counted")
    goals = [
        (f"times as fast as {names['usual']}", found["usual"]["seconds"] / base, GOALS["usual"], 1),
        (
            "times as fast as without kept states",
            found["recomputing"]["seconds"] / base,
            GOALS["recomputing"],
            1,
        ),
        ("a further fold over the first", kept["further_over_first"], GOALS["further"], -1),
        ("GB at most", kept["gigabytes"], GOALS["gigabytes"], -1),
    ]
    if "auroc" in found["usual"]:
        best = max(found[key]["auroc"]["value"] for key in ("usual", "recomputing"))
        behind = best - kept["auroc"]["value"]
        goals.append(("AUROC behind the better of the other two", behind, GOALS["auroc"], -1))
    print("\n| goal | measured | wanted | |")
    print("|---|---|---|---|")
    for name, value, wanted, sign in goals:
        sense = "at least" if sign > 0 else "at most"
        met = "met" if sign * value >= sign * wanted else "MISSED"
        print(f"| {name} | {value:.3f} | {sense} {wanted} | {met} |")
    if curves:
        print("\n| head layers | prefix | folds | in all | further / first | memory | trained | "
              "AUROC [95 %] |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|")
    for layers, part in curves.items():
        print(
            f"| {layers} | {part['encoding']:.1f} s | {sum(part['folds']):.1f} s | "
            f"{part['seconds']:.1f} s | {part['further_over_first']:.2f} | "
            f"{part['gigabytes']:.2f} GB | {part['share']:.4%} | {shown(part['auroc'])} |"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--genes", type=int, default=256)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=TrainingOptions().epochs)
    parser.add_argument("--seed", type=int, default=TrainingOptions().seed)
    parser.add_argument("--ensemble", type=int, default=1, help="members of ours; others have one")
    parser.add_argument("--backbone", default="smollm2")
    parser.add_argument("--complete", action="store_true", help="run the other ways whole too")
    parser.add_argument("--steps", type=int, default=15, help="measured of each other way")
    parser.add_argument("--rounds", type=int, default=5, help="turns that the ways take")
    parser.add_argument("--rank", type=int, default=Usual.rank, help="of the usual way")
    parser.add_argument("--learning-rate", type=float, default=Usual.learning_rate, help="likewise")
    parser.add_argument("--batch-size", type=int, default=Usual.batch_size, help="likewise")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu on a busy machine")
    parser.add_argument(
        "--curve", type=int, nargs="*", default=[], help="head layers to run ours with, as 1 2 4"
    )
    parser.add_argument("--study", type=Path, help="a study file, with --store and --stratum")
    parser.add_argument("--store", type=Path, help="of a finished run, whose profiles are taken")
    parser.add_argument("--stratum", help="of the study")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    asked = parser.parse_args()
    if asked.store:
        stratum = of_store(asked.study, asked.store, asked.stratum)[0]
    else:
        stratum = simulated(asked.samples, asked.genes, asked.folds)
    training = TrainingOptions(epochs=asked.epochs, seed=asked.seed)
    start = load()
    with tempfile.TemporaryDirectory() as folder:
        prepared = asked.store or load_settings().store
        where = prepared if (prepared / "backbones").is_dir() else Path(folder)
        task = Task(
            stratum,
            prepare_backbone(asked.backbone, where / "backbones"),
            GeneLLMOptions(training=training),
            asked.ensemble,
            Usual(asked.rank, asked.learning_rate, asked.batch_size),
            asked.clock,
        )
        cases = int(stratum.samples["case"].sum())
        print(
            f"{stratum.name}: {len(stratum.samples)} profiles ({cases} cases) x "
            f"{len(stratum.genes)} genes, {len(stratum.folds)} folds, {asked.epochs} epochs, seed "
            f"{asked.seed}, {task.backbone.name}; ours: {asked.ensemble} member(s) a fold, batches "
            f"of {training.batch_size}; usual: learning rate {asked.learning_rate}, batches of "
            f"{asked.batch_size}; {asked.clock} seconds, {torch.get_num_threads()} threads, "
            f"{start}",
            flush=True,
        )
        before = time.perf_counter()
        found = compare(task, asked)
        curves = curve(task, asked)
    report(task, found, curves)
    print(f"\n{time.perf_counter() - before:.0f} s in all; {start} at first, {load()} at last")
    if asked.json:
        everything = {
            "data": stratum.name,
            "samples": len(stratum.samples),
            "genes": len(stratum.genes),
            "clock": asked.clock,
            "threads": torch.get_num_threads(),
            "usual": asdict(task.usual),
            "found": found,
            "curve": curves,
        }
        asked.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
