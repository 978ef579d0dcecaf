"""Centred values: recognised, overridable in the cohort file, and marked wherever they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.baselines.signatures import Refused, load_signatures, score_signature
from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.normalisation import rank_normal
from genellm_dagster.expression.scale import centring_marks
from genellm_dagster.studies.loading import load_cohort
from genellm_dagster_tests.expression.tables import cohort, factor_table

SCORE = load_signatures()["sepsis_metascore"]


def centred(table: pd.DataFrame) -> pd.DataFrame:
    return table.sub(table.median(axis=1), axis=0)


def with_genes_of_the_score() -> pd.DataFrame:
    table = factor_table(300, 12, 1)
    names = [name for name in table.index if name not in SCORE.genes]
    table.index = pd.Index([*SCORE.genes, *names[: 300 - len(SCORE.genes)]], name="gene")
    return table.clip(lower=1)


def described(folder: Path, scale: str | None) -> Path:
    """Write a cohort file as a user would."""
    file = folder / "cohorts" / "GSE1.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    line = f"scale: {scale}\n" if scale else ""
    file.write_text(
        f"accession: GSE1\nplatform: GPL570\nid_type: symbol\n{line}sample: {{label: []}}\n"
    )
    return folder


@pytest.mark.parametrize(
    ("values", "guess", "said"),
    [
        (with_genes_of_the_score(), "log2", "centred"),
        (centred(with_genes_of_the_score()), "centred", "log2"),
    ],
)
def test_a_wrong_guess_is_put_right_in_the_cohort_file_all_the_way_to_the_scores(
    tmp_path: Path, values: pd.DataFrame, guess: str, said: str
):
    answers = {}
    for scale in (None, said):
        read = load_cohort("GSE1", data_dir=described(tmp_path, scale))
        result = build_expression(values, None, read, "array")
        found = result.report["scale"]
        assert found["kind"] == (scale or guess)
        assert found["decided_by"] == ("cohort file" if scale else "detected")
        cohorts = pd.Series("GSE1", index=result.table.columns)
        scales = {"GSE1": found["kind"]}
        answers[found["kind"]] = score_signature(SCORE, result.table.T, cohorts, scales=scales)
    refused = answers["centred"]
    assert isinstance(refused, Refused)
    assert "recorded as centred" in refused.reason
    believed = answers["log2"]
    # Values that are not above zero have no geometric mean, whatever the file says of them.
    if guess == "centred":
        assert "at or below zero" in believed.reason
    else:
        assert np.isfinite(believed).all()


def test_values_said_to_be_centred_are_left_as_they_are():
    table = centred(factor_table(300, 12, 1))
    kept = build_expression(table, None, cohort(scale="centred"), "array").table
    pd.testing.assert_frame_equal(kept.sort_index(), table.sort_index(), check_names=False)


def test_ranks_of_centred_values_are_other_ranks_than_those_of_levels():
    # Why they are marked: the profile of a sample is not the one that a model of levels knows.
    table = factor_table(300, 12, 1)
    levels, deviations = rank_normal(table), rank_normal(centred(table))
    alike = [np.corrcoef(levels[gsm], deviations[gsm])[0, 1] for gsm in table.columns]
    assert np.median(np.abs(alike)) < 0.5


def test_marks_name_the_centred_cohorts_and_say_when_levels_differ():
    assert centring_marks({"GSE1": "log2", "GSE2": "counts", "GSE3": "linear"}) == []
    (mark,) = centring_marks({"GSE2": "centred", "GSE1": "log2", "GSE3": "centred"})
    assert mark.endswith("(GSE2, GSE3)")
    assert "a level of their own" in mark
    (alone,) = centring_marks({"GSE2": "centred"})
    assert "level" not in alone
    assert centring_marks({}) == []
