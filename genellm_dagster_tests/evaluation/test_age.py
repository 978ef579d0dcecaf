"""The parts of the age question, each held against a library, a hand count or a planted truth."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact, hypergeom
from sklearn.metrics import roc_auc_score

from genellm_dagster.evaluation.age.along_age import along_age
from genellm_dagster.evaluation.age.association import associations, gene_effects
from genellm_dagster.evaluation.age.enrichment import enrichment
from genellm_dagster.evaluation.age.options import AgeOptions
from genellm_dagster.evaluation.age.signatures import signatures
from genellm_dagster.evaluation.age.uncertainty import uncertainty
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.signature_overlap import (
    extrapolated_overlap,
    rank_biased_overlap,
)
from genellm_dagster.evaluation.two_sample import mean_pairwise_auroc, two_sample_test

OPTIONS = EvaluationOptions(
    bootstraps=100,
    top_genes=10,
    age=AgeOptions(signature_resamples=50, effect_resamples=20, permutations=200),
)
GENES = [f"GENE{i:03d}" for i in range(60)]


# Rank-biased overlap


def test_rank_biased_overlap_by_hand():
    # Agreement 0, 1/2, 1 at depths 1, 2, 3; (1 - p)(1/2 p + p^2) + p^3 at p = .9.
    assert extrapolated_overlap(list("abc"), list("cba"), 0.9) == pytest.approx(0.855)
    # Agreement 1, 1, 2/3 where the last names differ.
    expected = 0.1 * (1 + 0.9 + 0.81 * 2 / 3) + 0.729 * 2 / 3
    assert extrapolated_overlap(list("abc"), list("abd"), 0.9) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(st.permutations(list("abcdefgh")), st.floats(0.05, 0.95))
def test_rank_biased_overlap_is_symmetric_and_bounded(order, persistence):
    names = list("abcdefgh")
    value = extrapolated_overlap(names, order, persistence)
    assert 0 <= value <= 1
    assert value == pytest.approx(extrapolated_overlap(order, names, persistence))
    assert extrapolated_overlap(order, order, persistence) == pytest.approx(1.0)
    assert extrapolated_overlap(names, list("ABCDEFGH"), persistence) == 0.0


def test_equal_rankings_are_beyond_chance_and_reversed_ones_are_not():
    strength = pd.Series(np.arange(60, 0, -1, dtype=float), index=GENES)
    same = rank_biased_overlap(strength, strength, 0.9, 200, 1)
    assert same["value"] == pytest.approx(1.0)
    assert same["p_at_least"] == pytest.approx(1 / 201)
    assert same["null_low"] <= same["expected"] <= same["null_high"] < 0.5
    turned = rank_biased_overlap(strength, -strength + 61, 0.9, 200, 1)
    assert turned["p_at_least"] > 0.5


def test_rankings_without_a_common_gene_have_a_reason():
    found = rank_biased_overlap(pd.Series({"A": 1.0}), pd.Series({"B": 1.0}), 0.9, 100, 1)
    assert found["value"] is None
    assert "no common gene" in found["reason"]


# Two-sample tests


def test_hand_and_till_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [20, 30, 10])
    score = generator.random((60, 3)) + np.eye(3)[group]
    score /= score.sum(axis=1, keepdims=True)
    expected = roc_auc_score(group, score, multi_class="ovo", average="macro")
    assert mean_pairwise_auroc(score, group) == pytest.approx(expected)


def test_two_sample_test_sees_a_shift_and_no_more_than_that():
    generator = np.random.default_rng(1)
    group = np.repeat([0, 1], 60)
    noise = generator.normal(size=(120, 20))
    rest = {"confidence": 0.95, "resamples": 50, "seed": 3}
    people = np.arange(120)
    shifted = two_sample_test(noise + 1.0 * group[:, None], group, people, **rest)
    assert shifted["p"] < 1e-4
    assert shifted["low"] > 0.8
    assert shifted["n"] == 60
    alike = [
        two_sample_test(generator.normal(size=(120, 20)), group, people, **rest)["p"]
        for _ in range(40)
    ]
    assert np.mean(np.array(alike) < 0.05) <= 0.2
    assert np.mean(np.array(alike) < 0.5) == pytest.approx(0.5, abs=0.3)


def test_a_persons_samples_do_not_train_the_test_that_they_sit():
    generator = np.random.default_rng(2)
    # Every person has a place of their own and six samples near it; the groups do not differ.
    people = np.repeat(np.arange(24), 6)
    group = people % 2
    points = (10 * generator.normal(size=(24, 5)))[people] + generator.normal(size=(144, 5))
    found = two_sample_test(points, group, people, confidence=0.95, resamples=50, seed=3)
    assert found["n"] == 12
    assert found["p"] > 0.01


def test_too_few_people_give_no_test_but_a_reason():
    points = np.zeros((6, 2))
    found = two_sample_test(
        points, np.array([0, 0, 0, 1, 1, 1]), np.arange(6), confidence=0.95, resamples=50, seed=3
    )
    assert found["value"] is None
    assert "fewer than 4 people" in found["reason"]


# Enrichment


def test_enrichment_is_the_hypergeometric_of_the_vocabulary():
    sets = {"own": {"first ten": [*GENES[:10], "ABSENT"], "tiny": GENES[:2], "others": GENES[30:]}}
    found = enrichment(
        {"a": [*GENES[:8], "OUTSIDE"]}, {"a": GENES}, sets, AgeOptions(min_set_genes=3), 0.95
    )["own"]["a"]
    assert (found["background"], found["top"], found["tested"]) == (60, 8, 2)
    best = found["sets"][0]
    assert (best["set"], best["in_background"], best["in_top"]) == ("first ten", 10, 8)
    assert best["p"] == pytest.approx(hypergeom.sf(7, 60, 10, 8))
    assert best["p"] == pytest.approx(fisher_exact([[8, 0], [2, 50]], alternative="greater")[1])
    assert best["q"] == pytest.approx(2 * best["p"])
    assert best["odds_ratio"]["value"] is None
    assert best["odds_ratio"]["low"] > 1
    assert found["sets"][1]["p"] == pytest.approx(1.0)


def test_no_set_in_the_vocabulary_is_said():
    found = enrichment({"a": GENES[:5]}, {"a": GENES}, {"x": {"s": ["NONE"]}}, AgeOptions(), 0.95)
    assert "no set has 3 genes" in found["x"]["a"]["reason"]


# Stability of signatures


def _attributions(strong: list[str], seed: int, people: int = 40) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    weight = np.where(np.isin(GENES, strong), 1.0, 0.05)
    index = pd.Index([f"S{i}" for i in range(people)], name="gsm")
    return pd.DataFrame(generator.normal(size=(people, 60)) * weight, index=index, columns=GENES)


def test_planted_signatures_are_stable_and_their_overlap_is_recovered():
    tables = {"a": _attributions(GENES[:10], 0), "b": _attributions(GENES[5:15], 1)}
    samples = {
        name: pd.DataFrame({"gsm": one.index, "cohort": "G", "subject": one.index, "case": 1})
        for name, one in tables.items()
    }
    found = signatures(tables, {}, samples, {"own": {"planted": GENES[:10]}}, OPTIONS, 1)
    assert set(found["stability"]["a"]["genes"]) == set(GENES[:10])
    pair = found["pairs"][0]
    assert pair["overlap"] == 5
    interval = pair["overlap_interval"]
    assert (interval["low"], interval["high"]) == (5.0, 5.0)
    ranked = pair["rank_biased_overlap"]
    assert ranked["low"] <= ranked["value"] <= ranked["high"]
    assert ranked["value"] > ranked["expected"]
    assert found["enrichment"]["own"]["a"]["sets"][0]["q"] < 1e-6
    assert found["enrichment"]["own"]["b"]["sets"][0]["in_top"] == 5
    json.dumps(found, allow_nan=False)


# Along age


def _aged(slope: float, n: int = 600, seed: int = 0, offset: float = 0.0):
    generator = np.random.default_rng(seed)
    age = generator.uniform(20, 80, n)
    case = generator.integers(0, 2, n)
    strength = np.maximum(0.0, 2.0 + slope * (age - 50) / 10)
    logit = generator.normal(size=n) + strength * (case - 0.5) + offset
    table = pd.DataFrame(
        {
            "gsm": [f"S{i:04d}" for i in range(n)],
            "cohort": np.where(np.arange(n) % 2, "G1", "G2"),
            "subject": np.arange(n).astype(str),
            "case": case,
            "model": "genellm",
            "score": 1 / (1 + np.exp(-logit)),
            "uncertainty": 0.1,
        }
    )
    return table, table[["gsm", "cohort", "subject", "case"]].assign(age_years=age)


def test_performance_that_falls_with_age_is_seen_in_every_reading():
    table, samples = _aged(-0.6)
    found = along_age({"adult": table}, {"adult": samples}, ["genellm"], OPTIONS, 1)
    part = found["genellm"]["adult"]
    assert part["interaction"]["high"] < 0
    assert part["interaction"]["p"] < 0.001
    assert part["placement_per_decade"]["high"] < 0
    areas = [one["auroc"]["value"] for one in part["windows"]]
    assert len(areas) == 5
    assert areas[0] > areas[-1] + 0.1
    # Each window reaches into the next.
    assert all(
        one["to"] > other["from"]
        for one, other in zip(part["windows"], part["windows"][1:], strict=False)
    )
    json.dumps(found, allow_nan=False)


def test_performance_that_does_not_change_with_age_shows_nothing():
    table, samples = _aged(0.0)
    part = along_age({"a": table}, {"a": samples}, ["genellm"], OPTIONS, 1)["genellm"]["a"]
    for reading in ("interaction", "placement_per_decade"):
        assert part[reading]["low"] < 0 < part[reading]["high"]


def test_interaction_is_that_of_statsmodels_on_the_same_design():
    table, samples = _aged(-0.4)
    found = along_age({"a": table}, {"a": samples}, ["genellm"], OPTIONS, 1)["genellm"]["a"]
    logit = np.log(table["score"] / (1 - table["score"]))
    logit = logit - logit.mean()
    age = (samples["age_years"] - samples["age_years"].mean()) / 10
    design = np.column_stack(
        [np.ones(len(age)), logit, age, logit * age, table["cohort"] == "G1"]
    ).astype(float)
    fit = sm.Logit(table["case"].to_numpy(), design).fit(disp=0)
    assert found["interaction"]["value"] == pytest.approx(fit.params[3], rel=1e-4)


def test_cases_told_apart_without_fault_have_no_slope_but_a_placement():
    table, samples = _aged(0.0)
    perfect = table.assign(score=0.2 + 0.6 * table["case"])
    part = along_age({"a": perfect}, {"a": samples}, ["genellm"], OPTIONS, 1)["genellm"]["a"]
    assert part["interaction"]["value"] is None
    assert "without fault" in part["interaction"]["reason"]
    assert part["placement_per_decade"]["value"] == 0.0


def test_unrecorded_ages_are_counted_and_said():
    table, samples = _aged(0.0, n=60)
    nobody = along_age(
        {"a": table}, {"a": samples.drop(columns="age_years")}, ["genellm"], OPTIONS, 1
    )["genellm"]["a"]
    assert (nobody["n"], nobody["without_age"]) == (0, 60)
    assert nobody["interaction"]["reason"] == "no sample has a recorded age"
    some = samples.assign(age_years=samples["age_years"].where(np.arange(60) < 10))
    few = along_age({"a": table}, {"a": some}, ["genellm"], OPTIONS, 1)["genellm"]["a"]
    assert few["windows"] == []
    assert "have a recorded age" in few["reason"]


# Disease genes beyond blood composition


def _blood(confounded: bool, seed: int = 0, n: int = 160):
    """Ten genes follow neutrophils, ten the disease itself; label moves neutrophils or not."""
    generator = np.random.default_rng(seed)
    index = pd.Index([f"{seed}S{i}" for i in range(n)], name="gsm")
    case = np.arange(n) % 2
    cohort = np.where(np.arange(n) < n // 2, "G1", "G2")
    neutrophils = generator.normal(size=n) + (1.5 * case if confounded else 0.0)
    values = generator.normal(size=(n, 60)) + (cohort == "G2")[:, None]
    values[:, :10] += 1.5 * neutrophils[:, None]
    values[:, 10:20] += 1.5 * case[:, None]
    profiles = pd.DataFrame(values, index=index, columns=GENES)
    samples = pd.DataFrame({"gsm": index, "cohort": cohort, "subject": index, "case": case})
    cells = pd.DataFrame({"neutrophils": neutrophils, "b_cells": generator.normal(size=n)}, index)
    return profiles, samples, cells


def test_gene_effect_is_that_of_ordinary_least_squares():
    profiles, samples, cells = _blood(confounded=True)
    profiles.iloc[:7, 12] = np.nan
    found = gene_effects(
        profiles, samples["case"].to_numpy(float), samples["cohort"].to_numpy(str), cells.to_numpy()
    )
    for gene in ("GENE003", "GENE012"):
        known = profiles[gene].notna().to_numpy()
        design = np.column_stack(
            [samples["case"], np.ones(len(samples)), samples["cohort"] == "G2", cells]
        ).astype(float)
        fit = sm.OLS(profiles[gene].to_numpy()[known], design[known]).fit()
        assert found.t[gene] == pytest.approx(fit.tvalues[0])
        assert found.p[gene] == pytest.approx(fit.pvalues[0])
        assert found.effect[gene] == pytest.approx(fit.params[0] / np.sqrt(fit.scale))


def test_genes_that_only_follow_cells_fall_away_and_those_of_the_disease_stay():
    parts = {name: _blood(True, seed) for seed, name in enumerate(("a", "b"))}
    found = associations(
        *({name: part[place] for name, part in parts.items()} for place in range(3)),
        ["GENE019"],
        OPTIONS,
        1,
    )
    stratum = found["strata"]["a"]
    assert (stratum["n"], stratum["genes"], stratum["cells"]) == (
        160,
        59,
        ["neutrophils", "b_cells"],
    )
    assert stratum["unadjusted"]["associated"] >= 19
    assert stratum["adjusted"]["associated"] <= 12
    assert set(stratum["adjusted"]["top"][:9]) == set(GENES[10:19])
    assert stratum["kept"]["low"] < 9 / 19 < stratum["kept"]["high"]
    pair = found["pairs"][0]
    assert pair["adjusted"]["effect_correlation"]["low"] > 0.5
    assert pair["adjusted"]["shared_top"] >= 9
    json.dumps(found, allow_nan=False)


def test_without_confounding_nothing_is_lost_by_adjustment():
    profiles, samples, cells = _blood(confounded=False)
    found = associations({"a": profiles}, {"a": samples}, {"a": cells}, [], OPTIONS, 1)
    assert found["strata"]["a"]["kept"]["value"] >= 0.9
    assert found["strata"]["a"]["effect_correlation"]["low"] > 0.8


def test_cells_that_cannot_be_told_leave_a_reason():
    profiles, samples, cells = _blood(confounded=False)
    found = associations({"a": profiles}, {"a": samples}, {"a": cells * np.nan}, [], OPTIONS, 1)
    assert "cannot be told" in found["strata"]["a"]["reason"]
    assert found["pairs"] == []
    # A cohort without scores is left out, and the rest is still judged.
    half = cells.copy()
    half.loc[(samples["cohort"] == "G2").to_numpy()] = np.nan
    part = associations({"a": profiles}, {"a": samples}, {"a": half}, [], OPTIONS, 1)["strata"]["a"]
    assert (part["n"], part["cohorts"]) == (80, ["G1"])


# Sureness


def test_prevalence_is_not_mistaken_for_sureness():
    def scores(cases: int, controls: int) -> pd.DataFrame:
        case = np.r_[np.ones(cases, int), np.zeros(controls, int)]
        return pd.DataFrame(
            {
                "gsm": [f"S{i:04d}" for i in range(len(case))],
                "cohort": "G",
                "subject": np.arange(len(case)).astype(str),
                "case": case,
                "model": "genellm",
                # Cases are sure, controls are not.
                "score": np.where(case == 1, 0.99, 0.5),
                "uncertainty": np.where(case == 1, 0.01, 0.2),
            }
        )

    found = uncertainty({"a": scores(90, 10), "b": scores(50, 50)}, OPTIONS, 1)["genellm"]
    assert found["differences"]["entropy"][0]["high"] < 0
    for key in ("entropy_balanced", "uncertainty_balanced"):
        assert found["differences"][key][0]["value"] == pytest.approx(0.0)
