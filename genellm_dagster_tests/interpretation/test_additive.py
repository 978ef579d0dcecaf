"""Attributions of models that add their genes up, against coefficients, shap, and enumeration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.baselines.classical import Training
from genellm_dagster.baselines.kinds import classifiers
from genellm_dagster.baselines.options import BaselineOptions
from genellm_dagster.errors import EvaluationError
from genellm_dagster.interpretation.additive import additive_attributions
from genellm_dagster_tests.interpretation.shapley import exact_shapley

GENES = [f"G{number}" for number in range(5)]
WEIGHTS = np.array([1.0, -0.5, 0.0, 0.3, 2.0])


def table(n: int, seed: int) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(7.0, 1.0, size=(n, len(GENES)))
    index = pd.Index([f"GSM{seed}{row}" for row in range(n)], name="gsm")
    return pd.DataFrame(values, index=index, columns=GENES)


def linear(samples: np.ndarray) -> np.ndarray:
    """A logistic model that puts the mean in place of what is absent."""
    filled = np.where(np.isfinite(samples), samples, 7.0)
    return 1.0 / (1.0 + np.exp(-((filled - 7.0) @ WEIGHTS + 0.2)))


def test_values_are_coefficient_times_deviation_from_the_background() -> None:
    explained, background = table(6, 1), table(9, 2)
    found = additive_attributions(linear, explained, background)
    wanted = WEIGHTS * (explained - background.mean())
    assert found.values.to_numpy() == pytest.approx(wanted.to_numpy(), abs=1e-9)
    assert found.missed.max() < 1e-9


def test_values_are_those_of_the_linear_explainer_of_shap() -> None:
    import shap

    explained, background = table(6, 1), table(9, 2)
    reference = shap.LinearExplainer((WEIGHTS, 0.2), background.to_numpy())
    assert additive_attributions(linear, explained, background).values.to_numpy() == pytest.approx(
        reference.shap_values(explained.to_numpy()), abs=1e-9
    )


def test_values_of_a_sum_of_curves_are_the_exact_shapley_values() -> None:
    explained, background = table(3, 3), table(5, 4)

    def curved(samples: np.ndarray) -> np.ndarray:
        logit = np.sin(samples[:, 0]) + 0.1 * (samples[:, 1] - 7.0) ** 2 - 0.2 * samples[:, 4]
        return 1.0 / (1.0 + np.exp(-logit))

    def logit(samples: np.ndarray) -> np.ndarray:
        told = curved(samples)
        return np.log(told / (1 - told))

    found = additive_attributions(curved, explained, background)
    exact = exact_shapley(logit, explained.to_numpy(), background.to_numpy())
    assert found.values.to_numpy() == pytest.approx(exact, abs=1e-9)


def test_a_model_that_does_not_add_up_is_seen_by_what_is_missed() -> None:
    def product(samples: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-(samples[:, 0] - 7.0) * (samples[:, 1] - 7.0)))

    assert additive_attributions(product, table(6, 5), table(9, 6)).missed.max() > 0.1


def test_an_absent_gene_has_no_value_and_the_others_still_add_up() -> None:
    explained, background = table(4, 7), table(6, 8)
    explained.iloc[0, 4] = np.nan
    background.iloc[2, 1] = np.nan
    found = additive_attributions(linear, explained, background)
    assert found.values.isna().equals(explained.isna())
    assert found.missed.max() < 1e-9
    assert found.base.iloc[0] != pytest.approx(found.base.iloc[1])


def test_the_projects_logistic_regression_is_explained_without_remainder() -> None:
    profiles = table(60, 9)
    case = (profiles["G4"] > 7.0).to_numpy().astype(int)
    profiles.iloc[5, 2] = np.nan
    options = BaselineOptions()
    names = np.array([f"P{row}" for row in range(60)], dtype=object)
    cohorts = np.array(["GSE1", "GSE2"] * 30, dtype=object)
    training = Training(profiles.to_numpy(), case, cohorts, names)
    fitted = classifiers(options)["logistic_regression"].fit(training, options, 1)
    found = additive_attributions(fitted.predict, profiles.iloc[:10], profiles.iloc[10:30])
    assert found.missed.max() < 1e-7
    assert found.values.abs().mean().idxmax() == "G4"


def test_scores_that_are_certain_and_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(EvaluationError, match="logit cannot be told"):
        additive_attributions(lambda x: np.ones(len(x)), table(2, 1), table(2, 2))
    with pytest.raises(EvaluationError, match="different genes"):
        additive_attributions(linear, table(2, 1), table(2, 2)[GENES[::-1]])
    with pytest.raises(EvaluationError, match="no samples to explain"):
        additive_attributions(linear, table(2, 1).iloc[:0], table(2, 2))
