"""Controls that know no disease gene: the cells of the blood alone, and the cohort alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.baselines.choosing import Predict
from genellm_dagster.baselines.classical import Scaler, fit_logistic_regression, span_of
from genellm_dagster.baselines.options import BaselineOptions, CohortOnlyOptions
from genellm_dagster.baselines.signatures import Refused
from genellm_dagster.baselines.splits import Outcome, Split

COMPOSITION_ONLY = "composition_only"
COHORT_ONLY = "cohort_only"
_MEASURED_SHARE = 0.9
"""Share of training samples in which a kind of cell must be told."""

FloatArray = NDArray[np.float64]


def composition_only(
    composition: pd.DataFrame, splits: list[Split], options: BaselineOptions, seed: int
) -> dict[str, Outcome] | Refused:
    """Logistic regression on the scores of blood cells: how much is a shift of cells.

    Infection moves neutrophils and lymphocytes. A model of genes that is no better than this may
    read the blood count, which a laboratory gives for little money. A score is of one sample alone;
    platforms do not share its scale, so that across cohorts this control is somewhat handicapped.

    Args:
        composition: Samples x kinds of cells (index gsm); NaN where a kind cannot be told.
        splits: The folds.
        options: Baseline options; the logistic regression is that of the profiles.
        seed: Seed of inner folds.

    Returns:
        Scores by fold, or why there are none.
    """
    outcome: dict[str, Outcome] = {}
    for split in splits:
        train = composition.reindex(split.train.rows.index)
        test = composition.reindex(split.test.rows.index)
        # Which kinds can be told in a test sample rests on its genes, on no label.
        told = (train.notna().mean() >= _MEASURED_SHARE) & test.notna().all()
        kinds = [str(name) for name in composition.columns[told.to_numpy()]]
        if not kinds:
            lacking = test if test.isna().all(axis=1).any() else train
            cohorts = split.test.rows["cohort"] if lacking is test else split.train.rows["cohort"]
            named = sorted(cohorts[lacking.isna().all(axis=1).to_numpy()].astype(str).unique())
            return Refused(
                f"No kind of blood cell can be told in fold {split.name}"
                + (f" ({', '.join(named)})" if named else "")
                + "; panels of few genes and centred values have no scores."
            )
        fitted = fit_logistic_regression(split.train.training(train[kinds]), options, seed)
        details = {key: value for key, value in fitted.details.items() if key != "genes_used"}
        score = fitted.predict(test[kinds].to_numpy(dtype=np.float64))
        outcome[split.name] = (score, {**details, "cells": kinds})
    return outcome


def cohort_only(splits: list[Split], options: CohortOnlyOptions) -> dict[str, Outcome] | Refused:
    """Predict the label from nothing but which training cohort a sample resembles.

    A cohort that is held out has no prevalence that could be known, so that its name tells nothing.
    What batch can still do is this: a sample looks like those of one laboratory, and in that
    laboratory most were cases. So cohorts are told apart by multinomial logistic regression, in
    which cases and controls of a cohort weigh the same and cohorts weigh the same, so that the
    disease itself helps to tell none; the score is the prevalence of the training cohorts, weighted
    by the resemblance: sum over c of P(c | profile) x P(case | c).

    Read it inside cohorts. Pooled over folds it is mostly below one half, for a reason that is no
    finding: a cohort of many cases is scored by the others, which then hold fewer.

    Args:
        splits: The folds.
        options: The penalty.

    Returns:
        Scores by fold, or why there are none.
    """
    outcome: dict[str, Outcome] = {}
    for split in splits:
        cohorts = split.train.cohorts.astype(str)
        names = np.unique(cohorts)
        if len(names) < 2:
            return Refused(
                f"Fold {split.name} trains on {names[0]} alone; what resemblance to a cohort tells "
                "of the label takes two cohorts to learn from."
            )
        case = split.train.case
        prevalence = np.array([case[cohorts == name].mean() for name in names])
        resembles = fit_cohorts(split.train.training().values, case, cohorts, options)
        score = resembles(split.test.profiles.to_numpy(dtype=np.float64)) @ prevalence
        known = {str(name): float(share) for name, share in zip(names, prevalence, strict=True)}
        outcome[split.name] = (score, {"prevalence": known, "C": options.strength})
    return outcome


def fit_cohorts(
    values: FloatArray,
    case: NDArray[np.int_],
    cohorts: NDArray[np.str_],
    options: CohortOnlyOptions,
) -> Predict:
    """Learn to tell cohorts apart, cases and controls of a cohort weighing the same.

    Args:
        values: Samples x genes, NaN absent.
        case: 1 case, 0 control.
        cohorts: Cohort of each; two at least.
        options: The penalty.

    Returns:
        Maps samples x genes to probabilities, samples x cohorts in alphabetical order.
    """
    from sklearn.linear_model import LogisticRegression

    scaler = Scaler.fit(values)
    standard = scaler.apply(values)
    rotation = span_of(standard)
    model = LogisticRegression(C=options.strength, max_iter=options.max_iterations).fit(
        standard @ rotation, cohorts, sample_weight=_equal_weights(case, cohorts)
    )

    def predict(samples: FloatArray) -> FloatArray:
        said: FloatArray = model.predict_proba(scaler.apply(samples) @ rotation)
        return said

    return predict


def _equal_weights(case: NDArray[np.int_], cohorts: NDArray[np.str_]) -> FloatArray:
    """Weights of mean one: cohorts have the same total, and classes inside each cohort."""
    weights = np.zeros(len(case))
    for name in np.unique(cohorts):
        cells = [(cohorts == name) & (case == label) for label in (0, 1)]
        cells = [cell for cell in cells if cell.any()]
        for cell in cells:
            weights[cell] = 1.0 / (len(cells) * cell.sum())
    return weights * len(case) / weights.sum()
