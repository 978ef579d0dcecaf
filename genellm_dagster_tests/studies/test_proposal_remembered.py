"""Series in their submitters' words: what is labelled is right, what cannot be told stays open."""

from __future__ import annotations

import pytest

from genellm_dagster.studies.proposal import SeriesFacts, propose_cohort
from genellm_dagster.studies.proposal.model import Proposal
from genellm_dagster_tests.studies.makers import cohort_of, samples_of, study_of
from genellm_dagster_tests.studies.series_remembered import SERIES

SURE = 0.9
STUDIES = {
    "sepsis": {"case": ["sepsis", "septic_shock"], "control": ["healthy"]},
    "tb": {"case": ["tb"], "control": ["latent_tb", "healthy"], "title": "Active tuberculosis"},
}


def proposed(name: str) -> Proposal:
    series = SERIES[name]
    words = STUDIES[series["study"]]
    rules = [
        {"field": "title", "pattern": label, "value": label}
        for label in (*words["case"], *words["control"])
    ]
    study = study_of(cohort_of({"label": rules}), **words)
    facts = SeriesFacts(
        accession=name,
        platform=series["platform"],
        title=series["title"],
        summary=series["summary"],
        ids=("1007_s_at", "1053_at", "117_at"),
    )
    return propose_cohort(series["samples"], facts, study)


def outcome(name: str) -> tuple[int, list[tuple[str, str, float]]]:
    """Samples read as they are, and the others with what was made of them and how sure."""
    proposal, right, wrong = proposed(name), 0, []
    for gsm, truth in SERIES[name]["truth"].items():
        label = proposal.labels[gsm]
        if label in truth or (label in (None, "unassigned") and truth & {None, "unassigned"}):
            right += 1
        elif label not in (None, "unassigned"):
            wrong.append((gsm, str(label), float(proposal.label_confidence[gsm])))
    return right, wrong


@pytest.mark.parametrize("name", sorted(SERIES))
def test_no_label_is_wrong(name: str) -> None:
    assert outcome(name)[1] == []


def test_nearly_every_sample_is_read() -> None:
    right = sum(outcome(name)[0] for name in SERIES)
    assert right >= 0.97 * sum(len(series["truth"]) for series in SERIES.values())


def test_what_is_added_to_the_disease_of_all_does_not_replace_it() -> None:
    assert set(proposed("GSE66890").labels) == {"sepsis"}


def test_people_sampled_before_they_fell_ill_are_no_cases() -> None:
    proposal = proposed("GSE68310")
    early = SERIES["GSE68310"]["samples"].query("`characteristics: time point` == 'Baseline'")
    assert set(proposal.labels[early["gsm"]]) <= {None, "unassigned", "healthy"}
    assert proposal.confidence < SURE


def test_sample_names_that_look_like_times_are_no_times() -> None:
    assert proposed("GSE999991").cohort.sample.timepoint is None


def test_codes_without_a_legend_stay_open() -> None:
    assert proposed("GSE999992").labels.isna().all()


@pytest.mark.parametrize(
    ("key", "stratum", "at_most"), [("age", "pediatric", 0.8), ("age (years)", None, 0.0)]
)
def test_ages_that_contradict_the_words_of_a_series_lower_what_the_words_tell(
    key: str, stratum: str | None, at_most: float
) -> None:
    samples = samples_of(6, disease_state=["sepsis", "healthy control"] * 3)
    samples[f"characteristics: {key}"] = ["34", "45", "61", "29", "70", "33"]
    facts = SeriesFacts(accession="GSE5", platform="GPL570", title="Sepsis in children")
    proposal = propose_cohort(samples, facts, study_of())
    assert proposal.cohort.sample.age is None
    assert proposal.cohort.default_stratum == stratum
    assert proposal.confidence <= at_most
