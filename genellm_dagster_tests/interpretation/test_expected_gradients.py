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


def explain(function, samples, background, draws: int, seed: int = 0) -> Estimate:
    random = [np.random.default_rng([seed, row]) for row in range(len(samples))]
    return expected_gradients(function, samples, background, draws, random, batch=7)


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

    def missed(draws: int) -> float:
        found = explain(Bent(), samples, background, draws)
        difference = found.output - found.background_output.mean()
        return float(np.median(np.abs(found.values.sum(axis=1) - difference)))

    assert missed(24) < missed(8) < missed(1)


def test_the_values_of_a_sample_do_not_depend_on_its_company_or_the_batch() -> None:
    samples, background = points(6, 11), points(9, 12)
    random = [np.random.default_rng([0, row]) for row in range(6)]
    together = explain(Bent(), samples, background, draws=3).values
    alone = expected_gradients(Bent(), samples[4:5], background, 3, random[4:5], batch=1).values
    assert alone[0] == pytest.approx(together[4], abs=1e-5)


def test_progress_counts_every_gradient() -> None:
    seen: list[int] = []
    random = [np.random.default_rng(row) for row in range(3)]
    expected_gradients(Bent(), points(3, 1), points(5, 2), 2, random, batch=4, progress=seen.append)
    assert sum(seen) == 5 + 3 + 3 * 2
