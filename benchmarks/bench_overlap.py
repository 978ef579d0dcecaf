"""Copies found, strangers called and time taken by the search for samples that are one array.

``python benchmarks/bench_overlap.py`` prints recall and precision on simulated cohorts, how they
fall with the genes in common, and the growth of time and memory. With ``--geo-root`` and
``--study`` it plants re-processed arrays of each of the study's series into each other one.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.options import OverlapOptions
from genellm_dagster.expression.overlap import find_overlaps
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.series import fetch_series, read_series
from genellm_dagster.studies.loading import load_study
from genellm_dagster_tests.expression.copies import PIPELINES, sharing_cohorts

Tables = dict[str, pd.DataFrame]
SIZES = ((30, 30), (30, 100), (60, 60), (100, 200), (200, 200), (300, 1000), (1000, 1000))
NOISES = (0.1, 0.3, 0.5)
COHORT = 200


def pairs_of(tables: Tables, options: OverlapOptions | None = None) -> set[tuple[str, str]]:
    """The pairs that expression alone calls one array."""
    sheets = {name: pd.DataFrame({"gsm": table.columns}) for name, table in tables.items()}
    found = find_overlaps(tables, sheets, {}, options)
    return set(zip(found["gsm_a"], found["gsm_b"], strict=True))


def counted(trials: Iterable[tuple[set, set]]) -> str:
    """Recall and precision over several searches, as words."""
    hits = wanted = called = 0
    for found, truth in trials:
        hits, wanted, called = hits + len(found & truth), wanted + len(truth), called + len(found)
    return (
        f"recall {hits / wanted:.3f} ({hits}/{wanted}), "
        f"precision {hits / max(called, 1):.3f} ({called - hits} of {called} are strangers)"
    )


def simulated(trials: int) -> None:
    """Pipelines drawn at random, 5 % of the smaller cohort planted, one array twice."""
    every = []
    for size in SIZES:
        here = []
        for noise, trial in itertools.product(NOISES, range(max(2, trials * 60 // sum(size)))):
            seed = [*size, int(100 * noise), trial]
            draw = np.random.default_rng(seed)
            pipelines = tuple(draw.choice(PIPELINES, 2))
            tables, truth = sharing_cohorts(
                size, 0.05, pipelines, noise, int(draw.integers(2**31)), 6000
            )
            here.append((pairs_of(tables), truth))
        print(f"cohorts of {size[0]} and {size[1]}: {counted(here)}", flush=True)
        every += here
    print(f"all: {counted(every)}", flush=True)


def few_genes(trials: int) -> None:
    """How far down in common genes copies can be found."""
    for genes in (150, 350, 500, 1000, 2000):
        here = []
        for trial in range(trials):
            draw = np.random.default_rng(trial)
            pipelines, noise = tuple(draw.choice(PIPELINES, 2)), float(draw.choice(NOISES))
            tables, truth = sharing_cohorts((60, 100), 0.05, pipelines, noise, trial, genes, 1.0)
            here.append((pairs_of(tables, OverlapOptions(min_common_genes=50)), truth))
        print(f"{genes} genes in common: {counted(here)}", flush=True)


def real_tables(geo_root: str, study_file: Path) -> Tables:
    """The expression tables of a study, those with too few genes left out."""
    study = load_study(study_file, data_dir=study_file.parent)
    client, tables = GeoClient(geo_root, GeoOptions()), {}
    for name in study.cohorts:
        cohort = study.cohort(name)
        with tempfile.TemporaryDirectory() as folder:
            series = read_series(Path(folder), fetch_series(client, cohort, Path(folder)))
        table = build_expression(series.values, series.id_table, cohort, series.kind).table
        if len(table) >= OverlapOptions().min_common_genes:
            tables[name] = table
    return tables


def replanted(
    source: pd.DataFrame, target: pd.DataFrame, noise: float, random: np.random.Generator
) -> tuple[pd.DataFrame, set[tuple[str, str]]]:
    """Put two arrays of one series into another, as if measured by its probes: noise, slopes."""
    genes = source.index.intersection(target.index)
    chosen = random.choice(source.columns, 2, replace=False)
    mean, level = (table.loc[genes].mean(axis=1).to_numpy()[:, None] for table in (source, target))
    values = source.loc[genes, chosen].to_numpy() - mean
    slope = random.uniform(0.6, 1.4, mean.shape)
    values = level + slope * (values + noise * random.normal(size=values.shape))
    quantiles = np.sort(target.loc[genes].to_numpy(), axis=0).mean(axis=1)
    values = quantiles[np.argsort(np.argsort(values, axis=0), axis=0)]
    columns = [f"GSMCOPY{number}" for number in range(2)]
    copies = pd.DataFrame(values.astype(np.float32), genes, columns)
    return target.loc[genes].join(copies), set(zip(chosen, columns, strict=True))


def real(tables: Tables, trials: int) -> None:
    """Strangers called among the series as they are, then copies planted into each."""
    print(f"real series as they are: {len(pairs_of(tables))} pairs called", flush=True)
    for noise in NOISES:
        here = []
        for (a, b), trial in itertools.product(itertools.permutations(tables, 2), range(trials)):
            random = np.random.default_rng(trial)
            target, truth = replanted(tables[a], tables[b], noise, random)
            found = {tuple(sorted(pair)) for pair in pairs_of({a: tables[a], b: target})}
            here.append((found, {tuple(sorted(pair)) for pair in truth}))
        print(f"real series, noise {noise}: {counted(here)}", flush=True)


def timed(samples: int, genes: int, results: multiprocessing.Queue) -> None:
    """Search among cohorts of 200 of two platforms, in a process of its own for its memory."""
    random = np.random.default_rng(0)
    names = np.array([f"G{number:05d}" for number in range(genes)])
    loadings = random.normal(size=(genes, 10)).astype(np.float32) * 0.5
    tables = {}
    for number in range(samples // COHORT):
        kept = np.sort(random.choice(genes, int(0.9 * genes), replace=False))
        kept = np.arange(genes) if number % 2 else kept
        noise = 0.4 * random.standard_normal((len(kept), COHORT), dtype=np.float32)
        factors = random.standard_normal((10, COHORT), dtype=np.float32)
        columns = [f"GSM{number * COHORT + sample}" for sample in range(COHORT)]
        values = 8 + loadings[kept] @ factors + noise
        tables[f"GSE{number}"] = pd.DataFrame(values, names[kept], columns)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # So low a bound that the strangers' tail is read in every block, as if all were somewhat alike.
    options = OverlapOptions(min_similarity=0.01)
    start = time.perf_counter()
    pairs_of(tables, options)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results.put((seconds, before / 1024, after / 1024))


def growth(sizes: tuple[int, ...], genes: int) -> None:
    """Time and memory at several sizes; a x samples + b x pairs fitted to them, for 100,000."""
    seconds = []
    for samples in sizes:
        results: multiprocessing.Queue = multiprocessing.Queue()
        process = multiprocessing.Process(target=timed, args=(samples, genes, results))
        process.start()
        took, before, after = results.get()
        process.join()
        seconds.append(took)
        print(
            f"{samples} samples x {genes} genes: {took:.1f} s, peak {after:.0f} MB "
            f"({before:.0f} MB with the tables alone)",
            flush=True,
        )
    n = np.array(sizes, dtype=float)
    each, pair = np.linalg.lstsq(np.column_stack([n, n * n / 2]), np.array(seconds), rcond=None)[0]
    whole = each * 1e5 + pair * 1e10 / 2
    print(
        f"{1e3 * each:.2f} ms a sample + {1e9 * pair:.0f} ns a pair; 100,000: {whole / 60:.0f} min"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12, help="searches of small cohorts")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000, 10000])
    parser.add_argument("--genes", type=int, default=5000, help="genes of the timed tables")
    parser.add_argument("--geo-root", help="where GEO's files lie")
    parser.add_argument("--study", type=Path, help="study file whose series are planted into")
    asked = parser.parse_args()
    simulated(asked.trials)
    few_genes(asked.trials)
    if asked.geo_root and asked.study:
        real(real_tables(asked.geo_root, asked.study), max(1, asked.trials // 4))
    growth(tuple(asked.sizes), asked.genes)


if __name__ == "__main__":
    main()
