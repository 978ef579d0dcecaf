"""Simulated whole-blood cohorts that share arrays, each through a pipeline of its own."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

Pipeline = Literal["rma", "linear", "quantile", "platform", "rank", "centred"]
PIPELINES: tuple[Pipeline, ...] = ("rma", "linear", "quantile", "platform", "rank", "centred")

_FACTORS = 14


class World:
    """Genes with levels, own variation and loadings on disease, cell counts and other factors."""

    def __init__(self, genes: int, seed: int = 11) -> None:
        random = np.random.default_rng(seed)
        self.names = [f"G{number:05d}" for number in range(genes)]
        expressed = random.random(genes) < 0.65
        self.level = np.where(
            expressed, random.normal(8.5, 1.8, genes), random.normal(4.5, 0.8, genes)
        )
        touched = random.random((genes, _FACTORS)) < random.uniform(0.1, 0.6, _FACTORS)
        strength = 0.8 * 0.8 ** np.arange(_FACTORS)
        self.loadings = random.normal(size=(genes, _FACTORS)) * touched * strength
        self.own = np.exp(random.normal(np.log(0.25), 0.4, genes))

    def arrays(self, samples: int, random: np.random.Generator) -> np.ndarray:
        """True log2 expression of people of whom some are ill, and whose cells follow illness."""
        factors = random.normal(size=(_FACTORS, samples))
        factors[0] += 2 * (random.random(samples) < random.uniform(0.3, 0.8))
        factors[1:4] += factors[0] * np.array([[0.5], [-0.4], [0.3]])
        factors *= random.uniform(0.7, 1.3, (_FACTORS, 1))
        own = self.own[:, None] * random.normal(size=(len(self.level), samples))
        return self.level[:, None] + self.loadings @ factors + own


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, axis=0), axis=0)


def _same_distribution(values: np.ndarray) -> np.ndarray:
    return np.sort(values, axis=0).mean(axis=1)[_ranks(values)]


def processed(values: np.ndarray, pipeline: Pipeline, random: np.random.Generator) -> np.ndarray:
    """Arrays as a submitter's pipeline would give them."""
    genes, samples = values.shape
    if pipeline == "rma":
        return _same_distribution(np.log2(2**values + 64))
    if pipeline == "quantile":
        return _same_distribution(values)
    if pipeline == "rank":
        return _ranks(values) / genes
    if pipeline == "centred":
        return values - np.median(values, axis=1, keepdims=True)
    if pipeline == "linear":
        floor = 0.25 * random.normal(size=values.shape) * (values < 5)
        return values + random.normal(0, 0.5, (1, samples)) + floor
    mean = values.mean(axis=1, keepdims=True)
    slope = random.uniform(0.5, 1.5, (genes, 1))
    probes = mean + random.normal(0, 1, (genes, 1)) + slope * (values - mean)
    return np.log2(2**probes + 32) * random.uniform(0.9, 1.1, (1, samples))


def sharing_cohorts(
    sizes: tuple[int, int],
    share: float,
    pipelines: tuple[Pipeline, Pipeline],
    noise: float,
    seed: int,
    genes: int = 6000,
    measured: float = 0.7,
) -> tuple[dict[str, pd.DataFrame], set[tuple[str, str]]]:
    """Two cohorts, a share of the smaller in both, and one array twice in the second.

    Args:
        sizes: Samples of either.
        share: Of the smaller cohort, at least one array.
        pipelines: What either went through.
        noise: Of the second cohort in log2 units, and between the array and its repeat there; the
            first cohort has 0.1.
        seed: Of all draws but the genes.
        genes: Of the first cohort.
        measured: Share of them that the second one's platform has.

    Returns:
        The tables, and the pairs of samples that are one array.
    """
    random = np.random.default_rng(seed)
    world = World(genes)
    shared = max(1, round(share * min(sizes)))
    first, second = (world.arrays(size, random) for size in sizes)
    of_first = random.choice(sizes[0], shared, replace=False)
    of_second = random.choice(sizes[1], shared, replace=False)
    second[:, of_second] = first[:, of_first]
    twice = int(random.integers(sizes[1]))
    first = first + 0.1 * random.normal(size=first.shape)
    second = second + noise * random.normal(size=second.shape)
    again = second[:, twice] + noise * random.normal(size=genes)
    tables = {}
    for number, values in enumerate((first, np.column_stack([second, again])), 1):
        columns = [f"GSM{number}{sample:05d}" for sample in range(values.shape[1])]
        table = processed(values, pipelines[number - 1], random).astype(np.float32)
        tables[f"GSE{number}"] = pd.DataFrame(table, pd.Index(world.names, name="gene"), columns)
    rows = np.sort(random.choice(genes, int(measured * genes), replace=False))
    tables["GSE2"] = tables["GSE2"].iloc[rows]
    names = [list(table.columns) for table in tables.values()]
    pairs = {(names[0][a], names[1][b]) for a, b in zip(of_first, of_second, strict=True)}
    pairs |= {(a, names[1][-1]) for a, b in pairs if b == names[1][twice]}
    return tables, pairs | {(names[1][twice], names[1][-1])}
