"""Writes files in GEO's formats, sound ones and malformed ones."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

from genellm_dagster.geo import addresses

GSMS = ("GSM1", "GSM2", "GSM3")
ROWS = (("1007_s_at", "7.5", "8.25", "9"), ("1053_at", "1e1", "", "-0.81"))


def quoted(cells: Sequence[str]) -> str:
    return "\t".join(f'"{cell}"' for cell in cells)


def matrix_text(
    *,
    accession: str = "GSE123",
    platform: str = "GPL570",
    gsms: Sequence[str] = GSMS,
    characteristics: Sequence[Sequence[str]] = (("age: 4", "age: 5", "age: 6"),),
    rows: Sequence[Sequence[str]] = ROWS,
    columns: Sequence[str] | None = None,
    end: bool = True,
    extra: Sequence[str] = (),
) -> str:
    lines = [
        '!Series_title\t"Sepsis in children"',
        f'!Series_geo_accession\t"{accession}"',
        '!Series_status\t"Public on Jan 02 2011"',
        '!Series_last_update_date\t"Mar 25 2019"',
        '!Series_type\t"Expression profiling by array"',
        f'!Series_platform_id\t"{platform}"',
        "",
    ]
    if gsms:
        lines += [
            "!Sample_title\t" + quoted([f"child {gsm[3:]}" for gsm in gsms]),
            "!Sample_geo_accession\t" + quoted(gsms),
            "!Sample_source_name_ch1\t" + quoted(["Whole blood"] * len(gsms)),
            "!Sample_organism_ch1\t" + quoted(["Homo sapiens"] * len(gsms)),
            *("!Sample_characteristics_ch1\t" + quoted(cells) for cells in characteristics),
            "!Sample_platform_id\t" + quoted([platform] * len(gsms)),
        ]
    lines += [*extra, "!series_matrix_table_begin"]
    lines.append(quoted(["ID_REF", *(gsms if columns is None else columns)]))
    lines += [f'"{name}"\t' + "\t".join(cells) for name, *cells in rows]
    if end:
        lines.append("!series_matrix_table_end")
    return "\n".join(lines) + "\n"


def platform_text(rows: Sequence[Sequence[str]], names: Sequence[str], *, end: bool = True) -> str:
    lines = ["^Annotation", "!Annotation_platform = GPL570", "#ID = ID", "!platform_table_begin"]
    lines += ["\t".join(cells) for cells in (names, *rows)]
    lines += ["!platform_table_end"] if end else []
    return "\n".join(lines) + "\n"


CURATED = platform_text(
    [["1007_s_at", "DDR1///MIR4640", "780///100616237"], ["1053_at", "RFC2", "5982"]],
    ["ID", "Gene symbol", "Gene ID"],
)
COUNTS = "GeneID\tGSM1\tGSM2\tGSM3\n7105\t10\t0\t3\n64102\t1\t2\t3\n"
COUNT_GENES = (
    "GeneID\tSymbol\tDescription\tEnsemblGeneID\n"
    '7105\tTSPAN6\ttetraspanin "6"\tENSG00000000003\n64102\tTNMD\ttenomodulin\t\n'
)


def write_gzip(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(content, mtime=0))
    return path


def write_mirror(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a mirror of GEO: path below the root -> content before compression."""
    for path, content in files.items():
        write_gzip(root / path, content)
    return root


def matrix_path(accession: str = "GSE123", platform: str | None = None) -> str:
    name = addresses.matrix_name(accession, platform)
    return f"{addresses.matrix_folder(accession)}/{name}"


def sample_soft(
    gsm: str,
    rows: Sequence[Sequence[str]],
    *,
    platform: str = "GPL570",
    names: Sequence[str] = ("ID_REF", "VALUE"),
    lines: Sequence[str] = ("!Sample_characteristics_ch1 = age: 4",),
    end: bool = True,
) -> str:
    text = [
        f"^SAMPLE = {gsm}",
        f"!Sample_title = child {gsm[3:]}",
        f"!Sample_geo_accession = {gsm}",
        "!Sample_source_name_ch1 = Whole blood",
        "!Sample_organism_ch1 = Homo sapiens",
        *lines,
        f"!Sample_platform_id = {platform}",
        "#ID_REF = ",
        "#VALUE = log2 signal",
        "!sample_table_begin",
        *("\t".join(cells) for cells in (names, *rows)),
    ]
    return "\n".join([*text, *(["!sample_table_end"] if end else [])]) + "\n"


def family_text(
    samples: Sequence[str],
    *,
    gsms: Sequence[str] = GSMS,
    platforms: Mapping[str, Sequence[Sequence[str]]] | None = None,
    extra: Sequence[str] = (),
) -> str:
    """A SOFT family file: the series, its platforms (name -> rows of their table), its samples."""
    tables = {"GPL570": [["ID", "Gene Symbol"], ["1007_s_at", "DDR1"]]}
    lines = [
        "^DATABASE = GeoMiame",
        "!Database_name = Gene Expression Omnibus (GEO)",
        "^SERIES = GSE123",
        "!Series_title = Sepsis in children",
        "!Series_type = Expression profiling by array",
        *(f"!Series_sample_id = {gsm}" for gsm in gsms),
        *extra,
    ]
    for platform, rows in (tables if platforms is None else platforms).items():
        lines += [f"^PLATFORM = {platform}", f"!Platform_title = {platform}", "#ID = "]
        lines += ["!platform_table_begin", *("\t".join(cells) for cells in rows)]
        lines.append("!platform_table_end")
    return "\n".join(lines) + "\n" + "".join(samples)
