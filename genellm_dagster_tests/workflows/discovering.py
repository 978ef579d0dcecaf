"""A study on disk, and a GEO on localhost whose series can be searched, proposed and revised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.settings import Settings, load_settings, study_of
from genellm_dagster.store import Store
from genellm_dagster.studies.study import Study
from genellm_dagster_tests.geo.files_of_geo import matrix_path, matrix_text, write_mirror
from genellm_dagster_tests.geo.server import FakeGeo

RULES = [
    {"field": "characteristics: disease state", "pattern": "^Sepsis$", "value": "sepsis"},
    {"field": "characteristics: disease state", "pattern": "^Healthy", "value": "healthy"},
]
STUDY = """\
# Sepsis, as we see it.
name: mine
title: Sepsis against healthy
search: sepsis AND "whole blood"
case: [sepsis, septic_shock]
control: [healthy]
strata:
  pediatric: {min_age: 0, max_age: 18}
  adult: {min_age: 18}
cohorts: [GSE1000]   # the one we began with
"""


@dataclass
class Place:
    """Files of a study, of its settings and of GEO."""

    folder: Path
    geo: FakeGeo
    series: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def study_file(self) -> Path:
        return self.folder / "data" / "studies" / "mine.yaml"

    @property
    def store(self) -> Store:
        return Store(self.folder / "store", "mine")

    def settings(self, **changes: Any) -> Settings:
        values = self.values()
        values["discovery"] |= changes
        return load_settings(**values)

    def values(self) -> dict[str, Any]:
        """Settings under which nothing of the machine's own is touched and nothing waits."""
        return {
            "study": "mine",
            "store": str(self.folder / "store"),
            "data_dir": str(self.folder / "data"),
            "discovery": {},
            "geo": {
                "root": self.geo.address,
                "eutils": f"{self.geo.address}/eutils",
                "lock_folder": str(self.folder / "locks"),
                "rate_per_second": 10_000,
                "backoff_seconds": 0.001,
                "retries": 1,
            },
        }

    def study(self) -> Study:
        return study_of(self.settings())

    @contextmanager
    def client(self, root: str | None = None) -> Iterator[GeoClient]:
        geo = self.values()["geo"]
        options = GeoOptions(**{key: value for key, value in geo.items() if key != "root"})
        with GeoClient(root or self.geo.address, options) as client:
            yield client

    def say(self, **keys: Any) -> None:
        """Add keys to the study's file, as a person would."""
        self.study_file.write_text(self.study_file.read_text() + yaml.safe_dump(keys))

    def publish(
        self,
        accession: str,
        states: tuple[str, ...] = ("Sepsis", "Sepsis", "Healthy control", "Healthy control"),
        age: str = "34",
        platform: str = "GPL570",
        **facts: Any,
    ) -> None:
        """Publish a series, or a revision of it: its file, and what a search tells of it."""
        number = int(accession[3:])
        gsms = [f"GSM{number}{n:02d}" for n in range(len(states))]
        text = matrix_text(
            accession=accession,
            platform=platform,
            gsms=gsms,
            characteristics=[
                [f"disease state: {state}" for state in states],
                [f"age (years): {age}" for _ in states],
            ],
            rows=[(gene, *["7.5"] * len(states)) for gene in ("CD177", "MMP8", "CD74")],
        )
        title = f"Whole blood of adults with sepsis, {accession}"
        text = text.replace("Sepsis in children", title).replace("child ", "blood ")
        write_mirror(self.geo.root, {matrix_path(accession): text})
        self.series[accession] = {
            "accession": accession,
            "title": title,
            "gdstype": "Expression profiling by array",
            "n_samples": len(states),
            "gpl": platform.removeprefix("GPL"),
            "pdat": "2024/02/03",
            "suppfile": "CEL",
            "samples": [{"accession": gsm, "title": gsm} for gsm in gsms],
            **facts,
        }
        self.geo.serve_catalogue(list(self.series.values()))

    def withdraw(self, accession: str) -> None:
        """Take a series out of the search; its files stay."""
        del self.series[accession]
        self.geo.serve_catalogue(list(self.series.values()))


def a_place(folder: Path, geo: FakeGeo) -> Place:
    """Make a study with one cohort, GSE1000, which GEO has."""
    place = Place(folder, geo)
    place.study_file.parent.mkdir(parents=True)
    place.study_file.write_text(STUDY)
    cohort = {
        "accession": "GSE1000",
        "platform": "GPL570",
        "id_type": "symbol",
        "sample": {"label": RULES, "age": {"field": "characteristics: age (years)"}},
    }
    file = folder / "data" / "cohorts" / "GSE1000.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(cohort, sort_keys=False))
    place.publish("GSE1000")
    return place
