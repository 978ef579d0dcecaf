"""What GeneLLM finds by tokenizer, adapter, backbone and head layers, beside logistic regression.

Takes the profiles of finished runs (`genellm run`, asset `profiles`) and the project's folds, and
computes nothing anew but prefix states, which are kept in a folder. Every model is judged on the
same folds; tokenizers that learn are fitted on each fold's training profiles. Prints AUROC with its
interval, pooled and inside cohorts, the paired difference from the default, the share of parameters
that is trained, and where shuffled labels fall.

    python benchmarks/measure_quality.py --store data/store ../shared/studies/*.yaml
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from at_hand import Stratum, of_store, run_folds
from pydantic import ValidationError

from genellm_dagster.baselines.classical import Training, fit_logistic_regression
from genellm_dagster.baselines.options import BaselineOptions
from genellm_dagster.errors import GeneLLMError
from genellm_dagster.evaluation.folds import Fold
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.report import evaluate
from genellm_dagster.genellm.backbone import Backbone, prepare_backbone, randomised
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.session import Session
from genellm_dagster.tokenizers.kinds import fit_tokenizer, learns
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles

DEFAULT, LOGISTIC, SHUFFLED = "genellm", "logistic regression", "shuffled labels"
# What is no adapter of the method is measured all the same, and its share told.
_ANY_SHARE = {"max_trainable_share": 1.0}


@dataclass(frozen=True)
class Variant:
    """One way to set GeneLLM up.

    Attributes:
        group: What is varied.
        options: Changes of the model's options, nested.
        tokenizer: Options of the tokenizer.
        random: Whether the backbone's weights are random.
        ensemble: Members; the options' number when none.
        shuffled: Whether training labels are permuted within cohorts.
    """

    group: str
    options: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=dict)
    random: bool = False
    ensemble: int | None = None
    shuffled: bool = False


def variants(permutations: int) -> dict[str, Variant]:
    """All that is measured, by the model's name."""
    seed = GeneLLMOptions().training.seed
    return {
        DEFAULT: Variant("default"),
        **{kind: Variant("tokenizer", tokenizer={"kind": kind}) for kind in ("bins", "rank")},
        "lora r8": Variant("adapter", {"adapter": {"rank": 8, "alpha": 16, **_ANY_SHARE}}),
        "ia3": Variant("adapter", {"adapter": {"kind": "ia3", **_ANY_SHARE}}),
        "prompt": Variant("adapter", {"adapter": {"kind": "prompt", **_ANY_SHARE}}),
        "head alone": Variant("adapter", {"training": {"epochs": 0}}),
        "random weights": Variant("backbone", random=True),
        "2 head layers": Variant(
            "head layers", {"prefix": {"head_layers": 2}, "adapter": dict(_ANY_SHARE)}
        ),
        **{
            f"{SHUFFLED} {number}": Variant(
                SHUFFLED, {"training": {"seed": seed + 1000 * number}}, ensemble=1, shuffled=True
            )
            for number in range(1, permutations + 1)
        },
    }


@dataclass(frozen=True)
class Bench:
    """Where everything lies.

    Attributes:
        backbone: The pretrained one.
        states: Folder of the prefix states.
    """

    backbone: Backbone
    states: Path

    @cached_property
    def random(self) -> Backbone:
        """The same shape with random weights."""
        return randomised(self.backbone)


@dataclass
class Found:
    """What a stratum gave.

    Attributes:
        predictions: Of all models.
        shares: Model to its trained parameters over the backbone's.
        seconds: Model to the time that it took.
        refused: Model to the reason why there is none.
    """

    predictions: list[pd.DataFrame] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class Runner:
    """Runs variants on one stratum; those of one backbone share the loaded model.

    Args:
        bench: Where everything lies.
        stratum: The stratum.
    """

    def __init__(self, bench: Bench, stratum: Stratum) -> None:
        self.bench, self.stratum = bench, stratum
        self._sessions: dict[str, Session] = {}

    def run(self, name: str, variant: Variant, found: Found) -> None:
        """Cross-validate one variant."""
        options = GeneLLMOptions.model_validate(variant.options)
        tokens = TokenizerOptions.model_validate(variant.tokenizer)
        backbone = self.bench.random if variant.random else self.bench.backbone
        made: dict[str, tuple[Session, list[TokenProfile]]] = {}

        def at_work(fold: Fold) -> tuple[Session, list[TokenProfile]]:
            # Folds share what no fold learns.
            key = fold.name if learns(tokens) or self._own(fold) else ""
            if key not in made:
                made.clear()
                made[key] = self._at_work(fold, options, tokens, backbone)
            return made[key]

        def on_fold(_fold: Any, fitted: Any, _predictions: Any) -> None:
            found.shares[name] = fitted.trainable / backbone.parameters

        start = time.perf_counter()
        result = run_folds(
            self.stratum,
            lambda fold: at_work(fold)[0],
            lambda fold: at_work(fold)[1],
            options,
            model_name=name,
            shuffled=variant.shuffled,
            on_fold=on_fold,
            # Shuffled labels have one member anyway.
            **({} if variant.shuffled else {"ensemble": variant.ensemble}),
        )
        found.seconds[name] = time.perf_counter() - start
        found.predictions.append(result.predictions)

    def _own(self, fold: Fold) -> bool:
        return bool((self.stratum.table["fold"] == fold.name).any())

    def _at_work(
        self, fold: Fold, options: GeneLLMOptions, tokens: TokenizerOptions, backbone: Backbone
    ) -> tuple[Session, list[TokenProfile]]:
        profiles = self.stratum.profiles(fold.name)
        tokenizer = fit_tokenizer(self.stratum.genes, tokens, profiles.loc[list(fold.train)])
        described = tokenizer.describe()
        first = self._sessions.get(backbone.sha256)
        if first is None:
            first = Session(backbone, described, options, self.bench.states)
            self._sessions[backbone.sha256] = first
        session = first.with_tokenizer(described).with_options(options)
        return session, token_profiles(tokenizer.transform(profiles))


def logistic(stratum: Stratum, found: Found) -> None:
    """Cross-validate the project's logistic regression."""
    rows = stratum.samples.set_index("gsm", drop=False)
    options, seed = BaselineOptions(), EvaluationOptions().seed
    start = time.perf_counter()
    for fold in stratum.folds:
        profiles = stratum.profiles(fold.name)
        train = rows.loc[list(fold.train)]
        persons = train["cohort"].astype(str) + "|" + train["subject"].astype(str)
        fitted = fit_logistic_regression(
            Training(
                values=profiles.loc[list(fold.train)].to_numpy(dtype=np.float64),
                case=train["case"].to_numpy(dtype=int),
                cohorts=train["cohort"].to_numpy(object),
                persons=persons.to_numpy(object),
            ),
            options,
            seed,
        )
        test = rows.loc[list(fold.test), ["gsm", "cohort", "stratum", "subject", "case"]]
        score = fitted.predict(profiles.loc[list(fold.test)].to_numpy(dtype=np.float64))
        found.predictions.append(
            test.assign(fold=fold.name, model=LOGISTIC, score=np.clip(score, 0, 1))
        )
    found.seconds[LOGISTIC] = time.perf_counter() - start


def measure(
    bench: Bench, stratum: Stratum, chosen: dict[str, Variant]
) -> tuple[dict[str, Any], Found]:
    """Run all variants on a stratum and judge them on the same folds."""
    found, runner = Found(), Runner(bench, stratum)
    for name, variant in chosen.items():
        try:
            runner.run(name, variant, found)
        except ValidationError as error:
            found.refused[name] = "; ".join(part["msg"] for part in error.errors())
        except GeneLLMError as error:
            found.refused[name] = str(error)
        said = found.refused.get(name) or f"{found.seconds[name]:.0f} s"
        print(f"{stratum.name}: {name}: {said}", file=sys.stderr, flush=True)
    logistic(stratum, found)
    options = EvaluationOptions(reference_model=DEFAULT, bootstraps=100)
    predictions = pd.concat(found.predictions, ignore_index=True)
    report = evaluate("real", stratum.name, predictions, stratum.folds, options, developed_on={})
    return report, found


def shown(interval: dict[str, Any]) -> str:
    """A value with its interval."""
    if interval["value"] is None:
        return f"{interval.get('reason', '')}"
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def print_report(
    stratum: Stratum, report: dict[str, Any], found: Found, chosen: dict[str, Variant]
) -> None:
    """Print one stratum."""
    sizes = ", ".join(
        f"{name} {part['cases']}/{part['n']}"
        for name, part in next(iter(report["models"].values()))["cohorts"].items()
    )
    print(
        f"\n## {stratum.name}: n {report['n']}, cases {report['cases']}, prevalence "
        f"{report['prevalence']:.2f}, {len(stratum.genes)} genes, {stratum.folds.kind} "
        f"({len(stratum.folds)} folds); cases/n {sizes}\n"
    )
    print("| varied | model | trained | AUROC pooled [95 %] | inside cohorts | minus default | p |")
    print("|---|---|---|---|---|---|---|")
    differences = {one["model"]: one for one in report["comparisons"]}
    for name, numbers in report["models"].items():
        group = chosen[name].group if name in chosen else "baseline"
        if group == SHUFFLED:
            continue
        minus, p = "", ""
        if name in differences:
            # The report's difference is reference minus model; a table reads better the other way.
            apart = differences[name]["auroc_difference"]
            minus = f"{0 - apart['value']:+.3f} [{0 - apart['high']:+.3f}, {0 - apart['low']:+.3f}]"
            p = f"{differences[name]['p']:.3f}"
        share = f"{found.shares[name]:.4%}" if name in found.shares else ""
        inside = report["within_cohorts"][name]["auroc"]
        print(
            f"| {group} | {name} | {share} | {shown(numbers['auroc'])} | {shown(inside)} | "
            f"{minus} | {p} |"
        )
    print_shuffled(report, chosen)
    for name, reason in found.refused.items():
        print(f"{name} refused: {reason}")


def print_shuffled(report: dict[str, Any], chosen: dict[str, Variant]) -> None:
    """Print where shuffled labels fall."""
    names = [name for name in report["models"] if name in chosen and chosen[name].group == SHUFFLED]
    if not names:
        return
    places = {
        "pooled": [report["models"][name]["auroc"]["value"] for name in names],
        "inside cohorts": [report["within_cohorts"][name]["auroc"]["value"] for name in names],
    }
    told = [
        f"{place} mean {np.mean(values):.3f}, least {min(values):.3f}, most {max(values):.3f}"
        for place, values in places.items()
        if None not in values
    ]
    print(f"\n{SHUFFLED}, {len(names)} permutations, AUROC {'; '.join(told)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, nargs="+", help="study files")
    parser.add_argument("--store", type=Path, required=True, help="of the finished runs")
    parser.add_argument("--stratum", help="this one only")
    parser.add_argument("--backbone", default="smollm2")
    parser.add_argument("--states", type=Path, help="folder of prefix states; the store's own")
    parser.add_argument("--permutations", type=int, default=5, help="of the labels")
    parser.add_argument("--only", nargs="*", help="these models beside the default, as bins ia3")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    asked = parser.parse_args()
    chosen = variants(asked.permutations)
    if asked.only is not None:
        strange = sorted(set(asked.only) - set(chosen))
        if strange:
            parser.error(f"there is no {strange[0]}; there are {', '.join(chosen)}")
        chosen = {name: chosen[name] for name in chosen if name in {DEFAULT, *asked.only}}
    # A penalty path may stop a hair before scikit-learn's tolerance; the project accepts that too.
    warnings.filterwarnings("ignore", category=UserWarning)
    backbone = prepare_backbone(asked.backbone, asked.store / "backbones")
    bench = Bench(backbone, asked.states or asked.store / "prefix_states")
    start, everything = time.perf_counter(), {}
    for file in asked.study:
        for stratum in of_store(file, asked.store, asked.stratum):
            report, found = measure(bench, stratum, chosen)
            print_report(stratum, report, found, chosen)
            everything[stratum.name] = {
                "report": report,
                "shares": found.shares,
                "seconds": found.seconds,
                "refused": found.refused,
            }
    if asked.json:
        asked.json.write_text(json.dumps(everything, indent=1))
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
