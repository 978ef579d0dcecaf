"""Overlap: one accession, one person, one array, or a declaration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.expression.options import OverlapOptions
from genellm_dagster.expression.overlap import COLUMNS, comparable, find_overlaps
from genellm_dagster.expression.overlap.twins import accepted, tail_evidence
from genellm_dagster_tests.expression.copies import PIPELINES, sharing_cohorts
from genellm_dagster_tests.expression.tables import factor_table, sheet_of

N_GENES, N_SAMPLES, PLANTED = 500, 50, 10


def renormalised(table: pd.DataFrame, seed: int, first_gsm: int) -> pd.DataFrame:
    """The same arrays through another pipeline: probe effects, curvature, offset, noise."""
    rng = np.random.default_rng(seed)
    shape = table.shape
    values = np.clip(table.to_numpy() + rng.normal(0, 0.7, (shape[0], 1)), 1, None)
    values = values ** rng.uniform(0.9, 1.2, (1, shape[1])) * rng.uniform(0.8, 1.3, (1, shape[1]))
    values = values + rng.normal(0, 0.15, shape)
    columns = [f"GSM{first_gsm + i}" for i in range(shape[1])]
    return pd.DataFrame(values.astype(np.float32), index=table.index, columns=columns)


def planted() -> tuple[dict[str, pd.DataFrame], set[tuple[str, str]]]:
    first = factor_table(N_GENES, N_SAMPLES, 1, 1000)
    others = factor_table(N_GENES, N_SAMPLES - PLANTED, 2, 3000)
    second = renormalised(first.iloc[:, :PLANTED].join(others), 3, 2000)
    truth = {(f"GSM{1000 + i}", f"GSM{2000 + i}") for i in range(PLANTED)}
    return {"GSE1": first, "GSE2": second}, truth


def sheets_of(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {name: sheet_of(table) for name, table in tables.items()}


def identical(
    tables: dict[str, pd.DataFrame], options: OverlapOptions | None = None
) -> set[tuple[str, str]]:
    found = find_overlaps(tables, sheets_of(tables), {}, options)
    assert set(found["reason"]) <= {"expression"}
    return set(zip(found["gsm_a"], found["gsm_b"], strict=True))


def test_renormalised_duplicates_are_found_and_nothing_else():
    tables, truth = planted()
    found = find_overlaps(tables, sheets_of(tables), {})
    assert set(zip(found["gsm_a"], found["gsm_b"], strict=True)) == truth
    assert set(found["reason"]) == {"expression"}
    assert found["similarity"].min() > 0.5
    assert list(found.columns) == list(COLUMNS)


def test_a_cohort_in_blocks_has_the_same_copies():
    tables, truth = sharing_cohorts((150, 130), 0.05, ("rma", "platform"), 0.2, 3, 3000)
    assert identical(tables) == truth
    assert identical(tables, OverlapOptions(block=64)) == truth


@pytest.mark.parametrize("second", PIPELINES)
def test_a_copy_is_found_through_every_pipeline(second):
    tables, truth = sharing_cohorts((60, 60), 0.05, ("linear", second), 0.4, 1, 5000)
    assert identical(tables) == truth


def test_a_whole_cohort_reissued_is_found_with_the_array_that_it_holds_twice():
    tables, truth = sharing_cohorts((60, 60), 1.0, ("linear", "rma"), 0.2, 2, 4000)
    assert len(truth) == 62
    assert identical(tables) == truth


def test_strangers_with_one_disease_are_not_called():
    called = 0
    for seed in range(8):
        tables, truth = sharing_cohorts((40, 40), 0.02, ("rma", "rma"), 0.3, seed, 3000, 1.0)
        called += len(identical(tables) - truth)
    assert called <= 1


def test_a_gene_that_one_sample_lacks_is_compared_in_no_sample():
    tables, _ = planted()
    holed = {name: table.copy() for name, table in tables.items()}
    holed["GSE1"].iloc[:150, 3] = np.nan
    options = OverlapOptions(min_common_genes=300)
    without = {name: table.iloc[150:] for name, table in tables.items()}
    pd.testing.assert_frame_equal(
        find_overlaps(holed, sheets_of(holed), {}, options),
        find_overlaps(without | {"GSE2": tables["GSE2"]}, sheets_of(tables), {}, options),
    )
    assert comparable(holed)["common_genes"].tolist() == [N_GENES - 150]


def test_a_monotone_change_of_a_sample_changes_nothing():
    tables, _ = planted()
    bent = {name: np.exp2(table / 4) for name, table in tables.items()}
    pd.testing.assert_frame_equal(
        find_overlaps(bent, sheets_of(bent), {}), find_overlaps(tables, sheets_of(tables), {})
    )


def test_tiny_cohorts_call_only_what_is_certain():
    table = factor_table(N_GENES, 4, 1)
    noise = np.random.default_rng(5).normal(0.5, 0.02, N_GENES).astype(np.float32)
    assert identical({"GSE1": table}) == set()
    assert identical({"GSE1": table.assign(GSM5000=table["GSM1001"] + noise)}) == {
        ("GSM1001", "GSM5000")
    }


def test_a_sample_without_variation_is_like_nobody():
    tables, truth = planted()
    tables["GSE1"]["GSM1049"] = np.float32(5)
    assert identical(tables) == truth


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(8, 40))
def test_evidence_grows_with_similarity_and_needs_a_background(seed, rows, columns):
    values = np.random.default_rng(seed).normal(size=(rows, columns)) * 0.1
    evidence = tail_evidence(values, copies=3, min_background=8)
    order = np.argsort(values, axis=1)
    ascending = np.take_along_axis(evidence, order, axis=1)
    assert (np.diff(ascending, axis=1) >= -1e-6).all()
    assert tail_evidence(values[:, :7], copies=3, min_background=8) is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 60), max_size=30), st.floats(10, 1e9))
def test_more_comparisons_never_admit_more(evidence, compared):
    values = np.array(evidence)
    few, many = (accepted(values, n, 0.01) for n in (compared, compared * 10))
    assert not (many & ~few).any()
    if few.any():
        assert values[few].min() >= values[~few].max(initial=-np.inf)


def test_a_duplicate_within_one_cohort_is_found():
    table = factor_table(N_GENES, 30, 1)
    noise = np.random.default_rng(5).normal(0.5, 0.1, N_GENES).astype(np.float32)
    tables = {"GSE1": table.assign(GSM5000=table["GSM1004"] + noise)}
    found = find_overlaps(tables, sheets_of(tables), {})
    assert set(zip(found["gsm_a"], found["gsm_b"], strict=True)) == {("GSM1004", "GSM5000")}


def test_a_panel_calls_no_identity_and_says_so():
    tables, _ = planted()
    panels = {name: table.iloc[:50] for name, table in tables.items()}
    assert find_overlaps(panels, sheets_of(panels), {}).empty
    said = comparable(panels)
    assert said[["common_genes", "compared"]].to_numpy().tolist() == [[50, False]]


def test_one_accession_in_two_cohorts_is_one_sample():
    tables = {"GSE1": factor_table(20, 3, 1), "GSE2": factor_table(20, 3, 2, 1002)}
    found = find_overlaps(tables, sheets_of(tables), {})
    assert found[["gsm_a", "gsm_b", "reason"]].to_numpy().tolist() == [
        ["GSM1002", "GSM1002", "same_gsm"]
    ]
    assert found["similarity"].isna().all()


def test_a_subject_token_counts_within_a_series_and_where_overlap_is_declared():
    tables = {
        "GSE1-GPL1": factor_table(20, 2, 1, 100),
        "GSE1-GPL2": factor_table(20, 2, 2, 200),
        "GSE3": factor_table(20, 2, 3, 300),
    }
    sheets = {name: sheet_of(table, subject=["7", "8"]) for name, table in tables.items()}
    sheets["GSE3"]["subject"] = ["7", "7"]
    alone = find_overlaps(tables, sheets, {})
    assert set(zip(alone["gsm_a"], alone["gsm_b"], strict=True)) == {
        ("GSM100", "GSM200"), ("GSM101", "GSM201"), ("GSM300", "GSM301"),
    }  # fmt: skip
    declared = find_overlaps(tables, sheets, {"GSE3": ["GSE1"]})
    subjects = declared[declared["reason"] == "same_subject"]
    assert ("GSM100", "GSM300") in set(zip(subjects["gsm_a"], subjects["gsm_b"], strict=True))


def test_declared_panels_are_paired_whole_since_nobody_knows_who():
    tables = {"GSE1": factor_table(20, 2, 1, 100), "GSE2": factor_table(20, 3, 2, 200)}
    found = find_overlaps(tables, sheets_of(tables), {"GSE1": ["GSE2"], "GSE2": ["GSE1"]})
    assert len(found) == 6
    assert set(found["reason"]) == {"declared"}


def test_declared_transcriptomes_are_paired_by_expression_alone():
    tables, truth = planted()
    found = find_overlaps(tables, sheets_of(tables), {"GSE1": ["GSE2", "GSE99"]})
    assert set(found["reason"]) == {"expression"}
    assert len(found) == len(truth)


def test_small_declared_transcriptomes_are_paired_whole_since_twins_can_be_missed():
    tables, _ = planted()
    small = {name: table.iloc[:, :20] for name, table in tables.items()}
    found = find_overlaps(small, sheets_of(small), {"GSE1": ["GSE2"]})
    assert (found["reason"] == "declared").sum() == 20 * 20


def test_samples_out_of_use_take_no_part():
    tables, truth = planted()
    sheets = sheets_of(tables)
    sheets["GSE1"].loc[0, "used"] = False
    assert len(find_overlaps(tables, sheets, {})) == len(truth) - 1


def test_no_overlap_is_an_empty_table_of_the_same_columns():
    found = find_overlaps({}, {}, {})
    assert list(found.columns) == list(COLUMNS)
    assert found["similarity"].dtype == np.float64


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_cohorts_genes_and_samples_changes_nothing(random):
    tables, _ = planted()
    expected = find_overlaps(tables, sheets_of(tables), {}, OverlapOptions(max_genes=300))
    shuffled = {}
    for name in sorted(tables, reverse=True):
        table = tables[name]
        genes = random.sample(list(table.index), len(table))
        shuffled[name] = table.loc[genes, random.sample(list(table.columns), table.shape[1])]
    got = find_overlaps(shuffled, sheets_of(shuffled), {}, OverlapOptions(max_genes=300))
    pd.testing.assert_frame_equal(got, expected, atol=1e-4)
