"""Series matrix files: read rightly, or refused with one sentence."""

from __future__ import annotations

import gzip
import itertools
import string
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import GeoError
from genellm_dagster.geo import compressed, numeric
from genellm_dagster.geo.matrix import read_series_header, read_series_matrix
from genellm_dagster_tests.geo.files_of_geo import GSMS, ROWS, matrix_text, quoted, write_gzip

NAME = "GSE123_series_matrix.txt.gz"


def write(tmp_path: Path, text: str | bytes) -> Path:
    return write_gzip(tmp_path / NAME, text)


def test_values_samples_and_series_are_read(tmp_path: Path) -> None:
    matrix = read_series_matrix(write(tmp_path, matrix_text()))
    assert matrix.values is not None
    assert matrix.values.index.tolist() == ["1007_s_at", "1053_at"]
    assert matrix.values.columns.tolist() == list(GSMS)
    assert matrix.values.dtypes.unique().tolist() == [np.dtype("float32")]
    np.testing.assert_array_equal(
        matrix.values.to_numpy(), np.array([[7.5, 8.25, 9], [10, np.nan, -0.81]], dtype=np.float32)
    )
    first = matrix.samples.iloc[0].to_dict()
    assert first == {
        "gsm": "GSM1",
        "title": "child 1",
        "source_name": "Whole blood",
        "organism": "Homo sapiens",
        "platform": "GPL570",
        "description": None,
        "characteristics: age": "4",
    }
    assert matrix.series["title"] == ["Sepsis in children"]


def test_an_uncompressed_file_with_windows_line_ends_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "GSE123_series_matrix.txt"
    path.write_bytes(matrix_text().replace("\n", "\r\n").encode())
    plain = read_series_matrix(path)
    packed = read_series_matrix(write(tmp_path, matrix_text()))
    assert plain.values is not None
    assert plain.values.equals(packed.values)
    assert plain.samples.equals(packed.samples)


def test_characteristics_are_keyed_in_every_cell(tmp_path: Path) -> None:
    text = matrix_text(
        characteristics=[
            ("Age: 4", "sex: F", ""),
            ("sex: M", "AGE : 5", "started: 2010: spring 10:30"),
            ("treated", "", "sex: F"),
            ("sex: corrected F", "age:", "note:  http://x.org "),
        ]
    )
    samples = read_series_matrix(write(tmp_path, text)).samples
    told = {
        name.removeprefix("characteristics: "): samples[name].tolist()
        for name in samples
        if name.startswith("characteristics: ")
    }
    assert told == {
        "age": ["4", "5", None],
        "sex": ["M | corrected F", "F", "F"],
        "started": [None, None, "2010: spring 10:30"],
        "(no key)": ["treated", None, None],
        "note": [None, None, "http://x.org"],
    }


def test_line_ends_inside_quotes_and_split_rows_are_joined(tmp_path: Path) -> None:
    extra = ['!Sample_description\t"a\nb"\t"c\rd"', '"e"']
    samples = read_series_matrix(write(tmp_path, matrix_text(extra=extra))).samples
    assert samples["description"].tolist() == ["a b", "c d", "e"]


def test_a_header_in_latin_1_and_a_tab_inside_quotes_are_read(tmp_path: Path) -> None:
    text = matrix_text(extra=['!Sample_description\t"Universität"\t"a\tb"\t"c"'])
    samples = read_series_matrix(write(tmp_path, text.encode("latin-1"))).samples
    assert samples["description"].tolist() == ["Universität", "a\tb", "c"]


@pytest.mark.parametrize("rows", [(), None])
def test_a_file_with_its_header_only_has_no_values(
    tmp_path: Path, rows: Sequence[Sequence[str]] | None
) -> None:
    text = matrix_text(rows=())
    if rows is None:  # not even the line of column names
        text = text.replace(quoted(["ID_REF", *GSMS]) + "\n", "")
    path = write(tmp_path, text)
    assert read_series_matrix(path).values is None
    assert not read_series_header(path).has_values
    assert read_series_header(write(tmp_path, matrix_text())).has_values


def test_missing_words_are_missing_but_an_id_may_be_called_na(tmp_path: Path) -> None:
    rows = [("NA", "NA", "null", "1"), ("", "NULL", '"Null"', '"2"'), ("12", " 3", "4 ", "nan")]
    values = read_series_matrix(write(tmp_path, matrix_text(rows=rows))).values
    assert values is not None
    assert values.index.tolist() == ["NA", "", "12"]
    expected = np.array([[np.nan] * 2 + [1], [np.nan] * 2 + [2], [3, 4, np.nan]])
    np.testing.assert_array_equal(values.to_numpy(), expected)


def test_repeated_ids_and_one_sample_are_kept(tmp_path: Path) -> None:
    rows = [("A", "1"), ("A", "2"), ("B", "3")]
    text = matrix_text(gsms=["GSM9"], characteristics=[], rows=rows)
    values = read_series_matrix(write(tmp_path, text)).values
    assert values is not None
    assert values.index.tolist() == ["A", "A", "B"]
    assert values["GSM9"].tolist() == [1, 2, 3]


def test_columns_in_another_order_follow_the_samples(tmp_path: Path) -> None:
    rows = [("A", "3", "1", "2")]
    text = matrix_text(columns=["GSM3", "GSM1", "GSM2"], rows=rows)
    values = read_series_matrix(write(tmp_path, text)).values
    assert values is not None
    assert values.loc["A"].to_dict() == {"GSM1": 1, "GSM2": 2, "GSM3": 3}


REFUSED = {
    "no samples": (matrix_text(gsms=()), "holds no samples"),
    "superseries": (
        matrix_text(gsms=(), extra=['!Series_relation\t"SuperSeries of: GSE7"']),
        "SuperSeries of: GSE7",
    ),
    "duplicate sample": (matrix_text(gsms=("GSM1", "GSM2", "GSM1")), "GSM1 more than once"),
    "sample without accession": (matrix_text(gsms=("GSM1", "", "GSM3")), "has no accession"),
    "duplicate column": (matrix_text(columns=("GSM1", "GSM2", "GSM2")), "GSM2 more than once"),
    "other column": (
        matrix_text(columns=("GSM1", "GSM2", "GSM4")),
        r"1 without a column \(GSM3\); 1 not among the samples \(GSM4\)",
    ),
    "too few columns": (
        matrix_text(columns=("GSM1", "GSM2"), rows=[("A", "1", "2")]),
        r"without a column \(GSM3\)",
    ),
    "no id column": (
        matrix_text().replace('"ID_REF"\t', ""),
        "starts with column 'GSM1' instead of ID_REF",
    ),
    "long row": (matrix_text(rows=[*ROWS, ("X", "1", "2", "3", "4")]), "'X' has 4 values for 3"),
    "short row": (matrix_text(rows=[*ROWS, ("X", "1", "2")]), "'X' has 2 values for 3 samples"),
    "long and short row": (
        matrix_text(rows=[("X", "1", "2", "3", "4"), ("Y", "1", "2")]),
        "'X' has 4 values",
    ),
    "word": (matrix_text(rows=[*ROWS, ("X", "1", "low", "3")]), "id 'X' of sample GSM2 .* 'low'"),
    "decimal comma": (
        matrix_text(rows=[("X", "1", "2", "3,5")]),
        "GSM3 holds .3,5. .a decimal comma",
    ),
    "lone quote": (matrix_text(rows=[("X", "1", '"', "3")]), "id 'X' of sample GSM2 holds"),
    "half a quote": (matrix_text(rows=[("X", "1", '"2', "3")]), "id 'X' of sample GSM2 holds"),
    "infinite": (matrix_text(rows=[("X", "1", "inf", "3")]), "'X' of sample GSM2"),
    "overflow": (matrix_text(rows=[("X", "1e99", "2", "3")]), "GSM1 .* too large or infinite"),
    "table end missing": (matrix_text(end=False), "series_matrix_table_end is missing after 2 "),
    "nothing at all": ("", "begin is missing"),
    "table missing": (matrix_text().split("!series_matrix_table_begin")[0], "begin is missing"),
    "nothing in table": (
        matrix_text().split('"ID_REF"')[0],
        "ends before its table does",
    ),
    "torn header": (matrix_text(extra=['!Sample_description\t"a"\t"b"']), "has 2 values for 3"),
}


@pytest.mark.parametrize(("text", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_a_malformed_file_is_refused_with_its_name(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(GeoError, match=sentence) as refusal:
        read_series_matrix(path)
    assert NAME in str(refusal.value)
    assert "\n" not in str(refusal.value)
    # The traceback is still held here: the reading thread must have ended nevertheless.
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("geo-read")]


def test_compressed_files_that_are_broken_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, matrix_text())
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-6] ^= 1
    for content, sentence in (
        (whole[:-30], "truncated gzip"),
        (whole[:3], "truncated gzip"),
        (b"", "is empty"),
        (bytes(flipped), "damaged gzip"),
        (whole + b"junk", "something else behind the end"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xef\xbb\xbf\n <HTML>" + b" " * 9_999, "web page"),
        (matrix_text().encode(), "not a gzip file"),
    ):
        path.write_bytes(content)
        with pytest.raises(GeoError, match=sentence):
            read_series_matrix(path)
    with pytest.raises(GeoError, match="cannot be read"):
        read_series_matrix(tmp_path / "missing.txt.gz")


def test_gzip_in_several_members_and_with_padding_is_whole(tmp_path: Path) -> None:
    text = matrix_text().encode()
    path = tmp_path / NAME
    path.write_bytes(gzip.compress(text[:100]) + gzip.compress(text[100:]) + b"\x00" * 512)
    values = read_series_matrix(path).values
    assert values is not None
    assert values.shape == (2, 3)


def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path, b"0" * 50_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(GeoError, match="more than 1,000,000 bytes once decompressed"):
        read_series_matrix(path, max_decompressed_bytes=1_000_000)


def test_a_table_of_many_blocks_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "_PIECE_BYTES", 10_000)
    rng = np.random.default_rng(0)
    gsms = [f"GSM{n}" for n in range(30)]
    cells = [[f"{value:.6g}" for value in row] for row in rng.normal(8, 2, size=(1_000, 30))]
    rows = [(f"{n}_at", *row) for n, row in enumerate(cells)]
    path = write(tmp_path, matrix_text(gsms=gsms, characteristics=[], rows=rows))
    assert len(list(compressed.read_blocks(path))) > 10
    values = read_series_matrix(path).values
    assert values is not None
    assert values.index.tolist() == [name for name, *_ in rows]
    np.testing.assert_array_equal(values.to_numpy(), np.array(cells, dtype=np.float32))


CELLS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["", "NA", "null", " 1.5", "2 ", '"7"', "+3", ".5", "1.e2"]),
)


@given(
    cells=st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1)
    ),
    cuts=st.sets(st.integers(1, 12)),
)
@settings(max_examples=80, deadline=None)
def test_where_a_table_is_cut_into_blocks_changes_nothing(
    cells: list[list[str]], cuts: set[int]
) -> None:
    columns = [f"GSM{n}" for n in range(len(cells[0]))]
    lines = ["\t".join([f"{n}_at", *row]) + "\n" for n, row in enumerate(cells)]
    places = [0, *sorted(cut for cut in cuts if cut < len(lines)), len(lines)]
    blocks = ["".join(lines[a:b]).encode() for a, b in itertools.pairwise(places)]
    slow_ids, slow = numeric._Parser(columns, "table")._parse_slowly("".join(lines).encode())
    ids, values = numeric.read_numbers(blocks, columns, "table")
    assert ids == slow_ids
    assert values.shape == (len(lines), len(columns))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, slow)
    values[:] = 0  # it is the caller's own


def test_words_for_missing_in_a_later_block_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "_PIECE_BYTES", 1_000)
    rows = [(f"{n}_at", "1.5", "null" if n == 150 else "2", "NA" if n > 190 else "3")
            for n in range(200)]  # fmt: skip
    values = read_series_matrix(write(tmp_path, matrix_text(rows=rows))).values
    assert values is not None
    missing = values.isna()
    assert missing["GSM2"].to_numpy().nonzero()[0].tolist() == [150]
    assert missing["GSM3"].to_numpy().nonzero()[0].tolist() == list(range(191, 200))
    assert not missing["GSM1"].any()


@given(
    cells=st.lists(
        st.lists(
            CELLS,
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=8,
    ),
    names=st.lists(st.text(string.ascii_letters + "/-_.'", min_size=1), min_size=8, max_size=8),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_fast_and_slow_reading_agree(cells: list[list[str]], names: list[str]) -> None:
    text = "".join(
        "\t".join([f'"{name}"', *row]) + "\n" for name, row in zip(names, cells, strict=False)
    ).encode()
    parser = numeric._Parser(["a", "b", "c"], "table")
    slow_ids, slow = parser._parse_slowly(text)
    ids, values = parser.parse(text)
    assert ids == slow_ids == names[: len(cells)]
    np.testing.assert_array_equal(values, slow)
