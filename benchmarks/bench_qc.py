"""Time and memory of quality control, as samples and genes grow.

Each size runs in a process of its own, whose peak of resident memory counts the table too. The
second kind of table has gaps, and arrays of noise that leave, so that it is judged twice. Beside
the time by the clock stands that of the processors, which a busy machine does not lengthen so.
"""

from __future__ import annotations

import multiprocessing
import resource
import time

import numpy as np
import pandas as pd

from genellm_dagster.expression.qc import quality_control
from genellm_dagster.expression.sex import XIST, Y_GENES

SIZES = ((100, 20_000), (200, 20_000), (400, 20_000), (800, 20_000), (800, 5_000), (800, 10_000))
FACTORS = 5
GAPS = 0.01
SECONDS, GIGABYTES = 20, 1.5


def cohort(samples: int, genes: int, flawed: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make samples of both sexes, with latent factors; in flawed ones gaps and arrays of noise."""
    random = np.random.default_rng(samples + genes)
    names = [XIST, *Y_GENES, *(f"G{number:05d}" for number in range(genes - 1 - len(Y_GENES)))]
    values = random.normal(8, 2, (genes, 1)).astype(np.float32)
    values = values + random.normal(0, 0.4, (genes, samples)).astype(np.float32)
    loadings = random.normal(0, 0.5, (genes, FACTORS)).astype(np.float32)
    values += loadings @ random.normal(size=(FACTORS, samples)).astype(np.float32)
    female = np.arange(samples) % 2 == 0
    values[0] = np.where(female, 9, 4) + random.normal(0, 0.3, samples)
    values[1 : 1 + len(Y_GENES)] = np.where(female, 4, 8) + random.normal(
        0, 0.3, (len(Y_GENES), samples)
    )
    if flawed:
        values[:, :2] = random.normal(8, 2, (genes, 2))
        values[random.random(values.shape, dtype=np.float32) < GAPS] = np.nan
    columns = [f"GSM{number}" for number in range(samples)]
    sheet = pd.DataFrame({"gsm": columns, "age_years": 40.0, "case": np.arange(samples) % 3 == 0})
    sheet["sex"] = np.where(female, "female", "male")
    return pd.DataFrame(values, pd.Index(names, name="gene"), columns), sheet


def measure(samples: int, genes: int, flawed: bool) -> tuple[float, float, float, int, int]:
    """Seconds by the clock and of the processors, peak gigabytes, rounds, sexes that agree."""
    table, sheet = cohort(samples, genes, flawed)
    start, start_cpu = time.perf_counter(), time.process_time()
    summary = quality_control(table, sheet, bounds=(18, None)).summary
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return seconds, cpu, peak, summary["rounds"], summary["sex"]["agree"]


def main() -> None:
    """Measure and print."""
    print(
        f"{'samples x genes':>16} {'table':>10} {'s':>7} {'GB peak':>8} {'rounds':>7}  sex agrees"
    )
    worst = (0.0, 0.0)
    for flawed in (False, True):
        for samples, genes in SIZES:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, cpu, peak, rounds, agree = pool.apply(measure, (samples, genes, flawed))
            kind = "flawed" if flawed else "clean"
            print(
                f"{samples:>7} x {genes:<6} {kind:>10} {seconds:>7.2f} {cpu:>7.2f} {peak:>6.2f} "
                f"{rounds:>7}  {agree}/{samples}",
                flush=True,
            )
            worst = max(worst[0], seconds), max(worst[1], peak)
    met = worst[0] < SECONDS and worst[1] < GIGABYTES
    print(
        f"bound: {SECONDS} s, {GIGABYTES} GB; worst: {worst[0]:.1f} s, {worst[1]:.2f} GB: "
        f"{'met' if met else 'NOT MET'}"
    )


if __name__ == "__main__":
    main()
