"""The measure of the proposer counts right; on real series it says what it must."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster_tests.studies.series_like_geo import DEVELOPMENT
from genellm_dagster_tests.studies.series_makers import Group, MadeSeries, study_named
from genellm_dagster_tests.studies.test_proposal import proposed

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    path = ROOT / "benchmarks" / "measure_proposer.py"
    spec = importlib.util.spec_from_file_location("measure_proposer", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_right_wrong_open_and_made_up_labels_are_told_apart(measure: ModuleType) -> None:
    series = MadeSeries(
        "", "sepsis", "Sepsis in adults",
        (Group(4, "", {"group": "sepsis"}), Group(3, "", {"group": "healthy"}),
         Group(2, "", {"group": "SIRS"}), Group(1, "", {"group": "Spetic"})),
    )  # fmt: skip
    truth = ["sepsis"] * 3 + ["healthy"] + ["healthy"] * 2 + [None] + [None] * 2 + ["sepsis"]
    counts = measure.score_labels(proposed(series), truth, study_named("sepsis"))
    assert counts == {
        "right": 5, "wrong": 1, "abstained": 1, "made_up": 1, "open": 2, "wrong_confident": 2,
    }  # fmt: skip


def test_ages_sexes_and_strata_are_compared(measure: ModuleType) -> None:
    series = next(s for s in DEVELOPMENT if "ages with a unit" in s.name)
    samples, study = series.samples(), study_named("sepsis")
    truth = build_sample_sheet(samples, proposed(series).cohort, study)
    truth.loc[0, "age_years"] += 1
    truth.loc[:1, "sex"] = None
    score = measure.score_series("x", samples, series.facts, study, truth)
    assert score.ages == (22, 23) and score.sexes == (21, 21) and score.right == 23
    assert "23 of 23 right" in measure.table([score])


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real series in ../shared")
def test_real_series_are_proposed_as_they_were_curated(measure: ModuleType) -> None:
    studies = sorted((SHARED / "studies").glob("*.yaml"))
    scores = measure.measure(SHARED / "geo", studies, ROOT / "data")
    frame = pd.DataFrame([score.row for score in scores])
    assert len(frame) == 9
    labelled = sum(score.right + score.wrong + score.abstained for score in scores)
    assert sum(score.right for score in scores) >= 0.95 * labelled
    assert sum(score.wrong_confident for score in scores) == 0
    assert all(score.ages[0] == score.ages[1] for score in scores)
    assert all(score.sexes[0] == score.sexes[1] for score in scores)
