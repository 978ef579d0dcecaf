"""A cohort that the adapter never saw is scored, with labels and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import ModelError, StudyError
from genellm_dagster.evaluation.metrics import auroc
from genellm_dagster.workflows.new_cohort import predict_cohort
from genellm_dagster_tests.finished import (
    ADULTS,
    CELLS,
    CHILDREN,
    NEW,
    NEW_WITHOUT_LABELS,
    Finished,
)

COLUMNS = [
    "gsm", "cohort", "stratum", "subject", "case", "fold", "model", "score", "uncertainty",
    "probability", "coverage",
]  # fmt: skip


def _predict(finished: Finished, name: str, **changes) -> pd.DataFrame:
    settings = finished.settings(**changes)
    geo = settings.geo.model_copy(update={"root": finished.other_geo})
    scores = predict_cohort(settings.with_changes(geo=geo), finished.study(), CHILDREN, name)
    assert scores.marks == []
    return scores.table


@pytest.fixture(scope="module")
def labelled(finished: Finished) -> pd.DataFrame:
    return _predict(finished, NEW)


def test_new_cohort_is_told_apart(labelled: pd.DataFrame) -> None:
    assert list(labelled.columns) == COLUMNS
    known = labelled[labelled["case"].notna()]
    assert set(known["case"]) == {0, 1}
    assert auroc(known["case"].to_numpy(int), known["score"].to_numpy()) > 0.7
    # People with another label than the study's are scored too, without a class.
    assert labelled["case"].isna().any()
    assert set(labelled["fold"]) == {"new_cohort"}
    assert set(labelled["cohort"]) == {NEW}


def test_labels_are_optional_and_change_no_score(
    finished: Finished, labelled: pd.DataFrame
) -> None:
    without = _predict(finished, NEW_WITHOUT_LABELS)
    assert list(without.columns) == COLUMNS
    assert without["case"].isna().all()
    both = labelled.merge(without, on="gsm", validate="one_to_one")
    assert len(both) == len(labelled) == len(without)
    np.testing.assert_allclose(both["score_x"], both["score_y"], atol=1e-6)


def test_backbone_of_the_adapter_is_used_whatever_the_settings_say(
    finished: Finished, labelled: pd.DataFrame
) -> None:
    again = _predict(finished, NEW, backbone="a backbone that is nowhere")
    pd.testing.assert_frame_equal(again, labelled)


def test_training_cohort_gets_the_scores_of_its_training_profiles(finished: Finished) -> None:
    # What reads a new cohort must read it as the training did.
    cohort = CELLS[ADULTS][1]
    scored = predict_cohort(finished.settings(), finished.study(), ADULTS, cohort).table
    before = pd.read_parquet(finished.folder / "in_memory" / f"{ADULTS}.parquet")
    both = before.merge(scored, on="gsm", suffixes=("_then", "_now"))
    assert len(both) > 20
    np.testing.assert_allclose(both["score_now"], both["score_then"], atol=1e-6)


def test_cohort_with_too_few_genes_is_refused(finished: Finished) -> None:
    model = finished.settings().model.model_copy(update={"min_gene_coverage": 1.0})
    # Its platform does not measure some genes of the children's model.
    cohort = CELLS[ADULTS][0]
    with pytest.raises(ModelError, match=rf"{cohort} has \d+% of the model's \d+ genes"):
        predict_cohort(finished.settings(model=model), finished.study(), CHILDREN, cohort)


def test_unknown_stratum_names_the_known_ones(finished: Finished) -> None:
    with pytest.raises(StudyError, match="no stratum 'newborn'; it has pediatric, adult"):
        predict_cohort(finished.settings(), finished.study(), "newborn", NEW)


def test_stratum_without_adapter_says_how_to_get_one(finished: Finished, tmp_path: Path) -> None:
    settings = finished.settings(store=tmp_path)
    with pytest.raises(ModelError, match="has no adapter yet; run `genellm run"):
        predict_cohort(settings, finished.study(), CHILDREN, NEW)
