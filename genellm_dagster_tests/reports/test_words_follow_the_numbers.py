"""The sentences of the report follow from the numbers, also when they are unwelcome."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest

from genellm_dagster.reports import age, cautions, wording
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import age_words, in_order, model_name, role_of
from genellm_dagster.reports.numbers import (
    count,
    decimal,
    interval,
    listed,
    p_value,
    small_percent,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tables.results import notes, paired_tests
from genellm_dagster.studies.study import Stratum
from genellm_dagster_tests.reports.fixtures import made_up_content

OPTIONS = ReportOptions()


def with_auroc(content: ReportContent, model: str, value: float, half: float) -> ReportContent:
    reports = deepcopy(dict(content.reports))
    for report in reports.values():
        models = report["models"]
        models[model]["auroc"] = {"value": value, "low": value - half, "high": value + half}
    return replace(content, reports=reports)


def with_p(content: ReportContent, p: float) -> ReportContent:
    reports = deepcopy(dict(content.reports))
    for report in reports.values():
        for part in report["comparisons"]:
            part["p_holm"] = p
    return replace(content, reports=reports)


def without_p(content: ReportContent) -> ReportContent:
    reports = {name: {**report, "comparisons": []} for name, report in content.reports.items()}
    return replace(content, reports=reports)


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return made_up_content()


def test_there_are_five_sentences_and_each_is_one(content: ReportContent) -> None:
    said = wording.summary(content, OPTIONS)
    assert len(said) == 5
    for sentence in said:
        assert sentence.text[-1] in ".?"
        assert ". " not in sentence.text
        assert "nan" not in sentence.text.lower()


@pytest.mark.parametrize(
    ("own", "p", "said"),
    [
        (0.90, 0.40, "adds nothing over logistic regression"),
        (0.99, 0.01, "does better than logistic regression"),
        (0.70, 0.01, "does worse than logistic regression"),
        (0.99, 0.06, "adds nothing over logistic regression"),
    ],
)
def test_verdict_rests_on_the_paired_test(
    content: ReportContent, own: float, p: float, said: str
) -> None:
    changed = with_auroc(content, "logistic_regression", 0.90, 0.01)
    changed = with_p(with_auroc(changed, "genellm", own, 0.005), p)
    assert said in wording.verdict(changed, "adult", OPTIONS)


def test_without_a_paired_test_touching_intervals_show_nothing(content: ReportContent) -> None:
    plain = without_p(content)
    plain = with_auroc(plain, "logistic_regression", 0.80, 0.05)
    touching = with_auroc(plain, "genellm", 0.86, 0.05)
    apart = with_auroc(plain, "genellm", 0.95, 0.02)
    assert "adds nothing" in wording.verdict(touching, "adult", OPTIONS)
    assert "does better" in wording.verdict(apart, "adult", OPTIONS)


def test_a_better_rival_than_logistic_regression_is_named(content: ReportContent) -> None:
    changed = with_auroc(content, "best_single_gene", 0.995, 0.003)
    text = wording.verdict(changed, "adult", OPTIONS)
    assert "the best of the other methods was the best single gene (0.995" in text


def test_controls_are_never_the_rival(content: ReportContent) -> None:
    changed = with_auroc(content, "genellm_random_backbone", 0.999, 0.0005)
    assert "random" not in wording.verdict(changed, "adult", OPTIONS)


def test_shuffled_labels_above_chance_raise_doubt(content: ReportContent) -> None:
    clean = with_auroc(content, "genellm_shuffled_labels", 0.52, 0.06)
    leaking = with_auroc(content, "genellm_shuffled_labels", 0.80, 0.06)
    assert any("a coin, as it must" in line for line in cautions.controls(clean, "adult", OPTIONS))
    assert any("leak" in line for line in cautions.controls(leaking, "adult", OPTIONS))


def _with_controls(content: ReportContent, **parts: object) -> ReportContent:
    return replace(content, controls={"adult": parts})


def _several(value: float, low: float, high: float) -> dict:
    spread = {"value": value, "low": low, "high": high, "lowest": low - 0.1, "highest": high}
    return {"permutations": 5, "auroc": spread}


def test_the_mean_of_several_shuffles_is_judged_not_the_first(content: ReportContent) -> None:
    odd = with_auroc(content, "genellm_shuffled_labels", 0.80, 0.06)
    clean = _with_controls(odd, shuffled_labels=_several(0.52, 0.44, 0.60))
    lines = " ".join(cautions.controls(clean, "adult", OPTIONS))
    assert "shuffled 5 times" in lines and "a coin, as it must" in lines
    assert "between 0.34 and 0.60" in lines
    leaking = _with_controls(odd, shuffled_labels=_several(0.70, 0.62, 0.78))
    lines = " ".join(cautions.controls(leaking, "adult", OPTIONS))
    assert "a leak of labels lies there" in lines


def test_batch_is_said_where_it_was_measured(content: ReportContent) -> None:
    nothing = {"auroc": {"value": None, "low": None, "high": None, "reason": "one cohort"}}
    told = {"auroc": {"value": 0.99, "low": 0.97, "high": 1.0}}
    label = {"auroc": {"value": 0.64, "low": 0.55, "high": 0.73}}
    batch = {"cohort_from_profile": {"controls": told}, "label_from_cohort": label}
    lines = " ".join(cautions.controls(_with_controls(content, batch=batch), "adult", OPTIONS))
    assert "tell their cohort with 0.99" in lines and "0.64" in lines
    batch = {"cohort_from_profile": {"controls": nothing}, "label_from_cohort": nothing}
    silent = cautions.controls(_with_controls(content, batch=batch), "adult", OPTIONS)
    assert silent == cautions.controls(content, "adult", OPTIONS)


def test_a_control_of_cells_or_names_is_held_against_the_model(content: ReportContent) -> None:
    reports = deepcopy(dict(content.reports))
    models = reports["adult"]["models"]
    for name in ("composition_only", "genellm_shuffled_genes", "cohort_only"):
        models[name] = deepcopy(models["genellm_random_backbone"])
    reports["adult"]["within_cohorts"]["cohort_only"] = {
        "auroc": {"value": 0.55, "low": 0.45, "high": 0.65}
    }
    lines = cautions.controls(replace(content, reports=reports), "adult", OPTIONS)
    assert any("count of cells" in line for line in lines)
    assert any("names of genes help" in line for line in lines)
    assert any("inside cohorts, 0.55" in line for line in lines)


def test_random_backbone_only_helps_when_it_is_shown(content: ReportContent) -> None:
    better = with_auroc(content, "genellm_random_backbone", 0.6, 0.05)
    lines = " ".join(cautions.controls(with_p(better, 0.001), "adult", OPTIONS))
    assert "learned from text helps" in lines
    lines = " ".join(cautions.controls(with_p(better, 0.5), "adult", OPTIONS))
    assert "it is not shown" in lines


def test_a_difference_between_strata_needs_an_interval_without_zero(
    content: ReportContent,
) -> None:
    assert "better in the pediatric than in the adult" in wording.between_strata(content, OPTIONS)
    assert "less sure in the adult than" in wording.between_strata(content, OPTIONS)
    assert "size may explain it" in wording.between_strata(content, OPTIONS)
    unsure = deepcopy(dict(content.age_comparison))
    unsure["discrimination"]["genellm"]["differences"][0]["low"] = -0.02
    text = wording.between_strata(replace(content, age_comparison=unsure), OPTIONS)
    assert "shows no difference between pediatric and adult" in text


def test_no_shared_gene_is_not_called_a_difference_when_chance_gives_the_same(
    content: ReportContent,
) -> None:
    age = deepcopy(dict(content.age_comparison))
    pair = age["signatures"]["pairs"][0]
    pair.update(k=10, overlap=0, shared=[], expected=0.05, p_at_least=1.0, p_at_most=0.95)
    text = wording.genes_shared(replace(content, age_comparison=age), OPTIONS)
    assert "share 0 of their top 10 genes, which chance alone explains" in text


def test_one_stratum_says_nothing_about_age() -> None:
    text = wording.between_strata(made_up_content(strata=("adult",)), OPTIONS)
    assert "Only the adult stratum" in text
    assert "says nothing about differences with age" in text


def test_one_cohort_is_called_too_good(content: ReportContent) -> None:
    reports = deepcopy(dict(content.reports))
    reports["adult"]["folds"] = {"kind": "grouped_stratified_k_fold", "n": 5, "names": []}
    changed = replace(content, reports=reports)
    assert "easier than a new hospital" in cautions.folds(reports["adult"])
    assert any("Adult: people were held out" in line for line in cautions.limits(changed))
    assert "cohort it had learned from" in wording.how_well(changed)


def test_badly_calibrated_scores_are_not_called_probabilities(content: ReportContent) -> None:
    reports = deepcopy(dict(content.reports))
    reports["adult"]["models"]["genellm"]["ece"] = 0.3
    text = cautions.calibration(replace(content, reports=reports), "adult", OPTIONS)
    assert "must not be read as probabilities" in text


def test_simulated_samples_are_not_people() -> None:
    said = wording.on_whom(made_up_content(simulated=True))
    assert "simulated samples, not people" in said


def test_a_score_developed_on_a_cohort_is_marked(content: ReportContent) -> None:
    assert notes(content.reports["adult"]) == [
        "FAIM3:PLAC8 was developed on GSE900003: flattered there."
    ]


def test_p_values_come_from_the_table_when_the_report_has_none(content: ReportContent) -> None:
    assert set(paired_tests(content, "adult").values()) == {0.4}
    frame = content.comparison.assign(p_holm=0.2)
    bare = without_p(content)
    assert paired_tests(replace(bare, comparison=frame), "adult")["best_single_gene"] == 0.2
    assert paired_tests(bare, "adult") == {}


def test_numbers_are_written_honestly() -> None:
    assert decimal(0.99999) == "> 0.999"
    assert decimal(1.0) == "1.000"
    assert decimal(-0.0001) == "0.000"
    assert decimal(-0.25, 2) == "−0.25"
    assert decimal(None) == decimal(float("nan")) == "–"
    assert interval({"value": 0.9, "low": 0.8, "high": 0.95}, 2) == "0.90 (0.80 to 0.95)"
    assert interval({"value": 0.9, "low": None, "high": None}, 2) == "0.90"
    assert p_value(0.0004) == "< 0.001"
    assert small_percent(0.000228) == "0.023 %"
    assert count(134_545_730) == "134\u202f545\u202f730"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_models_are_ordered_by_part_then_by_auroc() -> None:
    auroc = {
        "snip": 0.9,
        "genellm": 0.5,
        "genellm_shuffled_labels": 0.99,
        "logistic_regression": 0.8,
    }
    assert in_order(auroc, auroc) == [
        "genellm",
        "logistic_regression",
        "snip",
        "genellm_shuffled_labels",
    ]
    assert role_of("genellm_random_backbone") == "control"
    assert model_name("an_unknown_score") == "An unknown score"


def test_ages_are_said_with_open_upper_bounds() -> None:
    assert age_words(Stratum(min_age=0, max_age=18)) == "under 18 years"
    assert age_words(Stratum(min_age=18)) == "18 years and older"
    assert age_words(Stratum(min_age=18, max_age=65)) == "18 to under 65 years"
    assert age_words(Stratum()) == "all ages"


def test_words_of_the_age_question_follow_its_numbers(content: ReportContent) -> None:
    said = " ".join(age.said(content.age_comparison, 0.05))
    assert "less than the model trained there (by 0.090 (0.030 to 0.150))" in said
    assert "GeneLLM trained on the adult stratum was not tried on the pediatric one" in said
    assert "Within the adult stratum performance changes with age" in said
    assert "within the pediatric stratum: no sample has a recorded age" in said
    assert "80 genes go with the disease, and 35 % (25 % to 46 %) of them still do" in said
    assert "could not be held fixed in the pediatric stratum" in said
    assert "more alike than chance gives (rank-biased overlap 0.40" in said


def test_words_of_the_age_question_change_with_its_numbers(content: ReportContent) -> None:
    comparison = deepcopy(dict(content.age_comparison))
    comparison["transfer"][0]["at_home_minus_transferred"]["low"] = -0.03
    test = comparison["along_age"]["genellm"]["adult"]["interaction"]
    test["p"] = 0.4
    comparison["signatures"]["pairs"][0]["rank_biased_overlap"]["p_at_least"] = 0.3
    said = " ".join(age.said(comparison, 0.05))
    assert "no difference from the model trained there is shown" in said
    assert "shows no change with age (test of score by age, P = 0.40" in said
    assert "what chance can give" in said


def test_a_comparison_without_the_parts_says_nothing_of_them() -> None:
    assert age.said({}, 0.05) == []


def test_what_was_planted_in_common_is_said_to_be_recovered_or_not() -> None:
    pair = {
        "strata": ["pediatric", "adult"],
        "k": 12,
        "planted_in_common": 0,
        "overlap": 1,
        "expected": 1.4,
        "p_at_least": 0.8,
        "recovered": True,
    }
    nothing = {"strata": ["pediatric", "adult"], "recovered": None, "reason": "none was given"}
    planted = {"by_size": [pair], "by_separation": [{**pair, "recovered": False}, nothing]}
    lines = age.said({"signatures": {"planted": planted}}, 0.05)
    assert lines[0] == (
        "SIMULATED: among 12 planted genes of each that both models were given, pediatric and "
        "adult have 0 in common. As many first genes by the size of attributions share 1 (1.4 by "
        "chance, P = 0.80): what was planted is recovered."
    )
    assert lines[1].endswith("what was planted is not recovered.")
    assert lines[2].endswith("by how far genes move cases and controls apart: none was given.")
