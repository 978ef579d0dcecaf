"""Maps of the samples."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import EvaluationError
from genellm_dagster.interpretation.embedding import embed
from genellm_dagster.interpretation.options import InterpretationOptions

OPTIONS = InterpretationOptions()


def two_groups(n: int, dims: int = 12) -> pd.DataFrame:
    points = np.random.default_rng(1).normal(size=(n, dims))
    points[: n // 2] += 8.0
    return pd.DataFrame(points, index=[f"GSM{row}" for row in range(n)])


def test_groups_that_lie_apart_lie_apart_on_the_map() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = embed(two_groups(40), OPTIONS, seed=3)
    assert found.attrs["method"] == "umap"
    assert found["gsm"].tolist() == [f"GSM{row}" for row in range(40)]
    place = found[["x", "y"]].to_numpy()
    centres = place[:20].mean(axis=0), place[20:].mean(axis=0)
    within = np.linalg.norm(place[:20] - centres[0], axis=1).max()
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * within


def test_the_same_seed_gives_the_same_map() -> None:
    first, again = (embed(two_groups(20), OPTIONS, seed=5) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


def test_twelve_samples_are_enough_for_umap() -> None:
    found = embed(two_groups(12), OPTIONS, seed=5)
    assert found.attrs["method"] == "umap"
    assert np.isfinite(found[["x", "y"]].to_numpy()).all()


def test_few_samples_are_drawn_by_principal_components_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    table = two_groups(6)
    found = embed(table, OPTIONS, seed=3)
    assert found.attrs["method"] == "pca"
    assert "principal components" in caplog.text
    centred = table.to_numpy() - table.to_numpy().mean(axis=0)
    first_size = np.linalg.svd(centred, compute_uv=False)[0]
    assert np.linalg.norm(found["x"]) == pytest.approx(first_size)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_very_few_samples_still_have_a_place(n: int) -> None:
    found = embed(two_groups(n), OPTIONS, seed=3)
    assert np.isfinite(found[["x", "y"]].to_numpy()).all()


def test_many_samples_at_one_place_are_no_hindrance() -> None:
    table = two_groups(30)
    table.iloc[:] = table.iloc[0].to_numpy()
    assert embed(table, OPTIONS, seed=3).attrs["method"] == "pca"


def test_a_representation_that_is_not_finite_is_named() -> None:
    table = two_groups(12)
    table.iloc[4, 2] = np.nan
    with pytest.raises(EvaluationError, match="GSM4 is not finite"):
        embed(table, OPTIONS, seed=3)


def test_no_samples_are_said() -> None:
    with pytest.raises(EvaluationError, match="no representations"):
        embed(two_groups(0), OPTIONS, seed=3)
