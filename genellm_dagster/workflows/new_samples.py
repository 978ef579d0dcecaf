"""Scores of new samples that come as a plain table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.new_samples import expression_of_samples
from genellm_dagster.expression.scale import ScaleKind
from genellm_dagster.settings import Settings
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.new_cohort import (
    NewScores,
    as_new_scores,
    champion_scorer,
    require_scored,
    unlabelled_sheet,
)
from genellm_dagster.workflows.sample_tables import read_sample_table


def predict_table(
    settings: Settings,
    study: Study,
    stratum: str,
    path: Path,
    scale: ScaleKind | None = None,
    prevalence: float = 0.5,
) -> NewScores:
    """Score the samples of a table with the champion adapter of a stratum.

    Args:
        settings: All settings.
        study: The study whose adapter is used.
        stratum: The stratum whose adapter is used.
        path: The table, as :func:`read_sample_table` takes it.
        scale: Of the values; None: found out, sample by sample.
        prevalence: Share of cases among the people whom the samples come from.

    Raises:
        StudyError: When the study has no such stratum.
        ExpressionError: When the table cannot be used.
        ModelError: When the stratum has no adapter, or every sample too few of its genes.
    """
    # Nothing of people's own samples stays in the store.
    scorer = champion_scorer(settings, study, stratum, keep_states=False)
    found = read_sample_table(path)
    try:
        told = expression_of_samples(found.values, found.id_type, scale, settings.expression)
    except ExpressionError as error:
        raise ExpressionError(f"{path}: {error}") from error
    scores = scorer.score(path.name, told.table, prevalence=prevalence)
    require_scored(f"The table {path}", scorer, scores)
    sheet = unlabelled_sheet(pd.Series(told.table.columns, dtype=object))
    notes = [*found.notes, *told.notes]
    return as_new_scores(path.name, stratum, scores, sheet, told.marks, notes)
