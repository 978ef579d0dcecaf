"""What truth.json says was planted can be measured in the values, and nothing else can."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.simulation.cohorts import SimulatedCohort, simulate_cohort
from genellm_dagster.simulation.genes import (
    FACTORS,
    SEX_GENES,
    SIGNATURE_GENES,
    choose_universe,
    describe_genes,
    plant_genes,
)
from genellm_dagster.simulation.options import SimulationOptions
from genellm_dagster.simulation.people import draw_people


def _cohorts(options: SimulationOptions, seed: int) -> list[SimulatedCohort]:
    planted = plant_genes(options, seed)
    genes = describe_genes(options, planted, seed)
    first: dict[str, SimulatedCohort] = {}
    made = []
    for number, plan in enumerate(options.cohorts):
        cohort = simulate_cohort(
            options, number, genes, planted[plan.stratum], first.get(plan.stratum), seed
        )
        first.setdefault(plan.stratum, cohort)
        made.append(cohort)
    return made


def _difference(cohort: SimulatedCohort) -> pd.Series:
    people = cohort.people[~cohort.people["poor"] & cohort.people["follows"].isna()]
    values = cohort.values[people["gsm"]]
    case, control = ((people["kind"] == kind).to_numpy() for kind in ("case", "control"))
    return values.loc[:, case].mean(axis=1) - values.loc[:, control].mean(axis=1)


@pytest.fixture(scope="module")
def standard() -> list[SimulatedCohort]:
    return _cohorts(SimulationOptions(genes=600), seed=5)


def test_every_known_blood_gene_is_measured_under_its_approved_symbol() -> None:
    wanted = {*SIGNATURE_GENES, *SEX_GENES, *(g for genes in FACTORS.values() for g in genes)}
    assert wanted <= set(choose_universe(200))


def test_cohorts_hold_60_to_150_samples(standard: list[SimulatedCohort]) -> None:
    sizes = [len(cohort.people) for cohort in standard]
    assert min(sizes) >= 60
    assert max(sizes) <= 150


def test_differences_between_cases_and_controls_follow_the_planted_effects(
    standard: list[SimulatedCohort],
) -> None:
    planted = plant_genes(SimulationOptions(genes=600), seed=5)
    for cohort in standard:
        difference = _difference(cohort)
        effects = planted[cohort.plan.stratum].reindex(difference.index).dropna()
        assert np.corrcoef(difference[effects.index], effects)[0, 1] > 0.85
        other = difference.drop(effects.index)
        assert other.abs().mean() < 0.4 * difference[effects.index].abs().mean()


def test_strata_have_no_planted_gene_in_common_unless_asked() -> None:
    apart = plant_genes(SimulationOptions(genes=600), seed=1)
    assert not set(apart["pediatric"].index) & set(apart["adult"].index)
    same = plant_genes(SimulationOptions(genes=600, shared_genes=30), seed=1)
    assert set(same["pediatric"].index) == set(same["adult"].index)
    pd.testing.assert_series_equal(
        same["pediatric"].sort_index(), same["adult"].sort_index(), check_exact=True
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), shared=st.integers(0, 30))
def test_as_many_genes_as_asked_are_shared_for_every_seed(seed: int, shared: int) -> None:
    planted = plant_genes(SimulationOptions(genes=250, shared_genes=shared), seed)
    assert len(set(planted["pediatric"].index) & set(planted["adult"].index)) == shared
    for effects in planted.values():
        assert len(effects) == effects.index.nunique() == 30
        assert (effects > 0).sum() == 15


def test_the_sexes_are_told_by_their_genes(standard: list[SimulatedCohort]) -> None:
    for cohort in standard:
        good = cohort.people[~cohort.people["poor"]]
        values = cohort.values[good["gsm"]]
        present = [gene for gene in ("RPS4Y1", "DDX3Y", "KDM5D") if gene in values.index]
        male = (good["sex"] == "male").to_numpy()
        score = values.loc[present].mean(axis=0)
        assert score[male].min() > score[~male].max()


def test_cells_of_one_kind_rise_and_fall_together(standard: list[SimulatedCohort]) -> None:
    cohort = standard[3]
    values = cohort.values.loc[:, ~cohort.people["poor"].to_numpy()]
    own = [gene for gene in FACTORS["erythroid"] if gene in values.index]
    together = values.loc[own].T.corr().to_numpy()
    strangers = values.T.corr().to_numpy()
    upper = np.triu_indices(len(own), 1)
    assert together[upper].mean() > 0.4
    assert np.median(np.abs(strangers[np.triu_indices(len(values), 1)])) < 0.25


def test_a_person_measured_in_two_series_looks_most_like_oneself(
    standard: list[SimulatedCohort],
) -> None:
    first, second = standard[:2]
    copies = second.people.dropna(subset="copy_of")
    assert len(copies) == 2
    genes = first.values.index.intersection(second.values.index)

    def centred(cohort: SimulatedCohort) -> pd.DataFrame:
        table = cohort.values.loc[genes]
        return table.sub(table.mean(axis=1), axis=0).fillna(0)

    theirs = centred(first)
    for gsm, copy_of in zip(copies["gsm"], copies["copy_of"], strict=True):
        assert theirs.corrwith(centred(second)[gsm]).idxmax() == copy_of


def test_failed_arrays_look_like_no_other(standard: list[SimulatedCohort]) -> None:
    for cohort in standard:
        likeness = cohort.values.corrwith(cohort.values.median(axis=1))
        poor = cohort.people["poor"].to_numpy()
        assert poor.any()
        assert likeness[poor].max() < likeness[~poor].min()
        assert cohort.values.isna().mean()[poor].min() > 0.15


def test_composition_moves_with_disease_only_when_asked() -> None:
    def shift(options: SimulationOptions) -> float:
        difference = _difference(_cohorts(options, seed=2)[0])
        own = difference.index.intersection(list(FACTORS["neutrophil"]))
        return float(difference[own].mean())

    options = SimulationOptions(genes=250)
    assert abs(shift(options)) < 0.2
    assert shift(options.model_copy(update={"composition_shift": 2.0})) > 0.5


def test_wrong_labels_are_written_as_often_as_asked() -> None:
    options = SimulationOptions(genes=200, mislabelled_share=0.2)
    people = draw_people(options, options.cohorts[3], 3, pd.DataFrame(), seed=0)
    wrong = people["mislabelled"]
    assert 0.08 < wrong.mean() < 0.35
    labelled = people[people["label"].notna() & (people["kind"] != "outside")]
    says_case = labelled["label"] != "healthy"
    assert ((labelled["kind"] == "case") != says_case).equals(labelled["mislabelled"])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    share=st.floats(0.1, 2.0),
    number=st.integers(0, 4),
    wrong=st.sampled_from([0.0, 0.1]),
)
def test_people_are_whole_for_every_seed_and_size(
    seed: int, share: float, number: int, wrong: float
) -> None:
    options = SimulationOptions(genes=200, sample_share=share, mislabelled_share=wrong)
    plan = options.cohorts[number]
    truth = options.strata[plan.stratum]
    people = draw_people(options, plan, number, pd.DataFrame(), seed)
    assert people["gsm"].is_unique
    assert people["age_years"].between(truth.min_age, truth.max_age, inclusive="left").all()
    by_person = people.groupby("subject")
    assert (by_person[["age_years", "sex", "kind"]].nunique() == 1).all(axis=None)
    assert (by_person["label"].nunique(dropna=False) == 1).all()
    assert {"case", "control"} <= set(people["kind"])
    assert not (people["poor"] & ~people["age_recorded"] & (plan.age_unit != "none")).any()


def test_series_of_controls_alone_has_nobody_in_shock() -> None:
    options = SimulationOptions(genes=200)
    plan = options.cohorts[4].model_copy(update={"cases": 0})
    people = draw_people(options, plan, 4, pd.DataFrame(), seed=0)
    assert set(people["kind"]) == {"control", "outside"}
    assert set(people["label"]) == {"healthy", "noninfectious_inflammation"}
