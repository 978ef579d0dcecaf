"""SOFT family files: read as the series matrix would be, or refused with one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import GeoError
from genellm_dagster.geo import compressed
from genellm_dagster.geo.matrix import read_series_matrix
from genellm_dagster.geo.soft import read_soft_family, read_soft_platform, read_soft_samples
from genellm_dagster_tests.geo.files_of_geo import (
    GSMS,
    ROWS,
    family_text,
    matrix_text,
    sample_soft,
    write_gzip,
)

NAME = "GSE123_family.soft.gz"
AGES = dict(zip(GSMS, ("age: 4", "age: 5", "age: 6"), strict=True))


def sample(gsm: str, *rows: tuple[str, ...], **options: object) -> str:
    lines = (f"!Sample_characteristics_ch1 = {AGES.get(gsm, 'age: 9')}",)
    return sample_soft(gsm, rows, **{"lines": lines, **options})  # type: ignore[arg-type]


def samples_of(rows: tuple[tuple[str, ...], ...]) -> list[str]:
    """The samples that a matrix with these rows would have."""
    return [
        sample(gsm, *((name, cells[place]) for name, *cells in rows))
        for place, gsm in enumerate(GSMS)
    ]


def write(tmp_path: Path, text: str | bytes) -> Path:
    return write_gzip(tmp_path / NAME, text)


def test_a_family_reads_as_the_matrix_of_the_same_series(tmp_path: Path) -> None:
    family = read_soft_family(write(tmp_path, family_text(samples_of(ROWS))))
    matrix = read_series_matrix(write_gzip(tmp_path / "m_series_matrix.txt.gz", matrix_text()))
    assert family.values is not None
    assert matrix.values is not None
    assert family.samples.to_dict("list") == matrix.samples.to_dict("list")
    assert family.values.columns.tolist() == matrix.values.columns.tolist()
    assert family.values.index.tolist() == matrix.values.index.tolist()
    assert family.values.index.name == matrix.values.index.name
    assert family.values.dtypes.unique().tolist() == [np.dtype("float32")]
    np.testing.assert_array_equal(family.values.to_numpy(), matrix.values.to_numpy())
    assert family.series["title"] == matrix.series["title"]
    assert family.id_tables["GPL570"]["symbol"].tolist() == ["DDR1"]
    assert family.without_values == ()


def test_other_columns_beside_the_values_are_passed_over(tmp_path: Path) -> None:
    names = ("ID_REF", "ABS_CALL", "value", "DETECTION P-VALUE")
    text = sample("GSM1", ("a", "P", "1.5", "0.01"), ("b", "A", "null", "n/a"), names=names)
    family = read_soft_family(write(tmp_path, family_text([text], gsms=["GSM1"])))
    assert family.values is not None
    np.testing.assert_array_equal(family.values["GSM1"], np.array([1.5, np.nan], dtype=np.float32))


def test_samples_that_list_their_ids_otherwise_are_joined_by_id(tmp_path: Path) -> None:
    texts = [
        sample("GSM1", ("a", "1"), ("b", "2")),
        sample("GSM2", ("b", "4"), ("a", "3"), ("NA", "5")),
        sample("GSM3", ("a", "6")),
    ]
    values = read_soft_family(write(tmp_path, family_text(texts))).values
    assert values is not None
    assert values.index.tolist() == ["a", "b", "NA"]
    expected = [[1, 3, 6], [2, 4, np.nan], [np.nan, 5, np.nan]]
    np.testing.assert_array_equal(values.to_numpy(), np.array(expected, dtype=np.float32))


def test_repeated_ids_are_kept_when_every_sample_lists_them_alike(tmp_path: Path) -> None:
    rows = (("a", "1", "2", "3"), ("a", "4", "5", "6"))
    values = read_soft_family(write(tmp_path, family_text(samples_of(rows)))).values
    assert values is not None
    assert values.index.tolist() == ["a", "a"]
    other = [sample("GSM1", ("a", "1"), ("a", "2")), sample("GSM2", ("a", "1"), ("b", "2"))]
    with pytest.raises(GeoError, match="repeats id 'a', and its samples do not list the same ids"):
        read_soft_family(write(tmp_path, family_text(other, gsms=GSMS[:2])))


def test_each_platform_is_read_for_itself(tmp_path: Path) -> None:
    texts = [
        sample("GSM1", ("a", "1")),
        sample("GSM2", ("x", "2"), platform="GPL96"),
        sample("GSM3", ("a", "3")),
    ]
    tables = {
        "GPL570": [["ID", "Gene Symbol"], ["a", "TP53"]],
        "GPL96": [["ID", "ENTREZ_GENE_ID"], ["x", "7157"]],
    }
    path = write(tmp_path, family_text(texts, platforms=tables))
    one = read_soft_family(path, "GPL96")
    assert one.values is not None
    assert one.values.to_dict("list") == {"GSM2": [2.0]}
    assert one.samples["gsm"].tolist() == ["GSM2"]
    assert list(one.id_tables) == ["GPL96"]
    assert read_soft_platform(path, "GPL96")["entrez"].tolist() == ["7157"]
    with pytest.raises(GeoError, match="holds values of GPL570, GPL96"):
        read_soft_family(path)
    with pytest.raises(GeoError, match="no samples of GPL1 but of GPL570, GPL96"):
        read_soft_family(path, "GPL1")
    with pytest.raises(GeoError, match="no table of GPL1"):
        read_soft_platform(path, "GPL1")


def test_samples_without_a_table_have_no_values(tmp_path: Path) -> None:
    texts = [
        sample("GSM1", ("a", "1")),
        sample("GSM2"),
        sample("GSM3", ("a", "x"), names=("ID_REF", "NOTE")),
    ]
    family = read_soft_family(write(tmp_path, family_text(texts)))
    assert family.values is not None
    assert family.values.columns.tolist() == ["GSM1"]
    assert family.without_values == ("GSM2", "GSM3")
    empty = read_soft_family(write(tmp_path, family_text([sample(gsm) for gsm in GSMS])))
    assert empty.values is None


def test_a_platform_that_names_no_gene_hides_no_values(tmp_path: Path) -> None:
    tables = {"GPL570": [["ID", "SEQUENCE"], ["a", "ACGT"]]}
    path = write(tmp_path, family_text(samples_of(ROWS), platforms=tables))
    family = read_soft_family(path)
    assert family.values is not None
    assert family.id_tables == {}
    assert "which gene an id measures" in family.table_problems["GPL570"]
    with pytest.raises(GeoError, match="which gene an id measures"):
        read_soft_platform(path, "GPL570")


def test_values_torn_by_a_line_end_are_joined(tmp_path: Path) -> None:
    lines = ("!Sample_description = first part", "second: part", "!Sample_characteristics_ch1 = x")
    text = sample("GSM1", ("a", "1"), lines=lines)
    series, samples = read_soft_samples(write(tmp_path, family_text([text], gsms=["GSM1"])))
    assert samples["description"].tolist() == ["first part second: part"]
    assert samples["characteristics: (no key)"].tolist() == ["x"]
    assert series["sample_id"] == ["GSM1"]


REFUSED = {
    "a sample is missing": (family_text(samples_of(ROWS)[:2]), "lacks 1 of the samples .*GSM3"),
    "a table is cut": (
        family_text([sample("GSM1", ("a", "1"), end=False)], gsms=["GSM1"]),
        "sample_table_end is missing",
    ),
    "a sample comes twice": (family_text([sample("GSM1", ("a", "1"))] * 2), "holds GSM1 twice"),
    "no samples": (family_text([], gsms=[]), "holds no samples"),
    "something else": ("nothing of the kind\n", "no SOFT family file"),
    "a long row": (
        family_text([sample("GSM1", ("a", "1"), ("b", "2", "3"))], gsms=["GSM1"]),
        "'b' of sample GSM1 has 3 cells for 2",
    ),
    "a short row": (
        family_text([sample("GSM1", ("a", "1"), ("b",))], gsms=["GSM1"]),
        "'b' of sample GSM1 has 1 cells for 2",
    ),
    "off by one column": (
        family_text([sample("GSM1", ("a", "1"), names=("X", "VALUE"))], gsms=["GSM1"]),
        "starts with column 'X' instead of ID_REF",
    ),
    "a word": (
        family_text([sample("GSM1", ("a", "1"), ("b", "low"))], gsms=["GSM1"]),
        "id 'b' of sample GSM1 holds 'low'",
    ),
    "a decimal comma": (
        family_text([sample("GSM1", ("a", "1,5"))], gsms=["GSM1"]),
        "id 'a' of sample GSM1 holds '1,5' .a decimal comma.",
    ),
    "infinite": (
        family_text([sample("GSM1", ("a", "inf"))], gsms=["GSM1"]),
        "id 'a' of sample GSM1 holds a number too large or infinite",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_a_malformed_family_is_refused_with_its_name(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(GeoError, match=sentence) as refusal:
        read_soft_family(write(tmp_path, text))
    assert NAME in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_truncated_family_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, family_text(samples_of(ROWS)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(GeoError, match="truncated gzip"):
        read_soft_family(path)


@given(
    cells=st.lists(
        st.tuples(
            st.text("abz019_.-/", min_size=1),
            *[st.sampled_from(["1", "-2.5", "1e3", "NA", "", "null", " 7", '"8"', "nan"])] * 3,
        ),
        min_size=1,
        max_size=6,
    ),
    piece=st.integers(40, 3_000),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_however_the_stream_is_cut_the_values_are_those_of_the_matrix(
    tmp_path: Path, cells: list[tuple[str, ...]], piece: int
) -> None:
    rows = tuple(cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "_PIECE_BYTES", piece)
        family = read_soft_family(write(tmp_path, family_text(samples_of(rows))))
    matrix = read_series_matrix(write_gzip(tmp_path / "m.txt.gz", matrix_text(rows=rows)))
    assert family.values is not None
    assert matrix.values is not None
    assert family.values.index.tolist() == matrix.values.index.tolist()
    np.testing.assert_array_equal(family.values.to_numpy(), matrix.values.to_numpy())
