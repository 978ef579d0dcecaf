"""The comparison of strata: differences that are there are seen, size is not taken for biology."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_samples

from genellm_dagster.evaluation import separability
from genellm_dagster.evaluation.heterogeneity import compare_strata
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.signature_overlap import gene_strength, overlap_test
from genellm_dagster_tests.evaluation.test_report import predict, stratum

OPTIONS = EvaluationOptions(
    bootstraps=300, equal_size_resamples=200, separability_resamples=50, top_genes=10
)
GENES = [f"GENE{i:03d}" for i in range(100)]


def build(shifts: dict[str, float], sizes: dict[str, tuple[int, int]], shared: bool):
    generator = np.random.default_rng(1)
    samples, predictions, spaces, attributions, profiles = {}, {}, {}, {}, {}
    for place, (name, shift) in enumerate(shifts.items()):
        cases, controls = sizes[name]
        table = stratum({f"GSE{place}1": (cases, controls), f"GSE{place}2": (cases, controls)})
        samples[name] = table.assign(stratum=name)
        predictions[name] = predict(samples[name], {"genellm": shift, "other": 0.5}, seed=place)
        index = table["gsm"]
        points = generator.normal(size=(len(table), 8)) + shift * table[["case"]].to_numpy()
        spaces[name] = pd.DataFrame(points, index=index)
        values = pd.DataFrame(
            generator.normal(size=(len(table), 100)).astype("float32"), index=index, columns=GENES
        )
        weight = np.full(100, 0.01)
        first = 0 if shared else 10 * place
        weight[first : first + 10] = 1.0
        profiles[name], attributions[name] = values, values * weight
    return samples, predictions, spaces, attributions, profiles


@pytest.fixture(scope="module")
def found() -> dict:
    parts = build(
        {"pediatric": 5.0, "adult": 1.0}, {"pediatric": (40, 15), "adult": (60, 60)}, shared=False
    )
    samples, predictions, spaces, attributions, profiles = parts
    return compare_strata(
        "s", predictions, spaces, attributions, samples, OPTIONS, seed=3, profiles=profiles
    )


def test_comparison_is_strict_json(found):
    json.dumps(found, allow_nan=False)
    assert found["compared"] == ["pediatric", "adult"]
    assert found["note"] == ""


def test_better_discrimination_of_one_stratum_is_seen(found):
    part = found["discrimination"]["genellm"]
    difference = part["differences"][0]
    assert (difference["first"], difference["second"]) == ("pediatric", "adult")
    assert 0 < difference["low"] <= difference["value"] <= difference["high"]
    other = found["discrimination"]["other"]["differences"][0]
    assert other["low"] < 0 < other["high"]


def test_equal_size_has_the_same_number_of_each_class(found):
    part = found["discrimination"]["genellm"]["equal_size"]
    assert (part["cases"], part["controls"]) == (80, 30)
    whole = found["discrimination"]["genellm"]["strata"]["adult"]["auroc"]
    equal = part["strata"]["adult"]["auroc"]
    assert equal["value"] == pytest.approx(whole["value"], abs=0.03)
    assert equal["high"] - equal["low"] > whole["high"] - whole["low"]


def test_wider_uncertainty_of_one_stratum_is_seen(found):
    part = found["uncertainty"]["genellm"]
    assert part["differences"]["entropy"][0]["high"] < 0
    assert part["differences"]["distance_from_half"][0]["low"] > 0
    assert part["strata"]["adult"]["uncertainty"]["value"] == pytest.approx(0.1)


def test_wider_separation_of_one_stratum_is_seen(found):
    differences = found["separability"]["differences"]
    assert differences["fisher_ratio"][0]["low"] > 0
    assert differences["silhouette_label"][0]["low"] > 0
    assert found["separability"]["strata"]["adult"]["silhouette_cohort"]["value"] < 0.05


def test_disjoint_signatures_share_what_chance_gives(found):
    pair = found["signatures"]["pairs"][0]
    assert (pair["overlap"], pair["expected"], pair["genes"]) == (0, 1.0, 100)
    assert pair["p_at_least"] == 1.0
    assert pair["p_at_most"] > 0.2


def test_shared_signatures_are_recovered_with_their_direction():
    parts = build({"a": 1.0, "b": 1.0}, {"a": (20, 20), "b": (20, 20)}, shared=True)
    samples, predictions, spaces, attributions, profiles = parts
    attributions["b"]["GENE000"] *= -1
    found = compare_strata(
        "s", predictions, spaces, attributions, samples, OPTIONS, seed=3, profiles=profiles
    )
    pair = found["signatures"]["pairs"][0]
    assert pair["overlap"] == 10
    assert pair["p_at_least"] < 1e-6
    agreement = pair["direction_agreement"]
    assert (agreement["same"], agreement["of"]) == (9, 10)
    assert agreement["share"]["low"] < 0.9 < agreement["share"]["high"] < 1


def test_one_stratum_alone_is_described_and_said_to_be_alone():
    parts = build({"a": 1.0, "b": 1.0}, {"a": (20, 20), "b": (20, 20)}, shared=True)
    samples, predictions, spaces, attributions, _ = parts
    del predictions["b"], spaces["b"], attributions["b"]
    found = compare_strata("s", predictions, spaces, attributions, samples, OPTIONS, seed=3)
    assert "nothing to compare" in found["note"]
    assert found["compared"] == []
    assert found["discrimination"]["genellm"]["differences"] == []
    assert found["separability"]["strata"]["a"]["n"] == 80
    json.dumps(found, allow_nan=False)


def test_no_stratum_at_all_is_said():
    found = compare_strata("s", {}, {}, {}, {}, OPTIONS, seed=3)
    assert "(none)" in found["note"]
    json.dumps(found, allow_nan=False)


def test_transfer_between_strata_stands_beside_the_own_stratum():
    parts = build({"a": 1.0, "b": 3.0}, {"a": (20, 20), "b": (20, 20)}, shared=True)
    samples, predictions, spaces, attributions, _ = parts
    there = predictions["b"].query("model == 'genellm'")
    worse = there.assign(score=0.5 * there["score"] + 0.5 * np.linspace(0, 1, len(there)))
    found = compare_strata(
        "s",
        predictions,
        spaces,
        attributions,
        samples,
        OPTIONS,
        seed=3,
        transfer=worse.assign(level="stratum", trained_on="a", tested_on="b"),
        transfer_missing=[
            {
                "level": "stratum",
                "trained_on": "b",
                "tested_on": "a",
                "model": "genellm",
                "reason": "too few of its genes",
            }
        ],
    )
    cells = {(cell["trained_on"], cell["tested_on"]): cell for cell in found["transfer"]}
    assert set(cells) == {("a", "a"), ("b", "b"), ("a", "b"), ("b", "a")}
    assert (cells["a", "b"]["n"], cells["a", "b"]["prevalence"]) == (80, 0.5)
    cost = cells["a", "b"]["at_home_minus_transferred"]
    own, other = (cells[pair]["auroc"]["value"] for pair in (("b", "b"), ("a", "b")))
    assert cost["value"] == pytest.approx(own - other)
    assert cost["low"] > 0
    assert cost["p"] < 0.05
    assert cells["b", "a"]["auroc"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "too few of its genes",
    }
    json.dumps(found, allow_nan=False)


def test_silhouettes_agree_with_scikit_learn():
    generator = np.random.default_rng(2)
    points = generator.normal(size=(50, 4))
    label = np.r_[generator.integers(0, 3, 49), 9]
    ours = separability.silhouettes(separability.distances(points), label)
    np.testing.assert_allclose(ours, silhouette_samples(points, label), atol=1e-10)


def test_fisher_ratio_by_hand():
    points, case = np.array([[0.0], [2.0], [10.0], [14.0]]), np.array([0, 0, 1, 1])
    ones = np.ones((1, 4), dtype=np.float32)
    assert separability.fisher_ratios(points, case, ones)[0] == pytest.approx(11**2 / (1 + 4))


def test_overlap_null_agrees_with_real_permutations():
    generator = np.random.default_rng(4)
    first = pd.Series(generator.random(40), index=[f"G{i}" for i in range(40)])
    second = pd.Series(first.to_numpy() + generator.random(40), index=first.index)
    test = overlap_test(first, second, 8)
    top = set(first.nlargest(8).index)
    drawn = [
        len(top & set(generator.choice(first.index, 8, replace=False))) >= test["overlap"]
        for _ in range(4000)
    ]
    assert test["p_at_least"] == pytest.approx(np.mean(drawn), abs=0.03)
    assert test["expected"] == pytest.approx(8 * 8 / 40)


def test_genes_without_attribution_do_not_overlap_by_their_names():
    zero = pd.DataFrame(np.zeros((3, 30)), columns=GENES[:30])
    one, other = zero.assign(GENE003=1.0), zero.assign(GENE007=1.0)
    test = overlap_test(gene_strength(one), gene_strength(other), 10)
    assert test["overlap"] == 0
    assert overlap_test(gene_strength(one), pd.Series({"X": 1.0}), 5)["overlap"] is None
