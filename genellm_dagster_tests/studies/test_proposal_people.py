"""Ages, sexes, people and times are proposed from what is plainly said, and doubted otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.proposal import Proposal
from genellm_dagster_tests.studies.series_makers import Group, MadeSeries, study_named
from genellm_dagster_tests.studies.test_proposal import made, proposed, sick_and_well


def with_ages(key: str, values: list[str | None], title: str) -> Proposal:
    return made(*sick_and_well(**{key: values}), title=title)


@pytest.mark.parametrize(
    ("key", "values", "title", "unit"),
    [
        ("age", ["34", "61", "88"], "Sepsis in adults", "years"),
        ("age (years)", ["1.2", "0.3", "9"], "Sepsis in children", "years"),
        ("age (months)", ["2", "14", "30"], "RSV in infants", "months"),
        ("age (mos.)", ["2", "14", "30"], "RSV in infants", "months"),
        ("age in days", ["2", "14", "30"], "Fever in newborns", "days"),
        ("age.weeks", ["2", "14", "30"], "Fever in infants", "weeks"),
        ("age at diagnosis", ["34y", "61 yrs", ">89"], "Sepsis", "years"),
        ("age", ["18 months", "2y3m", "P12M"], "Sepsis in children", "years"),
        ("age", ["20-30", "70-80", "50-60"], "Sepsis", "years"),
        ("patient age", ["71", "45", "60"], "Sepsis", "years"),
    ],
)
def test_ages_are_found_with_their_unit(
    key: str, values: list[str | None], title: str, unit: str
) -> None:
    rule = with_ages(key, values, title).cohort.sample.age
    assert rule is not None
    assert (rule.field, rule.unit) == (f"characteristics: {key}", unit)


@pytest.mark.parametrize(
    ("key", "values", "title"),
    [
        ("gestational age", ["28", "39", "41"], "Sepsis in preterm infants"),
        ("age group", ["adult", "elderly"], "Sepsis"),
        ("age", ["adult", "child"], "Sepsis"),
        ("age", ["1", "2", "3"], "Sepsis in adults"),
        ("age", ["2", "11", "23"], "RSV in infants"),
        ("age", ["14", "55", "88"], "Fever in children"),
        ("age", ["3", "12", "25"], "Late onset sepsis in neonates"),
        ("date of birth", ["1950", "1970"], "Sepsis"),
        ("stage", ["1", "2"], "Sepsis"),
        ("maternal age", ["31", "28"], "Sepsis of newborns"),
        ("age", ["0.4", "0.9", "2.1"], "Sepsis"),
        ("age", ["450", "812", "300"], "Sepsis"),
        ("age (years)", ["45", "70", "33"], "Sepsis in children"),
        ("age", ["18 months", "4", "11 months"], "Sepsis"),
    ],
)
def test_what_may_be_no_age_in_years_gives_no_rule(key: str, values: list[str], title: str) -> None:
    assert with_ages(key, values, title).cohort.sample.age is None


@pytest.mark.parametrize(
    ("title", "summary", "stratum"),
    [
        ("Septic shock in children", "", "pediatric"),
        ("Sepsis in critically ill adults", "", "adult"),
        ("Sepsis", "Blood was taken in a pediatric intensive care unit.", "pediatric"),
        ("Sepsis in children and adults", "", None),
        ("Sepsis in adults", "Compared with children.", None),
        ("Sepsis", "", None),
    ],
)
def test_without_ages_the_stratum_comes_from_words_or_stays_open(
    title: str, summary: str, stratum: str | None
) -> None:
    proposal = made(*sick_and_well(), title=title, summary=summary)
    assert proposal.cohort.default_stratum == stratum
    assert (proposal.confidence > 0) == (stratum is not None)
    assert ("default_stratum" in proposal.abstained) == (stratum is None)


def test_people_without_an_age_get_the_stratum_of_all_others() -> None:
    groups = (
        Group(30, "sepsis", {"disease state": "sepsis", "age": ["40", "55", "71"]}),
        Group(2, "healthy", {"disease state": "healthy", "age": "NA"}),
    )
    assert made(*groups, title="Sepsis").cohort.default_stratum == "adult"
    mixed = (
        Group(30, "sepsis", {"disease state": "sepsis", "age": ["40", "9", "71"]}),
        Group(2, "healthy", {"disease state": "healthy", "age": "NA"}),
    )
    assert made(*mixed, title="Sepsis").cohort.default_stratum is None


def test_sexes_are_words_and_codes_are_left_open() -> None:
    words = made(*sick_and_well(gender=["F", "Male", None]))
    assert words.cohort.sample.sex is not None
    codes = made(*sick_and_well(sex=["0", "1"]))
    assert codes.cohort.sample.sex is None and "0, 1" in codes.abstained["sex"]


def people(*groups: Group, **more: Any) -> Proposal:
    return made(*groups, **more)


def test_people_are_taken_from_a_field_of_ids() -> None:
    proposal = people(
        Group(5, "sepsis", {"group": "sepsis", "patient id": "P{p}", "time": "{t}"},
              times=("0h", "24h")),
        Group(4, "healthy", {"group": "healthy", "patient id": "P{p}", "time": None}),
    )  # fmt: skip
    rules = proposal.cohort.sample
    assert rules.subject is not None and rules.subject.field == "characteristics: patient id"
    assert rules.timepoint is not None and rules.timepoint.baseline == "^0h$"
    assert proposal.cohort.baseline_only


@pytest.mark.parametrize(
    "values",
    [["sepsis patient", "healthy control"], ["A", "B"], ["1"]],
    ids=["diagnoses", "groups", "one value"],
)
def test_a_field_named_subject_that_holds_no_ids_is_no_subject(values: list[str]) -> None:
    assert people(*sick_and_well(subject=values)).cohort.sample.subject is None


def test_numbers_that_count_anew_in_each_group_are_no_people() -> None:
    proposal = people(
        Group(6, "sepsis", {"group": "sepsis", "patient": "{i}"}),
        Group(6, "healthy", {"group": "healthy", "patient": "{i}"}),
    )
    assert proposal.cohort.sample.subject is None
    assert "counts anew" in proposal.abstained["subject"]


@pytest.mark.parametrize(
    ("ill", "well", "times"),
    [
        ("P{p} day {t}", "C{p}", ("1", "3")),
        ("{p}_SepticShock_day{t}", "{p}_control", ("1", "3", "7")),
        ("Sepsis patient {p}, {t}h", "Healthy {p}", ("0", "24")),
        ("S{p}_D{t}", "HC{p}", ("1", "2", "5")),
        ("T{t} - sepsis patient {p}", "control {p}", ("0", "1")),
    ],
)
def test_people_and_first_times_are_read_from_titles(
    ill: str, well: str, times: tuple[str, ...]
) -> None:
    series = MadeSeries(
        "", "sepsis", "Septic shock in adults",
        (Group(6, "septic_shock", {"title": ill, "group": "septic shock"}, times=times),
         Group(5, "healthy", {"title": well, "group": "healthy"})),
    )  # fmt: skip
    proposal = proposed(series)
    sheet = build_sample_sheet(series.samples(), proposal.cohort, study_named("sepsis"))
    assert sheet["subject"].nunique() == 6 + 5
    assert sheet["used"].sum() == 6 + 5
    assert all(sheet["used"][: 6 * len(times) : len(times)])


def test_replicate_numbers_of_one_word_are_no_people() -> None:
    proposal = made(
        Group(6, "sepsis", {"title": "Sepsis, whole blood, rep {i}", "group": "sepsis"}),
        Group(6, "healthy", {"title": "Healthy, whole blood, rep {i}", "group": "healthy"}),
    )
    assert proposal.cohort.sample.subject is None and not proposal.cohort.baseline_only


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (("0 hr", "24 hr", "48 hr"), "^0 hr$"),
        (("Day 1", "Day 3"), "^Day 1$"),
        (("D7", "D1", "D28"), "^D1$"),
        (("baseline", "week 4"), "^baseline$"),
        (("admission", "discharge"), "^admission$"),
        (("2 months", "1 week", "12 months"), "^1 week$"),
        (("pre-treatment", "6 months"), "^pre-treatment$"),
    ],
)
def test_the_earliest_time_is_the_baseline(times: tuple[str, ...], first: str) -> None:
    proposal = made(
        Group(
            6, "sepsis", {"group": "sepsis", "time point": "{t}", "subject": "S{p}"}, times=times
        ),
        Group(5, "healthy", {"group": "healthy", "time point": None, "subject": "S{p}"}),
    )
    rule = proposal.cohort.sample.timepoint
    assert rule is not None and rule.baseline == first


def test_controls_with_a_time_of_their_own_stay() -> None:
    series = MadeSeries(
        "", "sepsis", "Sepsis in adults",
        (Group(5, "sepsis", {"group": "sepsis", "time": "{t}", "subject": "S{p}"},
               times=("day 1", "day 5")),
         Group(4, "healthy", {"group": "healthy", "time": "healthy control", "subject": "S{p}"})),
    )  # fmt: skip
    proposal = proposed(series)
    sheet = build_sample_sheet(series.samples(), proposal.cohort, study_named("sepsis"))
    assert sheet["used"].sum() == 5 + 4


def test_times_in_no_order_are_told_and_no_rule_is_made() -> None:
    proposal = made(*sick_and_well(**{"time point": ["morning", "evening"]}))
    assert proposal.cohort.sample.timepoint is None
    assert "cannot be put in order" in proposal.abstained["timepoint"]


def test_a_time_to_death_is_no_time_point() -> None:
    proposal = made(*sick_and_well(**{"time to death": ["1", "28", "3"], "length of stay": ["4"]}))
    assert proposal.cohort.sample.timepoint is None
