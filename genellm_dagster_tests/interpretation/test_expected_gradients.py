"""Attributions of plain functions: against hand calculation, exact Shapley values and shap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.interpretation.expected_gradients import Estimate, expected_gradients
from genellm_dagster_tests.interpretation.shapley import exact_shapley

FEATURES = 5
NEVER_MORE = 1e9
"""A tolerance that every sample meets, so that no gradients are added."""


def explain(function, samples, background, draws: int, tolerance: float = NEVER_MORE) -> Estimate:
    def column(values: torch.Tensor) -> torch.Tensor:
        return function(values).unsqueeze(-1)

    return expected_gradients(column, samples, background, draws, tolerance, batch=7)


def missed(found: Estimate) -> np.ndarray:
    return np.abs(found.values.sum(axis=1) - (found.output - found.background_output.mean()))


def points(number: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, FEATURES)).astype(np.float32)


class Bent(torch.nn.Module):
    """A smooth function with interactions that is not linear."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(3)
        self.inner = torch.randn(FEATURES, 8, generator=random)
        self.outer = torch.randn(8, generator=random)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.tanh(values @ self.inner * 0.3) @ self.outer


def quadratic(values: torch.Tensor) -> torch.Tensor:
    return 2.0 * values[:, 0] - values[:, 1] * values[:, 2] + values[:, 3] ** 2


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), draws=st.integers(1, 6))
def test_a_linear_function_gives_weight_times_distance_from_the_mean(seed: int, draws: int) -> None:
    weights = np.random.default_rng(seed).normal(size=FEATURES)
    samples, background = points(3, seed + 1), points(6, seed + 2)
    found = explain(
        lambda x: x @ torch.tensor(weights, dtype=torch.float32) + 1.5, samples, background, draws
    )
    assert found.values == pytest.approx(weights * (samples - background.mean(axis=0)), abs=1e-4)


def test_more_of_a_feature_that_raises_the_output_has_a_positive_value() -> None:
    found = explain(
        lambda x: 3.0 * x[:, 0], np.array([[2.0] * FEATURES]), np.zeros((2, FEATURES)), 1
    )
    assert found.values[0].tolist() == pytest.approx([6.0, 0.0, 0.0, 0.0, 0.0])
    assert found.output.tolist() == [6.0]
    assert found.background_output.tolist() == [0.0, 0.0]


def test_with_interactions_of_two_features_the_values_are_the_exact_shapley_values() -> None:
    samples, background = points(4, 1), points(6, 2)
    exact = exact_shapley(lambda x: quadratic(torch.tensor(x)).numpy(), samples, background)
    found = explain(quadratic, samples, background, draws=2)
    assert found.values == pytest.approx(exact, abs=1e-5)


def test_values_agree_with_the_gradient_explainer_of_shap() -> None:
    import shap

    class Column(Bent):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return super().forward(values).unsqueeze(-1)

    samples, background = points(3, 5), points(20, 6)
    reference = shap.GradientExplainer(Column(), torch.tensor(background), batch_size=1000)
    drawn, variances = reference.shap_values(
        torch.tensor(samples), nsamples=4000, rseed=1, return_variances=True
    )
    # shap divides the variance by the root of the number of draws; the mean's is less still.
    error = np.sqrt(variances[0] / np.sqrt(4000))
    found = explain(Bent(), samples, background, draws=20)
    assert (np.abs(found.values - drawn[..., 0]) < 4 * error + 0.01).all()
    assert np.corrcoef(found.values.ravel(), drawn.ravel())[0, 1] > 0.995


def test_a_function_of_the_fourth_degree_is_explained_without_remainder() -> None:
    samples, background = points(3, 7), points(6, 8)

    def quartic(x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] ** 4 + x[:, 1] ** 2 * x[:, 2] * x[:, 3] - x[:, 4] ** 3

    found = explain(quartic, samples, background, draws=6)
    difference = found.output - found.background_output.mean()
    assert found.values.sum(axis=1) == pytest.approx(difference, rel=1e-4, abs=1e-4)


def test_more_draws_come_nearer_to_the_difference_of_the_outputs() -> None:
    samples, background = points(40, 9), points(24, 10)

    def typical(draws: int) -> float:
        return float(np.median(missed(explain(Bent(), samples, background, draws))))

    assert typical(24) < typical(8) < typical(1)


@pytest.mark.parametrize("tolerance", [NEVER_MORE, 1e-3])
def test_the_values_of_a_sample_do_not_depend_on_its_company_or_the_batch(tolerance: float) -> None:
    samples, background = points(6, 11), points(9, 12)
    together = explain(Bent(), samples, background, 3, tolerance)
    alone = expected_gradients(
        lambda x: Bent()(x).unsqueeze(-1), samples[4:5], background, 3, tolerance, batch=1
    )
    assert alone.values[0] == pytest.approx(together.values[4], abs=1e-5)
    assert alone.gradients[0] == together.gradients[4]


def test_only_samples_that_miss_the_tolerance_get_more_gradients_until_they_meet_it() -> None:
    samples, background = points(30, 21), points(12, 22)
    once = explain(Bent(), samples, background, draws=2)
    found = explain(Bent(), samples, background, draws=2, tolerance=0.005)
    assert set(once.gradients) == {1 + 2}
    assert 5 < (once.error > 0.005).sum() < 30
    met, spent = found.error <= 0.005, found.gradients == 1 + 3 * 12
    assert (met | spent).all()
    assert met.sum() >= 28
    assert ((found.gradients > 3) == (once.error > 0.005)).all()
    same = once.error <= 0.005
    assert found.values[same] == pytest.approx(once.values[same])


def test_with_all_gradients_a_function_of_the_sixth_degree_is_explained_without_remainder() -> None:
    samples, background = points(3, 23), points(4, 24)

    def sixth(x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] ** 6 - x[:, 1] ** 3 * x[:, 2] ** 2 * x[:, 3]

    found = explain(sixth, samples, background, draws=4, tolerance=1e-9)
    assert set(found.gradients) == {1 + 3 * 4}
    size = np.abs(found.output - found.background_output.mean())
    assert missed(found) == pytest.approx(np.zeros(3), abs=1e-4 * size.max())


def test_the_error_is_what_is_missed_relative_to_the_difference_or_the_backgrounds_spread() -> None:
    samples, background = points(30, 25), points(8, 26)
    found = explain(Bent(), samples, background, draws=1)
    base = found.background_output.mean()
    spread = 0.1 * np.abs(found.background_output - base).mean()
    size = np.maximum(np.abs(found.output - base), spread)
    assert found.error == pytest.approx(missed(found) / size)


def test_what_is_explained_is_the_mean_of_the_outputs_and_each_output_is_told_apart() -> None:
    samples, background = points(4, 27), points(6, 28)
    weights = torch.tensor([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0], [2.0, 2.0], [-1.0, 1.0]])
    found = expected_gradients(lambda x: x @ weights, samples, background, 2, NEVER_MORE, batch=3)
    apart = samples - background.mean(axis=0)
    assert found.values == pytest.approx(apart * weights.mean(dim=1).numpy(), abs=1e-5)
    for output in (0, 1):
        assert found.by_output[output] == pytest.approx(
            apart * weights[:, output].numpy(), abs=1e-5
        )


def test_halves_of_the_background_are_explained_apart_and_together_give_the_whole() -> None:
    samples, background = points(4, 29), points(6, 30)
    found = explain(lambda x: x.sum(dim=1), samples, background, draws=1)
    for half in (0, 1):
        wanted = samples - background[half::2].mean(axis=0)
        assert found.by_half[half] == pytest.approx(wanted, abs=1e-5)
    assert found.by_half.mean(axis=0) == pytest.approx(found.values, abs=1e-5)


@pytest.mark.parametrize("tolerance", [NEVER_MORE, 1e-6])
def test_progress_counts_every_gradient_and_ends_where_it_was_planned(tolerance: float) -> None:
    class Seen:
        planned = done = 0

        def plan(self, number: int) -> None:
            self.planned += number

        def add(self, number: int) -> None:
            self.done += number

    seen = Seen()
    found = expected_gradients(
        lambda x: Bent()(x).unsqueeze(-1), points(3, 1), points(5, 2), 2, tolerance, 4, None, seen
    )
    assert seen.done == seen.planned == 5 + found.gradients.sum()
