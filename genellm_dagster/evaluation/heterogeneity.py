"""The age question: is the disease told as well, as surely, by the same genes in each stratum?

Every section holds a part for each stratum and a list ``differences`` (first minus second) for each
pair of strata, in the order the strata were given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.evaluation import intervals, metrics, resampling, separability
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.signature_overlap import gene_direction, gene_strength, overlap_test

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int_]


@dataclass(frozen=True)
class _Scores:
    """One model's out-of-fold scores in one stratum."""

    case: IntArray
    score: FloatArray
    uncertainty: FloatArray
    persons: IntArray


def compare_strata(
    study: str,
    predictions: Mapping[str, pd.DataFrame],
    representations: Mapping[str, pd.DataFrame],
    attributions: Mapping[str, pd.DataFrame],
    samples: Mapping[str, pd.DataFrame],
    options: EvaluationOptions,
    seed: int,
    *,
    profiles: Mapping[str, pd.DataFrame] | None = None,
    transfer: Mapping[tuple[str, str], pd.DataFrame] | None = None,
) -> dict[str, Any]:
    """Compare the strata of a study.

    Args:
        study: Name of the study.
        predictions: Stratum to its out-of-fold predictions, of one or more models.
        representations: Stratum to samples x dims (index gsm), the model's own space.
        attributions: Stratum to samples x genes (index gsm), signed attributions.
        samples: Stratum to its samples: gsm, cohort, subject, case.
        options: Settings; ``reference_model`` is the model the headline rests on.
        seed: Seed of every resampling.
        profiles: Stratum to samples x genes; with them the direction of each gene can be told.
        transfer: (trained on, tested on) to the predictions there, where they were made.

    Returns:
        JSON-safe: study, strata, note, samples, discrimination, uncertainty, separability,
        signatures, transfer.
    """
    strata = [name for name in samples if len(samples[name])]
    used = [name for name in strata if name in predictions and _both(predictions[name])]
    notes = [
        f"Stratum {name} has no predictions with both classes and is not compared."
        for name in strata
        if name not in used
    ]
    if len(used) < 2:
        only = used[0] if used else "none"
        notes.insert(
            0, f"Only one stratum can be judged ({only}), so there is nothing to compare it with."
        )
    return {
        "study": study,
        "strata": strata,
        "compared": used if len(used) >= 2 else [],
        "reference_model": options.reference_model,
        "note": " ".join(notes),
        "samples": {name: _sizes(samples[name]) for name in strata},
        "discrimination": _discrimination(
            {name: predictions[name] for name in used}, options, seed
        ),
        "uncertainty": _uncertainty({name: predictions[name] for name in used}, options, seed),
        "separability": _separability(representations, samples, options, seed),
        "signatures": _signatures(attributions, profiles or {}, options),
        "transfer": _transfer(transfer or {}, options),
    }


def _both(table: pd.DataFrame) -> bool:
    return table["case"].nunique() == 2


def _sizes(table: pd.DataFrame) -> dict[str, Any]:
    case = table["case"].astype(int)
    persons = table["cohort"].astype(str) + "|" + table["subject"].astype(str)
    return {
        "n": len(case),
        "cases": int(case.sum()),
        "prevalence": float(case.mean()),
        "persons": int(persons.nunique()),
        "cohorts": sorted(table["cohort"].astype(str).unique().tolist()),
    }


def _scores(table: pd.DataFrame, model: str) -> _Scores:
    rows = table.loc[table["model"] == model].sort_values("gsm")
    return _Scores(
        rows["case"].to_numpy(dtype=np.int_),
        rows["score"].to_numpy(dtype=np.float64),
        rows["uncertainty"].to_numpy(dtype=np.float64),
        _persons(rows),
    )


def _persons(rows: pd.DataFrame) -> IntArray:
    names = (rows["cohort"].astype(str) + "|" + rows["subject"].astype(str)).to_numpy(str)
    return np.unique(names, return_inverse=True)[1].astype(np.int_)


def _common_models(predictions: dict[str, pd.DataFrame]) -> list[str]:
    tables = list(predictions.values())
    if not tables:
        return []
    common = [str(model) for model in pd.unique(tables[0]["model"])]
    return [m for m in common if all(m in set(table["model"]) for table in tables)]


def _pairs(
    parts: Mapping[str, Any], subtract: Callable[[str, str], Interval]
) -> list[dict[str, Any]]:
    return [
        {"first": first, "second": second, **subtract(first, second).as_json()}
        for first, second in combinations(parts, 2)
    ]


def _independent_differences(parts: Mapping[str, Interval]) -> list[dict[str, Any]]:
    return _pairs(parts, lambda a, b: intervals.square_and_add(parts[a], parts[b]))


def _discrimination(
    predictions: dict[str, pd.DataFrame], options: EvaluationOptions, seed: int
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for model in _common_models(predictions):
        scores = {name: _scores(table, model) for name, table in predictions.items()}
        auroc = {
            name: intervals.auroc_interval(one.case, one.score, one.persons, options.confidence)
            for name, one in scores.items()
        }
        found[model] = {
            "strata": {name: {"auroc": one.as_json()} for name, one in auroc.items()},
            "differences": _independent_differences(auroc),
            "equal_size": _equal_size(scores, options, seed),
        }
    return found


def _equal_size(
    scores: dict[str, _Scores], options: EvaluationOptions, seed: int
) -> dict[str, Any]:
    """AUROC and average precision when every stratum has as many persons of each class.

    Persons are drawn with replacement, as many cases and controls as the poorest stratum has, one
    sample a person. The interval is the wider of the resamples' percentiles and Newcombe's method
    at that size, so that a perfect order is not called certain.
    """
    cases, controls = (
        min(intervals.person_counts(one.case, one.persons)[place] for one in scores.values())
        for place in (0, 1)
    )
    parts: dict[str, dict[str, Interval]] = {}
    for position, (name, one) in enumerate(scores.items()):
        generator = np.random.default_rng([seed, position])
        size = options.equal_size_resamples
        counts = np.zeros((size, len(one.case)), dtype=np.float32)
        for label, wanted in ((1, cases), (0, controls)):
            chosen = _draw_persons(one, label, wanted, size, generator)
            np.add.at(counts, (np.arange(size)[:, None], chosen), 1)
        areas = resampling.resampled_auroc(one.case, one.score, counts)
        precisions = resampling.resampled_average_precision(one.case, one.score, counts)
        mean = min(1.0, float(areas.mean()))
        auroc = intervals.percentile_interval(mean, areas, options.confidence)
        low, high = intervals.newcombe_interval(mean, cases, controls, options.confidence)
        auroc = Interval(mean, min(float(auroc.low or 0), low), max(float(auroc.high or 1), high))
        parts[name] = {
            "auroc": auroc,
            "average_precision": intervals.bounded_precision_interval(
                min(1.0, float(precisions.mean())),
                precisions,
                auroc_low=float(auroc.low or 0.0),
                prevalence=cases / (cases + controls),
                confidence=options.confidence,
            ),
        }
    return {
        "cases": cases,
        "controls": controls,
        "prevalence": cases / (cases + controls),
        "resamples": options.equal_size_resamples,
        "strata": {
            name: {key: one.as_json() for key, one in part.items()} for name, part in parts.items()
        },
        "differences": {
            key: _independent_differences({name: part[key] for name, part in parts.items()})
            for key in ("auroc", "average_precision")
        },
    }


def _draw_persons(
    one: _Scores, label: int, wanted: int, size: int, generator: np.random.Generator
) -> IntArray:
    """Resamples x wanted positions: random persons of a class, then a random sample of each."""
    rows = np.flatnonzero(one.case == label)
    rows = rows[np.argsort(one.persons[rows], kind="stable")]
    _, start, count = np.unique(one.persons[rows], return_index=True, return_counts=True)
    person = generator.integers(0, len(start), size=(size, wanted))
    within = np.floor(generator.random((size, wanted)) * count[person]).astype(np.int_)
    return rows[start[person] + within]


def _uncertainty(
    predictions: dict[str, pd.DataFrame], options: EvaluationOptions, seed: int
) -> dict[str, Any]:
    """How sure the scores are: entropy (bits), distance from one half, ensemble, spread (SD)."""
    from genellm_dagster.baselines.run import binary_entropy

    found: dict[str, Any] = {}
    for model in _common_models(predictions):
        parts: dict[str, dict[str, Interval]] = {}
        draws: dict[str, dict[str, FloatArray]] = {}
        for position, (name, table) in enumerate(predictions.items()):
            one = _scores(table, model)
            counts = resampling.bootstrap_counts(
                one.case, one.persons, options.bootstraps, seed + position
            )
            values = {
                "entropy": binary_entropy(one.score),
                "distance_from_half": np.abs(one.score - 0.5),
            }
            if np.isfinite(one.uncertainty).all():
                values["uncertainty"] = one.uncertainty
            draws[name] = {
                key: resampling.resampled_mean(value, counts) for key, value in values.items()
            }
            mean = resampling.resampled_mean(one.score, counts)
            square = resampling.resampled_mean(one.score**2, counts)
            draws[name]["spread"] = np.sqrt(np.maximum(square - mean**2, 0.0))
            points = {key: float(value.mean()) for key, value in values.items()}
            points["spread"] = float(one.score.std())
            parts[name] = {
                key: intervals.percentile_interval(points[key], drawn, options.confidence)
                for key, drawn in draws[name].items()
            }
        found[model] = {
            "strata": {
                name: {key: one.as_json() for key, one in part.items()}
                for name, part in parts.items()
            },
            "differences": _drawn_differences(parts, draws, options.confidence),
        }
    return found


def _drawn_differences(
    parts: dict[str, dict[str, Interval]],
    draws: dict[str, dict[str, FloatArray]],
    confidence: float,
) -> dict[str, list[dict[str, Any]]]:
    """Differences of independent strata from their bootstrap draws, measure by measure."""
    if not parts:
        return {}
    keys = [
        key for key in next(iter(parts.values())) if all(key in part for part in parts.values())
    ]

    def subtract(key: str) -> Callable[[str, str], Interval]:
        def difference(first: str, second: str) -> Interval:
            value = float(parts[first][key].value or 0.0) - float(parts[second][key].value or 0.0)
            drawn = draws[first][key] - draws[second][key]
            return intervals.percentile_interval(value, drawn, confidence)

        return difference

    return {key: _pairs(parts, subtract(key)) for key in keys}


def _separability(
    representations: Mapping[str, pd.DataFrame],
    samples: Mapping[str, pd.DataFrame],
    options: EvaluationOptions,
    seed: int,
) -> dict[str, Any]:
    """Silhouettes and Fisher ratio in the original space; intervals resample persons."""
    parts: dict[str, dict[str, Interval]] = {}
    draws: dict[str, dict[str, FloatArray]] = {}
    sizes: dict[str, dict[str, int]] = {}
    left_out: list[str] = []
    for position, (name, table) in enumerate(representations.items()):
        if name not in samples:
            left_out.append(name)
            continue
        rows = samples[name].loc[samples[name]["gsm"].isin(table.index)]
        if len(rows) > options.separability_max_samples:
            rows = rows.sample(options.separability_max_samples, random_state=seed)
        case = rows["case"].to_numpy(dtype=np.int_)
        if len(np.unique(case)) < 2 or min(case.sum(), len(case) - case.sum()) < 2:
            left_out.append(name)
            continue
        points = table.loc[rows["gsm"]].to_numpy(dtype=np.float64)
        counts = resampling.bootstrap_counts(
            case, _persons(rows), options.separability_resamples, seed + position
        )
        distance = separability.distances(points)
        label = separability.silhouettes(distance, case)
        values = {"silhouette_label": label}
        cohort = np.unique(rows["cohort"].astype(str), return_inverse=True)[1]
        if cohort.max() > 0:
            values["silhouette_cohort"] = separability.silhouettes(distance, cohort)
        draws[name] = {key: resampling.resampled_mean(one, counts) for key, one in values.items()}
        found = {key: float(one.mean()) for key, one in values.items()}
        found["silhouette_label_balanced"] = separability.balanced_mean(label, case)
        draws[name]["silhouette_label_balanced"] = np.mean(
            [
                resampling.resampled_mean(label[case == one], counts[:, case == one])
                for one in (0, 1)
            ],
            axis=0,
        )
        whole = np.ones((1, len(case)), dtype=np.float32)
        found["fisher_ratio"] = float(separability.fisher_ratios(points, case, whole)[0])
        draws[name]["fisher_ratio"] = separability.fisher_ratios(points, case, counts)
        parts[name] = {
            key: intervals.percentile_interval(found[key], drawn, options.confidence)
            for key, drawn in draws[name].items()
        }
        sizes[name] = {"n": len(case), "cases": int(case.sum()), "dimensions": points.shape[1]}
    return {
        "strata": {
            name: {**sizes[name], **{key: one.as_json() for key, one in part.items()}}
            for name, part in parts.items()
        },
        "differences": _drawn_differences(parts, draws, options.confidence),
        "left_out_with_fewer_than_two_samples_a_class": left_out,
        "note": "Silhouettes of the samples as they lie among all others; the intervals resample "
        "persons, not the space.",
    }


def _signatures(
    attributions: Mapping[str, pd.DataFrame],
    profiles: Mapping[str, pd.DataFrame],
    options: EvaluationOptions,
) -> dict[str, Any]:
    strength = {name: gene_strength(table) for name, table in attributions.items() if len(table)}
    direction = {
        name: gene_direction(attributions[name], profiles[name])
        for name in strength
        if name in profiles
    }
    found: list[dict[str, Any]] = []
    for first, second in combinations(strength, 2):
        test = overlap_test(strength[first], strength[second], options.top_genes)
        test["direction_agreement"] = None
        if first in direction and second in direction:
            shared = [
                gene
                for gene in test.get("shared", [])
                if gene in direction[first] and gene in direction[second]
            ]
            same = [gene for gene in shared if direction[first][gene] == direction[second][gene]]
            if shared:
                test["direction_agreement"] = {"same": len(same), "of": len(shared)}
        found.append({"first": first, "second": second, **test})
    return {
        "k": options.top_genes,
        "null": "permuted gene names (exact, hypergeometric)",
        "top": {name: one.index[: options.top_genes].tolist() for name, one in strength.items()},
        "pairs": found,
    }


def _transfer(
    transfer: Mapping[tuple[str, str], pd.DataFrame], options: EvaluationOptions
) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = []
    for (trained, tested), table in transfer.items():
        for model in pd.unique(table["model"]):
            one = _scores(table, str(model))
            metrics.require_both_classes(one.case)
            auroc = intervals.auroc_interval(one.case, one.score, one.persons, options.confidence)
            cells.append(
                {
                    "trained_on": trained,
                    "tested_on": tested,
                    "model": str(model),
                    "n": len(one.case),
                    "cases": int(one.case.sum()),
                    "auroc": auroc.as_json(),
                }
            )
    return cells
