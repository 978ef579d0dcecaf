"""A pattern in a description can neither hang the program nor fill its memory."""

from __future__ import annotations

import pytest

from genellm_dagster.errors import StudyError
from genellm_dagster.studies import patterns
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster_tests.studies.makers import cohort_of, samples_of, study_of


def test_the_first_group_is_taken_else_the_whole_match() -> None:
    values = ["patient 12 day 1", None, "nobody"]
    assert patterns.match_values(r"patient (\d+)", values, "x") == ["12", None, None]
    assert patterns.match_values(r"\d+", values, "x") == ["12", None, None]
    assert patterns.match_values("(?i)NOBODY", values, "x") == [None, None, "nobody"]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(", "no regular expression"),
        ("a(?i)b", "no regular expression"),
        ("a" * 201, "201 characters"),
        ("(((a{999}){999}){999}){999}", "repeats up to"),
        ("a{1,99999999999999999999}", "repeats up to"),
    ],
)
def test_patterns_beyond_the_limits_are_refused(pattern: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        patterns.check_pattern(pattern)


def test_a_pattern_that_backtracks_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS_PER_RULE", 0.2)
    evil = {"field": "characteristics: state", "pattern": "^(a|aa)+$", "value": "sepsis"}
    good = {"field": "characteristics: state", "pattern": "b", "value": "healthy"}
    cohort = cohort_of({"label": [evil, good]})
    samples = samples_of(2, state=["a" * 200 + "!", "b"])
    with pytest.raises(StudyError, match=r"label rule 1 \(sepsis\).*took more than 0.2 s"):
        build_sample_sheet(samples, cohort, study_of(cohort))


def test_only_the_beginning_of_a_huge_value_is_looked_at() -> None:
    huge = "x" * 3_000_000 + "end"
    assert patterns.match_values("end$", [huge], "x") == [None]
    assert patterns.match_values("^x", [huge], "x") == ["x"]
