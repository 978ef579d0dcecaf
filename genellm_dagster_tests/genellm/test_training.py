"""Training: learns what is there, not what is not; the same seed gives the same adapter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.prediction import predict, require_fitting
from genellm_dagster.genellm.sample_weights import balanced_weights, reweighed
from genellm_dagster.genellm.training import Fit, fit
from genellm_dagster_tests.genellm.makers import GENES, Setting


def _fit(tiny: Setting, easy, seed: int = 20, adapter: AdapterOptions | None = None, **changes):
    states, samples = easy
    training = TrainingOptions(
        **{"epochs": 2, "ensemble": 2, "adapter_learning_rate": 0.02, "seed": seed} | changes
    )
    return fit(
        tiny.model, changes.pop("backbone", tiny.backbone), states, np.arange(len(samples)),
        samples["case"].to_numpy(), samples["cohort"].to_numpy(str), 1,
        adapter or AdapterOptions(), training,
    )  # fmt: skip


def _score(tiny: Setting, easy, result: Fit) -> np.ndarray:
    states, samples = easy
    rows = np.arange(len(samples))
    return predict(tiny.model, states, rows, result.members, 1, AdapterOptions()).score


def test_the_same_seed_gives_the_same_scores_and_another_seed_others(tiny: Setting, easy):
    one, same, other = (_score(tiny, easy, _fit(tiny, easy, seed)) for seed in (20, 20, 21))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-6


def test_training_leaves_the_backbone_as_it_was(tiny: Setting, easy):
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    _fit(tiny, easy)
    after = tiny.model.state_dict()
    assert after.keys() == before.keys()
    assert all(bool((after[name] == value).all()) for name, value in before.items())
    assert not any(parameter.requires_grad for parameter in tiny.model.parameters())


def test_lora_is_trained_and_lowers_the_loss(tiny: Setting, easy):
    result = _fit(tiny, easy, epochs=10, ensemble=1, adapter_learning_rate=0.02)
    assert any(
        float(value.abs().max()) > 0
        for name, value in result.members[0].peft.items()
        if "lora_B" in name
    )
    assert result.losses[0][-1] < result.losses[0][0]


def test_members_differ_and_their_spread_is_the_uncertainty(tiny: Setting, easy, fitted: Fit):
    states, samples = easy
    said = predict(tiny.model, states, np.arange(len(samples)), fitted.members, 1, AdapterOptions())
    each = 1 / (1 + np.exp(-said.logits))
    np.testing.assert_allclose(said.score, each.mean(axis=0))
    np.testing.assert_allclose(said.uncertainty, each.std(axis=0))
    assert said.uncertainty.max() > 1e-4
    assert said.representation.shape == (len(samples), tiny.backbone.hidden + len(GENES))


def test_progress_counts_every_step_once(tiny: Setting, easy):
    states, samples = easy
    seen: list[tuple[int, int]] = []
    fit(
        tiny.model, tiny.backbone, states, np.arange(len(samples)), samples["case"].to_numpy(),
        samples["cohort"].to_numpy(str), 1, AdapterOptions(),
        TrainingOptions(epochs=2, ensemble=2, batch_size=50),
        lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(step, 8) for step in range(1, 9)]


def test_one_class_is_refused(tiny: Setting, easy):
    states, samples = easy
    rows = np.flatnonzero(samples["case"] == 1)
    with pytest.raises(ModelError, match="one class only"):
        fit(
            tiny.model, tiny.backbone, states, rows, np.ones(len(rows), dtype=int),
            samples["cohort"].to_numpy(str)[rows], 1, AdapterOptions(), TrainingOptions(),
        )  # fmt: skip


def test_an_adapter_above_the_allowed_share_is_refused_with_its_numbers(tiny: Setting, easy):
    states, samples = easy
    pretrained = tiny.backbone.model_copy(update={"pretrained": True})
    with pytest.raises(ModelError, match=r"more than max_trainable_share allows \(0\.010%\)"):
        fit(
            tiny.model, pretrained, states, np.arange(len(samples)), samples["case"].to_numpy(),
            samples["cohort"].to_numpy(str), 1, AdapterOptions(), TrainingOptions(),
        )  # fmt: skip


def test_the_count_of_trained_parameters_is_exact(tiny: Setting, fitted: Fit):
    config = tiny.model.config
    key_width = config.num_key_value_heads * (config.hidden_size // config.num_attention_heads)
    lora = 4 * (2 * config.hidden_size) + 4 * (config.hidden_size + key_width)
    head = config.hidden_size + len(GENES) + 1
    assert fitted.trainable == lora + head + config.hidden_size


@pytest.mark.parametrize(
    ("head_layers", "targets", "said"),
    [(4, ("q_proj",), "only 3 layers"), (1, ("no_such_projection",), "no_such_projection")],
)
def test_an_adapter_that_does_not_fit_the_backbone_is_refused(
    tiny: Setting, easy, head_layers: int, targets: tuple[str, ...], said: str
):
    states, samples = easy
    with pytest.raises(ModelError, match=said):
        fit(
            tiny.model, tiny.backbone, states, np.arange(len(samples)),
            samples["case"].to_numpy(), samples["cohort"].to_numpy(str), head_layers,
            AdapterOptions(targets=targets), TrainingOptions(kept_megabytes=0),
        )  # fmt: skip


def test_an_adapter_of_another_backbone_is_refused(tiny: Setting, easy, fitted: Fit):
    from genellm_dagster.genellm.adapter import ProfileRecipe
    from genellm_dagster.genellm.cross_validation import fit_all
    from genellm_dagster.genellm.options import GeneLLMOptions

    states, samples = easy
    options = GeneLLMOptions(training=TrainingOptions(epochs=0, ensemble=1))
    adapter = fit_all(
        tiny.model, tiny.backbone, states, samples, options,
        tokenizer=tiny.tokenizer.describe(),
        profiles=ProfileRecipe(normalisation={"method": "rank_normal"}),
    )  # fmt: skip
    require_fitting(adapter.card, tiny.backbone)
    with pytest.raises(ModelError, match="use its own backbone"):
        require_fitting(adapter.card, tiny.backbone.model_copy(update={"sha256": "0" * 64}))
    assert adapter.card.share == adapter.card.trainable / tiny.backbone.parameters


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=4, max_size=40))
def test_each_class_of_each_cohort_weighs_the_same_before_and_after_reweighing(pairs):
    cohorts = np.array([f"GSE{cohort}" for cohort, _ in pairs])
    cases = np.array([case for _, case in pairs])
    weights = balanced_weights(cohorts, cases)
    random = np.random.default_rng(0).random(len(pairs))
    for each in (weights, reweighed(weights, cohorts, cases, random)):
        totals = [
            each[(cohorts == cohort) & (cases == case)].sum()
            for cohort, case in set(zip(cohorts, cases, strict=True))
        ]
        np.testing.assert_allclose(totals, totals[0], rtol=1e-4)
