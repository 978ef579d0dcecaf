"""Which samples are explained."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import EvaluationError
from genellm_dagster.interpretation.sampling import draw_balanced


def samples(cells: dict[tuple[str, int], int], persons: int | None = None) -> pd.DataFrame:
    rows = []
    for (cohort, case), size in cells.items():
        for number in range(size):
            person = number if persons is None else number % persons
            rows.append((f"{cohort}{case}{number}", cohort, f"p{person}", case))
    return pd.DataFrame(rows, columns=["gsm", "cohort", "subject", "case"])


CELLS = {("GSE1", 0): 20, ("GSE1", 1): 300, ("GSE2", 0): 3, ("GSE2", 1): 40}


def test_cohorts_and_classes_get_equal_shares_as_far_as_they_reach() -> None:
    frame = samples(CELLS)
    drawn = frame[frame["gsm"].isin(draw_balanced(frame, 24, 1, "explained"))]
    counts = drawn.groupby(["cohort", "case"]).size().to_dict()
    assert counts == {("GSE1", 0): 7, ("GSE1", 1): 7, ("GSE2", 0): 3, ("GSE2", 1): 7}


def test_no_person_is_drawn_twice_before_all_were() -> None:
    frame = samples({("GSE1", 0): 30, ("GSE1", 1): 30}, persons=10)
    drawn = frame[frame["gsm"].isin(draw_balanced(frame, 20, 1, "explained"))]
    assert drawn.groupby("case")["subject"].nunique().tolist() == [10, 10]


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 400), seed=st.integers(0, 100))
def test_a_draw_has_the_size_asked_for_and_follows_its_seed(size: int, seed: int) -> None:
    frame = samples(CELLS)
    drawn = draw_balanced(frame, size, seed, "explained")
    assert len(set(drawn)) == len(drawn) == min(size, len(frame))
    shuffled = frame.sample(frac=1.0, random_state=seed)
    assert set(draw_balanced(shuffled, size, seed, "explained")) == set(drawn)


def test_purposes_and_seeds_draw_apart() -> None:
    frame = samples(CELLS)
    first = draw_balanced(frame, 24, 1, "explained")
    assert first != draw_balanced(frame, 24, 1, "background")
    assert first != draw_balanced(frame, 24, 2, "explained")


def test_a_stratum_without_samples_is_said() -> None:
    with pytest.raises(EvaluationError, match="no samples to explain"):
        draw_balanced(samples({}), 3, 1, "explained")
