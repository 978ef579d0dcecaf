"""Studies are found by name or path, and a bad file is refused with its place and a remedy."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.loading import known_cohorts, known_studies, load_cohort, load_study
from genellm_dagster_tests.studies.makers import STUDY_YAML, cohort_yaml, written

DATA = Path(__file__).parents[2] / "data"


def refusal(folder: Path, text: str) -> str:
    path = written(folder, text)
    with pytest.raises(StudyError) as caught:
        load_study(path, data_dir=folder)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def test_the_default_study_loads_with_its_five_cohorts() -> None:
    study = load_study("sepsis", data_dir=DATA)
    assert study.cohorts == ["GSE26378", "GSE26440", "GSE13904", "GSE65682", "GSE57065"]
    for cohort in study.cohort_files.values():
        assert not cohort.verified
        assert any(f"acc={cohort.accession}" in source for source in cohort.sources)
        assert cohort.origin.endswith(f"{cohort.accession}.yaml")
    assert study.stratum_of(17.99) == "pediatric"
    assert study.stratum_of(18) == "adult"
    assert study.stratum_of(math.nan) is None
    assert "sepsis" in known_studies(DATA) and "GSE57065" in known_cohorts(DATA)


def test_merge_keys_give_each_cohort_its_own_values(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, STUDY_YAML), data_dir=tmp_path)
    assert study.cohort("GSE2").platform == "GPL96"
    assert study.cohort("GSE1").platform == "GPL570"
    assert study.cohort("GSE2").sample == study.cohort("GSE1").sample
    assert "cohort_files, line 10" in study.cohort("GSE1").origin


def test_a_study_survives_pickling_with_its_origins(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, STUDY_YAML), data_dir=tmp_path)
    again = pickle.loads(pickle.dumps(study))
    assert again == study
    assert again.cohort("GSE1").origin == study.cohort("GSE1").origin


def test_inline_descriptions_win_over_the_folder(tmp_path: Path) -> None:
    written(tmp_path / "cohorts", cohort_yaml(title="from the folder"), "GSE1.yaml")
    study = load_study(written(tmp_path, STUDY_YAML), data_dir=tmp_path)
    assert study.cohort("GSE1").title == ""
    assert load_cohort("GSE1", data_dir=tmp_path).title == "from the folder"
    assert load_cohort("GSE1", data_dir=tmp_path, study=study).title == ""


def test_a_relative_geo_root_is_taken_from_the_study_file(tmp_path: Path) -> None:
    here = load_study(written(tmp_path, STUDY_YAML + "geo_root: geo\n"), data_dir=tmp_path)
    assert here.geo_root == str(tmp_path / "geo")
    away = written(tmp_path, STUDY_YAML + "geo_root: https://example.org/geo\n")
    assert load_study(away, data_dir=tmp_path).geo_root == "https://example.org/geo"


@pytest.mark.parametrize("name", ["nosuch", "", "../sepsis", "nosuch.yaml", "a/b"])
def test_an_unknown_study_is_told_with_the_known_ones(name: str) -> None:
    with pytest.raises(StudyError, match=r"known studies \(.*sepsis.*\)"):
        load_study(name, data_dir=DATA)


def test_a_cohort_without_a_description_is_told_with_the_file_to_write(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, STUDY_YAML.replace("[GSE1, GSE2]", "[GSE1, GSE2, GSE3]"))
    assert "line 8, column 23" in sentence
    assert str(tmp_path / "cohorts" / "GSE3.yaml") in sentence
    with pytest.raises(StudyError, match="genellm cohort inspect GSE3"):
        load_cohort("GSE3", data_dir=tmp_path)
    with pytest.raises(StudyError, match="names no series"):
        load_cohort("../../etc/passwd", data_dir=tmp_path)


def test_a_cohort_file_under_another_name_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "cohorts", cohort_yaml(), "GSE7.yaml")
    with pytest.raises(StudyError, match=r"line 1, column 12: .*make name and accession"):
        load_cohort("GSE7", data_dir=tmp_path)
    written(tmp_path / "cohorts", cohort_yaml(), "GSE1-GPL570.yaml")
    assert load_cohort("GSE1-GPL570", data_dir=tmp_path).accession == "GSE1"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("max_age: 18", "max_age: old", "line 6, column 36, at 'strata.pediatric.max_age'"),
        ("title: A test\n", "", "the key 'title' is missing; add it"),
        ("title: A test", "titel: A test\ntitle: A", "the key 'titel' is not known"),
        ("name: test", "name: ../up", "cannot name a folder"),
        ("name: test", "name: ''", "cannot name a folder"),
        ("name: test", "name: 5", "5 is no text; put it in quotes"),
        ("control: [healthy]", "control: [no]", "False is no text; put it in quotes"),
        ("control: [healthy]", "control: [sepsis]", "both case and control"),
        (
            "control: [healthy]",
            "control: [well]",
            "no cohort has a label rule that gives a control",
        ),
        ("control: [healthy]", "control: []", "line 4, column 10"),
        ("adult: {min_age: 18}", "adult: {min_age: 17}", "share the ages from 17 to 18"),
        ("adult: {min_age: 18}", "adult: {min_age: 18, max_age: 18}", "is not below max_age"),
        ("adult: {min_age: 18}", "old: {min_age: 18}", "default_stratum 'adult'"),
        ("[GSE1, GSE2]", "[GSE1, GSE1]", "'GSE1' is listed twice"),
        ("[GSE1, GSE2]", "[GSE1, gse2]", "'gse2' names no series"),
        ('pattern: "^sepsis$"', 'pattern: "("', "line 16, column 54"),
        ('pattern: "^sepsis$"', 'pattern: "("', "the pattern '(' is no regular expression"),
        ('field: "characteristics: state"', "field: state", "'state' is no field of a sample"),
        ("unit: years", "unit: decades", "line 18, column 50"),
        ("platform: GPL96", "platform: Affy", "'Affy' is no accession of a platform"),
        ("accession: GSE2", "accession: GSE9", "make name and accession agree"),
        ("      age:", "      title: x\n      age:", "cohort_files.GSE1.sample.title"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    assert old in STUDY_YAML
    assert told in refusal(tmp_path, STUDY_YAML.replace(old, new, 1))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        ("# only a comment\n", "it is empty"),
        ("just text", "holds no keys"),
        ("- a\n- b\n", "holds no keys"),
        ("name: test\n  title: [", "line 2, column 8"),
        ("name: [1, 2\ntitle: x", "line 2, column 6"),
        ("name: a\nname: b\n", "line 2, column 1: the key 'name' stands twice (first in line 1)"),
        ("strata: {a: {x: 1, x: 2}}", "the key 'x' stands twice"),
        ("name: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("name: a\x07b", "line 1, column 8: it holds a character that YAML forbids"),
        ("name: *nowhere", "undefined alias"),
        ("a: &a [*a]", "an alias holds itself"),
        ("? [a, b]\n: c\n", "a key is no text"),
        ("name: a\n---\nname: b\n", "line 2, column 1"),
        ("name: 2020-99-99", "a value cannot be read"),
        ("min: " + "9" * 5000, "a value cannot be read"),
        ("min: " + "1" * 10001, "more than 10000 characters"),
        ("a: " + "[" * 3000, "nested too deeply"),
    ],
)
def test_unreadable_yaml_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(tmp_path, text)


def test_aliases_that_multiply_are_refused_before_they_grow(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "values once its aliases are written out" in refusal(tmp_path, "\n".join(lines))
    merges = ["a0: &a0 {x: 1}"]
    merges += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    assert "values once its aliases are written out" in refusal(tmp_path, "\n".join(merges))


def test_files_that_are_no_text_or_too_large_are_refused(tmp_path: Path) -> None:
    assert "larger than 256 KiB" in refusal(tmp_path, "# " + "x" * 300_000)
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"name: ok\ntitle: \xff\xfe")
    with pytest.raises(StudyError, match="line 2, column 8: it is no UTF-8 text"):
        load_study(path, data_dir=tmp_path)
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    with pytest.raises(StudyError, match="no study file"):
        load_study(folder, data_dir=tmp_path)


@settings(max_examples=150, deadline=None)
@given(
    cut=st.integers(0, len(STUDY_YAML)),
    insert=st.text(alphabet="[]{}:&*!|>-\"'\t\n #?a1%@`", max_size=6),
)
def test_no_damaged_file_ends_in_anything_but_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, cut: int, insert: str
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = written(folder, STUDY_YAML[:cut] + insert + STUDY_YAML[cut + len(insert) :])
    try:
        study = load_study(path, data_dir=folder)
    except StudyError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert study.cohorts
