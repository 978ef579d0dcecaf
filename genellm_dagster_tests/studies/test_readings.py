"""Ages and sexes are read as people write them, and never guessed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genellm_dagster.studies.curation import parse_age, parse_sex
from genellm_dagster.studies.readings import AgeUnit, parse_age_range


@pytest.mark.parametrize(
    ("text", "unit", "years"),
    [
        ("34", "years", 34),
        ("34.0", "years", 34),
        (" 2,5 ", "years", 2.5),
        ("18", "months", 1.5),
        ("18 months", "years", 1.5),
        ("6mo", "years", 0.5),
        ("2y3m", "years", 2.25),
        ("2 years 3 months", "years", 2.25),
        ("1 year, 6 months", "days", 1.5),
        ("34 years old", "years", 34),
        ("34 (years)", "months", 34),
        ("34yo", "years", 34),
        ("34 y.", "years", 34),
        ("20-30", "years", 25),
        ("20 to 30 years", "years", 25),
        ("6-12 months", "years", 0.75),
        (">89", "years", 89),
        ("89+", "years", 89),
        (">= 90 years", "years", 90),
        ("90 or older", "years", 90),
        ("<1", "years", 0.5),
        ("0", "years", 0),
        ("365.25", "days", 1),
        ("3 weeks", "years", 21 / 365.25),
    ],
)
def test_ages_are_read_in_years(text: str, unit: AgeUnit, years: float) -> None:
    assert parse_age(text, unit) == pytest.approx(years)


@pytest.mark.parametrize(
    "text",
    [None, "", "NA", "n/a", "unknown", "adult", "-5", "34 apples", "3 4", "2020", "30-20", "5m2y",
     "1e2", "34 | 35", "130", "1/2", "years", "9" * 5000, "2y 3"],
)  # fmt: skip
def test_what_is_no_age_is_unknown(text: str | None) -> None:
    assert math.isnan(parse_age(text, "years"))


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_ages(text: str) -> None:
    age = parse_age(text, "years")
    assert math.isnan(age) or 0 <= age <= 125


@given(st.floats(0, 124), st.floats(0, 1))
def test_a_range_holds_its_own_middle(low: float, width: float) -> None:
    text = f"{low:.3f}-{low + width:.3f}"
    bounds = parse_age_range(text, "years")
    assert bounds is not None
    assert bounds[0] <= parse_age(text, "years") <= bounds[1]


@pytest.mark.parametrize(
    ("text", "sex"),
    [("F", "female"), ("Female", "female"), (" male ", "male"), ("M.", "male"), ("boy", "male"),
     ("girl", "female"), ("1", None), ("NA", None), (None, None), ("female/male", None)],
)  # fmt: skip
def test_sexes_are_read_and_not_guessed(text: str | None, sex: str | None) -> None:
    assert parse_sex(text) == sex
