"""Controls that know no disease gene: what cells tell, what cohorts tell, and nothing more."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from genellm_dagster.baselines.controls import fit_cohorts
from genellm_dagster.baselines.options import CohortOnlyOptions
from genellm_dagster.baselines.run import baseline_predictions
from genellm_dagster_tests.baselines.test_run import NOTHING, World, world  # noqa: F401

CELLS = ["neutrophils", "lymphocytes", "b_cells"]


def composition(samples: pd.DataFrame, shift: float = 2.0) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    table = pd.DataFrame(generator.normal(size=(len(samples), 3)), samples["gsm"], CELLS)
    table["neutrophils"] += shift * samples["case"].to_numpy()
    return table


def run(given: World, cells: pd.DataFrame | None = None, **more):
    options = NOTHING.model_copy(update={"cohort_only": CohortOnlyOptions(), **more})
    return baseline_predictions(
        lambda _: given.profiles, given.expression, given.samples, given.folds, options, 1,
        composition=cells,
    )  # fmt: skip


def within(table: pd.DataFrame) -> list[float]:
    return [roc_auc_score(part["case"], part["score"]) for _, part in table.groupby("cohort")]


def test_what_only_cells_tell_is_told(world: World) -> None:  # noqa: F811
    found = run(world, composition(world.samples)).predictions
    table = found[found["model"] == "composition_only"]
    assert sorted(table["gsm"]) == sorted(world.samples["gsm"])
    assert min(within(table)) > 0.8
    blind = run(world, composition(world.samples, shift=0.0)).predictions
    assert np.mean(within(blind[blind["model"] == "composition_only"])) < 0.7


def test_kinds_of_cells_that_a_test_sample_lacks_are_not_read(world: World) -> None:  # noqa: F811
    cells = composition(world.samples)
    cells.loc[world.folds[0].test[0], "b_cells"] = np.nan
    details = run(world, cells).details["composition_only"]
    assert details["GSE1"]["cells"] == ["neutrophils", "lymphocytes"]
    # One of 48 training samples is no reason to leave a kind out.
    assert details["GSE2"]["cells"] == CELLS


def test_blood_that_cannot_be_told_is_refused_with_its_cohort(world: World) -> None:  # noqa: F811
    cells = composition(world.samples)
    cells.loc[list(world.folds[1].test)] = np.nan
    found = run(world, cells)
    assert "No kind of blood cell" in found.refusals["composition_only"]
    assert "GSE2" in found.refusals["composition_only"]
    assert "composition_only" not in set(found.predictions["model"])


def test_composition_is_left_out_without_scores_or_when_switched_off(world: World) -> None:  # noqa: F811
    assert "composition_only" not in run(world).about
    off = run(world, composition(world.samples), composition_only=False)
    assert "composition_only" not in off.about


def batches(world: World, shares: tuple[float, ...], effect: float) -> None:  # noqa: F811
    """Give each cohort another share of cases; GSE3 looks half like GSE1, half like GSE2."""
    random = np.random.default_rng(7)
    samples = world.samples
    for name, share in zip(("GSE1", "GSE2", "GSE3"), shares, strict=True):
        here = np.flatnonzero(samples["cohort"] == name)
        case = np.zeros(len(here), int)
        case[: round(share * len(here))] = 1
        samples.loc[here, "case"] = case
    values = random.normal(size=world.profiles.shape)
    like = samples["cohort"].map({"GSE1": 2.0, "GSE2": -2.0, "GSE3": 0.0}).to_numpy(copy=True)
    third = (samples["cohort"] == "GSE3").to_numpy()
    like[third] = np.where(samples["case"][third] == 1, 2.0, -2.0)
    values[:, 0] += like
    values[:, 5] += effect * samples["case"].to_numpy()
    world.profiles = pd.DataFrame(values, world.profiles.index, world.profiles.columns)


def test_resemblance_to_a_cohort_of_many_cases_tells_when_batch_follows_the_label(
    world: World,  # noqa: F811
) -> None:
    batches(world, (0.8, 0.2, 0.5), effect=0.0)
    found = run(world)
    table = found.predictions.query("cohort == 'GSE3'")
    assert roc_auc_score(table["case"], table["score"]) > 0.9
    known = found.details["cohort_only"]["GSE3"]["prevalence"]
    assert known["GSE1"] == pytest.approx(19 / 24) and known["GSE2"] == pytest.approx(5 / 24)
    assert table["score"].between(5 / 24, 19 / 24).all()


def test_a_disease_gene_does_not_tell_cohorts_apart() -> None:
    random = np.random.default_rng(1)
    cohorts = np.repeat(["GSE1", "GSE2"], 200)
    case = np.r_[np.repeat([1, 0], [180, 20]), np.repeat([1, 0], [20, 180])]
    values = random.normal(size=(400, 4))
    values[:, 0] += 3 * case
    said = fit_cohorts(values, case, cohorts, CohortOnlyOptions())(values)
    assert said.shape == (400, 2)
    np.testing.assert_allclose(said.sum(axis=1), 1.0)
    gap = abs(said[case == 1, 0].mean() - said[case == 0, 0].mean())
    plain = LogisticRegression(C=CohortOnlyOptions().strength).fit(values, cohorts)
    unweighted = plain.predict_proba(values)[:, 0]
    assert unweighted[case == 1].mean() - unweighted[case == 0].mean() > 0.3
    assert gap < 0.05
    apart = np.c_[values[:, 1:], (cohorts == "GSE1") + random.normal(size=400) / 4]
    found = fit_cohorts(apart, case, cohorts, CohortOnlyOptions())(apart)
    assert roc_auc_score(cohorts == "GSE1", found[:, 0]) > 0.95


def test_one_training_cohort_is_refused(world: World) -> None:  # noqa: F811
    keep = world.samples["cohort"] != "GSE3"
    world.samples = world.samples[keep].reset_index(drop=True)
    world.folds = [
        type(fold)(fold.name, tuple(g for g in fold.train if g[3] != "3"), fold.test)
        for fold in world.folds[:2]
    ]
    assert "takes two cohorts" in run(world).refusals["cohort_only"]
