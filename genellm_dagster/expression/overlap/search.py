"""Near-identical expression among all samples of all cohorts, chunk against chunk."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from genellm_dagster.expression.options import OverlapOptions
from genellm_dagster.expression.overlap.genes import (
    common_genes,
    compared_genes,
    complete_genes,
    ordered_genes,
)
from genellm_dagster.expression.overlap.records import Pair
from genellm_dagster.expression.overlap.residuals import Chunk, between, chunks_of, within
from genellm_dagster.expression.overlap.twins import Candidates, accepted, stand_out


def by_expression(
    tables: dict[str, pd.DataFrame], options: OverlapOptions
) -> tuple[list[Pair], set[frozenset[str]]]:
    """Find pairs that are one array.

    A table is ranked and cleaned once; then every two chunks are one matrix product, of which only
    what stands out is kept. Memory holds the cleaned tables over the genes compared and one block
    of correlations.

    Returns:
        The pairs, and the pairs of cohorts large enough to find them all.
    """
    tables = {name: table for name, table in sorted(tables.items()) if table.shape[1] > 1}
    complete = {name: complete_genes(table) for name, table in tables.items()}
    common = common_genes(complete)
    order = ordered_genes(tables, complete, options)
    kept = compared_genes(order, complete, options)
    chunks = {
        name: chunks_of(name, table, kept[name], order, options)
        for name, table in tables.items()
        if common[name, name] >= options.min_common_genes
    }
    partners = [
        (a, b)
        for a, b in itertools.combinations_with_replacement(chunks, 2)
        if common[a, b] >= options.min_common_genes
    ]
    sizes = {name: tables[name].shape[1] for name in chunks}
    compared = sum(
        sizes[a] * (sizes[a] - 1) / 2 if a == b else sizes[a] * sizes[b] for a, b in partners
    )
    believable = options.max_copies * sum(sizes.values())
    least = np.log(max(compared, 1) / (options.max_false_share * max(believable, 1)))
    found: list[tuple[Chunk, Chunk, Candidates]] = []
    for a, b in partners:
        for left, right in _chunk_pairs(chunks[a], chunks[b], a == b):
            candidates = _candidates(left, right, options, least)
            if len(candidates.rows):
                found.append((left, right, candidates))
    enough = options.min_samples_to_resolve
    resolved = {frozenset((a, b)) for a, b in partners if min(sizes[a], sizes[b]) >= enough}
    return _believed(found, compared, options), resolved


def _chunk_pairs(a: list[Chunk], b: list[Chunk], same: bool) -> list[tuple[Chunk, Chunk]]:
    if same:
        return list(itertools.combinations_with_replacement(a, 2))
    return list(itertools.product(a, b))


def _candidates(left: Chunk, right: Chunk, options: OverlapOptions, least: float) -> Candidates:
    if left is not right:
        return stand_out(between(left, right), options, least)
    both = stand_out(within(left, options.min_background), options, least)
    return both.where(both.rows < both.columns)


def _believed(
    found: list[tuple[Chunk, Chunk, Candidates]], compared: float, options: OverlapOptions
) -> list[Pair]:
    every = [candidates.evidence for _, _, candidates in found]
    evidence = np.concatenate(every) if every else np.zeros(0)
    keep = accepted(evidence, compared, options.max_false_share)
    pairs: list[Pair] = []
    start = 0
    for left, right, candidates in found:
        chosen = candidates.where(keep[start : start + len(candidates.rows)])
        start += len(candidates.rows)
        for i, j, value in zip(chosen.rows, chosen.columns, chosen.similarity, strict=True):
            gsm_a, gsm_b = left.gsm[i], right.gsm[j]
            if gsm_a != gsm_b:
                # The rounding of float32 can bring a copy above one.
                similarity = min(float(value), 1.0)
                pairs.append((gsm_a, left.cohort, gsm_b, right.cohort, "expression", similarity))
    return pairs
