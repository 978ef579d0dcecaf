"""The evaluation report's format, and that it says what a reader must know."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation.comparison import COLUMNS, compare_models
from genellm_dagster.evaluation.delong import delong_test
from genellm_dagster.evaluation.folds import make_folds
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.report import evaluate

OPTIONS = EvaluationOptions(bootstraps=300)


def stratum(cohorts: dict[str, tuple[int, int]]) -> pd.DataFrame:
    rows = [
        (f"{name}-{i}", name, f"p{i}", int(i < cases))
        for name, (cases, controls) in cohorts.items()
        for i in range(cases + controls)
    ]
    table = pd.DataFrame(rows, columns=["gsm", "cohort", "subject", "case"])
    return table.assign(stratum="adult", age_years=40.0)


def predict(samples: pd.DataFrame, strength: dict[str, float], seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    tables = []
    for model, shift in strength.items():
        logit = generator.normal(size=len(samples)) + shift * (samples["case"] - 0.5)
        table = samples.drop(columns="age_years").assign(
            fold=samples["cohort"], model=model, score=1 / (1 + np.exp(-logit)), uncertainty=0.1
        )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def judged() -> dict:
    samples = stratum({"GSE1": (30, 20), "GSE2": (15, 25), "GSE3": (9, 0)})
    folds = make_folds(samples, None, OPTIONS)
    predictions = predict(samples, {"genellm": 2.5, "snip": 0.2, "perfect": 60.0})
    return evaluate("s", "adult", predictions, folds, OPTIONS, developed_on={"snip": ["GSE2"]})


def test_report_has_the_agreed_keys_in_the_agreed_places(judged):
    assert list(judged)[:7] == [
        "study", "stratum", "n", "cases", "prevalence", "folds", "models",
    ]  # fmt: skip
    assert (judged["n"], judged["cases"]) == (99, 54)
    assert judged["folds"]["names"] == ["GSE1", "GSE2", "GSE3"]
    for numbers in judged["models"].values():
        assert list(numbers)[:11] == [
            "auroc", "average_precision", "average_precision_at_half", "balanced_accuracy",
            "sensitivity", "specificity", "brier", "ece", "calibration_slope",
            "calibration_intercept", "cohorts",
        ]  # fmt: skip
        for name in ("auroc", "average_precision", "average_precision_at_half"):
            part = numbers[name]
            assert list(part) == ["value", "low", "high"]
            assert 0 <= part["low"] <= part["value"] <= part["high"] <= 1
        assert list(numbers["cohorts"]["GSE1"]) == ["n", "cases", "auroc"]


def test_every_model_has_the_further_numbers_each_with_its_interval(judged):
    for model, numbers in judged["models"].items():
        assert list(numbers)[11:] == [
            "auroc_bootstrap", "sensitivity_at_95_specificity", "operating_points",
            "brier_decomposition", "net_benefit", "pooled_auroc",
        ]  # fmt: skip
        for part in (
            numbers["auroc_bootstrap"],
            numbers["sensitivity_at_95_specificity"],
            numbers["pooled_auroc"],
            *(row["net_benefit"] for row in numbers["net_benefit"]["thresholds"]),
        ):
            assert part["low"] <= part["value"] <= part["high"]
        assert numbers["auroc_bootstrap"]["value"] == pytest.approx(numbers["auroc"]["value"])
        parts = numbers["brier_decomposition"]
        total = parts["reliability"]["value"] - parts["resolution"]["value"]
        total += parts["uncertainty"]["value"] + parts["within_bin"]["value"]
        assert total == pytest.approx(numbers["brier"]), model
        assert numbers["pooled_auroc"]["cohorts"] == 2
    assert judged["models"]["perfect"]["auroc_bootstrap"]["low"] < 0.99
    assert judged["models"]["perfect"]["sensitivity_at_95_specificity"]["low"] < 0.99


def test_sensitivity_and_specificity_follow_the_thresholds_of_the_training_folds(judged):
    samples = stratum({"GSE1": (30, 20), "GSE2": (15, 25), "GSE3": (9, 0)})
    folds = make_folds(samples, None, OPTIONS)
    predictions = predict(samples, {"genellm": 2.5})
    found = evaluate("s", "adult", predictions, folds, OPTIONS)
    numbers = found["models"]["genellm"]
    point = numbers["operating_points"]["training_folds"]
    assert found["threshold_rule"] == "training_folds"
    assert numbers["sensitivity"] == point["sensitivity"]["value"]
    cut = predictions["cohort"].map(point["thresholds"])
    called = predictions["score"] >= cut
    assert point["sensitivity"]["value"] == called[predictions["case"] == 1].mean()
    fixed = evaluate(
        "s", "adult", predictions, folds, EvaluationOptions(bootstraps=100, threshold_rule="fixed")
    )
    called = predictions["score"] >= 0.5
    share = called[predictions["case"] == 1].mean()
    assert fixed["models"]["genellm"]["sensitivity"] == share
    assert numbers["operating_points"]["fixed"]["sensitivity"]["value"] == share


def test_two_folds_keep_the_fixed_threshold_and_say_why():
    samples = stratum({"GSE1": (20, 20), "GSE2": (20, 20)})
    folds = make_folds(samples, None, OPTIONS)
    found = evaluate("s", "adult", predict(samples, {"genellm": 2.0}), folds, OPTIONS)
    numbers = found["models"]["genellm"]
    assert found["threshold_rule"] == "fixed"
    assert "two folds" in numbers["operating_points"]["training_folds"]["sensitivity"]["reason"]
    assert numbers["sensitivity"] == numbers["operating_points"]["fixed"]["sensitivity"]["value"]
    assert any("two folds" in note for note in found["notes"])


def test_bca_intervals_come_by_option_and_keep_the_values():
    samples = stratum({"GSE1": (25, 20), "GSE2": (20, 25)})
    folds = make_folds(samples, None, OPTIONS)
    predictions = predict(samples, {"genellm": 1.5, "perfect": 60.0})
    reports = {
        kind: evaluate(
            "s",
            "adult",
            predictions,
            folds,
            EvaluationOptions(bootstraps=300, bootstrap_interval=kind),
        )
        for kind in ("percentile", "bca")
    }
    brier = {kind: report["intervals"]["genellm"]["brier"] for kind, report in reports.items()}
    assert brier["bca"]["value"] == brier["percentile"]["value"]
    assert brier["bca"]["low"] != brier["percentile"]["low"]
    assert reports["bca"]["bootstrap"]["interval"] == "bca"
    json.dumps(reports["bca"], allow_nan=False)


def test_zero_is_inside_the_calibration_error_of_a_right_model_and_outside_that_of_an_extreme_one():
    samples = stratum({"GSE1": (60, 60), "GSE2": (60, 60)})
    logit = np.random.default_rng(5).normal(size=240) * 1.2
    label = (np.random.default_rng(8).random(240) < 1 / (1 + np.exp(-logit))).astype(int)
    samples["case"] = label
    folds = make_folds(samples, None, OPTIONS)
    tables = [
        samples.drop(columns="age_years").assign(
            fold=samples["cohort"], model=name, score=1 / (1 + np.exp(-factor * logit))
        )
        for name, factor in {"genellm": 1.0, "extreme": 4.0}.items()
    ]
    found = evaluate("s", "adult", pd.concat(tables), folds, OPTIONS)["intervals"]
    assert found["genellm"]["ece"]["low"] == 0.0
    assert found["extreme"]["ece"]["low"] > 0.05


def test_report_is_strict_json_and_repeats_with_its_seed(judged):
    text = json.dumps(judged, allow_nan=False)
    assert json.loads(text) == judged


def test_every_plain_number_has_its_interval(judged):
    for model, numbers in judged["models"].items():
        for name, part in judged["intervals"][model].items():
            assert part["value"] == numbers[name]
            if part["value"] is None:
                assert part["reason"]
            else:
                assert part["low"] <= part["value"] <= part["high"]


def test_a_cohort_of_cases_only_has_no_auroc_and_says_why(judged):
    part = judged["models"]["genellm"]["cohorts"]["GSE3"]
    assert part["auroc"] == {"value": None, "low": None, "high": None, "reason": "only cases"}
    assert judged["within_cohorts"]["genellm"]["cohorts"] == 2
    assert any("GSE3 holds only cases" in note for note in judged["notes"])


def test_perfect_scores_keep_open_intervals_and_no_slope(judged):
    perfect = judged["models"]["perfect"]
    assert perfect["auroc"]["value"] == 1.0
    assert perfect["auroc"]["low"] < 0.99
    assert perfect["average_precision"]["low"] < 0.999
    assert perfect["calibration_slope"] is None
    assert judged["intervals"]["perfect"]["sensitivity"]["low"] < 0.95


def test_cohorts_a_score_was_developed_on_are_named(judged):
    assert any("snip was developed on GSE2" in note for note in judged["notes"])


def test_cohorts_of_the_projects_own_signature_files_are_named_by_default():
    samples = stratum({"GSE65682": (10, 10), "GSE66099": (10, 10)})
    predictions = predict(samples, {"septicyte_lab": 1.0, "sepsis_metascore": 1.0})
    found = evaluate("s", "adult", predictions, make_folds(samples, None, OPTIONS), OPTIONS)
    notes = " ".join(found["notes"])
    assert "septicyte_lab was developed on GSE65682:" in notes
    assert "sepsis_metascore was developed on GSE66099 [unverified]:" in notes
    assert found["comparisons"] == []


def test_other_models_are_compared_in_pairs_with_the_reference(judged):
    comparisons = {part["model"]: part for part in judged["comparisons"]}
    assert set(comparisons) == {"snip", "perfect"}
    assert comparisons["snip"]["auroc_difference"]["value"] > 0
    assert comparisons["snip"]["p"] <= comparisons["snip"]["p_holm"] < 0.01
    samples = stratum({"GSE1": (30, 20), "GSE2": (15, 25), "GSE3": (9, 0)})
    predictions = predict(samples, {"genellm": 2.5, "snip": 0.2, "perfect": 60.0})
    score = {model: table["score"].to_numpy() for model, table in predictions.groupby("model")}
    expected = delong_test(samples["case"].to_numpy(), score["genellm"], score["snip"])
    assert comparisons["snip"]["p"] == pytest.approx(expected.p)


def test_batch_offsets_lower_the_pooled_auroc_but_not_the_one_within_cohorts():
    samples = stratum({"GSE1": (30, 30), "GSE2": (30, 30)})
    predictions = predict(samples, {"genellm": 4.0})
    second = predictions["cohort"] == "GSE2"
    predictions.loc[second, "score"] = predictions.loc[second, "score"] / 20
    found = evaluate("s", "adult", predictions, make_folds(samples, None, OPTIONS), OPTIONS)
    pooled = found["models"]["genellm"]["auroc"]["value"]
    assert found["within_cohorts"]["genellm"]["auroc"]["value"] > pooled + 0.1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.drop(index=t.index[0]), "same samples"),
        (lambda t: pd.concat([t, t.tail(1)]), "twice"),
        (lambda t: t.assign(score=t["score"] + 1), "0..1"),
        (lambda t: t.assign(score=np.nan), "0..1"),
        (lambda t: t.iloc[:0], "no prediction"),
    ],
)
def test_spoilt_predictions_end_with_a_sentence(spoil, words):
    samples = stratum({"GSE1": (10, 10), "GSE2": (10, 10)})
    folds = make_folds(samples, None, OPTIONS)
    with pytest.raises(EvaluationError, match=words):
        evaluate("s", "adult", spoil(predict(samples, {"genellm": 1.0})), folds, OPTIONS)


def test_a_tiny_stratum_is_judged():
    samples = stratum({"GSE1": (2, 2)})
    folds = make_folds(samples, None, OPTIONS)
    found = evaluate("s", "adult", predict(samples, {"genellm": 1.0}), folds, OPTIONS)
    part = found["models"]["genellm"]["auroc"]
    assert part["high"] - part["low"] > 0.3
    json.dumps(found, allow_nan=False)


def test_models_stand_side_by_side_with_their_newest_run(judged):
    runs = pd.DataFrame(
        {
            "run_id": ["old", "new", "other"],
            "start_time": [1, 2, 3],
            "tags.study": ["s", "s", "t"],
            "tags.stratum": ["adult"] * 3,
            "tags.model": ["genellm"] * 3,
        }
    )
    table = compare_models([judged], runs)
    assert list(table.columns) == COLUMNS
    assert table["auroc"].is_monotonic_decreasing
    rows = table.set_index("model")
    assert rows.loc["genellm", "run_id"] == "new"
    assert pd.isna(rows.loc["genellm", "p"])
    assert rows.loc["snip", "p_holm"] == judged["comparisons"][0]["p_holm"]
    assert pd.isna(rows.loc["perfect", "calibration_slope"])
    pooled = judged["models"]["snip"]["pooled_auroc"]
    assert rows.loc["snip", "pooled_auroc_low"] == pooled["low"]
    assert list(compare_models([], None).columns) == COLUMNS
