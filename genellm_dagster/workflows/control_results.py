"""What the controls of GeneLLM gave, in more detail than one table of predictions holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.evaluation import intervals, metrics
from genellm_dagster.evaluation.folds import Folds
from genellm_dagster.evaluation.options import EvaluationOptions

_READ = (
    "Each permutation moves training labels within their cohort, so that shares of cases stay and "
    "only the tie between sample and label is cut. The mean tells whether labels leak; its "
    "interval is Student's over permutations, and does not hold what differs between samples."
)


def control_results(
    study: str,
    stratum: str,
    shuffled: Sequence[pd.DataFrame],
    folds: Folds,
    options: EvaluationOptions,
    gene_names: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Sum up the controls of a stratum.

    Args:
        study: Name of the study.
        stratum: Name of the stratum.
        shuffled: Out-of-fold predictions of each permutation of the training labels.
        folds: The folds they come from.
        options: Confidence of the intervals.
        gene_names: How gene names were permuted; none when that control was not run.

    Returns:
        JSON-safe: study, stratum, n, cases, prevalence, folds, shuffled_labels and
        shuffled_genes, each null where the control was not run.
    """
    case = np.array(list(folds.cases.values()))
    return {
        "study": study,
        "stratum": stratum,
        "n": len(case),
        "cases": int(case.sum()),
        "prevalence": float(case.mean()),
        "folds": folds.summary(),
        "shuffled_labels": _shuffled_labels(shuffled, folds, options) if shuffled else None,
        "shuffled_genes": None if gene_names is None else dict(gene_names),
    }


def _shuffled_labels(
    tables: Sequence[pd.DataFrame], folds: Folds, options: EvaluationOptions
) -> dict[str, Any]:
    each = [
        {"permutation": number, **_aurocs(table, folds, options)}
        for number, table in enumerate(tables, start=1)
    ]
    return {
        "permutations": len(each),
        "members": 1,
        "auroc": _spread([one["auroc"]["value"] for one in each], options),
        "auroc_within_cohorts": _spread([one["auroc_within_cohorts"] for one in each], options),
        "each": each,
        "note": _READ,
    }


def _aurocs(table: pd.DataFrame, folds: Folds, options: EvaluationOptions) -> dict[str, Any]:
    case = table["case"].to_numpy(dtype=np.int_)
    score = table["score"].to_numpy(dtype=np.float64)
    persons = np.array([folds.groups[str(gsm)] for gsm in table["gsm"]], dtype=np.int_)
    pooled = intervals.auroc_interval(case, score, persons, options.confidence)
    return {"auroc": pooled.as_json(), "auroc_within_cohorts": _within_cohorts(table, case, score)}


def _within_cohorts(
    table: pd.DataFrame, case: metrics.IntArray, score: metrics.FloatArray
) -> float | None:
    """Mean of the cohorts' AUROC, weighted by cases x controls / n; none where none has both."""
    total = weight = 0.0
    cohorts = table["cohort"].astype(str).to_numpy()
    for name in np.unique(cohorts):
        here = cohorts == name
        cases = int(case[here].sum())
        share = cases * (int(here.sum()) - cases) / int(here.sum())
        if share > 0:
            total += share * metrics.auroc(case[here], score[here])
            weight += share
    return total / weight if weight else None


def _spread(values: Sequence[float | None], options: EvaluationOptions) -> dict[str, Any]:
    """Mean over permutations with Student's interval, and the range."""
    from scipy.stats import t

    known = np.array([value for value in values if value is not None])
    found: dict[str, Any] = {"value": None, "low": None, "high": None, "n": len(known)}
    if not len(known):
        return {**found, "lowest": None, "highest": None, "reason": "no cohort holds both classes"}
    mean = float(known.mean())
    found |= {"value": mean, "lowest": float(known.min()), "highest": float(known.max())}
    if len(known) < 2:
        return {**found, "reason": "one permutation has no spread"}
    half = t.ppf(0.5 + options.confidence / 2, len(known) - 1) * known.std(ddof=1)
    half = float(half / np.sqrt(len(known)))
    return {**found, "low": max(0.0, mean - half), "high": min(1.0, mean + half)}
