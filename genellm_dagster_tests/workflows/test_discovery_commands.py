"""The commands between a search and a study: discover, inspect, propose, approve, reject."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from genellm_dagster_tests.geo.files_of_geo import matrix_path
from genellm_dagster_tests.studies.makers import cohort_yaml, written
from genellm_dagster_tests.workflows.discovering import RULES, Place

Genellm = Callable[..., Any]


@pytest.fixture
def commands(place: Place, monkeypatch: pytest.MonkeyPatch, genellm: Genellm) -> Genellm:
    """``genellm`` with the settings of the place."""
    file = place.folder / "settings.yaml"
    file.write_text(yaml.safe_dump(place.values()))
    monkeypatch.setenv("GENELLM_SETTINGS_FILE", str(file))
    return genellm


def test_discover_prints_what_waits_and_what_to_do(place: Place, commands: Genellm) -> None:
    place.publish("GSE2000")
    place.publish("GSE2001", gdstype="Methylation profiling by array", title="[SuperSeries] Other")
    said = commands("discover")
    assert said.status == 0, said.err
    assert said.sentences == []
    lines = said.out.splitlines()
    (proposed,) = [line for line in lines if "genellm cohort approve GSE2000" in line]
    assert "proposed" in proposed and "Whole blood of adults" in proposed
    assert any("genellm cohort propose GSE2001" in line for line in lines)
    assert any("[SuperSeries] Other" in line for line in lines)
    assert any("genellm refresh" in line and "GSE1000" in line for line in lines)
    assert lines[-1] == "3 series for mine: 1 approved, 1 proposed, 1 found"
    rows = json.loads(commands("discover", "--json").out)
    assert {row["accession"]: row["status"] for row in rows} == {
        "GSE1000": "approved", "GSE2000": "proposed", "GSE2001": "found",
    }  # fmt: skip


def test_commands_to_go_on_with_are_whole(place: Place, commands: Genellm) -> None:
    place.publish("GSE2000")
    study = str(place.study_file)
    said = commands("discover", "--study", study, "--json")
    then = {row["accession"]: row["next"] for row in json.loads(said.out)}["GSE2000"]
    assert then == f"genellm cohort approve GSE2000 --study {study}"
    assert commands(*then.split()[1:], "--no-refresh").status == 0


def test_long_lists_are_cut_for_people_and_not_for_programs(
    place: Place, commands: Genellm
) -> None:
    for number in range(2000, 2050):
        place.series[f"GSE{number}"] = {
            "accession": f"GSE{number}", "title": "t", "gdstype": "Other", "n_samples": 1,
            "gpl": "570", "pdat": "2024/02/03",
        }  # fmt: skip
    place.geo.serve_catalogue(list(place.series.values()))
    said = commands("discover")
    assert "11 more wait; --json gives all of them." in said.out
    assert len(json.loads(commands("discover", "--json").out)) == 51


def test_propose_shows_evidence_and_writes_the_file(place: Place, commands: Genellm) -> None:
    states = ("Sepsis", "Sepsis", "Healthy control", "???")
    place.publish("GSE2000", states=states)
    output = place.folder / "mine.yaml"
    said = commands("cohort", "propose", "GSE2000", "--output", output)
    assert said.status == 0, said.err
    assert "label" in said.out and "disease state" in said.out
    assert "1 samples without a label:" in said.out
    assert "GSM200003" in said.out
    assert "adult would get 2 cases and 1 controls" in said.out
    assert "genellm cohort approve GSE2000" in said.out
    kept = place.store.place("cohort_proposals", "GSE2000.yaml")
    assert output.read_text() == kept.read_text()
    (as_json,) = json.loads(commands("cohort", "propose", "GSE2000", "--json").out)
    assert as_json["labels"] == {"sepsis": 2, "healthy": 1}
    assert as_json["file"] == str(kept)


def test_approve_and_reject_are_seen_in_the_catalogue(place: Place, commands: Genellm) -> None:
    place.publish("GSE2000")
    place.publish("GSE2001")
    assert commands("discover").status == 0
    said = commands("cohort", "approve", "GSE2000", "--no-refresh")
    assert said.status == 0, said.err
    assert str(place.study_file) in said.out
    assert "cohorts: [GSE1000, GSE2000]   # the one we began with" in place.study_file.read_text()
    said = commands("cohort", "reject", "GSE2001", "--reason", "cord blood")
    assert said.status == 0, said.err
    assert place.study().rejected == {"GSE2001": "cord blood"}
    rows = {row["accession"]: row for row in json.loads(commands("discover", "--json").out)}
    assert rows["GSE2000"]["status"] == "approved"
    assert rows["GSE2001"]["status"] == "rejected"
    assert rows["GSE2001"]["news"] is None
    assert "GSE2001" not in commands("discover").out


def test_a_series_whose_cohort_file_is_there_is_not_proposed_but_can_be_approved(
    place: Place, commands: Genellm
) -> None:
    place.publish("GSE2000")
    text = cohort_yaml(accession="GSE2000", sample={"label": RULES})
    written(place.folder / "data" / "cohorts", text, "GSE2000.yaml")
    rows = {row["accession"]: row for row in json.loads(commands("discover", "--json").out)}
    assert rows["GSE2000"]["status"] == "found"
    assert rows["GSE2000"]["next"] == "genellm cohort approve GSE2000"
    assert commands("cohort", "approve", "GSE2000", "--no-refresh").status == 0
    assert place.study().cohorts == ["GSE1000", "GSE2000"]


def test_rejected_series_can_be_approved_after_all(place: Place, commands: Genellm) -> None:
    place.publish("GSE2000")
    assert commands("cohort", "propose", "GSE2000").status == 0
    assert commands("cohort", "reject", "GSE2000", "--reason", "mice").status == 0
    assert commands("cohort", "approve", "GSE2000", "--no-refresh").status == 0
    study = place.study()
    assert (study.rejected, study.cohorts) == ({}, ["GSE1000", "GSE2000"])


def test_what_a_series_says_is_text_and_no_command_to_the_terminal(
    place: Place, commands: Genellm
) -> None:
    place.publish("GSE2000", states=("[/b] [red]Sepsis", "\x1b[31mSepsis", "Healthy", "Healthy"))
    said = commands("cohort", "inspect", "GSE2000")
    assert said.status == 0, said.err
    assert "[/b] [red]Sepsis (1)" in said.out
    assert "\x1b" not in said.out


def test_inspect_shows_the_good_files_and_tells_of_the_broken(
    place: Place, commands: Genellm
) -> None:
    place.publish("GSE2000", platform="GPL96")
    whole = place.geo.root / matrix_path("GSE2000")
    whole.rename(whole.with_name("GSE2000-GPL96_series_matrix.txt.gz"))
    broken = whole.with_name("GSE2000-GPL570_series_matrix.txt.gz")
    broken.write_bytes(b"<html>Sorry</html>")
    said = commands("cohort", "inspect", "GSE2000")
    assert said.status == 0, said.err
    assert "characteristics: disease state" in said.out
    assert "Sepsis (2), Healthy control (2)" in said.out
    assert f"{broken.name} cannot be read" in said.err
    tables = json.loads(commands("cohort", "inspect", "GSE2000", "--json").out)
    assert list(tables) == ["GSE2000-GPL96_series_matrix.txt.gz"]
    whole.with_name("GSE2000-GPL96_series_matrix.txt.gz").unlink()
    said = commands("cohort", "inspect", "GSE2000")
    assert said.status == 1
    assert said.sentences[-1].startswith("genellm: None of the files of GSE2000")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("approve", "GSE2000"), ("There is no proposal of GSE2000", "cohort propose GSE2000")),
        (("approve", "../GSE2000"), ("There is no proposal",)),
        (("propose", "GSE404"), ("GSE404",)),
        (("propose", "../etc"), ("names no series",)),
        (("reject", "GSE1000", "--reason", "x"), ("is a cohort of the study",)),
        (("reject", "GSE5", "--reason", " "), ("--reason",)),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    place: Place, commands: Genellm, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    before = place.study_file.read_text()
    said = commands("cohort", *arguments)
    assert said.status == 1
    (sentence,) = said.sentences
    assert all(word in sentence for word in words)
    assert place.study_file.read_text() == before


def test_reject_without_a_reason_is_wrong_usage(place: Place, commands: Genellm) -> None:
    assert commands("cohort", "reject", "GSE5").status == 2


def test_geo_that_does_not_answer_is_one_sentence(place: Place, commands: Genellm) -> None:
    del place.geo.pages["/eutils/esearch.fcgi"]
    said = commands("discover")
    assert said.status == 1
    (sentence,) = said.sentences
    assert "eutils" in sentence


def test_refresh_of_a_new_study_fails_in_one_sentence_where_a_cohort_does(
    place: Place, commands: Genellm
) -> None:
    (place.geo.root / matrix_path("GSE1000")).unlink()
    said = commands("refresh")
    assert said.status == 1
    (sentence,) = said.sentences
    assert "GSE1000" in sentence
