"""Submitters' tables: how they are written is found out and reported, or they are refused."""

from __future__ import annotations

import datetime
import gzip
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import GeoError
from genellm_dagster.geo import excel
from genellm_dagster.geo.id_columns import IdType
from genellm_dagster.geo.joining import join_values
from genellm_dagster.geo.supplementary import (
    SupplementaryTable,
    looks_like_a_matrix,
    naming_hint,
    read_supplementary,
)
from genellm_dagster_tests.geo.excel_files import column, package, sheet_xml, workbook

SAMPLES = pd.DataFrame(
    {
        "gsm": ["GSM11", "GSM12", "GSM13"],
        "title": ["Sepsis patient 1, day 1", "Sepsis patient 2, day 1", "Healthy control 1"],
        "source_name": ["Whole blood"] * 3,
        "description": ["library: S01", "library: S02", "library: S03"],
        "characteristics: age": ["3", "1", "2"],
    },
    dtype=object,
)
VALUES = {"GSM11": [1.5, 4.0], "GSM12": [2.25, np.nan], "GSM13": [3.0, -6.0]}
PLAIN = "gene\tS01\tS02\tS03\nTP53\t1.5\t2.25\t3\nFOXP3\t4\tNA\t-6\n"


def read(
    tmp_path: Path,
    content: str | bytes,
    name: str = "GSE123_matrix.txt",
    id_type: IdType = "symbol",
    **options: Any,
) -> SupplementaryTable:
    data = content.encode() if isinstance(content, str) else content
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return read_supplementary(path, SAMPLES, id_type, **options)


def agrees(table: SupplementaryTable, ids: Sequence[str] = ("TP53", "FOXP3")) -> bool:
    expected = np.array(list(VALUES.values()), dtype=np.float32).T
    return (
        table.values.columns.tolist() == list(VALUES)
        and table.values.index.tolist() == list(ids)
        and table.values.dtypes.unique().tolist() == [np.dtype("float32")]
        and np.array_equal(table.values.to_numpy(), expected, equal_nan=True)
    )


WRITTEN = {
    "tabs": (PLAIN, "tab", "."),
    "commas": (PLAIN.replace("\t", ","), "comma", "."),
    "semicolons and decimal commas": (
        PLAIN.replace("\t", ";").replace(".", ","),
        "semicolon",
        ",",
    ),
    "tabs and decimal commas": (PLAIN.replace(".", ","), "tab", ","),
    "commas around decimal commas": (
        '"gene","S01","S02","S03"\n"TP53","1,5","2,25","3"\n"FOXP3","4","NA","-6"\n',
        "comma",
        ",",
    ),
    "quoted, as R writes it": (
        '"S01"\t"S02"\t"S03"\n"TP53"\t1.5\t2.25\t3\n"FOXP3"\t4\tNA\t-6\n',
        "tab",
        ".",
    ),
    "blanks": ('S01 S02 S03\n"TP53" 1.5 2.25 3\n"FOXP3" 4 NA -6\n', "blank", "."),
    "no name of the id column": (PLAIN.replace("gene", ""), "tab", "."),
    "windows and a byte order mark": ("\ufeff" + PLAIN.replace("\n", "\r\n"), "tab", "."),
    "old mac": (PLAIN.replace("\n", "\r"), "tab", "."),
    "utf-16": (PLAIN.encode("utf-16"), "tab", "."),
    "rows that end in a delimiter": (PLAIN.replace("\n", "\t\n"), "tab", "."),
    "words for missing": (PLAIN.replace("NA", "#N/A"), "tab", "."),
    "blank rows at the end": (PLAIN + "\t\t\t\n\t\t\t\n", "tab", "."),
}


@pytest.mark.parametrize(("text", "delimiter", "decimal"), WRITTEN.values(), ids=list(WRITTEN))
def test_however_a_table_is_written_it_reads_the_same(
    tmp_path: Path, text: str | bytes, delimiter: str, decimal: str
) -> None:
    table = read(tmp_path, text)
    assert agrees(table)
    assert (table.report.delimiter, table.report.decimal) == (delimiter, decimal)
    assert table.report.names_at == 1
    assert agrees(read(tmp_path, text, "GSE123_matrix.txt.gz"))


def test_what_stands_around_the_values_is_passed_over_and_told(tmp_path: Path) -> None:
    text = (
        "Normalised values, for reviewers only\n\n"
        "Ensembl\tSymbol\tbiotype\tlength\tS01\tGSM99 other tissue\tS02\tS03\tpadj\n"
        "\t\t\t\tsepsis\tx\tsepsis\thealthy\t\n"
        "ENSG00000141510.17\tTP53\tcoding\t2000\t1.5\t8\t2.25\t3\t0.1\n"
        "ENSG00000049768.16\tFOXP3\tcoding\t1000\t4\t8\tNA\t-6\t0.2\n"
    )
    table = read(tmp_path, text)
    assert agrees(table)
    report = table.report
    assert (report.names_at, report.skipped_rows, report.id_column) == (3, 1, "Symbol")
    assert report.other_columns == ("Ensembl", "biotype", "length", "padj")
    assert report.other_samples == ("GSM99 other tissue",)
    assert report.columns[0] == {"column": "S01", "gsm": "GSM11", "how": "description"}
    by_ensembl = read(tmp_path, text, id_type="ensembl")
    assert agrees(by_ensembl, ["ENSG00000141510.17", "ENSG00000049768.16"])
    assert by_ensembl.report.id_column == "Ensembl"


@pytest.mark.parametrize(
    ("names", "how"),
    [
        (["GSM11", "gsm12_S2.CEL", "x GSM13"], "accession"),
        (["Sepsis patient 1, day 1", "Sepsis patient 2, day 1", "Healthy control 1"], "title"),
        (
            ["sepsis_patient.1 day-1", "Sepsis.patient.2..day.1", "HEALTHY CONTROL 1"],
            "title, written differently",
        ),
        (["S01", "s-02", "S.03"], "description"),
        (["S01.bam", "S02.bam", "S03.bam"], "part of description"),
        (["S01.AVG_Signal", "S02.AVG_Signal", "S03.AVG_Signal"], "part of description"),
        (["patient 1", "patient 2", "control 1"], "part of title"),
    ],
)
def test_columns_find_their_samples_and_say_how(tmp_path: Path, names: list[str], how: str) -> None:
    text = PLAIN.replace("S01\tS02\tS03", "\t".join(f'"{name}"' for name in names))
    table = read(tmp_path, text)
    assert agrees(table)
    assert table.report.matched_by == {how: 3}
    assert [entry["column"] for entry in table.report.columns] == names


def test_columns_in_another_order_keep_their_samples(tmp_path: Path) -> None:
    table = read(tmp_path, "gene\tS03\tS01\tS02\nTP53\t3\t1.5\t2.25\nFOXP3\t-6\t4\tNA\n")
    assert table.values.columns.tolist() == ["GSM13", "GSM11", "GSM12"]
    assert table.values[list(VALUES)].loc["TP53"].tolist() == [1.5, 2.25, 3]


def test_samples_without_a_column_are_told(tmp_path: Path) -> None:
    table = read(tmp_path, "gene\tS03\nTP53\t3\nFOXP3\t-6\n")
    assert table.values.columns.tolist() == ["GSM13"]
    assert table.report.without_column == ("GSM11", "GSM12")


def test_columns_beside_each_samples_values_are_left_out(tmp_path: Path) -> None:
    names = "\t".join(f"S0{n}.AVG_Signal\tS0{n}.Detection Pval" for n in (1, 2, 3))
    table = read(tmp_path, f"ID_REF\t{names}\nILMN_1\t1\t0\t2\t0\t3\t0\n", id_type="probe")
    assert table.values.loc["ILMN_1"].tolist() == [1, 2, 3]


def test_infinite_values_are_missing_and_counted(tmp_path: Path) -> None:
    table = read(tmp_path, PLAIN.replace("NA", "-Inf"))
    assert agrees(table)
    assert table.report.infinite == 1


def test_grouped_digits_are_read_where_they_are_certain(tmp_path: Path) -> None:
    table = read(tmp_path, "gene\tS01\tS02\tS03\nTP53\t1,234,567\t12\t1,000\nFOXP3\t1\t2\t3\n")
    assert table.values.loc["TP53"].tolist() == [1_234_567, 12, 1_000]
    assert table.report.thousands
    assert table.are_counts


def test_repeated_ids_are_kept_and_counted(tmp_path: Path) -> None:
    table = read(tmp_path, PLAIN.replace("FOXP3", "TP53"))
    assert agrees(table, ["TP53", "TP53"])
    assert table.report.repeated_ids == 1


def test_an_id_may_be_called_na(tmp_path: Path) -> None:
    assert agrees(read(tmp_path, PLAIN.replace("FOXP3", "NA"), id_type="probe"), ["TP53", "NA"])


def test_an_ensembl_id_loses_what_stands_behind_it(tmp_path: Path) -> None:
    text = PLAIN.replace("TP53", "ENSG00000141510.17_TP53").replace("FOXP3", "ENSG00000049768")
    table = read(tmp_path, text, id_type="ensembl")
    assert agrees(table, ["ENSG00000141510.17", "ENSG00000049768"])


REFUSED = {
    "names of no sample": (
        PLAIN.replace("S0", "C"),
        r"no column of numbers could be matched .*'C1', 'C2', 'C3'; titles 'Sepsis patient 1",
    ),
    "one column, two samples": (
        PLAIN.replace("S01\tS02\tS03", "patient\tpatient 2\tcontrol 1"),
        r"'patient' fits GSM11, GSM12 \(part of title\)",
    ),
    "one sample, two columns": (
        "gene\tS01_FPKM\tS01_count\tS02_FPKM\tS02_count\nTP53\t1\t2\t3\t4\n",
        "'S01_FPKM', 'S01_count' all fit GSM11",
    ),
    "twin columns": (PLAIN.replace("S02", "S01"), "'S01', 'S01' all fit GSM11"),
    "bare numbers that may be ages": (
        PLAIN.replace("S01\tS02\tS03", "3\t1\t2"),
        "no line of names|could be matched",
    ),
    "a comma of two meanings": (
        "gene\tS01\tS02\tS03\nTP53\t1,234\t2,345\t3,111\nFOXP3\t4,111\tNA\t6,123\n",
        "cannot be told whether '1,234' holds a decimal comma or a thousands separator",
    ),
    "points and commas": (PLAIN.replace("1.5", "1,5"), "cannot be told whether '1,5'"),
    "samples in rows": (
        "sample\tTP53\tFOXP3\nS01\t1\t2\nS02\t1\t2\nS03\t1\t2\n",
        "has its samples in rows",
    ),
    "a short first row": (PLAIN.replace("\t3\n", "\n"), "'TP53' has 3 cells for 4 columns"),
    "a short row": (PLAIN.replace("\t-6", ""), "'FOXP3' has 3 cells for 4 columns"),
    "a word": (PLAIN.replace("NA", "low"), "'FOXP3' of column 'S02' holds 'low'"),
    "names off by one": (
        PLAIN.replace("gene\tS01\tS02\tS03", "gene\tS01\tS02"),
        "line of names has 3 cells for 4 columns",
    ),
    "no names": ("TP53\t1\t2\t3\nFOXP3\t1\t2\t3\n", "no line of names"),
    "other ids": (
        PLAIN.replace("TP53", "ENSG00000141510").replace("FOXP3", "ENSG00000049768"),
        r"no column of symbol ids \('gene' like 'ENSG00000141510'\); correct id_type",
    ),
    "prose": ("This file was left empty on purpose.\n", "is no table of numbers"),
    "nothing": ("", "is empty"),
    "blank": ("\n\n", "is empty"),
    "a web page": ("<!DOCTYPE html><html>", "web page"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "R data": (b"RDX3\nX\n\x00", "an R data file"),
    "a tar archive": (b"x" * 257 + b"ustar" + bytes(200), "a tar archive"),
    "a picture": (b"\x89PNG\r\n" + bytes(100), "no text"),
    "a zip of something": (b"PK\x03\x04", "damaged Excel file"),
}


@pytest.mark.parametrize(("content", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_told_is_refused_with_what_was_seen(
    tmp_path: Path, content: str | bytes, sentence: str
) -> None:
    with pytest.raises(GeoError, match=sentence) as refusal:
        read(tmp_path, content)
    assert "GSE123_matrix.txt" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_web_page_under_a_gzip_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeoError, match="web page"):
        read(tmp_path, "<html>sorry</html>", "GSE123_matrix.txt.gz")


def test_a_bomb_of_text_is_stopped_at_the_limit(tmp_path: Path) -> None:
    with pytest.raises(GeoError, match="more than 1,000,000 bytes once decompressed"):
        read(tmp_path, "0" * 20_000_000, "GSE123_m.txt.gz", max_decompressed_bytes=1_000_000)


TABLE = [["gene", "S01", "S02", "S03"], ["TP53", 1.5, 2.25, 3], ["FOXP3", 4, None, -6]]


@pytest.mark.parametrize("name", ["GSE123_m.xlsx", "GSE123_m.xlsx.gz", "GSE123_m.txt"])
def test_an_excel_file_reads_as_text_does(tmp_path: Path, name: str) -> None:
    content = workbook({"notes": [["made by us"]], "values": TABLE, "empty": []})
    table = read(tmp_path, content, name)
    assert agrees(table)
    assert table.report.sheet == "values"
    assert agrees(read(tmp_path, content, name, sheet="values"))


def test_what_excel_made_of_genes_is_what_it_shows(tmp_path: Path) -> None:
    rows = [
        TABLE[0],
        [datetime.date(2012, 12, 1), 1.5, 2.25, 3],
        [datetime.date(2012, 9, 7), 4, None, -6],
    ]
    assert agrees(read(tmp_path, workbook({"s": rows}), "GSE123_m.xlsx"), ["1-Dec", "7-Sep"])


def test_several_sheets_with_values_have_to_be_chosen_from(tmp_path: Path) -> None:
    content = workbook({"raw": TABLE, "log": TABLE})
    with pytest.raises(GeoError, match=r"in the sheets raw, log; say .* which one is meant"):
        read(tmp_path, content, "GSE123_m.xlsx")
    assert agrees(read(tmp_path, content, "GSE123_m.xlsx", sheet="log"))
    with pytest.raises(GeoError, match=r"no sheet 'x' with cells \(it has raw, log\)"):
        read(tmp_path, content, "GSE123_m.xlsx", sheet="x")


def test_an_excel_file_without_such_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeoError, match="sheet 'a': no column of numbers could be matched"):
        read(tmp_path, workbook({"a": [["gene", "x", "y"], ["TP53", 1, 2]]}), "GSE123_m.xlsx")
    with pytest.raises(GeoError, match=r"no sheet that could be read: all are empty"):
        read(tmp_path, workbook({"a": []}), "GSE123_m.xlsx")


def test_a_zip_that_is_no_excel_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("counts.txt", PLAIN)
    with pytest.raises(GeoError, match="a zip archive and no Excel file"):
        read(tmp_path, path.read_bytes(), "GSE123_m.xlsx")
    broken = workbook({"s": TABLE})
    with pytest.raises(GeoError, match="damaged Excel file"):
        read(tmp_path, broken[: len(broken) // 2], "GSE123_m.xlsx")


def test_a_zip_bomb_is_stopped_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the workbook was parsed")

    monkeypatch.setattr(excel, "_run_child", never)
    bomb = package({"s": sheet_xml([])}, {"xl/media/x.xml": b"0" * 5_000_000})
    assert len(bomb) < 50_000
    with pytest.raises(GeoError, match="unpacks to more than 1,000,000 bytes"):
        excel.read_sheets(bomb, "x.xlsx", max_unzipped_bytes=1_000_000)
    # The size that the archive tells is no proof: here it says that each entry holds ten bytes.
    lying = bytearray(bomb)
    at = lying.find(b"PK\x01\x02")
    while at >= 0:
        lying[at + 24 : at + 28] = (10).to_bytes(4, "little")
        at = lying.find(b"PK\x01\x02", at + 4)
    with pytest.raises(GeoError, match="unpacks to more than 1,000,000 bytes"):
        excel.read_sheets(bytes(lying), "x.xlsx", max_unzipped_bytes=1_000_000)


def test_a_sheet_that_unfolds_in_memory_brings_down_no_more_than_its_reader(
    tmp_path: Path,
) -> None:
    # Two cells in opposite corners: a dense sheet of them has 17 billion cells.
    far = f'<c r="{column(16_383)}1048576"><v>1</v></c>'
    xml = sheet_xml([["gene"]]).replace("</sheetData>", f'<row r="1048576">{far}</row></sheetData>')
    with pytest.raises(GeoError, match="unfolds into more than 500,000,000 bytes of memory"):
        excel.read_sheets(package({"s": xml}), "x.xlsx", max_memory_bytes=500_000_000)


def test_files_of_several_samples_each_are_joined_by_id() -> None:
    a = pd.DataFrame({"GSM1": [1.0, 2.0]}, index=["x", "y"])
    b = pd.DataFrame({"GSM2": [3.0, 4.0]}, index=["y", "z"])
    joined, problems = join_values({"a": a, "b": b})
    assert problems == {}
    assert joined.index.tolist() == ["x", "y", "z"]
    np.testing.assert_array_equal(joined["GSM1"], [1, 2, np.nan])
    np.testing.assert_array_equal(joined["GSM2"], [np.nan, 3, 4])


def test_files_whose_repeated_ids_differ_are_left_out_and_told() -> None:
    a = pd.DataFrame({"GSM1": [1.0, 2.0]}, index=["x", "x"])
    same = pd.DataFrame({"GSM2": [3.0, 4.0]}, index=["x", "x"])
    other = pd.DataFrame({"GSM3": [5.0]}, index=["x"])
    joined, problems = join_values({"a": a, "same": same, "other": other})
    assert joined.to_dict("list") == {"GSM1": [1, 2], "GSM2": [3, 4]}
    assert list(problems) == ["other"]
    assert "otherwise than a does" in problems["other"]


def test_two_files_with_values_of_one_sample_are_refused() -> None:
    a = pd.DataFrame({"GSM1": [1.0]}, index=["x"])
    with pytest.raises(GeoError, match="GSM1 has values in raw and in norm"):
        join_values({"raw": a, "norm": a})


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        ("GSE1_raw_counts.txt.gz", True),
        ("GSE1_Normalized_FPKM.xlsx", True),
        ("GSE1_expression.csv", True),
        ("GSE1_RAW.tar", False),
        ("GSE1_clinical_data.txt.gz", False),
        ("filelist.txt", False),
        ("GSE1_counts.h5", False),
    ],
)
def test_names_tell_which_files_may_hold_values(name: str, likely: bool) -> None:
    assert looks_like_a_matrix(name) is likely
    assert (name in naming_hint([name])) is likely


NAMES = st.lists(
    st.sampled_from(
        [f"{word} {n}{tail}" for word in ("P", "Patient", "ctrl", "S") for n in (1, 2, 10, 11)
         for tail in ("", " day 1", " day 2", "_rep1")]
    ),
    min_size=2,
    max_size=6,
    unique=True,
)  # fmt: skip
DISGUISES = [
    lambda text: text,
    lambda text: text.upper().replace(" ", "_"),
    lambda text: text.replace(" ", "."),
    lambda text: f"{text}.bam",
    lambda text: text.split(" day")[0],
    lambda text: text.split(" ", 1)[-1],
]


@given(titles=NAMES, disguise=st.sampled_from(DISGUISES), order=st.randoms())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_a_column_is_matched_with_its_own_sample_or_with_none(
    tmp_path: Path, titles: list[str], disguise: Any, order: Any
) -> None:
    samples = pd.DataFrame(
        {"gsm": [f"GSM{n}" for n in range(len(titles))], "title": titles}, dtype=object
    )
    truth = dict(zip(samples["gsm"], titles, strict=True))
    columns = list(titles)
    order.shuffle(columns)
    text = "gene\t" + "\t".join(disguise(name) for name in columns) + "\n"
    text += "TP53\t" + "\t".join(str(n) for n in range(len(columns))) + "\n"
    path = tmp_path / "GSE1_matrix.txt"
    path.write_text(text)
    try:
        values = read_supplementary(path, samples, "symbol").values
    except GeoError:
        return
    for gsm in values.columns:
        assert columns[int(values.loc["TP53", gsm])] == truth[gsm]
