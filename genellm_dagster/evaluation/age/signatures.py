"""Do strata lean on the same genes: overlap, rankings, stability, direction, sets of genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.evaluation import intervals
from genellm_dagster.evaluation.age.enrichment import enrichment
from genellm_dagster.evaluation.age.parts import FloatArray, persons_of
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.signature_overlap import (
    chosen_among_top,
    extrapolated_overlap,
    gene_direction,
    gene_strength,
    overlap_test,
    rank_biased_overlap,
    resampled_strength,
)


def signatures(
    attributions: Mapping[str, pd.DataFrame],
    profiles: Mapping[str, pd.DataFrame],
    samples: Mapping[str, pd.DataFrame],
    sets: Mapping[str, Mapping[str, Sequence[str]]],
    options: EvaluationOptions,
    seed: int,
) -> dict[str, Any]:
    """Compare what the models of two strata lean on.

    Args:
        attributions: Stratum to samples x genes (index gsm), signed attributions.
        profiles: Stratum to samples x genes; with them the direction of each gene can be told.
        samples: Stratum to its samples, which know the person of each gsm.
        sets: Collection to set to genes, for enrichment.
        options: Settings.
        seed: Of resamplings and permutations.

    Returns:
        k, null, top (stratum to genes), pairs (overlap against the exact null, its interval over
        resampled people, rank-biased overlap, direction), stability (stratum to the genes that are
        among the top in most resamplings), enrichment.
    """
    known = {name: table for name, table in attributions.items() if len(table)}
    strength = {name: gene_strength(table) for name, table in known.items()}
    top = {name: one.index[: options.top_genes].tolist() for name, one in strength.items()}
    drawn = {
        name: _resampled(table, samples.get(name), options, seed + place)
        for place, (name, table) in enumerate(known.items())
    }
    direction = {
        name: gene_direction(known[name], profiles[name]) for name in known if name in profiles
    }
    found: list[dict[str, Any]] = []
    for first, second in combinations(strength, 2):
        test = overlap_test(strength[first], strength[second], options.top_genes)
        test["direction_agreement"] = None
        if first in direction and second in direction:
            test["direction_agreement"] = _agreement(
                test.get("shared", []), direction[first], direction[second], options
            )
        test["rank_biased_overlap"] = rank_biased_overlap(
            strength[first],
            strength[second],
            options.age.rank_persistence,
            options.age.permutations,
            seed,
        )
        again = _overlap_again(drawn[first], drawn[second], options)
        value = test["overlap"]
        test["overlap_interval"] = _percentiles(value, again["overlap"], options).as_json()
        ranked = test["rank_biased_overlap"]
        ends = _percentiles(ranked["value"], again["ranked"], options)
        ranked |= {"low": ends.low, "high": ends.high}
        found.append({"first": first, "second": second, **test})
    backgrounds = {name: [str(gene) for gene in one.index] for name, one in strength.items()}
    leading = {
        name: [gene for gene in genes if strength[name][gene] > 0] for name, genes in top.items()
    }
    return {
        "k": options.top_genes,
        "null": "permuted gene names (exact, hypergeometric)",
        "top": top,
        "pairs": found,
        "stability": {
            name: _stability(one, options, len(known[name])) for name, one in drawn.items()
        },
        "enrichment": enrichment(leading, backgrounds, sets, options.age, options.confidence),
    }


def _agreement(
    shared: Sequence[str], first: pd.Series, second: pd.Series, options: EvaluationOptions
) -> dict[str, Any] | None:
    """How many shared genes push the same way; the interval takes genes for independent."""
    told = [gene for gene in shared if gene in first and gene in second]
    if not told:
        return None
    same = sum(first[gene] == second[gene] for gene in told)
    low, high = intervals.wilson_interval(same / len(told), len(told), options.confidence)
    return {
        "same": int(same), "of": len(told),
        "share": Interval(float(same / len(told)), low, high).as_json(),
    }  # fmt: skip


def _resampled(
    table: pd.DataFrame, samples: pd.DataFrame | None, options: EvaluationOptions, seed: int
) -> pd.DataFrame:
    """Strength of each gene in resamples of the people who were explained."""
    table = table.sort_index(axis=1)
    persons = np.arange(len(table))
    if samples is not None:
        rows = samples.set_index("gsm", drop=False).reindex(table.index)
        # A sample that is explained but listed no more is a person of its own.
        persons = persons_of(rows.assign(subject=rows["subject"].fillna(rows["gsm"])))
    drawn = resampled_strength(table, persons, options.age.signature_resamples, seed)
    return pd.DataFrame(drawn, columns=table.columns.astype(str))


def _stability(drawn: pd.DataFrame, options: EvaluationOptions, samples: int) -> dict[str, Any]:
    chosen = chosen_among_top(drawn.to_numpy(), options.top_genes).mean(axis=0)
    share = pd.Series(chosen, index=drawn.columns).sort_values(ascending=False, kind="stable")
    stable = share[share >= options.age.stable_share]
    return {
        "samples": samples,
        "resamples": len(drawn),
        "threshold": options.age.stable_share,
        "stable": len(stable),
        "genes": {str(gene): float(one) for gene, one in stable.items()},
    }


def _overlap_again(
    first: pd.DataFrame, second: pd.DataFrame, options: EvaluationOptions
) -> dict[str, FloatArray]:
    """Overlap and rank-biased overlap of the top genes in every resample."""
    common = [gene for gene in first.columns if gene in set(second.columns)]
    one, other = (table[common].to_numpy() for table in (first, second))
    k = min(options.top_genes, len(common))
    shared = (chosen_among_top(one, k) & chosen_among_top(other, k)).sum(axis=1)
    ranked = []
    for left, right in zip(one, other, strict=True):
        lists = [np.argsort(-row, kind="stable")[: int((row > 0).sum())] for row in (left, right)]
        depth = min(map(len, lists))
        if depth:
            names = [[str(gene) for gene in part[:depth]] for part in lists]
            ranked.append(extrapolated_overlap(names[0], names[1], options.age.rank_persistence))
    return {"overlap": shared.astype(np.float64), "ranked": np.array(ranked)}


def _percentiles(value: float | None, drawn: FloatArray, options: EvaluationOptions) -> Interval:
    if value is None or not len(drawn):
        return Interval(None, None, None, "no gene is common to both strata")
    return intervals.percentile_interval(float(value), drawn, options.confidence)
