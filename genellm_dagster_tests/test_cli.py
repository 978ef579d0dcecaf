"""The command ``genellm``: statuses, sentences, and what it leaves behind."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from genellm_dagster_tests.finished import (
    ADULTS,
    CELLS,
    CHILDREN,
    NEW,
    NEW_WITHOUT_LABELS,
    ONE_CLASS,
    Finished,
)

GOOD = CELLS[ADULTS][1]
Genellm = Callable[..., Any]


class OnDisk:
    """A study of one cohort in a folder of its own, to be spoilt."""

    def __init__(self, finished: Finished, folder: Path, cohort: str = GOOD) -> None:
        self.cohort = cohort
        self.file = folder / "mine.yaml"
        self.store = folder / "store"
        shutil.copytree(finished.study_file.parent / "geo", folder / "geo")
        self.content = yaml.safe_load(finished.study_file.read_text())
        self.content |= {"name": "mine", "cohorts": [cohort]}
        self.content["cohort_files"] = {cohort: self.content["cohort_files"][cohort]}
        (self.matrix,) = (folder / "geo" / "series").rglob(f"{cohort}_series_matrix.txt.gz")
        self.write()

    @property
    def rules(self) -> dict[str, Any]:
        return self.content["cohort_files"][self.cohort]

    def write(self) -> None:
        self.file.write_text(yaml.safe_dump(self.content, sort_keys=False))

    def is_clean(self) -> bool:
        """Whether nothing half-written is in the store, and nothing of the refused cohort."""
        files = [path for path in self.store.rglob("*") if path.is_file()]
        for path in files:
            if path.suffix == ".parquet":
                pq.read_table(path)
        names = [path.name for path in files]
        return not any(name.endswith((".part", ".old")) for name in names)


@pytest.fixture
def on_disk(of_finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnDisk:
    study = OnDisk(of_finished, tmp_path)
    monkeypatch.setenv("GENELLM_STORE", str(study.store))
    return study


def _refused(genellm: Genellm, on_disk: OnDisk, *words: str) -> None:
    said = genellm("run", "--study", on_disk.file)
    assert said.status == 1, said.err
    assert len(said.sentences) == 1, said.err
    (sentence,) = said.sentences
    assert sentence.startswith("genellm: ")
    for word in words:
        assert word in sentence
    assert "Traceback" not in said.err
    assert said.out == ""
    assert on_disk.is_clean()


def _tables(on_disk: OnDisk, asset: str) -> list[Path]:
    return list((on_disk.store / "mine" / asset).rglob("*.parquet"))


def test_missing_file_is_refused(genellm: Genellm, on_disk: OnDisk) -> None:
    on_disk.matrix.unlink()
    _refused(genellm, on_disk, GOOD, str(on_disk.matrix.parent))
    assert not (on_disk.store / "mine" / "raw_series" / f"{GOOD}.json").exists()


def test_truncated_gzip_is_refused(genellm: Genellm, on_disk: OnDisk) -> None:
    on_disk.matrix.write_bytes(on_disk.matrix.read_bytes()[:-2000])
    _refused(genellm, on_disk, on_disk.matrix.name)
    assert not (on_disk.store / "mine" / "raw_series" / f"{GOOD}.json").exists()
    assert not list((on_disk.store / "mine").rglob("*.gz"))


def test_html_instead_of_gzip_is_refused(genellm: Genellm, on_disk: OnDisk) -> None:
    on_disk.matrix.write_text("<!DOCTYPE html><html><body>Error 404</body></html>")
    _refused(genellm, on_disk, on_disk.matrix.name, "HTML")
    assert not list((on_disk.store / "mine").rglob("*.gz"))


def test_label_rule_that_matches_nothing_is_refused(genellm: Genellm, on_disk: OnDisk) -> None:
    for rule in on_disk.rules["sample"]["label"]:
        rule["pattern"] = "^no such title$"
    on_disk.write()
    _refused(genellm, on_disk, GOOD, "title", f"genellm cohort inspect {GOOD}")
    assert _tables(on_disk, "sample_sheet") == []


def test_field_that_no_sample_has_is_refused(genellm: Genellm, on_disk: OnDisk) -> None:
    for rule in on_disk.rules["sample"]["label"]:
        rule["field"] = "characteristics: illness"
    on_disk.write()
    _refused(genellm, on_disk, GOOD, "characteristics: illness")


def test_duplicate_samples_are_refused(genellm: Genellm, on_disk: OnDisk) -> None:
    text = gzip.decompress(on_disk.matrix.read_bytes()).decode()
    line = next(line for line in text.splitlines() if line.startswith("!Sample_geo_accession"))
    first, second = line.split("\t")[1:3]
    on_disk.matrix.write_bytes(gzip.compress(text.replace(second, first).encode()))
    _refused(genellm, on_disk, first.strip('"'))
    assert _tables(on_disk, "gene_expression") == []


def test_other_labels_than_expected_are_refused(genellm: Genellm, on_disk: OnDisk) -> None:
    on_disk.rules["expected_labels"] = {"healthy": 1000}
    on_disk.write()
    _refused(genellm, on_disk, GOOD, "healthy", "1000")
    assert _tables(on_disk, "sample_sheet") == []


def test_unreadable_yaml_names_file_and_place(genellm: Genellm, on_disk: OnDisk) -> None:
    on_disk.file.write_text("name: mine\ncohorts: [GSE1\ncase: x\n")
    _refused(genellm, on_disk, str(on_disk.file), "line 3")
    assert not on_disk.store.exists()


def test_study_without_cases_in_any_stratum_is_refused(
    genellm: Genellm, of_finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = OnDisk(of_finished, tmp_path, ONE_CLASS)
    monkeypatch.setenv("GENELLM_STORE", str(controls.store))
    rule = {"field": "characteristics: disease state", "pattern": "^Sepsis$", "value": "sepsis"}
    controls.rules["sample"]["label"].append(rule)
    controls.write()
    _refused(genellm, controls, "no stratum with both cases and controls", ONE_CLASS, "0 cases")
    assert _tables(controls, "qc_expression") == []


def test_stratum_without_cases_is_not_run_and_said_why(genellm: Genellm, on_disk: OnDisk) -> None:
    said = genellm("run", "--study", on_disk.file, "--stratum", CHILDREN)
    assert said.status == 1
    (sentence,) = said.sentences
    assert f"The stratum {CHILDREN!r} cannot be run: " in sentence
    assert not _tables(on_disk, "cross_validation")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--study", "nowhere"), ("'nowhere'", "known studies")),
        (("run", "--study", "/nowhere.yaml"), ("/nowhere.yaml", "name one")),
        (("run", "--study", "demo", "--stratum", "newborn"), ("'newborn'", CHILDREN, ADULTS)),
        (("cohort", "inspect", "GSE1", "--study", "demo"), ("GSE1", "check the accession")),
        (("cohort", "inspect", "patients", "--study", "demo"), ("'patients'", "GSE570")),
        (("run", "--study", "demo", "--geo-root", "ftp://old"), ("'ftp://old'", "--geo-root")),
    ],
)
def test_what_is_not_there_is_one_sentence(
    genellm: Genellm, of_finished: Finished, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    said = genellm(*arguments)
    assert said.status == 1
    (sentence,) = said.sentences
    assert all(word in sentence for word in words)


@pytest.mark.parametrize("command", ["compare", "report"])
def test_what_has_not_been_run_is_said(genellm: Genellm, on_disk: OnDisk, command: str) -> None:
    said = genellm(command, "--study", on_disk.file)
    assert said.status == 1
    (sentence,) = said.sentences
    assert "mine/" in sentence
    assert "materialize" in sentence


@pytest.mark.parametrize("place", ["/nowhere/dagster", "relative"])
def test_dagster_home_that_is_not_there_is_one_sentence(
    genellm: Genellm, on_disk: OnDisk, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", place)
    _refused(genellm, on_disk, "DAGSTER_HOME", place)


def test_store_that_cannot_be_written_to_is_one_sentence(
    genellm: Genellm, on_disk: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk.store.write_text("a file, not a folder")
    said = genellm("run", "--study", on_disk.file)
    assert said.status == 1
    (sentence,) = said.sentences
    assert str(on_disk.store) in sentence
    assert "GENELLM_STORE" in sentence


def test_defect_keeps_its_traceback(
    genellm: Genellm, on_disk: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genellm_dagster.studies import curation

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(curation, "build_sample_sheet", broken)
    said = genellm("run", "--study", on_disk.file)
    assert said.status == 1
    assert "ZeroDivisionError: a defect" in said.err
    assert "test_cli.py" in said.err


def test_ingest_says_what_came_in_and_what_stayed_out(genellm: Genellm, on_disk: OnDisk) -> None:
    said = genellm("ingest", "--study", on_disk.file)
    assert said.status == 0, said.err
    assert f"{ADULTS}: " in said.out
    assert GOOD in said.out
    assert len(_tables(on_disk, "qc_expression")) == 1
    assert not _tables(on_disk, "token_dataset")


def test_inspect_lists_fields_and_values(genellm: Genellm, of_finished: Finished) -> None:
    said = genellm("cohort", "inspect", CELLS[CHILDREN][0], "--study", "demo", "--json")
    assert said.status == 0, said.err
    (table,) = json.loads(said.out).values()
    text = json.dumps(table)
    assert "characteristics: disease state" in text
    assert "Septic shock" in text
    shown = genellm("cohort", "inspect", CELLS[CHILDREN][0], "--study", "demo")
    assert "characteristics: disease state" in shown.out


def test_discover_lists_the_series_of_the_root(genellm: Genellm, on_disk: OnDisk) -> None:
    said = genellm("discover", "--study", on_disk.file, "--json")
    assert said.status == 0, said.err
    assert {row["accession"] for row in json.loads(said.out)} >= {GOOD, ONE_CLASS}


def test_compare_prints_a_table_or_json(genellm: Genellm, of_finished: Finished) -> None:
    said = genellm("compare", "--study", "demo", "--json")
    assert said.status == 0
    rows = json.loads(said.out)
    assert {row["stratum"] for row in rows} == set(CELLS)
    first = next(row for row in rows if row["model"] == "genellm")
    assert first["auroc_low"] <= first["auroc"] <= first["auroc_high"]
    shown = genellm("compare", "--study", "demo").out
    assert f"{first['auroc']:.3f} [{first['auroc_low']:.3f}, {first['auroc_high']:.3f}]" in shown


@pytest.mark.parametrize(("name", "labels"), [(NEW, True), (NEW_WITHOUT_LABELS, False)])
def test_predict_writes_the_scores_of_a_new_cohort(
    genellm: Genellm, of_finished: Finished, tmp_path: Path, name: str, labels: bool
) -> None:
    output = tmp_path / ("scores.parquet" if labels else "scores.csv")
    said = genellm(
        "predict", "--study", "demo", "--stratum", CHILDREN, "--cohort", name,
        "--geo-root", of_finished.other_geo, "--output", output,
    )  # fmt: skip
    assert said.status == 0, said.err
    assert "Research use only" in said.out
    table = pd.read_parquet(output) if labels else pd.read_csv(output)
    assert table["score"].between(0, 1).all()
    assert table["case"].notna().any() == labels
    assert f"{len(table)} samples" in said.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--output": "scores.xlsx"}, (".parquet", ".csv")),
        ({"--cohort": "GSE404"}, ("GSE404", "cohort inspect")),
        ({"--stratum": "newborn"}, ("'newborn'", CHILDREN)),
    ],
)
def test_predict_refuses_what_it_cannot_do_in_one_sentence(
    genellm: Genellm, of_finished: Finished, change: dict[str, str], words: tuple[str, ...]
) -> None:
    asked = {"--study": "demo", "--stratum": CHILDREN, "--cohort": NEW, "--output": "s.csv"}
    said = genellm("predict", *(part for pair in {**asked, **change}.items() for part in pair))
    assert said.status == 1
    (sentence,) = said.sentences
    assert all(word in sentence for word in words)


def test_predict_scores_a_table_and_says_who_is_refused(
    genellm: Genellm, of_finished: Finished, tmp_path: Path
) -> None:
    expression = of_finished.table("gene_expression", CELLS[CHILDREN][0]).iloc[:, :3]
    expression.columns = ["=1+1", "torn", "P3"]
    expression.loc[[place % 10 != 0 for place in range(len(expression))], "torn"] = float("nan")
    table, output = tmp_path / "new.tsv", tmp_path / "scores.csv"
    expression.to_csv(table, sep="\t")
    asked = ("predict", "--study", "demo", "--stratum", CHILDREN, "--table", table)
    said = genellm(*asked, "--output", output)
    assert said.status == 0, said.err
    assert "1 samples are not scored" in said.out
    assert "torn" in said.out
    assert "read as log2" in said.out
    # A spreadsheet must not run the name of a sample.
    equal = pd.read_csv(output)
    assert equal["gsm"].tolist() == ["'=1+1", "P3"]
    assert (equal["probability"] - equal["score"]).abs().max() < 1e-9
    named = genellm(*asked, "--scale", "log2", "--prevalence", "0.1", "--output", output)
    assert named.status == 0
    assert "read as log2" not in named.out
    rare = pd.read_csv(output)
    assert (rare["score"] - equal["score"]).abs().max() < 1e-9
    odds = rare["score"] / (1 - rare["score"]) / 9
    assert (rare["probability"] - odds / (1 + odds)).abs().max() < 1e-9
    expression[["torn"]].to_csv(table, sep="\t")
    none_left = genellm(*asked, "--output", tmp_path / "none.csv")
    assert none_left.status == 1
    assert len(none_left.sentences) == 1
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize(
    "given",
    [
        ("--cohort", "GSE1", "--table", "t.tsv"),
        (),
        ("--cohort", "GSE1", "--scale", "log2"),
        ("--cohort", "GSE1", "--prevalence", "1.0"),
    ],
)
def test_predict_takes_either_a_cohort_or_a_table(
    genellm: Genellm, of_finished: Finished, given: tuple[str, ...]
) -> None:
    assert genellm("predict", "--stratum", CHILDREN, "--output", "s.csv", *given).status == 2


@pytest.mark.parametrize("arguments", [(), ("run", "--no-such"), ("predict",), ("sing",)])
def test_wrong_usage_ends_with_2(genellm: Genellm, arguments: tuple[str, ...]) -> None:
    assert genellm(*arguments).status == 2


def test_process_ends_with_the_status_and_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "GENELLM_STORE": str(tmp_path / "store")}
    environment.pop("GENELLM_SETTINGS_FILE", None)
    command = Path(sys.executable).with_name("genellm")
    for arguments, status in ((["run", "--study", "nowhere"], 1), (["run", "--no-such"], 2)):
        done = subprocess.run(
            [command, *arguments], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == status
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        if status == 1:
            assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "store").exists()
