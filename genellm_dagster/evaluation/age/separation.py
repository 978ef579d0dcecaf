"""How far cases and controls lie apart in each stratum, in the representations' own space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.evaluation import intervals, resampling, separability
from genellm_dagster.evaluation.age.parts import (
    FloatArray,
    drawn_differences,
    persons_of,
)
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.two_sample import two_sample_test


def separation(
    representations: Mapping[str, pd.DataFrame],
    samples: Mapping[str, pd.DataFrame],
    options: EvaluationOptions,
    seed: int,
) -> dict[str, Any]:
    """Measure silhouettes, Fisher ratio and two-sample tests in the representations' own space.

    Args:
        representations: Stratum to samples x dimensions (index gsm).
        samples: Stratum to its samples: gsm, cohort, subject, case.
        options: Settings.
        seed: Of drawn samples and resamplings of persons.

    Returns:
        strata, differences, what was left out, and a note on how to read them.
    """
    parts: dict[str, dict[str, Interval]] = {}
    draws: dict[str, dict[str, FloatArray]] = {}
    sizes: dict[str, dict[str, int]] = {}
    tests: dict[str, dict[str, dict[str, Any]]] = {}
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
            case, persons_of(rows), options.separability_resamples, seed + position
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
        draws[name]["silhouette_label_balanced"] = separability.resampled_balanced_mean(
            label, case, counts
        )
        whole = np.ones((1, len(case)), dtype=np.float32)
        found["fisher_ratio"] = float(separability.fisher_ratios(points, case, whole)[0])
        draws[name]["fisher_ratio"] = separability.fisher_ratios(points, case, counts)
        parts[name] = {
            key: intervals.percentile_interval(found[key], drawn, options.confidence)
            for key, drawn in draws[name].items()
        }
        tests[name] = {
            f"two_sample_{key}": two_sample_test(
                points,
                group,
                persons_of(rows),
                confidence=options.confidence,
                resamples=options.separability_resamples,
                seed=seed + position,
            )
            for key, group in (("label", case), ("cohort", cohort))
            if len(np.unique(group)) > 1
        }
        sizes[name] = {"n": len(case), "cases": int(case.sum()), "dimensions": points.shape[1]}
    return {
        "strata": {
            name: {
                **sizes[name],
                **{key: one.as_json() for key, one in part.items()},
                **tests[name],
            }
            for name, part in parts.items()
        },
        "differences": drawn_differences(parts, draws, options.confidence),
        "left_out_with_fewer_than_two_samples_a_class": left_out,
        "note": "Silhouettes of the samples as they lie among all others; the intervals resample "
        "persons, not the space. Two-sample tests: AUROC of a linear classifier trained on half of "
        "the people, on the other half, .5 where the groups lie alike. Each fold has adapters of "
        "its own, so that cohorts, which are the folds where there are two or more, also lie apart "
        "for that.",
    }
