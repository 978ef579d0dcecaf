"""The summary of QC: doubts as sentences, every number JSON-safe, no label behind a decision."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.expression.qc import quality_control
from genellm_dagster.expression.qc_options import QcOptions
from genellm_dagster_tests.expression.tables import factor_table, sheet_of, two_sexes


def warnings_of(table: pd.DataFrame, sheet: pd.DataFrame | None = None, **known: object) -> list:
    found = quality_control(table, sheet_of(table) if sheet is None else sheet, **known)
    json.dumps(found.summary, allow_nan=False)
    return found.summary["warnings"]


def test_a_sound_cohort_warns_of_nothing():
    table, sexes = two_sexes(600, 40, 2)
    sheet = sheet_of(table, case=[0, 1] * 20, sex=sexes, age_years=30.0)
    assert warnings_of(table, sheet, bounds=(18, None), scale="log2") == []


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ([1] * 40, "All 40 kept samples with a label are cases"),
        ([0] * 40, "are controls"),
        ([1] * 5 + [0] * 35, "Only 5 cases beside 35"),
        ([1] * 39 + [0], "Only 1 control beside 39"),
        ([None] * 40, None),
        ([1] * 20 + [0] * 20, None),
    ],
)
def test_class_balance_is_told(case, says):
    table = factor_table(600, 40, 2)
    found = warnings_of(table, sheet_of(table, case=case))
    assert len(found) == (0 if says is None else 1)
    assert says is None or says in found[0]


def test_a_small_class_of_many_is_told_by_its_share():
    table = factor_table(60, 240, 2)
    found = warnings_of(table, sheet_of(table, case=[1] * 12 + [0] * 228))
    assert found == ["The cases are 5% of the kept samples: read average precision so."]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([0, 1, None]), min_size=24, max_size=24), st.integers(0, 50))
def test_labels_change_nothing_but_their_counts(case, seed):
    table = factor_table(520, 24, seed)
    table.iloc[:, 0] = np.random.default_rng(seed).normal(5, 3, len(table)).astype(np.float32)
    without = quality_control(table, sheet_of(table))
    labels = ["sepsis" if one else "healthy" for one in case]
    with_labels = quality_control(table, sheet_of(table, case=case, label=labels))
    pd.testing.assert_frame_equal(with_labels.table, without.table)
    pd.testing.assert_frame_equal(with_labels.samples, without.samples)
    pd.testing.assert_frame_equal(with_labels.genes, without.genes)


def test_few_samples_are_told():
    assert warnings_of(factor_table(60, 12, 2))[0].startswith("Only 12 samples kept")


def test_a_cohort_that_loses_many_samples_or_genes_says_so():
    table = factor_table(600, 40, 2)
    table.iloc[:300, :10] = np.nan
    assert any("10 of 40 samples" in warning for warning in warnings_of(table))
    table = factor_table(600, 40, 2)
    table.iloc[:150, :25] = np.nan
    assert any("150 of 600 genes" in warning for warning in warnings_of(table))


def test_a_gene_filled_in_above_the_floor_is_suspicious_and_one_at_the_floor_is_not():
    table = factor_table(600, 40, 2)
    floor = table.to_numpy().min()
    table = table.clip(lower=floor + 1)
    table.iloc[0] = floor + 1
    assert not any("one value" in warning for warning in warnings_of(table))
    table.iloc[1] = 9.25
    found = quality_control(table, sheet_of(table))
    assert found.genes["reason"].iloc[1] == "one value in all samples, not at their floor"
    assert found.genes["floor_share"].iloc[:2].tolist() == [1.0, 0.0]
    assert (found.summary["genes_constant"], found.summary["genes_suspicious"]) == (2, 1)
    assert any(str(table.index[1]) in warning for warning in found.summary["warnings"])


def test_an_undetected_gene_of_counts_is_at_the_floor_though_its_value_differs():
    table = factor_table(300, 20, 2)
    floors = np.linspace(-6, -4, 20).astype(np.float32)
    table[:] = np.where(table > 4, table, floors)
    table.iloc[0] = floors
    found = quality_control(table, sheet_of(table))
    assert found.genes["reason"].iloc[0] == "at the floor in all samples"
    assert found.genes["kept"].iloc[0]
    assert found.summary["genes_at_floor"] >= 1
    assert found.summary["genes_constant"] == 0
    assert found.summary["saturation"]["floor_share"] > 0


def test_a_ceiling_of_the_platform_is_told_and_quantile_normalised_ends_are_none():
    table = factor_table(600, 40, 2)
    capped = table.clip(upper=np.float32(11.5))
    found = quality_control(capped, sheet_of(capped)).summary
    assert found["saturation"]["common_ceiling"] == pytest.approx(11.5)
    assert any("highest value, 11.5" in warning for warning in found["warnings"])
    same_end = table.copy()
    for gsm in table:
        same_end.loc[table[gsm].idxmax(), gsm] = 20.0
    summary = quality_control(same_end, sheet_of(table)).summary
    assert summary["saturation"]["common_ceiling"] is None


def test_centred_values_are_told():
    table = factor_table(600, 40, 2)
    centred = table.sub(table.median(axis=1), axis=0)
    assert any("centred" in one for one in warnings_of(centred, scale="centred"))


def test_what_older_readers_read_is_still_there():
    table = factor_table(60, 12, 1)
    summary = quality_control(table, sheet_of(table, case=[0, 1] * 6)).summary
    older = {
        "samples", "samples_kept", "samples_left_out", "samples_with_remarks", "cases", "controls",
        "genes", "genes_kept", "genes_constant", "genes_missing", "missing_share", "median_log2",
        "correlation", "outliers", "outliers_can_be_left_out", "thresholds",
    }  # fmt: skip
    assert older <= set(summary)
    assert summary["thresholds"] == QcOptions().model_dump()
