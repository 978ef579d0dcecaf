"""Every baseline on given folds: one table of out-of-fold predictions, and who refused why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.baselines.controls import (
    COHORT_ONLY,
    COMPOSITION_ONLY,
    cohort_only,
    composition_only,
)
from genellm_dagster.baselines.kinds import Kind, classifiers
from genellm_dagster.baselines.options import BaselineOptions, SingleGeneOptions
from genellm_dagster.baselines.signatures import (
    Refused,
    Signature,
    load_signatures,
    score_signature,
)
from genellm_dagster.baselines.single_gene import auroc_by_gene, choose_gene
from genellm_dagster.baselines.splits import FoldLike, Outcome, Split, make_splits
from genellm_dagster.baselines.squash import Squash, class_weights, fit_squash
from genellm_dagster.errors import EvaluationError

PREDICTION_COLUMNS = [
    "gsm", "cohort", "stratum", "subject", "case", "fold", "model", "score", "uncertainty",
]  # fmt: skip
SINGLE_GENE = "best_single_gene"

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class BaselineResult:
    """What the baselines gave.

    Attributes:
        predictions: gsm, cohort, stratum, subject, case, fold, model, score (0..1), uncertainty
            (binary entropy of the score in bits, 0..1).
        refusals: Model to the sentence that says why it gave no score in this stratum.
        details: Model to fold to what was learned there (chosen gene, C, slope).
        about: Model to what is known of it (title, question, source, developed_on).
    """

    predictions: pd.DataFrame
    refusals: dict[str, str]
    details: dict[str, dict[str, dict[str, Any]]]
    about: dict[str, dict[str, Any]] = field(default_factory=dict)


def baseline_predictions(
    profiles_of: Callable[[str], pd.DataFrame],
    expression: pd.DataFrame,
    samples: pd.DataFrame,
    folds: Sequence[FoldLike],
    options: BaselineOptions,
    seed: int,
    progress: Callable[[str], None] | None = None,
    scales: Mapping[str, str] | None = None,
    groups: Mapping[str, int] | None = None,
    composition: pd.DataFrame | None = None,
) -> BaselineResult:
    """Predict the test side of every fold with every baseline.

    Args:
        profiles_of: Gives the profiles of a fold by its name: samples x vocabulary genes (index
            gsm), what the models see; NaN absent. What was learned for them was learned on that
            fold's training side.
        expression: Samples x genes, log2 (index gsm), what signatures are defined on; NaN absent.
        samples: The samples of the stratum: gsm, cohort, subject, case, stratum.
        folds: Folds that no person crosses.
        options: Settings of the baselines.
        seed: Seed of inner folds and trees.
        progress: Called with a short sentence as each model is done.
        scales: Cohort to the kind of scale that is recorded of its values; signatures that cannot
            take it refuse.
        groups: Group of each gsm; samples of one group are one person or overlap, and stay on one
            side of inner folds. None means that a person is a subject of a cohort.
        composition: Scores of blood cells, samples x kinds of cells (index gsm), NaN where a kind
            cannot be told; none leaves out what rests on them.

    Returns:
        Predictions, refusals and details. A model that cannot score every sample is refused for
        the whole stratum.

    Raises:
        EvaluationError: When a table lacks samples or a training side lacks a class.
    """
    from threadpoolctl import threadpool_limits

    say = progress or (lambda sentence: None)
    splits = make_splits(profiles_of, expression, samples, folds, groups)
    tables: list[pd.DataFrame] = []
    refusals: dict[str, str] = {}
    details: dict[str, dict[str, dict[str, Any]]] = {}
    about: dict[str, dict[str, Any]] = {}

    def add(model: str, outcome: dict[str, Outcome] | Refused) -> None:
        if isinstance(outcome, Refused):
            refusals[model] = outcome.reason
            say(f"{model}: refused")
            return
        tables.extend(_table(model, split, outcome[split.name][0]) for split in splits)
        details[model] = {name: found for name, (_, found) in outcome.items()}
        say(f"{model}: done")

    for signature in _wanted_signatures(options):
        about[signature.name] = _about(signature)
        add(signature.name, _run_signature(signature, expression, samples, splits, options, scales))
    if options.single_gene is not None:
        about[SINGLE_GENE] = {"title": "Best single gene, chosen on the training folds"}
        add(SINGLE_GENE, _run_single_gene(options.single_gene, splits, options))
    with threadpool_limits(options.threads, user_api="blas"):
        for model, kind in classifiers(options).items():
            about[model] = {"title": kind.title}
            add(model, _run_classifier(kind, splits, options, seed))
        if options.composition_only and composition is not None:
            about[COMPOSITION_ONLY] = {"title": "Control: scores of blood cells alone"}
            add(COMPOSITION_ONLY, composition_only(composition, splits, options, seed))
        if options.cohort_only is not None:
            about[COHORT_ONLY] = {"title": "Control: resemblance to training cohorts alone"}
            add(COHORT_ONLY, cohort_only(splits, options.cohort_only))
    predictions = (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame({name: [] for name in PREDICTION_COLUMNS})
    )
    return BaselineResult(predictions, refusals, details, about)


def _wanted_signatures(options: BaselineOptions) -> list[Signature]:
    known = load_signatures(options.signatures_folder)
    if options.signatures is None:
        return list(known.values())
    for name in options.signatures:
        if name not in known:
            raise EvaluationError(
                f"There is no signature {name!r}; those known are {', '.join(known)}."
            )
    return [known[name] for name in options.signatures]


def _about(signature: Signature) -> dict[str, Any]:
    return {
        "title": signature.title,
        "question": signature.question,
        "source": signature.source,
        "address": signature.address,
        "direction": signature.direction,
        "developed_on": [*signature.developed_on],
        "developed_on_unverified": [*signature.developed_on_unverified],
        "notes": signature.notes,
    }


def _run_signature(
    signature: Signature,
    expression: pd.DataFrame,
    samples: pd.DataFrame,
    splits: list[Split],
    options: BaselineOptions,
    scales: Mapping[str, str] | None,
) -> dict[str, Outcome] | Refused:
    rows = samples.set_index("gsm")
    raw = score_signature(
        signature,
        expression.loc[rows.index],
        rows["cohort"],
        missing_genes_allowed=options.missing_genes_allowed,
        scales=scales,
    )
    if isinstance(raw, Refused):
        return raw
    outcome: dict[str, Outcome] = {}
    for split in splits:
        train = raw.loc[split.train.rows["gsm"]].to_numpy(dtype=np.float64)
        test = raw.loc[split.test.rows["gsm"]].to_numpy(dtype=np.float64)
        sign = {"high": 1.0, "low": -1.0}.get(signature.direction) or _trained_sign(split, train)
        squash = _squash(sign * train, split.train.case, options)
        found = {
            "direction": "high" if sign > 0 else "low",
            "direction_from": "training fold" if signature.direction == "training" else "source",
            **_squash_details(squash),
        }
        outcome[split.name] = (squash.apply(sign * test), found)
    return outcome


def _run_classifier(
    kind: Kind, splits: list[Split], options: BaselineOptions, seed: int
) -> dict[str, Outcome]:
    outcome: dict[str, Outcome] = {}
    for split in splits:
        fitted = kind.fit(split.train.training(), options, seed)
        score = fitted.predict(split.test.profiles.to_numpy(dtype=np.float64))
        outcome[split.name] = (score, fitted.details)
    return outcome


def _trained_sign(split: Split, score: FloatArray) -> float:
    cohorts = split.train.rows["cohort"].to_numpy(object)
    chosen = choose_gene(pd.DataFrame({"score": score}), split.train.case, cohorts)
    return -1.0 if chosen is not None and chosen.direction == "down" else 1.0


def _run_single_gene(
    settings: SingleGeneOptions, splits: list[Split], options: BaselineOptions
) -> dict[str, Outcome] | Refused:
    outcome: dict[str, Outcome] = {}
    for split in splits:
        train = getattr(split.train, "profiles" if settings.values == "profiles" else "expression")
        test = getattr(split.test, "profiles" if settings.values == "profiles" else "expression")
        # Which genes the test side measured uses no label; a gene absent there could not be read.
        enough = train.notna().mean() >= settings.min_measured_share
        candidates = train.columns[enough.to_numpy() & test.notna().all().to_numpy()]
        case = split.train.case
        chosen = (
            choose_gene(train[candidates], case, split.train.rows["cohort"].to_numpy(object))
            if len(candidates)
            else None
        )
        if chosen is None:
            return Refused(
                f"No gene is measured in every test sample of fold {split.name} and in "
                f"{settings.min_measured_share:.0%} of its training samples."
            )
        sign = 1.0 if chosen.direction == "up" else -1.0
        values = sign * train[chosen.gene].to_numpy(dtype=np.float64)
        known = np.isfinite(values)
        if not 0 < case[known].sum() < known.sum():
            return Refused(f"{chosen.gene} is measured in one class only in fold {split.name}.")
        squash = _squash(values[known], case[known], options)
        found = {
            "gene": chosen.gene,
            "direction": chosen.direction,
            "training_auroc_within_cohorts": chosen.auroc,
            "training_auroc_pooled": float(auroc_by_gene(values[:, None], case)[0]),
            "cohorts_used": chosen.cohorts_used,
            "candidates": len(candidates),
            **_squash_details(squash),
        }
        score = squash.apply(sign * test[chosen.gene].to_numpy(dtype=np.float64))
        outcome[split.name] = (score, found)
    return outcome


def _squash(score: FloatArray, case: NDArray[np.int_], options: BaselineOptions) -> Squash:
    weights = class_weights(case, balanced=options.class_weight == "balanced")
    return fit_squash(score, case, weights, options.squash_penalty)


def _squash_details(squash: Squash) -> dict[str, Any]:
    found: dict[str, Any] = {"slope_per_sd": squash.slope, "intercept": squash.intercept}
    if squash.slope_held:
        found["note"] = (
            "the given direction did not hold on the training fold; the slope was held just above "
            "zero, so the order is the published one and the scores lie near one value"
        )
    return found


def _table(model: str, split: Split, score: FloatArray) -> pd.DataFrame:
    if not np.isfinite(score).all():
        raise EvaluationError(
            f"{model} gave a score that is no number in fold {split.name}; look at that cohort's "
            "expression table."
        )
    rows = split.test.rows
    clipped = np.clip(score, 0.0, 1.0)
    return pd.DataFrame(
        {
            **{name: rows[name].to_numpy() for name in ("gsm", "cohort", "stratum", "subject")},
            "case": split.test.case,
            "fold": split.name,
            "model": model,
            "score": clipped,
            "uncertainty": binary_entropy(clipped),
        }
    )[PREDICTION_COLUMNS]


def binary_entropy(score: FloatArray) -> FloatArray:
    """Entropy in bits of a probability: 0 when sure, 1 at one half."""
    inside = np.clip(score, 1e-12, 1 - 1e-12)
    entropy = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    return np.where((score <= 0) | (score >= 1), 0.0, entropy)
