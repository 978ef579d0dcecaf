"""A refresh runs what changed and nothing else, whatever happens to the series in between."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from genellm_dagster.errors import GeneLLMError, GeoError
from genellm_dagster.files import write_text
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.series import fetch_series
from genellm_dagster.settings import load_settings
from genellm_dagster.store import Store
from genellm_dagster.studies.plan import StrataPlan, samples_by_stratum
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.done import (
    Done,
    SettingsDigests,
    description_digest,
    pending,
    pending_key,
    read_changes,
    read_done,
    write_changes,
    write_done,
)
from genellm_dagster.workflows.refresh import CohortNow, Remote, refresh, remote_of
from genellm_dagster_tests.defs.makers import a_study
from genellm_dagster_tests.geo.files_of_geo import matrix_path, matrix_text, write_mirror
from genellm_dagster_tests.geo.server import FakeGeo, Mood, fake_geo

DIGESTS = SettingsDigests("tables", "overlaps", "quality", "models", "report")
OVERLAP_COLUMNS = ["gsm_a", "cohort_a", "gsm_b", "cohort_b", "reason", "similarity"]
CHILDREN, ADULTS = "pediatric", "adult"
GSES = [f"GSE{n}" for n in range(1, 6)]


@dataclass
class Series:
    """A series at GEO: its content, the date of its file, and which strata its people are of."""

    content: int = 0
    touched: int = 0
    strata: tuple[str, ...] = (CHILDREN,)
    there: bool = True


@dataclass
class World:
    """GEO, a study file and a store, and stages that read and write them."""

    series: dict[str, Series] = field(default_factory=dict)
    cohorts: list[str] = field(default_factory=list)
    patterns: dict[str, str] = field(default_factory=dict)
    done: Done = field(default_factory=Done)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    fails: str | None = None
    # What lies in the store, as (content of the series, its rule) by stage.
    raw: dict[str, tuple[int, int]] = field(default_factory=dict)
    tables: dict[str, tuple[int, str]] = field(default_factory=dict)
    cells: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    page: Any = None

    def study(self) -> Study:
        own = {name: pattern for name, pattern in self.patterns.items() if pattern}
        return _study(tuple(self.cohorts), tuple(sorted(own.items())))

    def remote(self, name: str) -> Remote:
        if not self.series[name].there:
            return "gone"
        known = self.raw.get(name)
        now = (self.series[name].content, self.series[name].touched)
        return "same" if known == now else "changed"

    def refresh(self) -> list[str]:
        study = self.study()
        self.ran = []
        now = {
            name: CohortNow(description_digest(study, name), self.remote(name))
            for name in study.cohorts
        }
        return refresh(self, study, DIGESTS, self.done, now, self.save).ran

    def save(self, done: Done) -> None:
        # As a process that starts anew would read it.
        self.done = Done.model_validate(done.model_dump(mode="json"))

    def _step(self, what: str) -> None:
        if self.fails is not None and what.startswith(self.fails):
            raise GeoError(f"{what} failed.")
        self.ran.append(what)

    def fetch(self, name: str, why: str) -> str:
        if not self.series[name].there:
            raise GeoError(f"{name} is not there.")
        self._step(f"fetch {name}")
        self.raw[name] = (self.series[name].content, self.series[name].touched)
        return f"{name} {self.series[name].content}"

    def ingest(self, name: str, why: str) -> None:
        self.tables.pop(name, None)
        self._step(f"ingest {name}")
        self.tables[name] = (self.raw[name][0], self.patterns.get(name, ""))

    def compare(self) -> None:
        self._step("compare")

    def quality_control(self, stratum: str, cohort: str) -> None:
        self.cells.pop((stratum, cohort), None)
        self._step(f"quality {stratum}/{cohort}")
        self.cells[stratum, cohort] = self.tables[cohort]

    def train(self, stratum: str, cohorts: list[str]) -> None:
        self.models.pop(stratum, None)
        self._step(f"train {stratum}")
        self.models[stratum] = self._inputs(stratum, cohorts)

    def report(self) -> None:
        self._step("report")
        self.page = self._all_models()

    def plan(self) -> StrataPlan:
        return _plan(tuple((name, self.series[name].strata) for name in self.cohorts))

    def overlaps(self) -> pd.DataFrame:
        rows = [(a, "", b, "", "same_array", 1.0) for a, b in self.pairs]
        return pd.DataFrame(rows, columns=OVERLAP_COLUMNS)

    def _inputs(self, stratum: str, cohorts: list[str]) -> Any:
        gsms = set(self.plan().samples(stratum)["gsm"])
        inside = sorted(pair for pair in self.pairs if gsms.issuperset(pair))
        return [(name, self.cells[stratum, name]) for name in cohorts], inside

    def _all_models(self) -> Any:
        return {name: self.models[name] for name in self.plan().cells}

    def truth(self) -> Any:
        """What the report would say were everything run anew."""
        plan = self.plan()
        fresh = {
            name: (
                self.series[name].content if self.series[name].there else self.raw[name][0],
                self.patterns.get(name, ""),
            )
            for name in self.cohorts
        }
        told = {}
        for stratum, cohorts in plan.cells.items():
            gsms = set(plan.samples(stratum)["gsm"])
            inside = sorted(pair for pair in self.pairs if gsms.issuperset(pair))
            told[stratum] = ([(name, fresh[name]) for name in cohorts], inside)
        return told


@cache
def _study(cohorts: tuple[str, ...], patterns: tuple[tuple[str, str], ...]) -> Study:
    content = a_study(*cohorts).model_dump()
    for name, pattern in patterns:
        if name in content["cohort_files"]:
            content["cohort_files"][name]["sample"]["label"][0]["pattern"] = pattern
    return Study.model_validate(content)


@cache
def _plan(strata: tuple[tuple[str, tuple[str, ...]], ...]) -> StrataPlan:
    sheets = {name: _sheet(name, where) for name, where in strata}
    return samples_by_stratum(sheets, _study(tuple(sheets), ()))


def _sheet(name: str, strata: tuple[str, ...]) -> pd.DataFrame:
    rows = [
        {"gsm": f"GSM{name}{stratum}{case}", "case": case, "stratum": stratum}
        for stratum in strata
        for case in (0, 1)
    ]
    sheet = pd.DataFrame(rows)
    return sheet.assign(subject=sheet["gsm"], age_years=float("nan"), used=True, why_not="")


def a_world(**strata: tuple[str, ...]) -> World:
    world = World(series={name: Series(strata=where) for name, where in strata.items()})
    world.cohorts = list(strata)
    return world


@pytest.fixture
def world() -> World:
    """Two cohorts of children, two of adults, run once."""
    made = a_world(GSE1=(CHILDREN,), GSE2=(CHILDREN,), GSE3=(ADULTS,), GSE4=(ADULTS,))
    made.refresh()
    return made


def test_first_refresh_runs_everything_in_order() -> None:
    made = a_world(GSE1=(CHILDREN,), GSE3=(ADULTS,))
    assert made.refresh() == [
        "fetch GSE1", "ingest GSE1", "fetch GSE3", "ingest GSE3", "compare cohorts",
        "quality control pediatric/GSE1", "quality control adult/GSE3",
        "train pediatric", "train adult", "report",
    ]  # fmt: skip


def test_nothing_changed_nothing_runs(world: World) -> None:
    assert world.refresh() == []
    assert world.ran == []


def test_revised_series_runs_its_own_stratum_only(world: World) -> None:
    world.series["GSE3"].content += 1
    assert world.refresh() == [
        "fetch GSE3", "ingest GSE3", "compare cohorts", "quality control adult/GSE3",
        "train adult", "report",
    ]  # fmt: skip
    assert world.refresh() == []


def test_touched_series_is_fetched_and_nothing_follows(world: World) -> None:
    world.series["GSE3"].touched += 1
    assert world.refresh() == ["fetch GSE3"]
    assert world.refresh() == []


def test_new_cohort_runs_its_strata_only(world: World) -> None:
    world.series["GSE5"] = Series(strata=(ADULTS,))
    world.cohorts.append("GSE5")
    ran = world.refresh()
    assert ran[:3] == ["fetch GSE5", "ingest GSE5", "compare cohorts"]
    assert [what for what in ran if what.startswith("train")] == ["train adult"]


def test_changed_description_runs_its_cohort_again(world: World) -> None:
    world.patterns["GSE1"] = "^very ill$"
    ran = world.refresh()
    assert "ingest GSE1" in ran and "train pediatric" in ran and "train adult" not in ran


def test_words_that_no_table_depends_on_run_nothing() -> None:
    study = a_study("GSE1")
    cohort = study.cohort("GSE1")
    before = description_digest(study, "GSE1")
    for change in ({"verified": True}, {"title": "t"}, {"sources": ("s",)}):
        files = {"GSE1": cohort.model_copy(update=change)}
        changed = study.model_copy(update={"cohort_files": files})
        assert description_digest(changed, "GSE1") == before
    for change in ({"default_stratum": "adult"}, {"id_type": "symbol"}, {"platform": "GPL2"}):
        files = {"GSE1": cohort.model_copy(update=change)}
        changed = study.model_copy(update={"cohort_files": files})
        assert description_digest(changed, "GSE1") != before
    assert description_digest(study.model_copy(update={"case": ["x"]}), "GSE1") != before


def test_own_platform_table_counts_as_part_of_the_description(tmp_path: Path) -> None:
    study = a_study("GSE1")
    cohort = study.cohort("GSE1").model_copy(update={"platform_table": "own.tsv"})
    cohort = cohort.with_origin("a file", file=tmp_path / "GSE1.yaml")
    study = study.model_copy(update={"cohort_files": {"GSE1": cohort}})
    digests = set()
    for text in ("a", "b"):
        (tmp_path / "own.tsv").write_text(text)
        digests.add(description_digest(study, "GSE1"))
    assert len(digests) == 2


def test_series_that_left_geo_keeps_its_tables_and_is_told(world: World) -> None:
    world.series["GSE3"].there = False
    study = world.study()
    now = {
        name: CohortNow(description_digest(study, name), world.remote(name))
        for name in study.cohorts
    }
    outcome = refresh(world, study, DIGESTS, world.done, now, world.save)
    assert outcome.ran == []
    assert len(outcome.notes) == 1 and "GSE3" in outcome.notes[0]


def test_rules_of_a_series_out_of_reach_are_read_again_from_its_files(world: World) -> None:
    world.series["GSE3"].there = False
    world.patterns["GSE3"] = "^ill at last$"
    ran = world.refresh()
    assert "fetch GSE3" not in ran
    assert ran[0] == "ingest GSE3"
    assert world.page == world.truth()


def test_overlap_that_came_up_runs_the_stratum_it_is_in(world: World) -> None:
    world.series["GSE3"].content += 1
    world.pairs = [
        ("GSMGSE1pediatric0", "GSMGSE2pediatric0"),
        ("GSMGSE1pediatric0", "GSM elsewhere"),
    ]
    ran = world.refresh()
    assert "train pediatric" in ran and "quality control pediatric/GSE1" not in ran


def test_cohort_that_cannot_be_read_stops_what_follows_and_not_the_others(world: World) -> None:
    world.series["GSE1"].content += 1
    world.series["GSE3"].content += 1
    world.fails = "ingest GSE1"
    with pytest.raises(GeoError, match="ingest GSE1 failed"):
        world.refresh()
    assert "ingest GSE3" in world.ran
    assert not [what for what in world.ran if what.startswith(("compare", "train"))]
    world.fails = None
    ran = world.refresh()
    assert "ingest GSE1" in ran and "ingest GSE3" not in ran
    assert {"train pediatric", "train adult", "report"} <= set(ran)


def test_several_that_cannot_be_read_are_told_together(world: World) -> None:
    for name in ("GSE1", "GSE3"):
        world.series[name].content += 1
    world.fails = "fetch"
    with pytest.raises(GeneLLMError, match=r"2 cohorts .*fetch GSE1 failed.*fetch GSE3 failed"):
        world.refresh()


@pytest.mark.parametrize("stage", ["ingest GSE1", "quality pediatric/GSE1", "train pediatric"])
def test_change_that_was_taken_back_half_way_runs_again(world: World, stage: str) -> None:
    world.patterns["GSE1"] = "^very ill$"
    world.fails = stage
    with pytest.raises(GeoError):
        world.refresh()
    del world.patterns["GSE1"]
    world.fails = None
    world.refresh()
    assert world.page == world.truth()
    assert world.cells[CHILDREN, "GSE1"] == world.tables["GSE1"]
    assert world.models == world.truth()


def test_settings_run_the_stage_that_reads_them_and_what_follows(world: World) -> None:
    study = world.study()
    now = {name: CohortNow(description_digest(study, name), "same") for name in study.cohorts}
    ran = refresh(world, study, SettingsDigests("tables", "overlaps", "quality", "other", "report"),
                  world.done, now, world.save).ran  # fmt: skip
    assert ran == ["train pediatric", "train adult", "report"]
    ran = refresh(world, study, SettingsDigests("tables", "overlaps", "quality", "other", "new"),
                  world.done, now, world.save).ran  # fmt: skip
    assert ran == ["report"]


def test_digests_follow_the_settings_that_a_stage_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("GENELLM_"):
            monkeypatch.delenv(name)
    study = a_study("GSE1")
    base = SettingsDigests.of(load_settings(), study)

    def changed(**environment: str) -> set[str]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(f"GENELLM_{name}", value)
            other = SettingsDigests.of(load_settings(), study)
        return {name for name in vars(base) if getattr(base, name) != getattr(other, name)}

    assert changed() == set()
    assert changed(GEO__RETRIES="9", DISCOVERY__INTERVAL_HOURS="1", STORE="elsewhere") == set()
    assert changed(EXPRESSION__COLLAPSE="mean") == {"tables"}
    assert changed(EXPRESSION__QC__MAX_GENE_MISSING="0.1") == {"quality"}
    assert changed(MODEL__LAUNCH__KIND="ray", MODEL__LAUNCH__PROCESSES="7") == set()
    assert changed(MODEL__TRAINING__EPOCHS="3") == {"models"}
    assert changed(BACKBONE="tiny") == {"models", "overlaps"}


class Sequences(RuleBasedStateMachine):
    """Series appear, are revised, touched, vanish; cohorts come and go; stages fail."""

    names = st.sampled_from(GSES)

    def __init__(self) -> None:
        super().__init__()
        self.world = a_world(GSE1=(CHILDREN,), GSE2=(ADULTS,))
        self.world.refresh()
        self.changed = False

    @rule(name=names, strata=st.sampled_from([(CHILDREN,), (ADULTS,), (CHILDREN, ADULTS)]))
    def appears(self, name: str, strata: tuple[str, ...]) -> None:
        if name not in self.world.series:
            self.world.series[name] = Series(strata=strata)
        if name not in self.world.cohorts and self.world.series[name].there:
            self.world.cohorts.append(name)

    @rule(name=names)
    def is_revised(self, name: str) -> None:
        if name in self.world.series:
            self.world.series[name].content += 1

    @rule(name=names)
    def is_touched(self, name: str) -> None:
        if name in self.world.series:
            self.world.series[name].touched += 1

    @rule(name=names)
    def vanishes_or_comes_back(self, name: str) -> None:
        known = name in self.world.done.cohorts and name in self.world.cohorts
        if name in self.world.series and (known or not self.world.series[name].there):
            self.world.series[name].there ^= True

    @rule(name=names, pattern=st.sampled_from(["^a$", "^b$", ""]))
    def is_described_anew(self, name: str, pattern: str) -> None:
        self.world.patterns[name] = pattern

    @precondition(lambda self: len(self.world.cohorts) > 1)
    @rule(name=names)
    def leaves_the_study(self, name: str) -> None:
        if name in self.world.cohorts:
            self.world.cohorts.remove(name)
            self.world.raw.pop(name, None)
            self.world.series[name].there = True

    @rule(a=names, b=names)
    def overlaps(self, a: str, b: str) -> None:
        self.world.pairs = [(f"GSM{a}{ADULTS}0", f"GSM{b}{ADULTS}1")]

    @rule(stage=st.sampled_from(["fetch", "ingest", "compare", "quality", "train", "report"]))
    def fails_half_way(self, stage: str) -> None:
        self.world.fails = stage
        with contextlib.suppress(GeneLLMError):
            self.world.refresh()
        self.world.fails = None

    @rule()
    def is_refreshed(self) -> None:
        out_of_reach = [
            name
            for name in self.world.cohorts
            if not self.world.series[name].there and name not in self.world.done.cohorts
        ]
        if out_of_reach:
            with pytest.raises(GeneLLMError):
                self.world.refresh()
            return
        # Overlaps are found by a stage: pairs that came up since only show once it runs.
        self.world.done.compared = None
        self.world.refresh()
        assert self.world.page == self.world.truth()
        assert self.world.refresh() == []

    @invariant()
    def no_memory_without_tables(self) -> None:
        for name in self.world.done.cohorts:
            assert name in self.world.tables
        for cell in self.world.done.cells:
            assert tuple(cell.split("/")) in self.world.cells


TestSequences = Sequences.TestCase
TestSequences.settings = hypothesis_settings(
    max_examples=100, stateful_step_count=15, deadline=None
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", "small")


def _outputs(store: Store) -> list[Path]:
    names = [
        "raw_series/GSE1.json", "sample_sheet/GSE1.parquet", "gene_expression/GSE1.parquet",
        "sample_overlap.parquet", "backbone.json", "qc_expression/adult/GSE1.parquet",
        "blood_composition/adult/GSE1.parquet",
        "token_dataset/adult/GSE1.parquet", "prefix_states/adult/GSE1.json",
        "profiles/adult.parquet", "tokenizer/adult.json",
        "evaluation_report/adult.json", "cross_validation/adult.parquet",
        "baseline_predictions/adult.parquet", "adapter/adult.json",
        "gene_attributions/adult.parquet", "report.html", "age_comparison.json",
        "stratum_transfer.parquet", "stratum_transfer.json",
        "model_comparison.parquet",
    ]  # fmt: skip
    return [store.place(name) for name in names]


def test_stage_whose_output_is_gone_counts_as_not_done(store: Store) -> None:
    cohort = {"fingerprint": "f", "description": "d", "key": "k", "checked_at": "2024"}
    done = Done.model_validate(
        {
            "cohorts": {"GSE1": cohort},
            "compared": "c",
            "cells": {"adult/GSE1": "q"},
            "strata": {"adult": "s"},
            "report": "r",
        }
    )
    write_done(store, done)
    assert read_done(store) == Done()
    files = _outputs(store)
    for file in files:
        write_text(file, "")
    assert read_done(store) == done
    for file in files:
        file.unlink()
        assert read_done(store) != done, file
        write_text(file, "")


@pytest.mark.parametrize("content", ["no json", "[]", '{"cohorts": 3}'])
def test_memory_that_cannot_be_read_is_no_memory(store: Store, content: str) -> None:
    write_text(store.place("refresh.json"), content)
    write_text(store.place("geo_catalog", "changes.json"), content)
    assert read_done(store) == Done()
    assert read_changes(store) == {}


def test_what_waits_is_known_without_asking_geo_and_has_a_key_of_its_own(
    world: World, store: Store
) -> None:
    study = world.study()
    assert pending(world.done, study, {}) == {}
    write_changes(store, {"GSE3": "state 1"})
    changes = read_changes(store)
    waiting = pending(world.done, study, changes)
    assert waiting == {"GSE3": "its files changed at GEO"}
    key = pending_key(world.done, study, changes, waiting)
    write_changes(store, {"GSE3": "state 1"})
    assert pending_key(world.done, study, read_changes(store), waiting) == key
    write_changes(store, {"GSE3": "state 2"})
    assert pending_key(world.done, study, read_changes(store), waiting) != key
    # A refresh looks at GEO itself; what was seen before that is settled.
    world.refresh()
    assert pending(world.done, study, read_changes(store)) == {}
    world.cohorts = ["GSE1", "GSE2", "GSE5"]
    world.patterns["GSE2"] = "^other$"
    waiting = pending(world.done, world.study(), {})
    assert waiting == {
        "GSE2": "its description changed",
        "GSE5": "new",
        "GSE3": "it left the study",
        "GSE4": "it left the study",
    }


@pytest.fixture
def geo(tmp_path: Path):
    with fake_geo(tmp_path / "mirror") as server:
        yield server


@pytest.mark.parametrize("over_http", [True, False])
def test_files_are_held_against_geo_without_fetching_them(
    geo: FakeGeo, tmp_path: Path, over_http: bool
) -> None:
    write_mirror(geo.root, {matrix_path(): matrix_text()})
    study = a_study("GSE123")
    cohort = study.cohort("GSE123").model_copy(update={"platform": "GPL570", "id_type": "symbol"})
    options = GeoOptions(
        lock_folder=tmp_path / "locks", rate_per_second=10_000, retries=1, backoff_seconds=0.001
    )
    root = geo.address if over_http else str(geo.root)
    file = geo.root / matrix_path()
    with GeoClient(root, options) as client:
        manifest = fetch_series(client, cohort, tmp_path / "raw")
        assert remote_of(client, manifest) == ("same", "")
        content = file.read_bytes()
        write_mirror(geo.root, {matrix_path(): matrix_text(rows=[("A", "1", "2", "3")])})
        os.utime(file, (1, 1))
        kind, token = remote_of(client, manifest)
        assert kind == "changed"
        os.utime(file, (2, 2))
        assert remote_of(client, manifest)[1] != token
        file.write_bytes(content)
        fetched = [r for r in geo.requests if r.method == "GET" and r.path.endswith(".gz")]
        assert len(fetched) == over_http
        file.rename(file.with_name("GSE123-GPL570_series_matrix.txt.gz"))
        assert remote_of(client, manifest)[0] == "changed"
        file.with_name("GSE123-GPL570_series_matrix.txt.gz").unlink()
        assert remote_of(client, manifest)[0] == "gone"
        other = manifest.model_copy(update={"root": "https://elsewhere.example.org/geo"})
        assert remote_of(client, other)[0] == "changed"
        if over_http:
            geo.next(f"/{matrix_path()}", *[Mood(503)] * 9)
            assert remote_of(client, manifest)[0] == "unknown"
