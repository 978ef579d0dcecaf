"""Fixtures of the workflows: a study on disk beside a GEO on localhost; a stratum in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from genellm_dagster.evaluation.folds import Folds, make_folds
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.workflows.stratum import StratumSamples
from genellm_dagster_tests.geo.server import FakeGeo, fake_geo
from genellm_dagster_tests.workflows.discovering import Place, a_place
from genellm_dagster_tests.workflows.strata import a_stratum


@pytest.fixture
def geo_server(tmp_path: Path) -> Iterator[FakeGeo]:
    with fake_geo(tmp_path / "geo") as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, geo_server: FakeGeo, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in list(os.environ):
        if name.startswith("GENELLM_") or name == "DAGSTER_HOME":
            monkeypatch.delenv(name)
    return a_place(tmp_path, geo_server)


@pytest.fixture
def data() -> StratumSamples:
    return a_stratum()


@pytest.fixture
def genes(data: StratumSamples) -> list[str]:
    return list(data.tables["GSE1"].index[10:40])


@pytest.fixture
def folds(data: StratumSamples) -> Folds:
    return make_folds(data.samples, None, EvaluationOptions())
