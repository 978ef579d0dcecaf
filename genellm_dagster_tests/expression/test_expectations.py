"""Great Expectations suites hold on good frames and say what is wrong with bad ones."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.expectations import SuiteResult, run_suite
from genellm_dagster.expression.qc import quality_control
from genellm_dagster_tests.expression.tables import factor_table, sheet_of


def good_sheet() -> pd.DataFrame:
    sheet = sheet_of(factor_table(5, 4, 1))
    sheet["age_years"] = [1.5, 40.0, float("nan"), 70.0]
    sheet["sex"] = ["female", "male", None, "male"]
    sheet["timepoint"] = None
    sheet["label"] = ["sepsis", "healthy", "sepsis", None]
    sheet["case"] = pd.array([1, 0, 1, pd.NA], dtype="Int8")
    sheet["stratum"] = ["pediatric", "adult", "adult", None]
    sheet["used"] = [True, True, True, False]
    sheet["why_not"] = ["", "", "", "no label rule matches"]
    return sheet


def failures(result: SuiteResult) -> set[tuple[str, str | None]]:
    return {(one["expectation"], one["column"]) for one in result.results if not one["success"]}


def test_the_frames_of_qc_and_a_sheet_hold():
    table = factor_table(60, 10, 1)
    table.iloc[2, :8] = float("nan")
    result = quality_control(table, sheet_of(table))
    for frame, suite in (
        (result.genes, "genes"),
        (result.samples, "samples"),
        (good_sheet(), "sheet"),
    ):
        found = run_suite(frame, suite)
        assert found.success, failures(found)
        json.dumps(found.results, allow_nan=False)
        assert len(found.results) > 5


@pytest.mark.parametrize(
    ("column", "value", "failure"),
    [
        ("gsm", "GSM1001", "expect_column_values_to_be_unique"),
        ("gsm", "sample 1", "expect_column_values_to_match_regex"),
        ("age_years", 400.0, "expect_column_values_to_be_between"),
        ("sex", "unknown", "expect_column_values_to_be_in_set"),
        ("case", 2, "expect_column_values_to_be_in_set"),
    ],
)
def test_a_bad_cell_of_a_sheet_is_named(column, value, failure):
    sheet = good_sheet()
    sheet.loc[0, column] = value
    found = run_suite(sheet, "sheet")
    assert not found.success
    assert failures(found) == {(failure, column)}
    bad = next(one for one in found.results if not one["success"])
    assert bad["observed"]["unexpected"] >= 1


def test_a_used_sample_without_a_stratum_and_an_unused_one_without_reason_fail():
    sheet = good_sheet()
    sheet.loc[1, "stratum"] = None
    sheet.loc[3, "why_not"] = ""
    assert failures(run_suite(sheet, "sheet")) == {
        ("expect_column_values_to_not_be_null", "stratum_of_used"),
        ("expect_column_values_to_not_be_null", "why_not_of_unused"),
    }


def test_a_missing_column_fails_what_is_expected_of_it():
    found = run_suite(good_sheet().drop(columns="age_years"), "sheet")
    assert failures(found) == {("expect_column_values_to_be_between", "age_years")}


def test_many_lost_samples_fail():
    table = factor_table(60, 10, 1)
    table.iloc[:40, :6] = float("nan")
    found = run_suite(quality_control(table, sheet_of(table)).samples, "samples")
    assert failures(found) == {("expect_column_mean_to_be_between", "kept")}


def test_an_unknown_suite_is_refused():
    with pytest.raises(ExpressionError, match="no suite"):
        run_suite(good_sheet(), "wide")


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("sex_expressed", "female", "unsure"),
        ("sex_recorded", None, "F"),
        ("floor_share", 1.0, 1.2),
        ("ceiling_share", 0.0, -0.1),
        ("iqr_log2", 2.5, -1.0),
        ("pca_distance", float("nan"), -0.5),
        ("age_years", 0.1, 400.0),
    ],
)
def test_columns_that_may_be_there_are_held_against_what_can_be_true(column, good, bad):
    table = factor_table(60, 10, 1)
    samples = quality_control(table, sheet_of(table)).samples.drop(columns=column, errors="ignore")
    assert column not in {one["column"] for one in run_suite(samples, "samples").results}
    samples[column] = pd.Series([good] * len(samples), dtype=object if column[0] == "s" else float)
    assert run_suite(samples, "samples").success
    samples.loc[3, column] = bad
    found = run_suite(samples, "samples")
    assert {name for _, name in failures(found)} == {column}
    assert [one["observed"]["unexpected"] for one in found.results if not one["success"]] == [1]


def test_names_that_are_no_words_and_unknown_columns_are_passed_over():
    sheet = good_sheet().assign(remark="x", **{"a b_share": 7.0})
    assert run_suite(sheet, "sheet") == run_suite(good_sheet(), "sheet")


def test_threads_at_once_get_the_results_of_their_own_frames():
    bad = good_sheet().assign(age_years=400.0)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda frame: run_suite(frame, "sheet"), [good_sheet(), bad] * 4))
    assert [one.success for one in found] == [True, False] * 4
