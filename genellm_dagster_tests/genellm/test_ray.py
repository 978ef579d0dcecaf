"""Folds on Ray give what they give here."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.launch import on_ray
from genellm_dagster.genellm.launch.on_ray import RayLauncher
from genellm_dagster_tests.genellm.folds import LONG, Given, by_cohort, require_same


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    """Ray on this machine, once for all tests."""
    found = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    found.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield found
    found.shutdown()


def test_actors_give_to_the_bit_what_this_process_gives(ray, given: Given):
    steps: list[tuple[int, int]] = []
    folds = by_cohort(given.samples)
    with threadpool_limits(1):
        straight = given.validate(folds)
        found = given.validate(
            folds, launcher=RayLauncher(2), progress=lambda done, total: steps.append((done, total))
        )
    require_same(found, straight)
    assert len(steps) == 6
    assert steps[-1] == (6, 6)


def test_an_error_of_a_fold_arrives_as_it_was_raised_and_a_killed_actor_names_its_fold(
    ray, given: Given, monkeypatch: pytest.MonkeyPatch
):
    one_class = given.samples.assign(case=lambda table: (table["cohort"] == "GSE0").astype(int))
    with pytest.raises(ModelError) as here:
        given.validate(samples=one_class)
    with pytest.raises(ModelError) as there:
        given.validate(samples=one_class, launcher=RayLauncher(1))
    assert str(there.value) == str(here.value)

    class Dying(on_ray._Actor):
        def fit(self, content, fold, steps):
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(on_ray, "_Actor", Dying)
    with pytest.raises(ModelError, match="Ray lost the actor that fitted fold GSE0"):
        given.validate(options=LONG, launcher=RayLauncher(1))


def test_without_ray_the_sentence_says_what_to_install(
    given: Given, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModelError, match=r"install genellm-dagster\[ray\]"):
        given.validate(launcher=RayLauncher(1))
