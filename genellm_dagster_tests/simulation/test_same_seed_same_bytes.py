"""Equal options and seed give equal files; one cohort does not depend on another."""

from __future__ import annotations

from pathlib import Path

from genellm_dagster.files import sha256_of
from genellm_dagster.simulation.study import SimulatedStudy, simulate_study
from genellm_dagster_tests.simulation.conftest import SMALL


def _hashes(study: SimulatedStudy) -> dict[str, str]:
    folder = study.study_file.parent
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): sha256_of(file) for file in files}


def test_the_same_seed_gives_the_same_bytes(small_study: SimulatedStudy, tmp_path: Path) -> None:
    again = simulate_study(tmp_path / "elsewhere", SMALL, seed=3)
    assert _hashes(again) == _hashes(small_study)
    assert len(_hashes(again)) == 9  # Five matrices, two platforms, study, truth.


def test_another_seed_gives_other_values(small_study: SimulatedStudy, tmp_path: Path) -> None:
    other = _hashes(simulate_study(tmp_path / "other", SMALL, seed=4))
    mine = _hashes(small_study)
    assert other.keys() == mine.keys()
    assert all(other[name] != mine[name] for name in mine if name.endswith("matrix.txt.gz"))


def test_leaving_a_cohort_out_does_not_change_the_others(
    small_study: SimulatedStudy, tmp_path: Path
) -> None:
    fewer = SMALL.model_copy(update={"cohorts": SMALL.cohorts[:-1]})
    left, whole = _hashes(simulate_study(tmp_path / "fewer", fewer, seed=3)), _hashes(small_study)
    series = [name for name in left if "series_matrix" in name]
    assert len(series) == 4
    assert {name: left[name] for name in series} == {name: whole[name] for name in series}
