"""Approving and rejecting edit the study's file by one entry and leave the rest to its author."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.approval import approve_cohort, reject_series
from genellm_dagster.studies.loading import load_cohort, load_study
from genellm_dagster.studies.yaml_edits import append_item, put_entry, remove_entry
from genellm_dagster_tests.studies.makers import cohort_yaml, written

HEAD = """\
# Sepsis, as we see it.
name: mine   # short
title: "Sepsis: against healthy"
case: [sepsis]
control: [healthy]
strata:
  pediatric: {min_age: 0, max_age: 18}   # bounds are years
  adult: {min_age: 18}
"""
INLINE = HEAD + "cohorts: [GSE1, GSE2]   # the ones we know\n# the end\n"
BLOCK = (
    HEAD
    + """\
cohorts:
  - GSE1   # children
  - GSE2

# what was looked at
rejected:
  GSE5: 'mice'
  # and this one, twice
  GSE6: >
    only cases,
    no controls

# nothing follows
"""
)
LABELS = [{"field": "title", "pattern": word, "value": word} for word in ("sepsis", "healthy")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("GSE1", "GSE2"):
        text = cohort_yaml(accession=name, sample={"label": LABELS})
        written(tmp_path / "cohorts", text, f"{name}.yaml")
    return tmp_path


def proposed(data: Path, name: str = "GSE77", **changes: Any) -> Path:
    content = {"accession": name.split("-")[0], "sample": {"label": LABELS}, **changes}
    text = "# proposed: label .97, by two words of the title\n" + cohort_yaml(**content)
    return written(data / "proposals", text, f"{name}.yaml")


def changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[:2] in ("- ", "+ ")]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            INLINE,
            [
                "- cohorts: [GSE1, GSE2]   # the ones we know",
                "+ cohorts: [GSE1, GSE2, GSE77]   # the ones we know",
            ],
        ),
        (BLOCK, ["+   - GSE77"]),
    ],
)
def test_approval_adds_one_name_and_leaves_the_rest_of_the_file(
    data: Path, text: str, lines: list[str]
) -> None:
    study_file = written(data / "studies", text, "mine.yaml")
    proposal = proposed(data)
    description = proposal.read_text()
    approval = approve_cohort(proposal, "GSE77", study_file, data)
    assert changed_lines(text, study_file.read_text()) == lines
    assert approval.cohort_file == data / "cohorts" / "GSE77.yaml"
    assert approval.cohort_file.read_text() == description
    assert not proposal.exists()
    assert approval.study == load_study(study_file, data_dir=data)
    assert approval.study.cohorts == ["GSE1", "GSE2", "GSE77"]


def test_new_name_stands_in_the_list_and_not_behind_the_next_comment(data: Path) -> None:
    study_file = written(data / "studies", BLOCK, "mine.yaml")
    approve_cohort(proposed(data), "GSE77", study_file, data)
    assert "  - GSE2\n  - GSE77\n\n# what was looked at\n" in study_file.read_text()


def test_other_line_ends_and_links_stay(data: Path) -> None:
    kept = data / "kept.yaml"
    kept.write_bytes(BLOCK.replace("\n", "\r\n").encode("utf-8-sig"))
    (data / "studies").mkdir()
    study_file = data / "studies" / "mine.yaml"
    study_file.symlink_to(kept)
    approve_cohort(proposed(data), "GSE77", study_file, data)
    assert study_file.is_symlink()
    expected = BLOCK.replace("  - GSE2\n", "  - GSE2\n  - GSE77\n").replace("\n", "\r\n")
    assert kept.read_bytes() == expected.encode("utf-8-sig")


def test_the_shipped_study_takes_a_cohort_in_one_line(data: Path) -> None:
    shipped = Path(__file__).parents[2] / "data"
    text = (shipped / "studies" / "sepsis.yaml").read_text()
    study_file = written(data / "studies", text, "sepsis.yaml")
    for file in (shipped / "cohorts").iterdir():
        written(data / "cohorts", file.read_text(), file.name)
    approve_cohort(proposed(data), "GSE77", study_file, data)
    (gone, new) = changed_lines(text, study_file.read_text())
    assert new[2:] == gone[2:].replace("]", ", GSE77]")


def test_approval_takes_the_series_out_of_the_rejected(data: Path) -> None:
    study_file = written(data / "studies", BLOCK, "mine.yaml")
    approve_cohort(proposed(data, "GSE5"), "GSE5", study_file, data)
    assert changed_lines(BLOCK, study_file.read_text()) == ["+   - GSE5", "-   GSE5: 'mice'"]
    approve_cohort(proposed(data, "GSE6"), "GSE6", study_file, data)
    study = load_study(study_file, data_dir=data)
    assert (study.rejected, study.cohorts[-2:]) == ({}, ["GSE5", "GSE6"])
    assert "# nothing follows" in study_file.read_text()


def test_one_platform_of_a_series_is_approved_under_its_own_name(data: Path) -> None:
    study_file = written(data / "studies", INLINE, "mine.yaml")
    approval = approve_cohort(proposed(data, "GSE77-GPL570"), "GSE77-GPL570", study_file, data)
    assert approval.study.cohort("GSE77-GPL570").platform == "GPL570"
    assert "GSE77-GPL570" in load_study(study_file, data_dir=data).cohorts


def test_a_note_joins_the_sources(data: Path) -> None:
    study_file = written(data / "studies", INLINE, "mine.yaml")
    note = "Approved without review: confidence .97 (the study's limit: .95)"
    proposal = proposed(data, sources=["https://example.org"])
    approve_cohort(proposal, "GSE77", study_file, data, note)
    assert load_cohort("GSE77", data_dir=data).sources == ("https://example.org", note)
    approve_cohort(proposed(data, "GSE78"), "GSE78", study_file, data, note)
    assert load_cohort("GSE78", data_dir=data).sources == (note,)
    one_source = proposed(data, "GSE79", sources="in words")
    approve_cohort(one_source, "GSE79", study_file, data, note)
    assert (data / "cohorts" / "GSE79.yaml").read_text().startswith(f"# {note}\n")


def test_another_description_of_that_name_is_not_overwritten(data: Path) -> None:
    study_file = written(data / "studies", INLINE, "mine.yaml")
    mine = cohort_yaml(accession="GSE77", platform="GPL1", sample={"label": LABELS})
    target = written(data / "cohorts", mine, "GSE77.yaml")
    proposal = proposed(data)
    with pytest.raises(StudyError, match=r"GSE77\.yaml describes GSE77 in another way"):
        approve_cohort(proposal, "GSE77", study_file, data)
    assert (target.read_text(), study_file.read_text()) == (mine, INLINE)
    assert proposal.exists()


def test_a_description_that_is_there_already_needs_no_proposal(data: Path) -> None:
    text = cohort_yaml(accession="GSE77", sample={"label": LABELS})
    written(data / "cohorts", text, "GSE77.yaml")
    study = written(data, INLINE, "mine.yaml")
    approve_cohort(None, "GSE77", study, data)
    assert load_study(study, data_dir=data).cohorts == ["GSE1", "GSE2", "GSE77"]
    assert (data / "cohorts" / "GSE77.yaml").read_text() == text


def test_approval_that_was_stopped_in_between_goes_on(data: Path) -> None:
    study_file = written(data / "studies", INLINE, "mine.yaml")
    proposal = proposed(data)
    written(data / "cohorts", proposal.read_text(), "GSE77.yaml")
    approve_cohort(proposal, "GSE77", study_file, data)
    again = proposed(data)
    approve_cohort(again, "GSE77", study_file, data)
    assert load_study(study_file, data_dir=data).cohorts == ["GSE1", "GSE2", "GSE77"]
    assert not again.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sample": {"label": []}}, "has no label rules"),
        ({"default_stratum": "newborn"}, "'newborn'"),
        ({"accession": "GSE8"}, "GSE8"),
        ({"platform": "nonsense"}, "no accession of a platform"),
    ],
)
def test_proposal_that_does_not_fit_changes_nothing(
    data: Path, changes: dict[str, Any], words: str
) -> None:
    study_file = written(data / "studies", INLINE, "mine.yaml")
    proposal = proposed(data, **changes)
    with pytest.raises(StudyError) as said:
        approve_cohort(proposal, "GSE77", study_file, data)
    assert words in str(said.value)
    assert "\n" not in str(said.value)
    assert study_file.read_text() == INLINE
    assert not (data / "cohorts" / "GSE77.yaml").exists()
    assert proposal.exists()


def test_inline_description_is_left_to_its_author(data: Path) -> None:
    inline = yaml.safe_dump(
        {"cohort_files": {"GSE77": yaml.safe_load(cohort_yaml(accession="GSE77"))}}
    )
    study_file = written(data / "studies", INLINE + inline, "mine.yaml")
    with pytest.raises(StudyError, match="describes GSE77 itself"):
        approve_cohort(proposed(data), "GSE77", study_file, data)


def test_file_that_cannot_be_edited_safely_is_left_alone(data: Path) -> None:
    content = yaml.safe_load(INLINE)
    flow = yaml.safe_dump(content, default_flow_style=True, width=1000)
    study_file = written(data / "studies", flow, "mine.yaml")
    with pytest.raises(StudyError, match=r"cannot be edited .*add GSE77 to its `cohorts:`"):
        approve_cohort(proposed(data), "GSE77", study_file, data)
    assert study_file.read_text() == flow
    assert not (data / "cohorts" / "GSE77.yaml").exists()


@pytest.mark.parametrize("text", [INLINE, BLOCK])
def test_rejection_is_kept_with_its_reason(data: Path, text: str) -> None:
    study_file = written(data / "studies", text, "mine.yaml")
    reject_series(study_file, data, "GSE77", 'umbilical  cord: "not"\nperipheral — #1')
    study = load_study(study_file, data_dir=data)
    assert study.rejected["GSE77"] == 'umbilical cord: "not" peripheral — #1'
    once = study_file.read_text()
    reject_series(study_file, data, "GSE77", "mice")
    assert load_study(study_file, data_dir=data).rejected["GSE77"] == "mice"
    reject_series(study_file, data, "GSE77", "mice")
    assert len(study_file.read_text().splitlines()) == len(once.splitlines())
    gone = [line for line in changed_lines(text, once) if line.startswith("- ")]
    assert gone == []


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("GSE1", "no", "is a cohort of the study"),
        ("GSE9", " \n", "--reason"),
        ("patients", "no", "names no series"),
    ],
)
def test_rejection_that_makes_no_sense_is_one_sentence(
    data: Path, name: str, reason: str, words: str
) -> None:
    study_file = written(data / "studies", INLINE, "mine.yaml")
    with pytest.raises(StudyError, match=words):
        reject_series(study_file, data, name, reason)
    assert study_file.read_text() == INLINE


@given(st.text(min_size=1, max_size=80))
@settings(max_examples=150, deadline=None)
def test_any_reason_in_words_is_read_back(reason: str) -> None:
    clean = " ".join(reason.split())
    for text in (INLINE, BLOCK, HEAD + "rejected: {}\n", HEAD + "rejected:\n"):
        edited = put_entry(text, "rejected", "GSE77", clean)
        assert yaml.safe_load(edited)["rejected"]["GSE77"] == clean
        assert yaml.safe_load(edited)["strata"] == yaml.safe_load(text)["strata"]


@given(
    names=st.lists(st.integers(1, 999), min_size=1, max_size=8, unique=True),
    flow=st.booleans(),
    indent=st.sampled_from(["", "  ", "    "]),
    comment=st.sampled_from(["", "  # one", "\n# between"]),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_entries_come_and_go_and_the_rest_stays(
    names: list[int], flow: bool, indent: str, comment: str, data: st.DataObject
) -> None:
    series = [f"GSE{number}" for number in names]
    if flow:
        body = "{" + ", ".join(f"{name}: why" for name in series) + "}\n"
        items = "[" + ", ".join(series) + "]\n"
    else:
        body = "\n" + "".join(f"{indent or ' '}{name}: why{comment}\n" for name in series)
        items = "\n" + "".join(f"{indent}- {name}{comment}\n" for name in series)
    text = f"name: x\ncohorts: {items}# after\nrejected: {body}last: true  # end\n"
    added = append_item(text, "cohorts", "GSE1000")
    assert yaml.safe_load(added)["cohorts"] == [*series, "GSE1000"]
    gone = data.draw(st.sampled_from(series))
    edited = remove_entry(added, "rejected", gone)
    left = {name: "why" for name in series if name != gone}
    content = yaml.safe_load(edited)
    assert (content.get("rejected") or {}) == left
    assert (content["name"], content["last"]) == ("x", True)
    assert "# after" in edited and "# end" in edited
    assert remove_entry(edited, "rejected", gone) == edited
