"""Time of a whole evaluation report: samples, models and bootstraps of a large study.

The models are simulated scores; the time does not depend on what made them. The target is 60 s on
two cores for 1,000 samples, 12 models and 2,000 bootstraps. Say the threads by OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

from genellm_dagster.evaluation.folds import make_folds
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.report import evaluate

COHORTS = 5


def predictions(samples: int, models: int) -> pd.DataFrame:
    """Draw scores of models of growing strength on the same samples, SIMULATED."""
    random = np.random.default_rng(0)
    case = (random.random(samples) < 0.6).astype(int)
    names = [f"GSM{number:06d}" for number in range(samples)]
    tables = []
    for model in range(models):
        logit = random.normal(size=samples) + 0.25 * model * (2 * case - 1)
        tables.append(
            pd.DataFrame(
                {
                    "gsm": names,
                    "cohort": [f"GSE{number % COHORTS}" for number in range(samples)],
                    "subject": names,
                    "case": case,
                    "fold": [f"GSE{number % COHORTS}" for number in range(samples)],
                    "model": "genellm" if model == 0 else f"model_{model}",
                    "score": 1 / (1 + np.exp(-logit)),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--bootstraps", type=int, default=2000)
    asked = parser.parse_args()
    table = predictions(asked.samples, asked.models)
    samples = table[table["model"] == "genellm"]
    print(f"{asked.samples} samples, {asked.models} models, {asked.bootstraps} bootstraps")
    for interval in ("percentile", "bca"):
        options = EvaluationOptions(bootstraps=asked.bootstraps, bootstrap_interval=interval)
        folds = make_folds(samples, None, options)
        start, start_cpu = time.perf_counter(), time.process_time()
        evaluate("bench", "adult", table, folds, options)
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        print(f"{interval:>10}: {wall:6.1f} s wall, {cpu:6.1f} s of processor")


if __name__ == "__main__":
    main()
