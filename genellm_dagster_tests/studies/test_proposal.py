"""Proposed cohorts read samples as people would, and leave open what nobody could tell."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import load_cohort
from genellm_dagster.studies.proposal import Proposal, SeriesFacts, propose_cohort
from genellm_dagster_tests.studies.series_like_geo import DEVELOPMENT, HELD_OUT
from genellm_dagster_tests.studies.series_makers import (
    CANNOT_TELL,
    Group,
    MadeSeries,
    study_named,
)
from genellm_dagster_tests.studies.series_unseen import FRESH, UNSEEN

ALL = (*DEVELOPMENT, *HELD_OUT, *UNSEEN, *FRESH)
LISTS = {"development": DEVELOPMENT, "held out": HELD_OUT, "unseen": UNSEEN, "fresh": FRESH}


def proposed(series: MadeSeries) -> Proposal:
    return propose_cohort(series.samples(), series.facts, study_named(series.study))


def made(
    *groups: Group, title: str = "Sepsis in adults", study: str = "sepsis", **more: object
) -> Proposal:
    summary = str(more.pop("summary", ""))
    return proposed(MadeSeries("", study, title, groups, summary, more=dict(more)))


def sick_and_well(**says: object) -> tuple[Group, Group]:
    return (
        Group(6, "sepsis", {"disease state": "sepsis", **says}),
        Group(6, "healthy", {"disease state": "healthy", **says}),
    )


def loaded(proposal: Proposal, folder: Path) -> Cohort:
    path = folder / "cohorts" / f"{proposal.cohort.accession}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(proposal.to_yaml(), encoding="utf-8")
    return load_cohort(proposal.cohort.accession, data_dir=folder)


@pytest.mark.parametrize("series", ALL, ids=lambda series: series.name)
def test_no_label_that_is_sure_is_wrong(series: MadeSeries) -> None:
    proposal, study = proposed(series), study_named(series.study)
    for label, sure, truth in zip(
        proposal.labels, proposal.label_confidence, series.truth(), strict=True
    ):
        if truth == CANNOT_TELL:
            assert label is None or study.class_of(label) is None or sure <= 0.9
        elif label is not None:
            assert label == truth or sure <= 0.9


@pytest.mark.parametrize("which", LISTS)
def test_nearly_every_label_is_found(which: str) -> None:
    outcomes: Counter[str] = Counter()
    for series in LISTS[which]:
        for label, truth in zip(proposed(series).labels, series.truth(), strict=True):
            if truth != CANNOT_TELL:
                outcomes["right" if label == truth else "open" if label is None else "wrong"] += 1
    assert outcomes["right"] >= 0.95 * outcomes.total()
    assert outcomes["wrong"] == 0


@pytest.mark.parametrize("series", ALL, ids=lambda series: series.name)
def test_the_written_cohort_gives_exactly_the_proposed_labels(
    series: MadeSeries, tmp_path: Path
) -> None:
    proposal = proposed(series)
    cohort = loaded(proposal, tmp_path)
    assert cohort.model_dump() == proposal.cohort.model_dump()
    assert not cohort.verified
    sheet = build_sample_sheet(series.samples(), cohort, study_named(series.study))
    given = [None if pd.isna(label) else label for label in sheet["label"]]
    assert given == proposal.labels.tolist()
    assert [s.gsm for s in proposal.unmatched] == sheet["gsm"][sheet["label"].isna()].tolist()


_WORDS = """
    sepsis septic shock healthy control normal no non not without TB PTB latent HIV+ day 1 3 D1 0h
    NA none yes 0 male F 34 2y3m >89 (0=control, 1=sepsis) or and - _ patient P12 survivor ctrl_GI
    Influenza H1N1 SIRS post-surgical suspected ( ) [ ] { } $ ^ * + " ' \\ | / ? é ü : # % &
"""
_TEXT = st.lists(st.sampled_from(_WORDS.split()), min_size=1, max_size=5).map(" ".join)
_KEYS = st.sampled_from(
    ["disease state", "group", "age", "age (months)", "sex", "patient id", "time point", "sepsis",
     "status (0=healthy, 1=sepsis)", "group (0", "(no key)", "tb status", "visit", "subject"]
)  # fmt: skip


@st.composite
def any_samples(draw: st.DrawFn) -> pd.DataFrame:
    n = draw(st.integers(1, 12))
    fields = draw(st.lists(_KEYS, max_size=5, unique=True))
    columns: dict[str, list[str | None]] = {
        "gsm": [f"GSM{i}" for i in range(n)],
        "title": draw(st.lists(_TEXT, min_size=n, max_size=n)),
        "source_name": draw(st.lists(_TEXT, min_size=n, max_size=n)),
        "organism": ["Homo sapiens"] * n,
        "platform": ["GPL570"] * n,
        "description": [None] * n,
    }
    for key in fields:
        columns[f"characteristics: {key}"] = draw(
            st.lists(st.none() | _TEXT, min_size=n, max_size=n)
        )
    return pd.DataFrame(columns, dtype=object)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_samples(), _TEXT, st.sampled_from(["sepsis", "tb", "mortality", "preeclampsia"]))
def test_whatever_samples_say_the_proposal_is_one_that_can_be_used(
    samples: pd.DataFrame, title: str, name: str
) -> None:
    study = study_named(name)
    proposal = propose_cohort(samples, SeriesFacts("GSE1", title=title), study)
    sheet = build_sample_sheet(samples, proposal.cohort, study)
    given = [None if pd.isna(label) else label for label in sheet["label"]]
    assert given == proposal.labels.tolist()
    assert 0 <= proposal.confidence <= 1
    assert "verified: false" in proposal.to_yaml()


def test_the_order_of_samples_changes_no_label() -> None:
    for series in ALL:
        samples, study = series.samples(), study_named(series.study)
        turned = samples.iloc[::-1].reset_index(drop=True)
        there = propose_cohort(samples, series.facts, study).labels
        back = propose_cohort(turned, series.facts, study).labels
        assert there.to_dict() == back.to_dict()


def test_evidence_and_confidence_stand_beside_each_rule(tmp_path: Path) -> None:
    proposal = made(*sick_and_well(), Group(2, CANNOT_TELL, {"disease state": "Spetic"}))
    text = proposal.to_yaml()
    assert "# 0.98; 6 samples; sepsis; such as 'sepsis'" in text
    assert "2 samples have no label" in text and "GSM1012" in text
    assert "# age: no field holds ages" in text
    assert proposal.to_dict()["labels"] == {"sepsis": 6, "healthy": 6}


def test_nothing_a_series_says_can_break_the_written_file(tmp_path: Path) -> None:
    evil = 'x"\n accession: GSE2\n# - [}{ \u2028 \\ %TAG'
    groups = (
        Group(6, "sepsis", {"disease state": f"sepsis {evil}"}),
        Group(6, "healthy", {"disease state": "healthy"}),
        Group(2, CANNOT_TELL, {"disease state": evil, "title": f"{evil} {{i}}"}),
    )
    series = MadeSeries("", "sepsis", f"Sepsis {evil}", ())
    samples = MadeSeries("", "sepsis", "", (groups[1],)).samples()
    samples["characteristics: disease state"] = [f"sepsis {evil}", evil, *["healthy"] * 4]
    samples["title"] = [f"{evil} {i}" for i in range(6)]
    proposal = propose_cohort(samples, series.facts, study_named("sepsis"))
    cohort = loaded(proposal, tmp_path)
    assert cohort.accession == "GSE900"
    assert cohort.model_dump() == proposal.cohort.model_dump()


def test_controls_are_healthy_only_where_nothing_speaks_against_it() -> None:
    groups = (
        Group(6, "sepsis", {"group": "sepsis"}),
        Group(6, "healthy", {"group": "control"}),
    )
    plain = made(*groups)
    assert plain.labels.value_counts()["healthy"] == 6 and plain.confidence <= 0.9
    named = made(*groups, summary="Patients and healthy controls.")
    assert named.label_confidence.min() > 0.9
    for words in (
        "Patients with sepsis and hospitalised controls.",
        "Sepsis against ICU controls; healthy people gave reference values.",
        "Patients without sepsis served as controls.",
        "Blood of donors was stimulated with LPS.",
    ):
        ill = made(*groups, summary=words)
        assert "healthy" not in ill.labels.tolist() and len(ill.unmatched) == 6
    for words in (
        "Kawasaki disease, healthy controls",
        "SIRS and healthy controls",
        "BCG-vaccinated",
    ):
        assert made(*groups, summary=words).labels.value_counts()["healthy"] == 6


@pytest.mark.parametrize(
    ("study", "value", "label"),
    [
        ("sepsis", "Sepsis-associated AKI", "sepsis"),
        ("sepsis", "Septic arthritis", "infection_non_sepsis"),
        ("sepsis", "infection without sepsis", "infection_non_sepsis"),
        ("sepsis", "SIRS (no infection)", "noninfectious_inflammation"),
        ("sepsis", "septic shock or sepsis", "sepsis"),
        ("sepsis", "sepsis or SIRS", None),
        ("sepsis", "sepsis resolved", "unassigned"),
        ("sepsis", "sepsis mimic", None),
        ("sepsis", "sepsis ruled out", None),
        ("sepsis", "Sepsis: 0", None),
        ("sepsis", "pre-sepsis", None),
        ("sepsis", "parent of septic child", "unassigned"),
        ("sepsis", "control for sepsis", None),
        ("sepsis", "control patient", None),
        ("sepsis", "normal lactate", None),
        ("sepsis", "not healthy", None),
        ("sepsis", "healthy donor, LPS", None),
        ("sepsis", "healthy volunteer given endotoxin", None),
        ("sepsis", "previously healthy, septic shock", "septic_shock"),
        ("sepsis", "COVID-19", "infection_non_sepsis"),
        ("sepsis", "cardiogenic shock", "noninfectious_inflammation"),
        ("sepsis", "appendicitis", None),
        ("tb", "No TB", None),
        ("tb", "TB infection", "unassigned"),
        ("tb", "IGRA positive", None),
        ("tb", "Control_TST+", None),
        ("tb", "healthy contact", "unassigned"),
        ("tb", "LTBI progressor", None),
        ("tb", "HIV+ LTBI", "latent_tb"),
        ("tb", "PTB, HIV positive", "tb"),
        ("tb", "cured TB", "unassigned"),
        ("tb", "probable TB", None),
        ("covid", "Non-COVID ICU", None),
        ("covid", "Long COVID", "unassigned"),
        ("covid", "COVID-19 vaccinated", None),
    ],
)
def test_a_value_means_its_label_or_stays_open(study: str, value: str, label: str | None) -> None:
    groups = (
        Group(4, "", {"disease state": value}),
        Group(4, "", {"disease state": "healthy"}),
    )
    proposal = made(*groups, title="Whole blood", study=study)
    assert set(proposal.labels[:4]) == {label}
    assert set(proposal.labels[4:]) == {"healthy"}


@pytest.mark.parametrize(
    ("key", "values", "labels"),
    [
        ("sepsis", ["yes", "no"], ["sepsis", None]),
        ("sepsis status", ["1", "0"], ["sepsis", None]),
        ("septic shock", ["positive", "negative"], ["septic_shock", None]),
        ("sepsis onset day", ["1", "0"], [None, None]),
        ("class", ["1", "0"], [None, None]),
        ("group (0=healthy, 1=sepsis)", ["1", "0"], ["sepsis", "healthy"]),
        ("group (1: septic shock; 2: healthy)", ["1", "2"], ["septic_shock", "healthy"]),
        ("healthy control", ["Sepsis", "SLE"], [None, None]),
        ("treatment", ["control", "sepsis bundle"], [None, None]),
        ("quality", ["normal", "poor"], [None, None]),
        ("hiv status", ["healthy", "sepsis"], [None, None]),
    ],
)
def test_what_a_value_means_depends_on_its_field(
    key: str, values: list[str], labels: list[str | None]
) -> None:
    proposal = made(
        *(Group(4, "", {key: value}) for value in values), title="Whole blood of patients"
    )
    assert proposal.labels.tolist() == [label for label in labels for _ in range(4)]


def test_a_colon_in_a_legend_that_cut_the_key_is_put_right() -> None:
    proposal = made(
        Group(4, "", {"group (0": "healthy, 1: sepsis): 1"}),
        Group(4, "", {"group (0": "healthy, 1: sepsis): 0"}),
    )
    assert proposal.labels.tolist() == ["sepsis"] * 4 + ["healthy"] * 4


def test_fields_that_contradict_each_other_leave_samples_open() -> None:
    proposal = made(
        Group(5, CANNOT_TELL, {"title": "Healthy {i}", "disease state": "sepsis"}),
        Group(5, CANNOT_TELL, {"title": "Sepsis {i}", "disease state": "healthy"}),
    )
    assert proposal.labels.isna().all() and proposal.confidence == 0
    assert any("contradicted" in warning for warning in proposal.warnings)


def test_a_study_without_septic_shock_takes_it_as_sepsis() -> None:
    series = MadeSeries("", "x", "Septic shock", (Group(4, "", {"diagnosis": "septic shock"}),))
    study = study_named("sepsis").model_copy(update={"case": ["sepsis"]})
    proposal = propose_cohort(series.samples(), series.facts, study)
    assert set(proposal.labels) == {"sepsis"}


def test_the_study_title_widens_its_case_label_at_less_confidence() -> None:
    series = MadeSeries("", "x", "Fever", (Group(4, "", {"illness": "Staph"}),))
    study = study_named("sepsis").model_copy(
        update={"case": ["sepsis"], "title": "Sepsis or bacterial infection against health"}
    )
    proposal = propose_cohort(series.samples(), series.facts, study)
    assert set(proposal.labels) == {"sepsis"} and proposal.label_confidence.max() < 0.9
    plain = propose_cohort(series.samples(), series.facts, study_named("sepsis"))
    assert set(plain.labels) == {"infection_non_sepsis"}


def test_a_series_without_samples_is_refused_with_the_way_out() -> None:
    with pytest.raises(StudyError, match="SubSeries"):
        propose_cohort(pd.DataFrame(), SeriesFacts("GSE1"), study_named("sepsis"))
    nameless = MadeSeries("", "", "", (Group(1, "", {}),)).samples()
    nameless["platform"] = None
    with pytest.raises(StudyError, match="platform"):
        propose_cohort(nameless, SeriesFacts("GSE1"), study_named("sepsis"))


def test_samples_that_are_not_whole_blood_are_told() -> None:
    proposal = made(*sick_and_well(**{"cell type": ["Whole blood", "Neutrophils"]}))
    assert any("6 samples are not whole blood (neutrophils 6)" in w for w in proposal.warnings)
    blood = made(*sick_and_well(**{"tissue": "peripheral blood"}))
    assert not any("whole blood" in warning for warning in blood.warnings)
