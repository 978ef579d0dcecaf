"""The shipped cohort files read samples that are written as GEO writes those of their series.

GEO's own files are not at hand here: the samples below are made up in the form that the sources
of each file show (titles, keys and values), a few of each kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.curation import absent_fields, build_sample_sheet
from genellm_dagster.studies.loading import known_cohorts, load_cohort, load_study
from genellm_dagster.studies.study import Study
from genellm_dagster_tests.studies.makers import samples_of

DATA = Path(__file__).parents[2] / "data"
ALL = known_cohorts(DATA)
ARRAYS = {
    "GSE13904": 227,
    "GSE154918": 105,
    "GSE185263": 392,
    "GSE22098": 274,
    "GSE26378": 103,
    "GSE26440": 130,
    "GSE28750": 41,
    "GSE54514": 163,
    "GSE57065": 107,
    "GSE66099": 276,
    "GSE8121": 75,
    "GSE95233": 124,
    "GSE9692": 45,
}


def study() -> Study:
    return load_study("sepsis", data_dir=DATA)


def sheet_of(name: str, columns: dict[str, list[str | None]]) -> pd.DataFrame:
    frame = samples_of(len(next(iter(columns.values()))))
    for field, values in columns.items():
        column = field if field in frame else f"characteristics: {field}"
        frame[column] = values
    cohort = load_cohort(name, data_dir=DATA)
    assert absent_fields(frame, cohort) == []
    return build_sample_sheet(frame, cohort, study())


# For each sample: what its fields say, the label that it must get, and whether it is used.
SERIES: dict[str, tuple[dict[str, list[Any]], list[str | None], list[bool]]] = {
    "GSE26378": (
        {
            "disease state": ["septic shock patient", "normal control"],
            "outcome": ["Survivor", "n/a"],
            "age (years)": ["2.3", "0.1"],
        },
        ["septic_shock", "healthy"],
        [True, True],
    ),
    "GSE26440": (
        {
            "disease state": ["septic shock patient", "normal control"],
            "outcome": ["Nonsurvivor", "n/a"],
            "age (years)": ["9.8", "0"],
        },
        ["septic_shock", "healthy"],
        [True, True],
    ),
    "GSE13904": (
        {
            "title": [
                "01-0007A_Septic Shock_day1_0",
                "01-0007B_Septic Shock_day3_0",
                "02-0003A_SIRS_day1_1",
                "02-0003B_SIRS resolved_day3_1",
                "03-0011A_Sepsis_day1_2",
                "04-0001A_Control_day1_0",
            ]
        },
        [
            "septic_shock",
            "septic_shock",
            "noninfectious_inflammation",
            "unassigned",
            "sepsis",
            "healthy",
        ],
        [True, False, False, False, True, True],
    ),
    "GSE65682": (
        {
            "title": ["healthy subject [x1]"] + ["intensive-care unit patient [x2]"] * 7,
            "pneumonia diagnoses": ["NA", "cap", "hap", "NA", "NA", "no-cap", "NA", "NA"],
            "abdominal_sepsis_and_controls": ["NA"] * 4 + ["ctrl_GI", "NA", "NA", "abdo_s"],
            "endotype_cohort": ["NA", "NA", "NA", "validation", "NA", "NA", "NA", "discovery"],
            "age": ["31", "60", "61", "62", "63", "64", "65", "66"],
            "gender": ["male", "female"] * 4,
        },
        [
            "healthy",
            "sepsis",
            "sepsis",
            "sepsis",
            "noninfectious_inflammation",
            "noninfectious_inflammation",
            None,
            "sepsis",
        ],
        [True, True, True, True, False, False, False, True],
    ),
    "GSE57065": (
        {
            "title": ["Blood_P001_H00", "Blood_P001_H24", "Blood_P002_H48", "Blood_HV01"],
            "source_name": ["patient 001, H0", "patient 001, H24", "patient 002, H48", "Temoin"],
            "collection time": ["0 hr", "24 hr", "48 hr", "NULL"],
            "sapsii": ["SAPSII-High", "SAPSII-High", "SAPSII-Low", "NA"],
            "age": ["60", "60", "70", "40"],
            "gender": ["FEMALE", "FEMALE", "MALE", "MALE"],
        },
        ["septic_shock", "septic_shock", "septic_shock", "healthy"],
        [True, False, False, True],
    ),
    "GSE54514": (
        {
            "title": ["PAXgene whole blood, sepsis_survivor, Day_1, ID=29"] * 4,
            "disease status": ["sepsis survivor", "sepsis nonsurvivor", "healthy", "healthy"],
            "group_id": ["S_29", "NS_20", "HC_1", "HC_1"],
            "group_day": ["S_D1", "NS_D4", "HC_D1", "HC_D5"],
            "age (years)": ["45", "20", "42", "42"],
            "gender": ["F", "M", "F", "F"],
        },
        ["sepsis", "sepsis", "healthy", "healthy"],
        [True, False, True, False],
    ),
    "GSE95233": (
        {
            "title": ["Blood-SV_115_D01", "Blood-SV_115_D03", "Blood-NS_102_D01", "Blood-CS_01"],
            "source_name": [
                "Patient 115, Day1",
                "Patient 115, Day3",
                "Patient 102, Day1",
                "Control 1",
            ],
            "time point": ["D01", "D03", "D01", "NA"],
            "age": ["59", "59", "85", "NA"],
            "gender": ["M", "M", "F", "H"],
        },
        ["septic_shock", "septic_shock", "septic_shock", "healthy"],
        [True, False, True, True],
    ),
    "GSE28750": (
        {"health status": ["SEPSIS", "HEALTHY", "POST_SURGICAL"]},
        ["sepsis", "healthy", "noninfectious_inflammation"],
        [True, True, False],
    ),
    "GSE185263": (
        {"disease state": ["sepsis", "healthy"], "age": ["64", "30"], "sex": ["M", "F"]},
        ["sepsis", "healthy"],
        [True, True],
    ),
    "GSE154918": (
        {
            "status": ["Hlty", "Inf1_P", "Seps_P", "Shock_P", "Seps_FU", "Shock_FU"],
            "sex": ["F", "M", "F", "M", "F", "M"],
        },
        [
            "healthy",
            "infection_non_sepsis",
            "sepsis",
            "septic_shock",
            "unassigned",
            "unassigned",
        ],
        [True, False, True, True, False, False],
    ),
    "GSE66099": (
        {"disease": ["SepticShock", "Sepsis", "SIRS", "Control"]},
        ["septic_shock", "sepsis", "noninfectious_inflammation", "healthy"],
        [True, True, False, True],
    ),
    "GSE22098": (
        {
            "illness": ["Staph", "Strep", "PSLE", "ASLE", "Still", None, "NA"],
            "healthy control": [None, "NA", None, None, None, "pSLE", "Staph"],
            "age": ["3", "17", "14", "40", "55", "6", "41"],
            "gender": ["Male", "Female", "Female", "Female", "Male", "Male", "Female"],
        },
        ["infection_non_sepsis"] * 2 + ["unassigned"] * 3 + ["healthy"] * 2,
        [False] * 5 + [True] * 2,
    ),
    "GSE8121": (
        {"title": ["05-0007_Septic Shock_day1", "05-0007_Septic Shock_day3", "01-0002_Control"]},
        ["septic_shock", "septic_shock", "healthy"],
        [True, False, True],
    ),
    "GSE9692": (
        {"title": ["Septic shock 1", "Control 1"], "gender": ["M", "F"]},
        ["septic_shock", "healthy"],
        [True, True],
    ),
}


def test_every_shipped_file_has_its_samples_here() -> None:
    assert set(SERIES) == set(ALL)


@pytest.mark.parametrize("name", sorted(SERIES))
def test_rules_read_samples_as_the_series_writes_them(name: str) -> None:
    columns, labels, used = SERIES[name]
    sheet = sheet_of(name, columns)
    assert [None if pd.isna(label) else label for label in sheet["label"]] == labels
    assert sheet["used"].tolist() == used


@pytest.mark.parametrize("name", ALL)
def test_what_a_file_expects_adds_up_to_its_arrays_and_is_sourced(name: str) -> None:
    cohort: Cohort = load_cohort(name, data_dir=DATA)
    assert not cohort.verified
    assert any(f"acc={cohort.accession}" in source for source in cohort.sources)
    if name in ARRAYS:  # GSE65682 has patients that no rule labels
        assert sum(cohort.expected_labels.values()) == ARRAYS[name]
    for label, people in cohort.expected_subjects.items():
        assert people <= cohort.expected_labels[label]
    for other in cohort.overlaps:
        if other in ALL:
            assert name in load_cohort(other, data_dir=DATA).overlaps


def test_people_of_repeated_samples_are_told_apart() -> None:
    sheet = sheet_of("GSE95233", SERIES["GSE95233"][0])
    assert sheet["subject"].tolist() == [
        "Blood-SV_115",
        "Blood-SV_115",
        "Blood-NS_102",
        "Blood-CS_01",
    ]
    assert sheet_of("GSE57065", SERIES["GSE57065"][0])["subject"].tolist() == [
        "P001",
        "P001",
        "P002",
        "HV01",
    ]


def test_every_shipped_cohort_can_join_the_default_study() -> None:
    default = study()
    files = {name: load_cohort(name, data_dir=DATA) for name in ALL}
    joined = Study.model_validate(
        {**default.model_dump(exclude={"cohort_files", "cohorts"}), "cohorts": ALL}
        | {"cohort_files": files}
    )
    assert joined.cohorts == ALL
