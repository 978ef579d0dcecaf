"""The sample sheet records every decision, and rules that cannot be right are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.curation import (
    SHEET_COLUMNS,
    absent_fields,
    build_sample_sheet,
)
from genellm_dagster_tests.studies.makers import cohort_of, samples_of, study_of

AGE = {"age": {"field": "characteristics: age", "unit": "years"}}


def sheet_of(samples: pd.DataFrame, cohort: Any, **study: Any) -> pd.DataFrame:
    return build_sample_sheet(samples, cohort, study_of(cohort, **study))


def reasons(sheet: pd.DataFrame) -> list[str]:
    assert (sheet["used"] == (sheet["why_not"] == "")).all()
    return sheet["why_not"].tolist()


def test_every_sample_has_a_row_and_a_reason() -> None:
    samples = samples_of(
        6,
        state=["sepsis", "healthy", "lupus", "sepsis", "sepsis", None],
        age=["17.9", "18", "40", "", "grown", "30"],
        gender=["F", "male", "x", None, "M", "F"],
    )
    extra = {"field": "characteristics: state", "pattern": "lupus", "value": "sle"}
    rules = cohort_of().model_dump()["sample"]["label"]
    cohort = cohort_of(
        {**AGE, "label": [*rules, extra], "sex": {"field": "characteristics: Gender"}}
    )
    sheet = sheet_of(samples, cohort)
    assert tuple(sheet.columns) == SHEET_COLUMNS
    assert reasons(sheet) == [
        "",
        "",
        "label 'sle' is neither case nor control of the study",
        "",
        "age 'grown' cannot be read",
        "no label rule matches",
    ]
    assert sheet["stratum"].tolist() == ["pediatric", "adult", "adult", "adult", None, "adult"]
    assert sheet["case"].tolist() == [1, 0, pd.NA, 1, 1, pd.NA]
    assert sheet["sex"].tolist() == ["female", "male", None, None, "male", "female"]
    assert sheet["subject"].tolist() == sheet["gsm"].tolist()
    assert str(sheet["case"].dtype) == "Int8" and sheet["used"].dtype == bool
    assert np.isnan(sheet["age_years"][3])


def test_the_first_matching_rule_wins() -> None:
    rules = [
        {"field": "characteristics: state", "pattern": "non-septic", "value": "healthy"},
        {"field": "characteristics: state", "pattern": "septic", "value": "sepsis"},
    ]
    sheet = sheet_of(samples_of(2, state=["non-septic", "septic"]), cohort_of({"label": rules}))
    assert sheet["label"].tolist() == ["healthy", "sepsis"]


def test_without_default_stratum_an_unknown_age_keeps_a_sample_out() -> None:
    samples = samples_of(2, state=["sepsis", "healthy"], age=["NA", "20"])
    cohort = cohort_of(AGE, default_stratum=None)
    assert reasons(sheet_of(samples, cohort))[0] == (
        "age not recorded and the cohort has no default_stratum"
    )
    with pytest.raises(StudyError, match=r"'characteristics: age'.*needed without default_stratum"):
        sheet_of(samples_of(2, state=["sepsis", "healthy"]), cohort)


def test_an_age_range_across_a_bound_is_not_guessed() -> None:
    samples = samples_of(3, state=["sepsis", "healthy", "healthy"], age=["17-19", "20-30", "70"])
    strata = {"pediatric": {"max_age": 18}, "adult": {"min_age": 18, "max_age": 60}}
    sheet = sheet_of(samples, cohort_of(AGE), strata=strata)
    assert reasons(sheet) == [
        "age '17-19' lies on both sides of a stratum's bound",
        "",
        "age 70 years lies in no stratum of the study",
    ]


def test_a_label_field_that_no_sample_has_is_told_with_the_fields_there_are() -> None:
    samples = samples_of(2, status=["sepsis", "healthy"], empty=[None, None])
    with pytest.raises(StudyError) as caught:
        sheet_of(samples, cohort_of())
    sentence = str(caught.value)
    assert "GSE1" in sentence and "'characteristics: state'" in sentence
    assert "'characteristics: status'" in sentence and "characteristics: empty" not in sentence
    assert "genellm cohort inspect GSE1" in sentence


def test_label_rules_that_match_nothing_are_refused() -> None:
    samples = samples_of(3, state=["SEPSIS", "Healthy", "Healthy"])
    with pytest.raises(StudyError, match=r"label rule 1 \(sepsis\).*'Healthy' \(2\)"):
        sheet_of(samples, cohort_of())


def test_a_misspelt_rule_beside_unread_samples_is_refused_but_an_idle_one_is_not() -> None:
    with pytest.raises(StudyError, match=r"label rule 1 \(sepsis\).*1 samples are left"):
        sheet_of(samples_of(2, state=["septic", "healthy"]), cohort_of())
    sheet = sheet_of(samples_of(2, state=["healthy", "healthy"]), cohort_of())
    assert sheet["used"].all()


def test_absent_fields_of_age_sex_and_subject_are_told_and_not_fatal() -> None:
    rules = {
        **AGE,
        "sex": {"field": "characteristics: sex"},
        "subject": {"field": "characteristics: patient id"},
    }
    cohort, samples = cohort_of(rules), samples_of(2, state=["sepsis", "healthy"])
    assert sheet_of(samples, cohort)["stratum"].tolist() == ["adult", "adult"]
    told = absent_fields(samples, cohort)
    assert len(told) == 3 and "person of its own" in told[2]
    assert absent_fields(samples.assign(**{"characteristics: age": "3"}), cohort_of(AGE)) == []


@pytest.mark.parametrize("gsms", [["GSM1", "GSM1"], ["GSM1", None]])
def test_samples_without_an_accession_of_their_own_are_refused(gsms: list[Any]) -> None:
    samples = samples_of(2, state=["sepsis", "healthy"]).assign(gsm=gsms)
    with pytest.raises(StudyError, match=r"(the sample GSM1 stands twice|a sample has no acc)"):
        sheet_of(samples, cohort_of())


def test_a_series_without_samples_is_refused() -> None:
    with pytest.raises(StudyError, match="SuperSeries"):
        sheet_of(samples_of(0, state=[]), cohort_of())


def test_subjects_come_from_the_first_group_and_never_from_a_missing_word() -> None:
    samples = samples_of(
        4, state=["sepsis", "sepsis", "healthy", "healthy"], who=["p7_a", "p7_b", "NA", "NA"]
    )
    rule = {"subject": {"field": "characteristics: who", "pattern": r"^(p\d+)"}}
    sheet = sheet_of(samples, cohort_of(rule))
    assert sheet["subject"].tolist() == ["p7", "p7", "GSM3", "GSM4"]
    whole = sheet_of(samples, cohort_of({"subject": {"field": "characteristics: who"}}))
    assert whole["subject"].tolist() == ["p7_a", "p7_b", "GSM3", "GSM4"]
    with pytest.raises(StudyError, match="both sides of a fold"):
        rule["subject"]["pattern"] = "patient"
        sheet_of(samples, cohort_of(rule))


BASELINE_SAMPLES = samples_of(
    5,
    state=["sepsis", "sepsis", "sepsis", "healthy", "healthy"],
    who=["a", "a", "b", "c", "c"],
    time=["24 hr", "0 hr", "48 hr", None, None],
)
WHO = {"subject": {"field": "characteristics: who"}}


def test_baseline_only_keeps_what_the_pattern_calls_baseline_once_a_person() -> None:
    rules = {**WHO, "timepoint": {"field": "characteristics: time", "baseline": "^0"}}
    sheet = sheet_of(BASELINE_SAMPLES, cohort_of(rules, baseline_only=True))
    assert reasons(sheet) == [
        "time point '24 hr' is not the baseline",
        "",
        "time point '48 hr' is not the baseline",
        "",
        "another sample of subject 'c' is used (GSM4)",
    ]
    assert sheet["case"].tolist() == [1, 1, 1, 0, 0]
    everything = sheet_of(BASELINE_SAMPLES, cohort_of(rules))
    assert everything["used"].all()


def test_baseline_only_without_a_pattern_keeps_the_earliest_of_each_person() -> None:
    rules = {**WHO, "timepoint": {"field": "characteristics: time"}}
    sheet = sheet_of(BASELINE_SAMPLES, cohort_of(rules, baseline_only=True))
    assert sheet["used"].tolist() == [False, True, True, True, False]
    mixed = BASELINE_SAMPLES.assign(
        **{"characteristics: time": ["Day3", "Day1", "36h", "Day0", "Day 10"]}
    )
    sheet = sheet_of(mixed, cohort_of(rules, baseline_only=True))
    assert sheet["used"].tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (["admission", "later", "0", "0", "0"], "cannot be put in order"),
        (["1", "24 h", "0", "0", "0"], "cannot be put in order"),
    ],
)
def test_time_points_without_an_order_are_refused(times: list[str], told: str) -> None:
    samples = BASELINE_SAMPLES.assign(**{"characteristics: time": times})
    rules = {**WHO, "timepoint": {"field": "characteristics: time"}}
    with pytest.raises(StudyError, match=told):
        sheet_of(samples, cohort_of(rules, baseline_only=True))


def test_a_baseline_pattern_or_field_that_fits_nothing_is_refused() -> None:
    rules = {**WHO, "timepoint": {"field": "characteristics: time", "baseline": "^day"}}
    with pytest.raises(StudyError, match=r"baseline pattern '\^day'.*'0 hr'"):
        sheet_of(BASELINE_SAMPLES, cohort_of(rules, baseline_only=True))
    rules["timepoint"]["field"] = "characteristics: when"
    with pytest.raises(StudyError, match=r"'characteristics: when'.*needed by baseline_only"):
        sheet_of(BASELINE_SAMPLES, cohort_of(rules, baseline_only=True))
    with pytest.raises(ValueError, match="baseline_only needs to know"):
        cohort_of(baseline_only=True)


def test_a_cohort_without_label_rules_can_be_read_but_not_studied() -> None:
    unlabelled = cohort_of({"label": [], **AGE})
    study = study_of()
    sheet = build_sample_sheet(samples_of(1, age=["5"]), unlabelled, study)
    assert reasons(sheet) == ["the cohort has no label rules"]
    assert sheet["stratum"].tolist() == ["pediatric"]
    with pytest.raises(ValueError, match="has no label rules"):
        study_of(unlabelled)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sepsis", "healthy"]),
            st.sampled_from([None, "NA", "3", "17.99", "18", "90", "adult", "10-30"]),
            st.sampled_from(["p1", "p2", None]),
            st.sampled_from(["0 h", "24 h", None]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_the_samples_the_used_ones_are_sound(rows: list[tuple[Any, ...]]) -> None:
    state, age, who, time = (list(column) for column in zip(*rows, strict=True))
    samples = samples_of(len(rows), state=state, age=age, who=who, time=time)
    rules = {**AGE, **WHO, "timepoint": {"field": "characteristics: time"}}
    baseline = any(time)
    cohort = cohort_of(rules, baseline_only=baseline)
    study = study_of(cohort)
    sheet = build_sample_sheet(samples, cohort, study)
    assert sheet["gsm"].tolist() == samples["gsm"].tolist()
    reasons(sheet)
    used = sheet[sheet["used"]]
    assert used["stratum"].notna().all() and used["case"].notna().all()
    known = used[used["age_years"].notna()]
    assert [study.stratum_of(age) for age in known["age_years"]] == known["stratum"].tolist()
    if baseline:
        assert used["subject"].is_unique
