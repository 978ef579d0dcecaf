"""The first ingestion of GEO's own files holds a cohort's rules against the expected numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import load_cohort, load_study
from genellm_dagster.studies.verification import (
    NO_LABEL,
    check_expected_labels,
    compare_with_expected,
    mark_verified,
    table_text,
    verify_cohort,
)
from genellm_dagster_tests.studies.makers import (
    STUDY_YAML,
    cohort_of,
    samples_of,
    study_of,
    written,
)

WHO = {"subject": {"field": "characteristics: who"}}
FILE = """\
# A cohort file as a person writes it.
accession: GSE1   # the series
platform: GPL570
expected_labels: {healthy: 2, sepsis: 1}     # from the paper's table 1
verified: false          # not held against the file yet
sample:
  label:
    - {field: "characteristics: state",  pattern: "^sepsis$",  value: sepsis}   # cases

    - {field: 'characteristics: state', pattern: "^healthy$", value: healthy}
sources:
- "a source with a colon: and a # in it"
"""


def sheet_of(cohort: Cohort, **characteristics: list[str | None]) -> pd.DataFrame:
    n = len(next(iter(characteristics.values())))
    return build_sample_sheet(samples_of(n, **characteristics), cohort, study_of(cohort))


def on_disk(folder: Path, text: str = FILE) -> Cohort:
    written(folder / "cohorts", text, "GSE1.yaml")
    return load_cohort("GSE1", data_dir=folder)


def good_sheet() -> pd.DataFrame:
    return sheet_of(cohort_of(), state=["sepsis", "healthy", "healthy"])


def test_five_percent_are_allowed_and_no_more() -> None:
    states: list[str | None] = ["healthy"] * 40 + ["sepsis"] * 2
    cohort = cohort_of(expected_labels={"healthy": 42})
    check_expected_labels(sheet_of(cohort, state=states), cohort)
    cohort = cohort_of(expected_labels={"healthy": 43, "sepsis": 0})
    with pytest.raises(StudyError, match=r"healthy: 40 samples found, 43 expected; sepsis: 2 sam"):
        check_expected_labels(sheet_of(cohort, state=states), cohort)


def test_the_refusal_shows_every_label_and_the_command_that_helps() -> None:
    cohort = cohort_of(expected_labels={"healthy": 4})
    sheet = sheet_of(cohort, state=["healthy", "healthy", "sepsis", None])
    with pytest.raises(StudyError) as caught:
        verify_cohort(sheet, cohort, from_ncbi=True)
    sentence, *table = str(caught.value).splitlines()
    assert "`genellm cohort inspect GSE1`" in sentence
    assert [line.split() for line in table] == [
        ["counted", "label", "found", "expected", "difference"],
        ["samples", "healthy", "2", "4", "-50.0%", "<-"],
        ["samples", "sepsis", "1", "-", "-"],
        ["samples", "(no", "label)", "1", "-", "-"],
    ]
    assert all(line.startswith("  ") for line in table)


def test_people_are_counted_where_a_rule_names_them() -> None:
    who: list[str | None] = ["p1", "p1", "p2", "v1"]
    state: list[str | None] = ["sepsis", "sepsis", "sepsis", "healthy"]
    cohort = cohort_of(WHO, expected_subjects={"sepsis": 2, "healthy": 1})
    check_expected_labels(sheet_of(cohort, state=state, who=who), cohort)
    cohort = cohort_of(WHO, expected_subjects={"sepsis": 3})
    with pytest.raises(StudyError, match="sepsis: 2 people found, 3 expected"):
        check_expected_labels(sheet_of(cohort, state=state, who=who), cohort)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"expected_labels": {"healty": 42}}, "expected_labels names 'healty'"),
        ({"expected_subjects": {"healthy": 4}}, "expected_subjects counts people"),
        ({"expected_labels": {"healthy": -1}}, "greater than or equal to 0"),
    ],
)
def test_expectations_that_cannot_be_counted_are_refused(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        cohort_of(**changes)


def test_a_first_success_on_geo_own_files_marks_the_file_and_changes_nothing_else(
    tmp_path: Path,
) -> None:
    cohort = on_disk(tmp_path)
    result = verify_cohort(good_sheet(), cohort, from_ncbi=True)
    assert result.verified and "now says" in result.note
    assert cohort.file is not None
    assert cohort.file.read_text() == FILE.replace("verified: false", "verified: true")
    again = load_cohort("GSE1", data_dir=tmp_path)
    assert again.verified
    assert again == cohort.model_copy(update={"verified": True})
    second = verify_cohort(good_sheet(), again, from_ncbi=True)
    assert second.verified and "as they were before" in second.note
    assert [path.name for path in (tmp_path / "cohorts").iterdir()] == ["GSE1.yaml"]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (FILE.replace("\n", "\r\n"), FILE.replace("\n", "\r\n").replace("false", "true", 1)),
        ("\ufeff" + FILE, "\ufeff" + FILE.replace("false", "true", 1)),
        (FILE.replace("false ", "no "), FILE.replace("false ", "true ", 1)),
        (FILE.replace(": false ", ": 'false' "), None),
        (
            FILE.replace("# from", "# ü–from"),
            FILE.replace("# from", "# ü–from").replace("false", "true", 1),
        ),
        (
            "\n".join(line for line in FILE.split("\n") if not line.startswith("verified")),
            FILE.replace(
                "verified: false          # not held against the file yet", "verified: true"
            ),
        ),
    ],
    ids=["crlf", "bom", "no", "quoted", "unicode", "absent"],
)
def test_the_mark_keeps_line_ends_byte_order_mark_and_place(
    tmp_path: Path, text: str, after: str | None
) -> None:
    path = tmp_path / "GSE1.yaml"
    path.write_bytes(text.encode())
    mark_verified(path)
    changed = path.read_bytes().decode()
    assert yaml.safe_load(changed.removeprefix("\ufeff"))["verified"] is True
    assert changed == (text.replace("'false'", "true") if after is None else after)
    assert mark_verified(path) is False
    assert path.read_bytes().decode() == changed


def test_a_linked_file_is_marked_behind_its_link(tmp_path: Path) -> None:
    real = written(tmp_path / "elsewhere", FILE, "shared.yaml")
    link = tmp_path / "GSE1.yaml"
    link.symlink_to(real)
    mark_verified(link)
    assert link.is_symlink()
    assert "verified: true" in real.read_text()


def test_a_file_in_flow_style_is_left_alone(tmp_path: Path) -> None:
    text = "{accession: GSE1, platform: GPL570, sample: {label: []}}\n"
    path = written(tmp_path, text, "GSE1.yaml")
    with pytest.raises(StudyError, match="write it there by hand"):
        mark_verified(path)
    assert path.read_text() == text


def test_a_file_that_cannot_be_written_is_a_note_and_no_failure(tmp_path: Path) -> None:
    # A name so long that the temporary name beside it does not fit: the system refuses to write.
    path = written(tmp_path, FILE, "G" * 245 + ".yaml")
    cohort = cohort_of(expected_labels={"sepsis": 1}).with_origin(str(path), file=path)
    result = verify_cohort(good_sheet(), cohort, from_ncbi=True)
    assert result.verified and "could not be marked" in result.note
    assert path.read_text() == FILE


def test_other_files_than_geo_own_leave_the_cohort_unverified(tmp_path: Path) -> None:
    cohort = on_disk(tmp_path)
    result = verify_cohort(good_sheet(), cohort, from_ncbi=False)
    assert not result.verified and "do not come from NCBI" in result.note
    assert cohort.file is not None and cohort.file.read_text() == FILE


def test_without_expectations_nothing_is_verified(tmp_path: Path) -> None:
    text = FILE.replace("expected_labels: {healthy: 2, sepsis: 1}", "expected_labels: {}")
    cohort = on_disk(tmp_path, text)
    result = verify_cohort(good_sheet(), cohort, from_ncbi=True)
    assert not result.verified and "expects no numbers" in result.note
    assert cohort.file is not None and cohort.file.read_text() == text


def test_an_inline_description_is_told_and_its_study_file_left_alone(tmp_path: Path) -> None:
    text = STUDY_YAML.replace(
        "    default_stratum", "    expected_labels: {sepsis: 1}\n    default_stratum"
    )
    path = written(tmp_path, text)
    cohort = load_study(path, data_dir=tmp_path).cohort("GSE1")
    assert cohort.file is None and cohort.folder == tmp_path
    result = verify_cohort(good_sheet(), cohort, from_ncbi=True)
    assert result.verified and "has no file of its own" in result.note
    assert path.read_text() == text


@settings(max_examples=80, deadline=None)
@given(
    states=st.lists(st.sampled_from(["sepsis", "healthy", None]), min_size=1, max_size=60),
    expected=st.dictionaries(st.sampled_from(["sepsis", "healthy"]), st.integers(0, 60)),
)
def test_the_table_adds_up_and_decides_alone(
    states: list[str | None], expected: dict[str, int]
) -> None:
    cohort = cohort_of(expected_labels=expected)
    sheet = pd.DataFrame({"label": pd.Series(states, dtype=object)})
    table = compare_with_expected(sheet, cohort)
    assert table["found"].sum() == len(states)
    assert set(table["label"]) >= set(expected)
    assert (NO_LABEL in set(table["label"])) == (None in states)
    assert len(table_text(table).splitlines()) == len(table) + 1
    try:
        check_expected_labels(sheet, cohort)
    except StudyError:
        assert not table["fits"].all()
    else:
        for label, number in expected.items():
            assert abs(states.count(label) - number) <= 0.05 * number
