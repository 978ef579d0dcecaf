"""Fixtures of the GEO room: a mirror in a folder, the same over HTTP, quick options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster_tests.geo.server import FakeGeo, fake_geo


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    root = tmp_path / "mirror"
    root.mkdir()
    return root


@pytest.fixture
def geo(mirror: Path) -> Iterator[FakeGeo]:
    with fake_geo(mirror) as server:
        yield server


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., GeoOptions]:
    def make(**settings: Any) -> GeoOptions:
        quick: dict[str, Any] = {
            "lock_folder": tmp_path / "locks",
            "rate_per_second": 10_000,
            "backoff_seconds": 0.001,
            "retries": 3,
        }
        return GeoOptions(**{**quick, **settings})

    return make


@pytest.fixture
def client(geo: FakeGeo, options: Callable[..., GeoOptions]) -> Iterator[GeoClient]:
    with GeoClient(geo.address, options(eutils=f"{geo.address}/eutils")) as client:
        yield client


@pytest.fixture
def cohort() -> Callable[..., Cohort]:
    def make(**fields: Any) -> Cohort:
        given: dict[str, Any] = {
            "accession": "GSE123",
            "platform": "GPL570",
            "id_type": "symbol",
            "sample": {"label": []},
        }
        return Cohort(**{**given, **fields})

    return make
