"""Words of diagnoses are read with their negations, short forms and qualifiers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genellm_dagster.studies.patterns import match_values
from genellm_dagster.studies.proposal.reader import Reader
from genellm_dagster.studies.proposal.rules import label_patterns
from genellm_dagster.studies.proposal.words import PARENTS, ancestors, plain

READER = Reader.of(
    "Septic shock (SS), healthy controls (HC); OD = other disease. Kawasaki disease."
)


@pytest.mark.parametrize(
    ("value", "concepts"),
    [
        ("SepticShock_day1", ["septic_shock"]),
        ("SEPTIC SHOCK", ["septic_shock"]),
        ("severe sepsis", ["sepsis"]),
        ("gram-negative sepsis", ["bacterial", "sepsis"]),
        ("septicaemia", ["sepsis"]),
        ("PTB_12", ["tb"]),
        ("active tuberculosis", ["tb"]),
        ("latent TB infection", ["latent_tb"]),
        ("LTBI", ["latent_tb"]),
        ("Control (BCG-)", ["control"]),
        ("HIV-TB+", ["tb"]),
        ("SS_3", ["septic_shock"]),
        ("HC 12", ["healthy"]),
        ("OD", ["other_disease"]),
        ("inKD", ["kawasaki"]),
        ("COVID-19", ["covid"]),
        ("SARS-CoV-2 infection", ["covid", "infection"]),
        ("H1N1 influenza", ["influenza"]),
        ("POST_SURGICAL", ["surgery"]),
        ("cardiogenic shock", ["other_shock"]),
        ("non-infectious SIRS", ["noninfectious", "sirs"]),
        ("sepsis nonsurvivor", ["sepsis", "nonsurvivor"]),
        ("Non Survivor", ["nonsurvivor"]),
        ("ICU control", ["ill_control"]),
        ("Universal Human Reference RNA", ["reference_rna"]),
        ("severe sepsis without septic shock", ["sepsis"]),
        ("influenza vaccinated", []),
        ("normalized", []),
        ("quality control", []),
        ("abnormal", []),
        ("whole blood", []),
    ],
)
def test_what_a_value_says(value: str, concepts: list[str]) -> None:
    assert READER.read(value).concepts() == concepts


@pytest.mark.parametrize(
    ("value", "flag", "concept"),
    [
        ("no sepsis", "negated", "sepsis"),
        ("non-septic", "negated", "sepsis"),
        ("without evidence of sepsis", "negated", "sepsis"),
        ("TB negative", "negated", "tb"),
        ("not healthy", "negated", "healthy"),
        ("suspected sepsis", "uncertain", "sepsis"),
        ("probable bacterial infection", "uncertain", "bacterial"),
        ("TB suspects", "uncertain", "tb"),
        ("previous TB", "past", "tb"),
        ("history of sepsis", "past", "sepsis"),
    ],
)
def test_what_a_value_denies_or_doubts(value: str, flag: str, concept: str) -> None:
    reading = READER.read(value)
    assert concept in reading.concepts(flag) and concept not in reading.concepts()


def test_a_short_form_without_its_explanation_means_nothing() -> None:
    assert Reader.of("Whole blood").read("SS12").mentions == ()
    assert Reader.of("Patients (S) and people (S)").read("S1").mentions == ()


def test_every_concept_leads_to_a_broadest_one() -> None:
    for concept in PARENTS:
        assert PARENTS[ancestors(concept)[-1]] is None


@given(st.text(max_size=80))
def test_no_text_breaks_the_reading(text: str) -> None:
    assert plain(plain(text)) == plain(text)
    READER.read(text)


@given(
    st.dictionaries(
        st.text(
            st.characters(codec="utf-8", exclude_characters="\n\r\x00"), min_size=1, max_size=30
        )
        .map(str.strip)
        .filter(bool),
        st.sampled_from(["a", "b", None]),
        max_size=12,
    )
)
def test_patterns_say_exactly_what_was_asked(meant: dict[str, str | None]) -> None:
    labels = {value: label for value, label in meant.items() if label is not None}
    values = [*meant, *meant]
    rules = label_patterns(values, labels, {})
    found: dict[str, str] = {}
    for pattern, label in rules:
        for value, match in zip(values, match_values(pattern, values, "a test"), strict=True):
            if match is not None:
                found.setdefault(value, label)
    assert found == labels
