"""A finished study refreshed: what GEO or a person changed is run, as runs that Dagster shows."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from filelock import FileLock

from genellm_dagster.defs import jobs
from genellm_dagster.defs.build import build_definitions
from genellm_dagster.defs.refresh import PARENT_RUN
from genellm_dagster.defs.runs import dagster_instance
from genellm_dagster.files import read_json, read_parquet
from genellm_dagster.settings import Settings, load_settings, study_of
from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, NEW, ONE_CLASS, Finished

YOUNG, YOUNG_TOO = CELLS[CHILDREN]
Genellm = Callable[..., Any]


@dataclass
class Copy:
    """A copy of the finished run with a GEO, settings and descriptions of its own."""

    store: Path
    data: Path
    first: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return load_settings(study="demo")

    @property
    def study_file(self) -> Path:
        return self.store / "simulated" / "demo" / "demo.yaml"

    def matrix(self, name: str) -> Path:
        (file,) = (self.study_file.parent / "geo").rglob(f"{name}_series_matrix.txt.gz")
        return file

    def rewrite(self, name: str, old: str, new: str) -> None:
        """Publish another version of a series' file."""
        text = gzip.decompress(self.matrix(name).read_bytes()).decode()
        assert old in text
        self.matrix(name).write_bytes(gzip.compress(text.replace(old, new).encode()))

    def runs(self) -> dict[str, dg.DagsterRun]:
        with dagster_instance(self.settings) as instance:
            return {run.run_id: run for run in instance.get_runs()}

    def table(self, *parts: str) -> Any:
        return read_parquet(self.store.joinpath("demo", *parts))


@pytest.fixture(scope="module")
def copied(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """The copy, refreshed once: its GEO lies elsewhere, and nothing else is new."""
    folder = tmp_path_factory.mktemp("copied")
    ignored = shutil.ignore_patterns("compute_logs", "storage")
    shutil.copytree(finished.store, folder / "store", ignore=ignored)
    (folder / "data" / "cohorts").mkdir(parents=True)
    made = Copy(folder / "store", folder / "data")
    with pytest.MonkeyPatch.context() as patch, finished.environment():
        patch.setenv("GENELLM_STORE", str(made.store))
        patch.setenv("GENELLM_DATA_DIR", str(made.data))
        result, _ = _refresh_in_dagster(made)
        made.first = _stages(result)
        yield made


def _refresh_in_dagster(copied: Copy) -> tuple[dg.ExecuteInProcessResult, list[dg.DagsterRun]]:
    """Run the job as the interface does, and return it with the runs that it started."""
    before = copied.runs()
    study = study_of(copied.settings)
    with dagster_instance(copied.settings) as instance:
        job = build_definitions(copied.settings, study).resolve_job_def(jobs.REFRESH)
        result = job.execute_in_process(instance=instance)
    started = [run for key, run in copied.runs().items() if key not in before]
    own = [run for run in started if run.tags.get(PARENT_RUN) == result.run_id]
    assert len(own) == len(started) - 1
    return result, sorted(own, key=lambda run: run.run_id)


def _stages(result: dg.ExecuteInProcessResult) -> list[str]:
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    told = str(event.step_output_data.metadata["ran"].value)
    return [line.removeprefix("- ") for line in told.splitlines() if line.startswith("- ")]


def test_what_a_run_did_is_remembered_and_nothing_runs_twice(copied: Copy) -> None:
    # The files lie at another address: they are looked at, found to be the same, and that is all.
    names = [*CELLS[CHILDREN], *CELLS[ADULTS], ONE_CLASS]
    assert sorted(copied.first) == sorted(f"fetch {name}" for name in names)
    result, runs = _refresh_in_dagster(copied)
    assert (_stages(result), runs) == ([], [])


def test_touched_file_is_fetched_and_makes_no_partition_run(copied: Copy) -> None:
    os.utime(copied.matrix(YOUNG), (1, 1))
    result, runs = _refresh_in_dagster(copied)
    assert _stages(result) == [f"fetch {YOUNG}"]
    (run,) = runs
    assert (run.job_name, run.tags["dagster/partition"]) == (jobs.INGEST, YOUNG)
    assert {key.path[-1] for key in run.asset_selection or ()} == {"raw_series"}


def test_revised_series_makes_its_partitions_run_and_those_of_no_other(copied: Copy) -> None:
    adult = copied.store / "demo" / "evaluation_report" / f"{ADULTS}.json"
    before = adult.stat().st_mtime_ns
    sheet = copied.table("sample_sheet", f"{YOUNG}.parquet")
    copied.rewrite(YOUNG, "!Series_title\t", "!Series_summary\t")
    result, runs = _refresh_in_dagster(copied)
    assert _stages(result) == [
        f"fetch {YOUNG}",
        f"ingest {YOUNG}",
        "compare cohorts",
        f"quality control {CHILDREN}/{YOUNG}",
        f"train {CHILDREN}",
        "report",
    ]
    partitions = {run.tags.get("dagster/partition") for run in runs} - {None}
    assert not {name for name in partitions if ADULTS in name or name in CELLS[ADULTS]}
    assert adult.stat().st_mtime_ns == before
    assert len(copied.table("sample_sheet", f"{YOUNG}.parquet")) == len(sheet)


def test_second_refresh_at_the_same_time_is_refused(copied: Copy, genellm: Genellm) -> None:
    with FileLock(copied.store / "demo" / "refresh.lock"):
        said = genellm("refresh", "--study", "demo")
    assert said.status == 1
    (sentence,) = said.sentences
    assert "Another refresh" in sentence


def test_revision_that_breaks_the_rules_stops_before_anything_is_made_of_it(
    copied: Copy, genellm: Genellm
) -> None:
    report = copied.store / "demo" / "report.html"
    before = report.stat().st_mtime_ns
    whole = copied.matrix(YOUNG_TOO).read_bytes()
    copied.rewrite(YOUNG_TOO, "Healthy control", "fine")
    said = genellm("refresh", "--study", "demo")
    assert said.status == 1
    (sentence,) = said.sentences
    assert YOUNG_TOO in sentence and "Healthy control" in sentence
    assert report.stat().st_mtime_ns == before
    # Until it is mended the same comes again: nothing is made of old and new together.
    assert genellm("refresh", "--study", "demo").status == 1
    copied.matrix(YOUNG_TOO).write_bytes(whole)
    said = genellm("refresh", "--study", "demo")
    assert said.status == 0, said.err
    assert f"ingest {YOUNG_TOO}" in said.out
    assert "train" not in said.out
    assert "Nothing had changed" in genellm("refresh", "--study", "demo").out


def test_series_goes_from_the_search_to_the_report(
    copied: Copy, finished: Finished, genellm: Genellm
) -> None:
    shutil.copytree(finished.other_geo, copied.study_file.parent / "geo", dirs_exist_ok=True)
    said = genellm("discover", "--study", "demo")
    assert said.status == 0, said.err
    assert f"genellm cohort approve {NEW}" in said.out
    rows = {
        row["accession"]: row
        for row in json.loads(genellm("discover", "--study", "demo", "--json").out)
    }
    assert (rows[NEW]["status"], rows[NEW]["news"]) == ("proposed", "proposed")
    assert rows[YOUNG]["status"] == "ingested"
    proposed = genellm(
        "cohort", "propose", NEW, "--study", "demo", "--output", copied.data / "x.yaml"
    )
    assert proposed.status == 0, proposed.err
    assert "septic_shock" in proposed.out and "healthy" in proposed.out
    assert yaml.safe_load((copied.data / "x.yaml").read_text())["accession"] == NEW
    study = copied.study_file.read_text()
    known = copied.runs()
    approved = genellm("cohort", "approve", NEW, "--study", "demo")
    assert approved.status == 0, approved.err
    assert f"ingest {NEW}" in approved.out and f"train {CHILDREN}" in approved.out
    assert f"train {ADULTS}" not in approved.out
    assert NEW in study_of(copied.settings).cohorts
    assert len(copied.study_file.read_text()) - len(study) < 30
    scored = copied.table("cross_validation", f"{CHILDREN}.parquet")
    assert NEW in set(scored["cohort"])
    assert NEW in (copied.store / "demo" / "report.html").read_text()
    with dagster_instance(copied.settings) as instance:
        assert NEW in instance.get_dynamic_partitions("demo_cohort")
    started = [run for key, run in copied.runs().items() if key not in known]
    assert {run.tags.get("dagster/partition") for run in started} & {NEW, CHILDREN} == {
        NEW,
        CHILDREN,
    }
    again = json.loads(genellm("discover", "--study", "demo", "--json").out)
    assert {row["accession"]: row["status"] for row in again}[NEW] == "ingested"
    assert read_json(copied.store / "demo" / "refresh.json")["cohorts"][NEW]["fingerprint"]


def test_approval_alone_leaves_the_run_for_later(
    copied: Copy, finished: Finished, genellm: Genellm
) -> None:
    other = "GSE9900077"
    source = Path(finished.other_geo) / "series" / f"{NEW[:-3]}nnn" / NEW
    target = copied.study_file.parent / "geo" / "series" / f"{NEW[:-3]}nnn" / other
    shutil.copytree(source, target)
    for file in target.rglob("*.gz"):
        text = gzip.decompress(file.read_bytes()).decode().replace(NEW, other)
        file.unlink()
        file.with_name(file.name.replace(NEW, other)).write_bytes(gzip.compress(text.encode()))
    before = copied.runs()
    assert genellm("cohort", "propose", other, "--study", "demo").status == 0
    said = genellm("cohort", "approve", other, "--study", "demo", "--no-refresh")
    assert said.status == 0, said.err
    assert "genellm refresh" in said.out
    assert copied.runs().keys() == before.keys()
    assert other in study_of(copied.settings).cohorts
    refused = genellm("cohort", "reject", other, "--study", "demo", "--reason", "twice")
    assert refused.status == 1
    assert "is a cohort of the study" in refused.sentences[0]
