"""What the simulation refuses, in one sentence, without leaving anything behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from genellm_dagster.errors import ExpressionError, StoreError
from genellm_dagster.simulation.options import CohortPlan, SimulationOptions, StratumTruth
from genellm_dagster.simulation.study import SimulatedStudy, simulate_study
from genellm_dagster_tests.simulation.conftest import SMALL


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="holds something other than a simulated study"):
        simulate_study(tmp_path, SMALL, seed=0)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "study"
    place.write_text("a file")
    with pytest.raises(StoreError):
        simulate_study(place, SMALL, seed=0)
    assert place.read_text() == "a file"


def test_an_earlier_simulation_is_replaced_whole(tmp_path: Path) -> None:
    fewer = SMALL.model_copy(update={"cohorts": SMALL.cohorts[3:], "name": "adults"})
    simulate_study(tmp_path / "study", SMALL, seed=0)
    again = simulate_study(tmp_path / "study", fewer, seed=0)
    assert again.study_file.name == "adults.yaml"
    assert not (tmp_path / "study" / "demo.yaml").exists()
    assert len(list(again.geo_root.rglob("*_series_matrix.txt.gz"))) == 2


def test_nothing_is_left_when_the_simulation_fails(tmp_path: Path) -> None:
    strata = {name: StratumTruth(planted_genes=80) for name in ("pediatric", "adult", "old")}
    options = SimulationOptions(genes=200, strata=strata)
    with pytest.raises(ExpressionError, match=r"raise the option genes\.$"):
        simulate_study(tmp_path / "study", options, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_options_that_contradict_each_other_are_refused() -> None:
    plan = SMALL.cohorts[0]
    with pytest.raises(ValidationError, match="same accession"):
        SimulationOptions(cohorts=(plan, plan))
    with pytest.raises(ValidationError, match="not described: newborn"):
        SimulationOptions(cohorts=(plan.model_copy(update={"stratum": "newborn"}),))
    with pytest.raises(ValidationError, match="shared_genes"):
        SimulationOptions(shared_genes=31)
    with pytest.raises(ValidationError, match="repeated"):
        CohortPlan(
            accession="GSE1", platform="GPL1", stratum="adult", title="x",
            cases=3, controls=3, repeated=4,
        )  # fmt: skip
    with pytest.raises(ValidationError, match=r"[Ee]xtra"):
        SimulationOptions.model_validate({"gene": 500})


def test_truth_on_disk_is_the_truth_returned(small_study: SimulatedStudy) -> None:
    on_disk = json.loads((small_study.study_file.parent / "truth.json").read_text())
    assert on_disk == small_study.truth
    assert on_disk["seed"] == 3
    assert on_disk["planted_in_all"] == []
