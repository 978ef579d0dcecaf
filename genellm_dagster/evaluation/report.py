"""The evaluation report of one stratum: every model's numbers with interval, n and prevalence.

The primary AUROC pools the out-of-fold scores of all folds, which are all on a probability scale;
the average of the AUROC inside each cohort stands beside it, because pooling also counts the
comparison of a case of one cohort with a control of another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.baselines.signatures import developed_on as signature_origins
from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation import intervals, pooling
from genellm_dagster.evaluation.delong import delong_test, holm
from genellm_dagster.evaluation.folds import Folds
from genellm_dagster.evaluation.judging import Judgement, Samples, effective_rule, judge
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.thresholds import FEWEST_FOLDS, TOO_FEW_FOLDS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int_]


def evaluate(
    study: str,
    stratum: str,
    predictions: pd.DataFrame,
    folds: Folds,
    options: EvaluationOptions,
    *,
    developed_on: Mapping[str, Sequence[str]] | None = None,
    transductive: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Judge every model on the same out-of-fold predictions.

    Args:
        study: Name of the study.
        stratum: Name of the stratum.
        predictions: gsm, cohort, subject, case, fold, model, score (0..1) of one stratum; the same
            samples for every model.
        folds: The folds they come from; their groups say who is one person.
        options: Threshold, resamples, confidence, seed, reference model.
        developed_on: Model to the series it was developed on, to be said beside its numbers; none
            means as the project's signature files say.
        transductive: Model to the steps by which its scores used other samples of a test cohort,
            or its labels, to be said wherever its numbers are.

    Returns:
        JSON-safe: study, stratum, n, cases, prevalence, folds, models; then persons,
        threshold_rule, threshold, confidence, bootstrap, intervals (of the plain numbers),
        within_cohorts, comparisons, transductive, methods, notes.
        The numbers of a model that have their interval elsewhere are plain numbers or null.
        After the keys that programs rely on a model has auroc_bootstrap,
        sensitivity_at_95_specificity (of the ROC curve), operating_points (thresholds by fold with
        what they gave: training_folds, fixed, specificity_95), brier_decomposition, net_benefit
        and pooled_auroc (over cohorts).

    Raises:
        EvaluationError: When models were given different samples, a score is not within 0..1, or
            one class is missing.
    """
    models = [str(model) for model in pd.unique(predictions["model"])]
    if not models:
        raise EvaluationError(
            f"There is no prediction for stratum {stratum} of {study}; materialize its models."
        )
    tables = {model: _model_table(model, predictions, folds) for model in models}
    first = tables[models[0]]
    for model, table in tables.items():
        if not table[["gsm", "case"]].equals(first[["gsm", "case"]]):
            raise EvaluationError(
                f"{model} and {models[0]} were judged on different samples of stratum {stratum}; "
                "materialize both again."
            )
    samples = Samples.of(first, folds, options)
    case = samples.case
    scores = {model: table["score"].to_numpy(dtype=np.float64) for model, table in tables.items()}
    found = {model: judge(samples, score, options) for model, score in scores.items()}
    return {
        "study": study,
        "stratum": stratum,
        "n": len(case),
        "cases": int(case.sum()),
        "prevalence": float(case.mean()),
        "folds": folds.summary(),
        "models": {model: parts.report for model, parts in found.items()},
        "persons": len(np.unique(samples.persons)),
        "threshold_rule": effective_rule(folds, options),
        "threshold": options.threshold,
        "confidence": options.confidence,
        "bootstrap": {
            "resamples": options.bootstraps,
            "interval": options.bootstrap_interval,
            "seed": options.seed,
        },
        "intervals": {model: parts.intervals for model, parts in found.items()},
        "within_cohorts": {model: parts.within_cohorts for model, parts in found.items()},
        "comparisons": _comparisons(samples, scores, found, options),
        "transductive": {
            model: list(steps) for model, steps in (transductive or {}).items() if steps
        },
        "methods": {**intervals.METHODS, "pooled_auroc": pooling.METHOD},
        "notes": _notes(
            folds,
            samples.cohorts,
            case,
            found,
            signature_origins() if developed_on is None else developed_on,
        ),
    }


def _model_table(model: str, predictions: pd.DataFrame, folds: Folds) -> pd.DataFrame:
    table = predictions.loc[predictions["model"] == model].sort_values("gsm", ignore_index=True)
    if table["gsm"].duplicated().any():
        double = table.loc[table["gsm"].duplicated(), "gsm"].iloc[0]
        raise EvaluationError(
            f"{model} predicts {double} twice; materialize its predictions again."
        )
    score = table["score"].to_numpy(dtype=np.float64)
    if not (np.isfinite(score).all() and (score >= 0).all() and (score <= 1).all()):
        raise EvaluationError(
            f"{model} gave a score that is not within 0..1; materialize its predictions again."
        )
    if table["case"].isna().any():
        raise EvaluationError(f"{model} was given samples without a label; they cannot be judged.")
    if set(table["gsm"]) != set(folds.groups):
        odd = min(set(table["gsm"]) ^ set(folds.groups))
        raise EvaluationError(
            f"The predictions of {model} and the folds do not hold the same samples ({odd}, for "
            "one); materialize them again."
        )
    return table


def _comparisons(
    samples: Samples,
    scores: dict[str, FloatArray],
    found: dict[str, Judgement],
    options: EvaluationOptions,
) -> list[dict[str, Any]]:
    """Paired DeLong of every model against the reference, Holm-adjusted over the others."""
    reference = options.reference_model
    others = [model for model in scores if model != reference]
    if reference not in scores or not others:
        return []
    tests = [
        delong_test(samples.case, scores[reference], scores[model], samples.persons)
        for model in others
    ]
    adjusted = holm([test.p for test in tests])
    return [
        {
            "reference": reference,
            "model": model,
            "auroc_difference": intervals.paired_difference(
                test.difference,
                test.standard_error,
                found[reference].auroc,
                found[model].auroc,
                options.confidence,
            ).as_json(),
            "p": test.p,
            "p_holm": p_holm,
        }
        for model, test, p_holm in zip(others, tests, adjusted, strict=True)
    ]


def _notes(
    folds: Folds,
    cohorts: NDArray[Any],
    case: IntArray,
    found: Mapping[str, Judgement],
    developed_on: Mapping[str, Sequence[str]],
) -> list[str]:
    notes = [
        "AUROC pools the out-of-fold scores of all folds; the average inside cohorts is in "
        "within_cohorts.",
        "Calibration intercept is taken with the slope held at one.",
        _threshold_note(folds),
        "Net benefit holds at the prevalence of these samples, which is that of no clinic.",
    ]
    present = set(cohorts)
    for name in sorted(present):
        inside = case[cohorts == name]
        if inside.min() == inside.max():
            kind = "cases" if inside[0] else "controls"
            notes.append(f"{name} holds only {kind}: label and cohort are one there.")
    dropped = sum(len(fold.dropped) for fold in folds)
    if dropped:
        notes.append(
            f"{dropped} training places were left empty: their samples overlap the test side."
        )
    for model, series in developed_on.items():
        seen = [name for name in series if name.split(" ")[0] in present]
        if model in found and seen:
            notes.append(f"{model} was developed on {', '.join(seen)}: flattered there.")
    return notes


def _threshold_note(folds: Folds) -> str:
    if len(folds) < FEWEST_FOLDS:
        return f"No threshold is chosen on training folds: {TOO_FEW_FOLDS}."
    return (
        "The threshold of a fold is chosen on the out-of-fold scores of its training samples; no "
        "sample of the test side takes part."
    )
