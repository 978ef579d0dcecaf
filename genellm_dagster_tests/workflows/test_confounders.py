"""What tells cases from controls without the disease: cells, batch, and the cohort's name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.baselines.batch import label_by_cohort, resampled
from genellm_dagster.baselines.options import CohortOnlyOptions
from genellm_dagster.expression.composition import scores_of_cells
from genellm_dagster.workflows.confounders import batch_results
from genellm_dagster_tests.finished import CELLS, CHILDREN, Finished

OPTIONS = CohortOnlyOptions(bootstraps=50)


def study(
    shares: tuple[float, ...], batch: float, disease: float, size: int = 60, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Profiles and samples; ``batch`` and ``disease`` shift genes of their own."""
    random = np.random.default_rng(seed)
    cohort = np.repeat([f"GSE{i}" for i in range(len(shares))], size)
    case = np.concatenate([(np.arange(size) < round(share * size)).astype(int) for share in shares])
    values = random.normal(size=(len(cohort), 12))
    for number, name in enumerate(np.unique(cohort)):
        values[cohort == name, number] += batch
    values[:, 10] += disease * case
    gsm = [f"GSM{i}" for i in range(len(cohort))]
    samples = pd.DataFrame({"gsm": gsm, "cohort": cohort, "subject": gsm, "case": case})
    return pd.DataFrame(values, index=pd.Index(gsm, name="gsm")), samples


def results(profiles: pd.DataFrame, samples: pd.DataFrame, people: int = 1) -> dict:
    groups = {gsm: number // people for number, gsm in enumerate(samples["gsm"])}
    found = batch_results(profiles, samples, groups, OPTIONS, 0.95, 1)
    assert found is not None
    return found


def test_a_batch_is_told_and_no_batch_is_not() -> None:
    strong = results(*study((0.5, 0.5, 0.5), batch=4, disease=2))["cohort_from_profile"]
    for part in strong.values():
        assert part["auroc"]["value"] > 0.97
        assert part["auroc"]["low"] < part["auroc"]["value"]
        assert set(part["each"]) == {"GSE0", "GSE1", "GSE2"}
    none = results(*study((0.5, 0.5, 0.5), batch=0, disease=2))["cohort_from_profile"]["all"]
    assert none["auroc"]["low"] < 0.5 < none["auroc"]["high"]


def test_disease_alone_does_not_pass_for_batch_though_shares_of_cases_differ() -> None:
    drawn = [
        results(*study((0.9, 0.1), batch=0, disease=4, size=120, seed=seed))["cohort_from_profile"]
        for seed in range(4)
    ]
    for part in ("all", "controls", "cases"):
        mean = np.mean([found[part]["auroc"]["value"] for found in drawn])
        assert 0.35 < mean < 0.65, part


def test_a_perfect_batch_does_not_get_an_interval_without_width() -> None:
    found = results(*study((0.5, 0.5), batch=50, disease=0))["cohort_from_profile"]["all"]
    assert found["auroc"]["value"] == 1.0
    assert found["auroc"]["low"] < 0.99


@pytest.mark.parametrize(
    ("shares", "expected"),
    # By hand: of pairs of a case and a control, those across cohorts are won or lost, those
    # inside are ties.
    [((0.5, 0.5), 0.5), ((0.8, 0.2), 0.8), ((0.75, 0.25), 0.75)],
)
def test_the_name_of_a_cohort_tells_what_its_share_of_cases_tells(shares, expected) -> None:
    found = results(*study(shares, batch=1, disease=0, size=100))
    value = found["label_from_cohort"]["auroc"]
    assert value["value"] == pytest.approx(expected, abs=0.03)
    assert value["low"] <= value["value"] <= value["high"]
    assert found["prevalence"] == pytest.approx(np.mean(shares))


def test_ties_inside_cohorts_are_not_turned_round_between_folds() -> None:
    # The folds' shares differ, so that pooled over folds the cases would lie below.
    case = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    assert label_by_cohort(case, np.zeros(8, int), np.repeat([0, 1], 4)) == 0.5
    assert label_by_cohort(np.ones(4, int), np.zeros(4, int), np.array([0, 0, 1, 1])) is None


def test_a_cohorts_share_is_that_outside_the_fold() -> None:
    cohort, fold = np.tile([0, 0, 1, 1], 2), np.repeat([0, 1], 4)
    # What held in one fold is the opposite in the other: who knew the fold itself would score 1.
    case = np.array([1, 1, 0, 0, 0, 0, 1, 1])
    assert label_by_cohort(case, cohort, fold) == 0.0


def test_one_cohort_and_a_cohort_of_one_person_have_a_reason() -> None:
    alone = results(*study((0.5,), batch=0, disease=1))
    assert alone["cohort_from_profile"]["all"]["auroc"]["value"] is None
    assert "only cohort" in alone["cohort_from_profile"]["all"]["auroc"]["reason"]
    assert "only cohort" in alone["label_from_cohort"]["auroc"]["reason"]
    few = results(*study((0.5, 0.5), batch=0, disease=1, size=2))["cohort_from_profile"]
    assert "one person" in few["controls"]["auroc"]["reason"]


def test_the_control_can_be_left_out() -> None:
    profiles, samples = study((0.5, 0.5), batch=0, disease=1)
    assert batch_results(profiles, samples, {}, None, 0.95, 1) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_resamples_hold_whole_persons_of_every_group(seed: int, samples: int) -> None:
    persons = np.array([f"p{i // samples}" for i in range(24)], dtype=object)
    groups = np.arange(24) // 12
    for at in resampled(groups, persons, 3, seed):
        assert set(groups[at]) == {0, 1}
        for person in set(persons[at]):
            own = np.flatnonzero(persons == person)
            assert len({int((at == place).sum()) for place in own}) == 1


def test_cell_scores_of_a_stratum_are_numbers_by_sample(finished: Finished) -> None:
    tables = [finished.table("blood_composition", CHILDREN, cohort) for cohort in CELLS[CHILDREN]]
    # The first sample of one series is part of the other, too.
    shared = pd.concat([tables[1], tables[0].head(1)], ignore_index=True)
    found = scores_of_cells([tables[0], shared])
    assert {"neutrophils", "lymphocytes"} <= set(found.columns)
    assert (found.dtypes == np.float64).all()
    assert found.index.tolist() == pd.concat([table["gsm"] for table in tables]).tolist()


@pytest.mark.parametrize("stratum", CELLS)
def test_a_run_keeps_what_batch_tells_beside_the_baselines(
    finished: Finished, stratum: str
) -> None:
    batch = finished.json("baseline_predictions", stratum)["batch"]
    report = finished.json("evaluation_report", stratum)
    assert (batch["n"], batch["cases"]) == (report["n"], report["cases"])
    assert sorted(batch["cohorts"]) == CELLS[stratum]
    for part in (*batch["cohort_from_profile"].values(), batch["label_from_cohort"]):
        assert part["auroc"]["low"] <= part["auroc"]["value"] <= part["auroc"]["high"]
