"""Temperature scaling: probabilities that hold on samples not trained on, and the same order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import AdapterCard, ProfileRecipe
from genellm_dagster.genellm.cross_validation import fit_all
from genellm_dagster.genellm.inner_folds import inner_folds
from genellm_dagster.genellm.options import AdapterOptions, GeneLLMOptions, TrainingOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.score_head import InnerScores, choose_penalty
from genellm_dagster.genellm.scoring import at_prevalence
from genellm_dagster.genellm.temperature import BOUNDS, fit_temperature
from genellm_dagster.genellm.training import Fit, fit
from genellm_dagster_tests.genellm.makers import Setting


def _drawn(samples: int, seed: int, sureness: float) -> InnerScores:
    """Logits that are ``sureness`` times as far from zero as the truth would have them."""
    random = np.random.default_rng(seed)
    honest = random.normal(size=samples) * 1.5
    cases = (random.random(samples) < 1 / (1 + np.exp(-honest))).astype(float)
    return InnerScores(honest * sureness, cases)


@pytest.mark.parametrize("sureness", [1.0, 1.5, 3.0])
def test_planted_sureness_is_found_and_new_samples_are_told_better(sureness: float):
    folds = [_drawn(400, seed, sureness) for seed in range(4)]
    temperature = fit_temperature(folds)
    assert temperature == pytest.approx(sureness, rel=0.15)
    new = _drawn(4000, 99, sureness)

    def loss(logits: np.ndarray) -> float:
        return log_loss(new.cases, 1 / (1 + np.exp(-logits)))

    if sureness == 1.0:
        assert loss(new.logits / temperature) == pytest.approx(loss(new.logits), abs=0.01)
    else:
        assert loss(new.logits / temperature) < loss(new.logits) - 0.01


def test_logits_that_are_not_sure_enough_are_left_as_they_are():
    assert fit_temperature([_drawn(400, seed, 0.5) for seed in range(4)]) == 1.0


def test_each_inner_fold_counts_the_same_whatever_its_size():
    small, large = _drawn(300, 1, 6.0), _drawn(6000, 2, 1.0)
    together = fit_temperature([small, large])
    assert together > 1.5 * fit_temperature([large])
    twice = InnerScores(np.tile(large.logits, 2), np.tile(large.cases, 2))
    assert fit_temperature([small, twice]) == pytest.approx(together, rel=1e-3)


def test_it_is_bounded_where_samples_are_told_without_an_error_or_all_wrong():
    cases = np.tile([0.0, 1.0], 20)
    right = (2 * cases - 1) * 3.0
    assert fit_temperature([InnerScores(right, cases)]) == pytest.approx(BOUNDS[0], rel=1e-3)
    assert fit_temperature([InnerScores(-right, cases)]) == pytest.approx(BOUNDS[1], rel=1e-3)


def test_it_is_one_where_inner_folds_are_too_few_or_too_small(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    assert fit_temperature([]) == 1.0
    few = _drawn(400, 0, 3.0)
    cases = few.cases.copy()
    cases[np.flatnonzero(cases)[9:]] = 0
    assert fit_temperature([InnerScores(few.logits, cases)]) == 1.0
    assert "9 samples of a class" in caplog.text


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 8))
def test_the_order_of_inner_folds_does_not_matter_and_scaled_logits_scale_it(seed, factor):
    folds = [_drawn(60, seed + number, 1.0) for number in range(3)]
    if min(sum(fold.cases.sum() for fold in folds), sum((1 - f.cases).sum() for f in folds)) < 10:
        return
    once = fit_temperature(folds)
    assert fit_temperature(folds[::-1]) == pytest.approx(once, rel=1e-3)
    scaled = fit_temperature([replace(fold, logits=fold.logits * factor) for fold in folds])
    assert scaled == pytest.approx(float(np.clip(once * factor, *BOUNDS)), rel=0.01) or (
        once in (pytest.approx(BOUNDS[0], rel=1e-3), pytest.approx(BOUNDS[1], rel=1e-3))
    )


def test_what_it_is_learned_from_was_not_trained_on():
    """Labels are noise: a head that had seen them would be sure and right, and keep its logits."""
    random = np.random.default_rng(3)
    features = random.normal(size=(80, 60))
    cases = np.tile([0.0, 1.0], 40)
    inner = inner_folds(cases, np.zeros(80), np.arange(80), 4, 0)
    chosen = choose_penalty(features, cases, np.zeros(80, int), np.ones(80), inner, (1e-3,), 0.0)
    assert chosen.penalty == 1e-3
    assert sum(len(fold.cases) for fold in chosen.inner) == 80
    assert fit_temperature(chosen.inner) > 3


def test_what_inner_folds_say_is_of_the_penalty_that_was_chosen():
    random = np.random.default_rng(4)
    cases = np.tile([0.0, 1.0], 40)
    features = random.normal(size=(80, 20)) + cases[:, None] * 0.5
    inner = inner_folds(cases, np.zeros(80), np.arange(80), 4, 0)
    given_ = (features, cases, np.zeros(80, int), np.ones(80), inner)
    best = choose_penalty(*given_, (1.0, 0.1, 0.01, 1e-3), 0.0)
    alone = choose_penalty(*given_, (best.penalty,), 0.0)
    for one, other in zip(best.inner, alone.inner, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)


def test_scores_are_calibrated_and_a_member_orders_samples_as_before(
    tiny: Setting, easy, fitted: Fit
):
    states, samples = easy
    rows, cases = np.arange(len(samples)), samples["case"].to_numpy()
    given_ = (tiny.model, states, rows, fitted.members[:1], 1, AdapterOptions())
    plain, scaled = predict(*given_), predict(*given_, temperature=3.0)
    np.testing.assert_array_equal(plain.logits, scaled.logits)
    np.testing.assert_allclose(scaled.score, 1 / (1 + np.exp(-plain.logits[0] / 3.0)))
    for cohort in samples["cohort"].unique():
        here = (samples["cohort"] == cohort).to_numpy()
        assert roc_auc_score(cases[here], scaled.score[here]) == roc_auc_score(
            cases[here], plain.score[here]
        )
    both = predict(*given_[:3], fitted.members, *given_[4:], temperature=3.0)
    each = 1 / (1 + np.exp(-both.logits / 3))
    np.testing.assert_allclose(both.score, each.mean(axis=0))
    np.testing.assert_allclose(both.uncertainty, each.std(axis=0))


def test_a_fit_learns_it_from_its_training_samples_alone(tiny: Setting, easy):
    states, samples = easy
    rows = np.flatnonzero(samples["cohort"] != "GSE2")
    cases, cohorts = samples["case"].to_numpy()[rows], samples["cohort"].to_numpy(str)[rows]
    delta = states.delta.clone()
    delta[48:] = 9.0
    found = [
        fit(
            tiny.model, tiny.backbone, which, rows, cases, cohorts, 1, AdapterOptions(),
            TrainingOptions(epochs=0, ensemble=1),
        ).temperature
        for which in (states, replace(states, delta=delta))
    ]  # fmt: skip
    assert found[0] == found[1]
    assert BOUNDS[0] <= found[0] <= BOUNDS[1]


def test_an_adapter_carries_the_temperature_of_its_fit(tiny: Setting, easy):
    states, samples = easy
    # Some labels are wrong, so that no head can be sure.
    wrong = np.arange(len(samples)) % 5 == 0
    samples = samples.assign(case=np.where(wrong, 1 - samples["case"], samples["case"]))
    # One weak penalty: chosen among many, a strong one would leave heads unsure of themselves.
    training = TrainingOptions(epochs=0, ensemble=1, head_penalties=(1e-4,))
    adapter = fit_all(
        tiny.model, tiny.backbone, states, samples, GeneLLMOptions(training=training),
        tokenizer=tiny.tokenizer.describe(), profiles=ProfileRecipe(normalisation={}),
    )  # fmt: skip
    straight = fit(
        tiny.model, tiny.backbone, states, np.arange(len(samples)), samples["case"].to_numpy(),
        samples["cohort"].to_numpy(str), 1, AdapterOptions(), training,
    )  # fmt: skip
    assert adapter.card.temperature == straight.temperature > 1.0
    # Adapters from before say nothing of it: their probability is their score.
    older = adapter.card.model_dump()
    del older["temperature"]
    assert AdapterCard.model_validate(older).temperature == 1.0


@given(score=st.floats(0.001, 0.999), prevalence=st.floats(0.001, 0.999))
def test_a_probability_follows_the_prevalence_by_odds(score: float, prevalence: float):
    found = float(at_prevalence(np.array([score]), prevalence)[0])
    odds = score / (1 - score) * prevalence / (1 - prevalence)
    assert found == pytest.approx(odds / (1 + odds))


def test_equal_prevalence_leaves_scores_and_none_is_refused():
    score = np.array([0.0, 0.3, 1.0])
    np.testing.assert_allclose(at_prevalence(score, 0.5), score)
    for wrong in (0.0, 1.0, float("nan")):
        with pytest.raises(ModelError, match="above 0 and below 1"):
            at_prevalence(score, wrong)
