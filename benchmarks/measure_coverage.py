"""How often the intervals of the evaluation hold the truth, by simulation.

Scores are binormal and stated as the probability that is right at the prevalence drawn, so that
every true value is known: by formula, or from the metric on a fine grid of quantiles. Counted are
the numbers that ``judge`` gives a report, not copies of its methods. 90 to 98 % is wanted of a
nominal 95 %. Everything here is SIMULATED.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from genellm_dagster.evaluation import brier, intervals, metrics, thresholds
from genellm_dagster.evaluation.delong import delong_test
from genellm_dagster.evaluation.folds import make_folds
from genellm_dagster.evaluation.judging import HIGH_SPECIFICITY, Samples, judge
from genellm_dagster.evaluation.net_benefit import net_benefit
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.pooling import pool_auroc

GRID = 200_000
COHORTS = 4


@dataclass(frozen=True)
class Setting:
    """A world: distance of the classes, persons of each, samples a person, extremeness."""

    distance: float
    cases: int
    controls: int
    repeats: int = 1
    temper: float = 1.0

    def words(self) -> str:
        """Say it."""
        more = f", {self.repeats} samples a person" if self.repeats > 1 else ""
        more += f", logit x {self.temper}" if self.temper != 1 else ""
        area = norm.cdf(self.distance / np.sqrt(2))
        return f"AUROC {area:.3f}, {self.cases} cases, {self.controls} controls{more}"

    def probability(self, value: np.ndarray) -> np.ndarray:
        """The score of a value: its probability at this prevalence, made extreme by ``temper``."""
        odds = np.log(self.cases / self.controls)
        logit = self.distance * value - self.distance**2 / 2 + odds
        return 1 / (1 + np.exp(-self.temper * logit))

    def truth(self) -> dict[str, float]:
        """The true value of every number, on a grid of quantiles."""
        share = self.cases / (self.cases + self.controls)
        sizes = (round(share * GRID), GRID - round(share * GRID))
        case = np.r_[np.ones(sizes[0], int), np.zeros(sizes[1], int)]
        grid = np.concatenate([norm.ppf((np.arange(size) + 0.5) / size) for size in sizes])
        score = self.probability(grid + self.distance * case)
        at = metrics.at_threshold(case, score, 0.5)
        parts = brier.decompose(case, score, 10)
        return {
            "auroc": float(norm.cdf(self.distance / np.sqrt(2))),
            "auroc_bootstrap": float(norm.cdf(self.distance / np.sqrt(2))),
            "average_precision": metrics.average_precision(case, score),
            "average_precision_at_half": metrics.average_precision_at_half(case, score),
            "sensitivity_at_95_specificity": metrics.sensitivity_at_specificity(
                case, score, HIGH_SPECIFICITY
            ),
            "sensitivity": at.sensitivity,
            "specificity": at.specificity,
            "balanced_accuracy": at.balanced_accuracy,
            "brier": metrics.brier(case, score),
            "ece": metrics.expected_calibration_error(case, score, 10),
            "reliability": parts.reliability,
            "resolution": parts.resolution,
            "calibration_slope": 1 / self.temper,
            "net_benefit": net_benefit(case, score, 0.25),
        }


SETTINGS = (
    Setting(1.0, 30, 30),
    Setting(1.8, 60, 20),
    Setting(2.7, 20, 60),
    Setting(1.8, 300, 100),
    Setting(1.8, 60, 20, temper=2.0),
    Setting(1.8, 40, 30, repeats=3),
)


def draw(setting: Setting, random: np.random.Generator) -> pd.DataFrame:
    """Draw one data set: gsm, cohort, subject, case, score."""
    persons = setting.cases + setting.controls
    case = np.repeat(np.r_[np.ones(setting.cases, int), np.zeros(setting.controls, int)],
                     setting.repeats)  # fmt: skip
    person = np.repeat(np.arange(persons), setting.repeats)
    own = np.sqrt(0.5) if setting.repeats > 1 else 0.0
    value = own * random.normal(size=persons)[person]
    value += np.sqrt(1 - own**2) * random.normal(size=len(case)) + setting.distance * case
    return pd.DataFrame(
        {
            "gsm": [f"s{number}" for number in range(len(case))],
            "cohort": [f"c{number % COHORTS}" for number in person],
            "subject": person.astype(str),
            "case": case,
            "score": setting.probability(value),
        }
    )


def found(numbers: Any) -> dict[str, dict[str, Any]]:
    """Take the intervals out of a judgement, by the names of ``Setting.truth``."""
    report = numbers.report
    named = ("auroc", "auroc_bootstrap", "average_precision", "average_precision_at_half",
             "sensitivity_at_95_specificity")  # fmt: skip
    return {
        **{name: report[name] for name in named},
        **numbers.intervals,
        **{name: report["brier_decomposition"][name] for name in ("reliability", "resolution")},
        "net_benefit": report["net_benefit"]["thresholds"][1]["net_benefit"],
    }


def cover(setting: Setting, runs: int, bootstraps: int) -> pd.DataFrame:
    """Share of runs in which each interval held the truth, below it and above it."""
    truth = setting.truth()
    counted: dict[tuple[str, str], list[tuple[bool, bool]]] = defaultdict(list)
    for run in range(runs):
        table = draw(setting, np.random.default_rng(run))
        for kind in ("percentile", "bca"):
            options = EvaluationOptions(
                bootstraps=bootstraps, bootstrap_interval=kind, seed=run, threshold_rule="fixed"
            )
            samples = Samples.of(table, make_folds(table, None, options), options)
            score = table["score"].to_numpy()
            for name, interval in found(judge(samples, score, score, options)).items():
                if name in truth and interval["low"] is not None:
                    counted[name, kind].append(
                        (
                            interval["low"] > truth[name] + 1e-9,
                            interval["high"] < truth[name] - 1e-9,
                        )
                    )
    rows = []
    for name, value in truth.items():
        row = {"number": name, "truth": f"{value:.4f}"}
        for kind in ("percentile", "bca"):
            missed = np.array(counted[name, kind]).mean(axis=0)
            row[kind] = f"{100 * (1 - missed.sum()):.1f} %"
            row[f"{kind}: all too high / too low"] = (
                f"{100 * missed[0]:.1f} / {100 * missed[1]:.1f}"
            )
        rows.append(row)
    return pd.DataFrame(rows).set_index("number")


def cover_differences(runs: int) -> str:
    """Coverage of the paired difference of two correlated models, and size of its test."""
    held = rejected = 0
    truth = norm.cdf(1.8 / np.sqrt(2)) - norm.cdf(1.2 / np.sqrt(2))
    case = np.r_[np.ones(60, int), np.zeros(30, int)]
    persons = np.arange(90)
    for run in range(runs):
        random = np.random.default_rng(run)
        shared = random.normal(size=90)
        first, second, equal = (
            np.sqrt(0.5) * shared + np.sqrt(0.5) * random.normal(size=90) + distance * case
            for distance in (1.8, 1.2, 1.8)
        )
        test = delong_test(case, first, second)
        ends = (intervals.auroc_interval(case, score, persons, 0.95) for score in (first, second))
        interval = intervals.paired_difference(test.difference, test.standard_error, *ends, 0.95)
        held += interval.low <= truth <= interval.high
        rejected += delong_test(case, first, equal).p < 0.05
    return (
        f"difference of two correlated AUROC ({truth:.3f}): {100 * held / runs:.1f} %; "
        f"equal models told apart at .05: {100 * rejected / runs:.1f} %"
    )


def cover_pooled(runs: int, cohorts: int, spread: float) -> str:
    """Coverage of the pooled AUROC and of the prediction interval for one more cohort."""
    held = predicted = 0
    middle = np.log(0.85 / 0.15)
    for run in range(runs):
        random = np.random.default_rng(run)
        effects = middle + spread * random.normal(size=cohorts + 1)
        parts = {}
        for place, effect in enumerate(effects[:-1]):
            distance = np.sqrt(2) * norm.ppf(1 / (1 + np.exp(-effect)))
            sizes = random.integers(15, 80, size=2)
            case = np.r_[np.ones(sizes[0], int), np.zeros(sizes[1], int)]
            score = random.normal(size=len(case)) + distance * case
            parts[f"c{place}"] = {
                "auroc": intervals.auroc_interval(case, score, np.arange(len(case)), 0.95),
                "case_persons": int(sizes[0]),
                "control_persons": int(sizes[1]),
            }
        pooled = pool_auroc(parts, 0.95)
        held += pooled["low"] <= 0.85 <= pooled["high"]
        wide = pooled["prediction"]
        predicted += wide["low"] <= 1 / (1 + np.exp(-effects[-1])) <= wide["high"]
    return (
        f"{cohorts} cohorts, standard deviation {spread} on the logit scale: "
        f"mean {100 * held / runs:.1f} %, prediction of one more {100 * predicted / runs:.1f} %"
    )


def threshold_bias(runs: int, cohorts: int, signal: float) -> str:
    """Balanced accuracy at training-fold thresholds: reported, and true of the same models."""
    genes, per_cohort = 20, 40
    direction = np.full(genes, signal / np.sqrt(genes))
    gaps, reported = [], []
    options = EvaluationOptions()
    for run in range(runs):
        random = np.random.default_rng(run)
        cohort = np.repeat(np.arange(cohorts), per_cohort)
        case = (random.random(len(cohort)) < 0.5).astype(int)
        shift = 0.5 * random.normal(size=(cohorts, genes))
        values = random.normal(size=(len(case), genes)) + shift[cohort] + np.outer(case, direction)
        table = pd.DataFrame({"gsm": [f"s{i}" for i in range(len(case))], "case": case,
                              "cohort": [f"c{i}" for i in cohort]})  # fmt: skip
        table["subject"] = table["gsm"]
        folds = make_folds(table, None, options)
        score, models = np.empty(len(case)), []
        for place in range(cohorts):
            test = cohort == place
            models.append(LogisticRegression(C=0.1).fit(values[~test], case[~test]))
            score[test] = models[-1].predict_proba(values[test])[:, 1]
        chosen = thresholds.training_thresholds(
            folds, table["gsm"].tolist(), case, score, thresholds.best_balanced
        )
        value = metrics.at_threshold(case, score, chosen.of_sample).balanced_accuracy
        new = np.repeat([0, 1], 2000)
        fresh = random.normal(size=(4000, genes)) + np.outer(new, direction)
        true = [
            metrics.at_threshold(
                new,
                model.predict_proba(fresh + shift[place])[:, 1],
                chosen.by_fold[f"c{place}"],
            ).balanced_accuracy
            for place, model in enumerate(models)
        ]
        reported.append(value)
        gaps.append(value - np.mean(true))
    error = np.std(gaps) / np.sqrt(runs)
    return (
        f"{cohorts} cohorts, signal {signal}: balanced accuracy {np.mean(reported):.3f}, minus the "
        f"true one of the same models and thresholds {np.mean(gaps):+.4f} (error {error:.4f})"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--bootstraps", type=int, default=500)
    asked = parser.parse_args()
    error = 100 * np.sqrt(0.95 * 0.05 / asked.runs)
    print(f"{asked.runs} runs, {asked.bootstraps} bootstraps; standard error about {error:.1f} %")
    for setting in SETTINGS:
        print(f"\n{setting.words()}")
        print(cover(setting, asked.runs, asked.bootstraps).to_string())
    print(f"\n{cover_differences(5 * asked.runs)}")
    for cohorts, spread in ((3, 0.0), (3, 0.5), (6, 0.0), (6, 0.5)):
        print(cover_pooled(2 * asked.runs, cohorts, spread))
    for cohorts, signal in ((3, 0.0), (5, 0.0), (3, 1.5), (5, 1.5)):
        print(threshold_bias(asked.runs, cohorts, signal))


if __name__ == "__main__":
    main()
