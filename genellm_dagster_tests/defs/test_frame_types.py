"""Frames that pass between assets have the type that is declared for them, and spoilt ones not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from genellm_dagster.defs import checks, frame_types
from genellm_dagster.expression.overlap import find_overlaps
from genellm_dagster.expression.vocabulary import choose_vocabulary
from genellm_dagster.geo import catalog as geo_catalog
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.interpretation.signature import Everyone, gene_signature
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster.workflows.catalog import merge_catalog
from genellm_dagster_tests.expression.tables import factor_table, sheet_of
from genellm_dagster_tests.finished import ADULTS, CELLS, Finished

KEY = dg.AssetKey(["demo", "an_asset"])


def sample_overlap() -> pd.DataFrame:
    table, other = factor_table(30, 4, 1), factor_table(30, 4, 2)
    sheets = {"GSE1": sheet_of(table, subject="P1"), "GSE2": sheet_of(other)}
    return find_overlaps({"GSE1": table, "GSE2": other}, sheets, {"GSE1": ["GSE2"], "GSE2": []})


def gene_vocabulary() -> pd.DataFrame:
    return choose_vocabulary(
        {"GSE1": factor_table(30, 4, 1), "GSE2": factor_table(30, 4, 2).iloc[:28]}
    ).table


def token_dataset() -> pd.DataFrame:
    profiles = factor_table(30, 4, 1).T
    profiles.iloc[0, :3] = np.nan
    tokens = ValueTokenizer(list(profiles.columns), TokenizerOptions()).transform(profiles)
    tokens.insert(0, "fold", "all")
    return tokens


def profiles() -> pd.DataFrame:
    found = factor_table(30, 4, 1).T.rename_axis(index="gsm").reset_index()
    found.insert(0, "fold", "all")
    found.insert(2, "cohort", "GSE1")
    return found


def a_catalog() -> pd.DataFrame:
    rows = [
        ("GSE10", "Sepsis", "array", 12, "GPL570", "2020-01-01", None, "abc", "found"),
        ("GSE9", None, None, None, None, None, None, None, "unreadable: no JSON"),
    ]
    found = pd.DataFrame(rows, columns=geo_catalog.COLUMNS).astype({"samples": "Int64"})
    return merge_catalog(None, found, datetime(2024, 5, 1, tzinfo=UTC), whole=True)


def a_signature() -> pd.DataFrame:
    values = factor_table(30, 8, 1).T - 8
    everyone = Everyone(values, np.zeros(len(values)), np.arange(len(values)) % 2)
    return gene_signature(values, values, everyone, InterpretationOptions(bootstraps=10), seed=1)


FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "sample_overlap": sample_overlap,
    "gene_vocabulary": gene_vocabulary,
    "profiles": profiles,
    "token_dataset": token_dataset,
    "geo_catalog": a_catalog,
    "gene_signature": a_signature,
}
# What spoils a frame: a column, and what becomes of it.
SPOILT: list[tuple[str, str, object]] = [
    ("sample_overlap", "gsm_a", None),
    ("sample_overlap", "similarity", 1.5),
    ("sample_overlap", "reason", 3),
    ("gene_vocabulary", "gene", "TP53"),
    ("gene_vocabulary", "position", 0),
    ("gene_vocabulary", "n_cohorts", 0),
    ("gene_vocabulary", "share_of_cohorts", np.nan),
    ("gene_vocabulary", "variability", -0.2),
    ("profiles", "gsm", "GSM1000"),
    ("profiles", "cohort", None),
    ("token_dataset", "gsm", "GSM1000"),
    ("token_dataset", "fold", None),
    ("geo_catalog", "accession", "GSE10"),
    ("geo_catalog", "status", "lost"),
    ("geo_catalog", "samples", -1),
    ("geo_catalog", "confidence", 1.01),
    ("gene_signature", "stability", 1.5),
    ("gene_signature", "mean_abs", -1.0),
    ("gene_signature", "mean_signed", np.nan),
    ("gene_signature", "rank", 1),
]


@pytest.mark.parametrize("kind", FRAMES)
def test_what_the_functions_give_has_its_type(kind: str) -> None:
    frame = FRAMES[kind]()
    assert len(frame)
    result = checks.structure(KEY, frame, kind)
    assert result.passed, result.description
    assert checks.structure(KEY, frame.assign(more=1), kind).passed


@pytest.mark.parametrize("kind", FRAMES)
def test_every_declared_column_must_be_there(kind: str) -> None:
    frame = FRAMES[kind]()
    for column in frame_types.columns_of(kind):
        result = checks.structure(KEY, frame.drop(columns=column.name), kind)
        assert not result.passed
        assert column.name in (result.description or "")


@pytest.mark.parametrize(("kind", "column", "value"), SPOILT)
def test_spoilt_frame_is_refused(kind: str, column: str, value: object) -> None:
    result = checks.structure(KEY, FRAMES[kind]().assign(**{column: value}), kind)
    assert not result.passed
    assert column in (result.description or "")


def test_study_without_overlap_passes() -> None:
    table = factor_table(30, 4, 1)
    none = find_overlaps({"GSE1": table}, {"GSE1": sheet_of(table)}, {"GSE1": []})
    assert none.empty
    assert checks.structure(KEY, none, "sample_overlap").passed


def test_token_lists_must_be_even_and_hold_something() -> None:
    frame = token_dataset()
    torn = frame.copy()
    torn.at[1, "values"] = torn.at[1, "values"][:-1]
    result = checks.structure(KEY, torn, "token_dataset")
    assert not result.passed
    assert "differ in length (GSM1001" in (result.description or "")
    empty = frame.copy()
    for column in ("genes", "positions", "values"):
        empty.at[2, column] = empty.at[2, column][:0]
    result = checks.structure(KEY, empty, "token_dataset")
    assert not result.passed
    assert "no token (GSM1002" in (result.description or "")


def test_frame_without_a_type_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError):
        checks.structure(KEY, pd.DataFrame(), "something")


def test_frames_of_a_finished_run_have_their_types(finished: Finished) -> None:
    cohort = CELLS[ADULTS][0]
    for kind, *place in (
        ("sample_sheet", "sample_sheet", cohort),
        ("sample_overlap", "sample_overlap"),
        ("gene_vocabulary", "gene_vocabulary", ADULTS),
        ("token_dataset", "token_dataset", ADULTS, cohort),
        ("predictions", "cross_validation", ADULTS),
        ("predictions", "baseline_predictions", ADULTS),
        ("model_comparison", "model_comparison"),
        ("gene_signature", "gene_attributions", f"{ADULTS}.signature"),
    ):
        result = checks.structure(KEY, finished.table(*place), kind)
        assert result.passed, (kind, result.description)
    compared = finished.table("model_comparison")
    for spoilt in (
        compared.assign(auroc=1.2),
        compared.assign(n=0),
        compared.assign(p_holm=-0.1),
        compared.assign(model=None),
    ):
        assert not checks.structure(KEY, spoilt, "model_comparison").passed
