"""Each malformation seen in real files of GEO: what becomes of it.

One test for each row of the table in docs/geo_files.md that has none elsewhere; the last test holds
that table against the tests there are. The same defect is tried in a series matrix and, where both
can have it, in a SOFT family file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import GeoError
from genellm_dagster.expression.build import build_expression
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.matrix import read_series_header, read_series_matrix
from genellm_dagster.geo.platform import read_platform_table
from genellm_dagster.geo.series import fetch_series, read_series
from genellm_dagster.geo.soft import read_soft_family
from genellm_dagster.geo.supplementary import read_supplementary
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster_tests.geo.files_of_geo import (
    CURATED,
    GSMS,
    ROWS,
    family_text,
    matrix_path,
    matrix_text,
    platform_text,
    quoted,
    sample_soft,
    write_gzip,
    write_mirror,
)
from genellm_dagster_tests.geo.server import FakeGeo, Mood

MakeCohort = Callable[..., Cohort]
ROOM = Path(__file__).parent
DOCUMENT = ROOM.parents[1] / "docs" / "geo_files.md"
KEY = "characteristics: "


def of_matrix(tmp_path: Path, **parts: object) -> pd.DataFrame:
    """Read the samples of a matrix made of these parts."""
    path = write_gzip(tmp_path / "GSE123_series_matrix.txt.gz", matrix_text(**parts))  # type: ignore[arg-type]
    return read_series_matrix(path).samples


def of_family(tmp_path: Path, *described: Sequence[str]) -> pd.DataFrame:
    """Read the samples of a SOFT family; one list of lines a sample."""
    texts = [
        sample_soft(gsm, [("a", "1")], lines=lines)
        for gsm, lines in zip(GSMS, described, strict=False)
    ]
    text = family_text(texts, gsms=GSMS[: len(texts)])
    return read_soft_family(write_gzip(tmp_path / "GSE123_family.soft.gz", text)).samples


def values_of(tmp_path: Path, rows: Sequence[Sequence[str]], **parts: object) -> pd.DataFrame:
    """Read the values of a matrix with these rows."""
    text = matrix_text(rows=rows, **parts)  # type: ignore[arg-type]
    values = read_series_matrix(write_gzip(tmp_path / "m_series_matrix.txt.gz", text)).values
    assert values is not None
    return values


def test_characteristics_shifted_among_samples_go_to_their_key(tmp_path: Path) -> None:
    shifted = [("age: 4", "Sex: F", "age: 6"), ("sex: M", "Age: 5", ""), ("", "", "sex: F")]
    samples = of_matrix(tmp_path, characteristics=shifted)
    assert samples[f"{KEY}age"].tolist() == ["4", "5", "6"]
    assert samples[f"{KEY}sex"].tolist() == ["M", "F", "F"]
    line = "!Sample_characteristics_ch1 = "
    family = of_family(tmp_path, [f"{line}age: 4", f"{line}sex: M"], [f"{line}sex: F"])
    assert family[f"{KEY}age"].tolist() == ["4", None]
    assert family[f"{KEY}sex"].tolist() == ["M", "F"]


def test_a_repeated_key_keeps_both_values(tmp_path: Path) -> None:
    cells = [("tissue: blood", "tissue: blood", "tissue: blood"), ("tissue: PAX", "", "tissue: T")]
    expected = ["blood | PAX", "blood", "blood | T"]
    assert of_matrix(tmp_path, characteristics=cells)[f"{KEY}tissue"].tolist() == expected
    line = "!Sample_characteristics_ch1 = tissue: "
    family = of_family(tmp_path, [f"{line}blood", f"{line}PAX"], [f"{line}blood"])
    assert family[f"{KEY}tissue"].tolist() == ["blood | PAX", "blood"]


def test_a_row_without_a_key_is_kept_under_that_name(tmp_path: Path) -> None:
    samples = of_matrix(tmp_path, characteristics=[("sepsis", "healthy", "age: 3")])
    assert samples[f"{KEY}(no key)"].tolist() == ["sepsis", "healthy", None]
    assert samples[f"{KEY}age"].tolist() == [None, None, "3"]


def test_a_value_may_hold_the_sign_that_ends_a_key(tmp_path: Path) -> None:
    cells = [("drawn: 2010: May 10:30", "link: http://x.org/a", "ratio: 1:2")]
    samples = of_matrix(tmp_path, characteristics=cells)
    assert samples[f"{KEY}drawn"].iloc[0] == "2010: May 10:30"
    assert samples[f"{KEY}link"].iloc[1] == "http://x.org/a"
    assert samples[f"{KEY}ratio"].iloc[2] == "1:2"


def test_repeated_ids_stay_rows_of_their_own(tmp_path: Path) -> None:
    rows = [("TP53", "1", "2", "3"), ("TP53", "4", "5", "6"), ("FOXP3", "7", "8", "9")]
    values = values_of(tmp_path, rows)
    assert values.index.tolist() == ["TP53", "TP53", "FOXP3"]
    assert values["GSM1"].tolist() == [1, 4, 7]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_line_end_inside_quotes_is_a_blank(tmp_path: Path, end: str) -> None:
    extra = [f'!Sample_description\t"first{end}second"\t"b"\t"c"']
    told = [" ".join(str(text).split()) for text in of_matrix(tmp_path, extra=extra)["description"]]
    assert told == ["first second", "b", "c"]


def test_a_header_line_split_in_two_is_one(tmp_path: Path) -> None:
    extra = ['!Sample_description\t"a"\t"b"', '"c"']
    assert of_matrix(tmp_path, extra=extra)["description"].tolist() == ["a", "b", "c"]


def test_a_header_line_that_lacks_a_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeoError, match=r"!Sample_description has 2 values for 3 samples"):
        of_matrix(tmp_path, extra=['!Sample_description\t"a"\t"b"'])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (matrix_text().replace('"ID_REF"\t', ""), "starts with column 'GSM1' instead of ID_REF"),
        (matrix_text(rows=[(*row, "1") for row in ROWS]), "has 4 values for 3 samples"),
        (matrix_text(columns=GSMS[:2]), r"1 without a column \(GSM3\)"),
        (matrix_text().replace(quoted(["ID_REF", *GSMS]) + "\n", ""), "starts with column '1007"),
    ],
    ids=["no name for the ids", "a column without name", "a sample without column", "no names"],
)
def test_a_table_off_by_one_column_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(GeoError, match=sentence):
        read_series_matrix(write_gzip(tmp_path / "GSE123_series_matrix.txt.gz", text))


def test_ids_of_64_bits_stay_as_they_are_written(tmp_path: Path) -> None:
    ids = ["16650001", "9007199254740993", "18446744073709551615", "007", "1e5", "1.0"]
    assert values_of(tmp_path, [(name, "1", "2", "3") for name in ids]).index.tolist() == ids
    texts = [sample_soft("GSM1", [(name, "1") for name in ids])]
    path = write_gzip(tmp_path / "f.soft.gz", family_text(texts, gsms=["GSM1"]))
    family = read_soft_family(path).values
    assert family is not None
    assert family.index.tolist() == ids
    table = platform_text([[name, f"G{name}"] for name in ids], ["ID", "Gene Symbol"])
    assert read_platform_table(write_gzip(tmp_path / "p.gz", table))["id"].tolist() == ids


def test_an_id_called_na_is_an_id(tmp_path: Path) -> None:
    rows = [("NA", "1", "NA", "3"), ("null", "4", "5", "6")]
    values = values_of(tmp_path, rows)
    assert values.index.tolist() == ["NA", "null"]
    assert values.loc["NA"].isna().tolist() == [False, True, False]
    texts = [sample_soft("GSM1", [("NA", "1"), ("null", "NA")])]
    path = write_gzip(tmp_path / "f.soft.gz", family_text(texts, gsms=["GSM1"]))
    family = read_soft_family(path).values
    assert family is not None
    assert family.index.tolist() == ["NA", "null"]


def test_a_matrix_of_one_sample_is_read(tmp_path: Path) -> None:
    values = values_of(tmp_path, [("A", "1"), ("B", "")], gsms=["GSM9"], characteristics=[])
    assert values.columns.tolist() == ["GSM9"]
    np.testing.assert_array_equal(values["GSM9"], [1, np.nan])


@pytest.mark.parametrize("with_names", [True, False])
def test_an_empty_table_is_a_header_only(tmp_path: Path, with_names: bool) -> None:
    text = matrix_text(rows=())
    if not with_names:
        text = text.replace(quoted(["ID_REF", *GSMS]) + "\n", "")
    path = write_gzip(tmp_path / "GSE123_series_matrix.txt.gz", text)
    assert read_series_matrix(path).values is None
    assert not read_series_header(path).has_values


def test_a_superseries_without_samples_is_refused_with_its_parts(tmp_path: Path) -> None:
    relation = ['!Series_relation\t"SuperSeries of: GSE7"']
    with pytest.raises(GeoError, match=r"holds no samples.*name its parts .*SuperSeries of: GSE7"):
        of_matrix(tmp_path, gsms=(), extra=relation)
    with pytest.raises(GeoError, match=r"holds no samples.*name the series it is made of"):
        of_family(tmp_path)


def test_a_truncated_file_is_never_kept_and_the_next_try_is_whole(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    whole = (mirror / matrix_path()).read_bytes()
    # The server says that this is all: only the gzip stream knows better.
    geo.next(f"/{matrix_path()}", Mood(body=whole[:-40]))
    with pytest.raises(GeoError, match="truncated gzip"):
        fetch_series(client, cohort(), tmp_path)
    assert not (tmp_path / "GSE123_series_matrix.txt.gz").exists()
    data = read_series(tmp_path, fetch_series(client, cohort(), tmp_path))
    assert data.values.shape == (2, 3)


def test_a_table_cut_at_a_row_is_refused_though_its_gzip_is_whole(tmp_path: Path) -> None:
    path = write_gzip(tmp_path / "GSE123_series_matrix.txt.gz", matrix_text(end=False))
    with pytest.raises(GeoError, match="series_matrix_table_end is missing after 2 rows"):
        read_series_matrix(path)


def test_a_length_told_of_the_encoded_file_does_not_mislead(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    whole = (mirror / matrix_path()).read_bytes()
    # Content-Encoding on a file that is gzip by itself: it is kept as it lies on the server.
    geo.next(f"/{matrix_path()}", Mood(body=whole, headers={"Content-Encoding": "gzip"}))
    manifest = fetch_series(client, cohort(), tmp_path)
    assert manifest.files[0].size == len(whole)
    assert (tmp_path / manifest.files[0].name).read_bytes() == whole


def test_a_decimal_comma_in_a_matrix_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(GeoError, match=r"'X' of sample GSM2 holds '2,5' \(a decimal comma\)"):
        values_of(tmp_path, [("X", "1", "2,5", "3")])


def test_a_decimal_comma_in_a_submitters_table_is_read(tmp_path: Path) -> None:
    path = write_gzip(tmp_path / "GSE123_norm.csv.gz", "gene;GSM1;GSM2\nTP53;1,5;2\nFOXP3;3;4,25\n")
    samples = pd.DataFrame({"gsm": ["GSM1", "GSM2"]}, dtype=object)
    table = read_supplementary(path, samples, "symbol")
    assert table.values.to_numpy().tolist() == [[1.5, 2], [3, 4.25]]
    assert (table.report.delimiter, table.report.decimal) == ("semicolon", ",")


def test_dates_that_excel_made_of_genes_are_repaired_where_unique(
    tmp_path: Path, cohort: MakeCohort
) -> None:
    rows = [("TP53", "5", "6", "7"), ("1-Dec", "8", "9", "7"), ("2-Mar", "1", "2", "3")]
    result = build_expression(values_of(tmp_path, rows), None, cohort(), "array")
    assert result.table.index.tolist() == ["DELEC1", "TP53"]
    assert result.report["ids"]["mapped"] == 2
    assert result.report["ids"]["ambiguous"] == 1


@pytest.mark.parametrize("word", ["NA", "null", "NULL", "Null", "", "NaN"])
def test_each_word_for_missing_is_missing(tmp_path: Path, word: str) -> None:
    values = values_of(tmp_path, [("A", "1", word, "3"), ("B", f'"{word}"', "5", "6")])
    assert values.isna().to_numpy().tolist() == [[False, True, False], [True, False, False]]
    texts = [sample_soft("GSM1", [("A", "1"), ("B", word)])]
    path = write_gzip(tmp_path / "f.soft.gz", family_text(texts, gsms=["GSM1"]))
    family = read_soft_family(path).values
    assert family is not None
    assert family["GSM1"].isna().tolist() == [False, True]


def test_twin_columns_of_a_curated_table_give_the_genes_own(tmp_path: Path) -> None:
    names = ["ID", "Gene title", "Gene symbol", "Gene ID", "UniGene title", "Gene symbol"]
    table = platform_text([["1_at", "t", "DDR1", "780", "u", "OTHER"]], names)
    read = read_platform_table(write_gzip(tmp_path / "GPL570.annot.gz", table))
    assert read["symbol"].tolist() == ["DDR1"]


@pytest.mark.parametrize("cell", ["DDR1///MIR4640", "DDR1 /// MIR4640"])
def test_a_probe_of_several_genes_keeps_them_and_the_setting_decides(
    tmp_path: Path, cohort: MakeCohort, cell: str
) -> None:
    path = write_gzip(tmp_path / "GPL570.annot.gz", CURATED.replace("DDR1///MIR4640", cell))
    table = read_platform_table(path)
    assert table["symbol"].iloc[0] == cell
    values = values_of(tmp_path, [("1007_s_at", "5", "6", "7"), ("1053_at", "1", "2", "3")])
    result = build_expression(
        values, table.drop(columns="entrez"), cohort(id_type="probe"), "array"
    )
    ids = result.report["ids"]
    assert "RFC2" in result.table.index
    assert ids["several_genes"] + ids["mapped"] == ids["total"] == 2


def test_every_row_of_the_table_of_malformations_names_a_test_that_exists() -> None:
    section = DOCUMENT.read_text().split("## Malformations")[1]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]
    listed = [tests for tests in named if tests]
    assert len(listed) >= 40
    there = {
        node.name
        for path in ROOM.parent.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name for tests in listed for name in tests} - there == set()
    # A row without a test would be a promise that nobody keeps.
    without = [row for row, tests in zip(rows, named, strict=True) if not tests]
    assert [row for row in without if not row.startswith("| What was seen")] == []
