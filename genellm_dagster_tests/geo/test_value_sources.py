"""Where values come from: parts of a matrix, submitters' files, SOFT, tables of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genellm_dagster.errors import GeoError
from genellm_dagster.expression.build import build_expression
from genellm_dagster.geo import addresses
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.fetching import local_table_digest
from genellm_dagster.geo.records import Manifest
from genellm_dagster.geo.series import fetch_series, read_manifest, read_samples, read_series
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster_tests.geo.excel_files import workbook
from genellm_dagster_tests.geo.files_of_geo import (
    CURATED,
    GSMS,
    ROWS,
    family_text,
    matrix_path,
    matrix_text,
    platform_text,
    sample_soft,
    write_gzip,
    write_mirror,
)
from genellm_dagster_tests.geo.server import FakeGeo, Mood

MakeCohort = Callable[..., Cohort]
SUPPL = addresses.supplementary_folder("GSE123")
FAMILY = addresses.family_file("GSE123")
SEQUENCED = matrix_text(rows=()).replace("by array", "by high throughput sequencing")
COUNTS = "gene,child 1,child 2,child 3\nTP53,10,0,3\nFOXP3,1,2,3\n"


def part_path(part: int) -> str:
    return matrix_path().replace("matrix.txt", f"matrix-{part}.txt")


def part_text(gsm: str, *rows: tuple[str, str], **options: object) -> str:
    return matrix_text(gsms=[gsm], characteristics=[], rows=rows, **options)  # type: ignore[arg-type]


def test_a_matrix_in_parts_is_one_table(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    parts = {
        part_path(1): part_text("GSM1", ("A", "1"), ("B", "2")),
        part_path(2): part_text("GSM2", ("A", "3"), ("B", "4")),
        part_path(10): part_text("GSM3", ("B", "6"), ("C", "7")),
    }
    write_mirror(mirror, parts)
    manifest = fetch_series(client, cohort(), tmp_path)
    assert [file.role for file in manifest.files] == ["matrix"] * 3
    data = read_series(tmp_path, manifest)
    assert data.values.columns.tolist() == data.samples["gsm"].tolist() == list(GSMS)
    assert data.values.index.tolist() == ["A", "B", "C"]
    expected = [[1, 3, np.nan], [2, 4, 6], [np.nan, np.nan, 7]]
    np.testing.assert_array_equal(data.values.to_numpy(), np.array(expected, dtype=np.float32))
    assert data.report == {"source": "matrix", "problems": {}, "tables": {}}
    assert read_samples(tmp_path, manifest)["gsm"].tolist() == list(GSMS)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (part_text("GSM2", ("A", "3"), end=False), "is missing after 1 rows"),
        (part_text("GSM2", ("A", "low")), "holds 'low'"),
        ("<html>sorry</html>", "web page"),
        (part_text("GSM2", ("A", "3")).split("!series_matrix_table")[0], "begin is missing"),
    ],
)
def test_the_good_parts_of_a_matrix_are_used_and_the_broken_one_is_told(
    client: GeoClient,
    mirror: Path,
    tmp_path: Path,
    cohort: MakeCohort,
    broken: str,
    sentence: str,
) -> None:
    write_mirror(mirror, {part_path(1): part_text("GSM1", ("A", "1")), part_path(2): broken})
    if broken.startswith("<html"):
        (mirror / part_path(2)).write_text(broken)
    manifest = fetch_series(client, cohort(), tmp_path)
    data = read_series(tmp_path, read_manifest(tmp_path))
    assert data.values.to_dict("list") == {"GSM1": [1.0]}
    (name, reason), *others = data.report["problems"].items()
    assert not others
    assert name == "GSE123_series_matrix-2.txt.gz"
    assert sentence in reason
    json.dumps(data.report, allow_nan=False)
    assert manifest.accession == "GSE123"


def test_no_part_that_can_be_used_is_an_error(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    (mirror / matrix_path()).parent.mkdir(parents=True)
    for part in (1, 2):
        (mirror / part_path(part)).write_text("<html>sorry</html>")
    with pytest.raises(GeoError, match=r"no file of GSE123 could be used: .*web page"):
        fetch_series(client, cohort(), tmp_path)


def test_a_server_that_fails_is_no_broken_part(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {part_path(n): part_text(f"GSM{n}", ("A", "1")) for n in (1, 2)})
    geo.next(f"/{part_path(2)}", *[Mood(503, body=b"")] * 10)
    with pytest.raises(GeoError, match="could not be fetched after"):
        fetch_series(client, cohort(), tmp_path)
    assert not (tmp_path / "manifest.json").exists()


SUBMITTED = {"source": "supplementary", "files": ["GSE123_counts.csv.gz"]}


@pytest.mark.parametrize(
    ("header", "kind"), [(SEQUENCED, "counts"), (matrix_text(rows=()), "array")]
)
def test_a_submitters_table_gives_the_values(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort, header: str, kind: str
) -> None:
    write_mirror(mirror, {matrix_path(): header, f"{SUPPL}/GSE123_counts.csv.gz": COUNTS})
    manifest = fetch_series(client, cohort(values=SUBMITTED), tmp_path)
    assert [file.role for file in manifest.files] == ["matrix", "supplementary"]
    data = read_series(tmp_path, read_manifest(tmp_path))
    assert data.kind == kind
    assert data.values.loc["TP53"].to_dict() == {"GSM1": 10, "GSM2": 0, "GSM3": 3}
    assert data.report["source"] == "supplementary"
    table = data.report["tables"]["GSE123_counts.csv.gz"]
    assert (table["delimiter"], table["matched_by"]) == ("comma", {"title": 3})
    json.dumps(data.report, allow_nan=False)
    assert len(read_samples(tmp_path, manifest)) == 3


def test_a_submitters_values_stand_in_for_those_of_the_matrix(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text(), f"{SUPPL}/GSE123_counts.csv.gz": COUNTS})
    data = read_series(tmp_path, fetch_series(client, cohort(values=SUBMITTED), tmp_path))
    assert data.values.index.tolist() == ["TP53", "FOXP3"]


def test_the_good_half_of_a_submitters_files_is_used_and_the_other_half_is_told(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    files = {
        "GSE123_a.txt.gz": "gene\tchild 1\nTP53\t1\n",
        "GSE123_b.txt.gz": "gene\tchild 2\nX1\t2\nTP53\tlow\nX2\t2\n",
        "GSE123_c.txt.gz": "gene\tsomebody\nTP53\t1\n",
    }
    write_mirror(mirror, {f"{SUPPL}/{name}": text for name, text in files.items()})
    write_mirror(mirror, {matrix_path(): SEQUENCED})
    names = [*files, "GSE123_gone.txt.gz"]
    source = {"source": "supplementary", "files": names}
    manifest = fetch_series(client, cohort(values=source), tmp_path)
    assert list(manifest.problems) == ["GSE123_gone.txt.gz"]
    data = read_series(tmp_path, manifest)
    assert data.values.columns.tolist() == ["GSM1"]
    assert data.without_values == ("GSM2", "GSM3")
    assert list(data.report["tables"]) == names[:1]
    problems = data.report["problems"]
    assert sorted(problems) == names[1:]
    assert "holds 'low'" in problems["GSE123_b.txt.gz"]
    assert "could be matched with a sample" in problems["GSE123_c.txt.gz"]
    assert "does not exist" in problems["GSE123_gone.txt.gz"]


def test_a_file_that_geo_does_not_have_is_told_with_those_it_has(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): SEQUENCED, f"{SUPPL}/GSE123_norm.txt.gz": "x"})
    with pytest.raises(GeoError, match=r"does not exist.* GEO has GSE123_norm\.txt\.gz"):
        fetch_series(client, cohort(values=SUBMITTED), tmp_path)


def test_a_header_only_matrix_without_counts_names_the_submitters_tables(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    files = {f"{SUPPL}/{name}": "x" for name in ("GSE123_raw_counts.txt.gz", "GSE123_RAW.tar")}
    write_mirror(mirror, {matrix_path(): SEQUENCED, **files})
    hint = r"added GSE123_raw_counts\.txt\.gz: .*files: \[GSE123_raw_counts\.txt\.gz\]"
    for id_type in ("entrez", "symbol"):
        with pytest.raises(GeoError, match=hint) as refusal:
            fetch_series(client, cohort(id_type=id_type), tmp_path)
        assert "RAW.tar" not in str(refusal.value)
    with pytest.raises(GeoError, match=hint):
        fetch_series(client, cohort(values={"source": "matrix"}), tmp_path)
    # A server that lists no folders may have GEO's own list of them.
    geo.lists_folders = False
    (mirror / SUPPL / "filelist.txt").write_text(
        "#Archive/File\tName\tTime\tSize\tType\nArchive\tGSE123_RAW.tar\t01/02/2020\t9\tTAR\n"
        "File\tGSM1_a.CEL.gz\t01/02/2020\t9\tCEL\nFile\tGSE123_raw_counts.txt.gz\tx\t9\tTXT\n"
    )
    with pytest.raises(GeoError, match=hint):
        fetch_series(client, cohort(id_type="entrez"), tmp_path)


def test_another_sheet_of_the_same_file_is_another_fingerprint(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): SEQUENCED})
    names = ["gene", "child 1", "child 2", "child 3"]
    sheets = {name: [names, ["TP53", n, n, n]] for n, name in ((1.0, "raw"), (2.0, "log"))}
    (mirror / SUPPL).mkdir(parents=True)
    (mirror / SUPPL / "GSE123_x.xlsx").write_bytes(workbook(sheets))
    read = {}
    for sheet in sheets:
        source = {"source": "supplementary", "files": ["GSE123_x.xlsx"], "sheet": sheet}
        manifest = fetch_series(client, cohort(values=source), tmp_path)
        read[sheet] = (manifest.fingerprint, read_series(tmp_path, manifest).values.iloc[0, 0])
    assert (read["raw"][1], read["log"][1]) == (1, 2)
    assert read["raw"][0] != read["log"][0]


def test_a_submitters_counts_become_expression_by_their_own_ids(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    counts = COUNTS.replace("TP53", "ENSG00000141510.17").replace("FOXP3", "ENSG00000049768.2")
    write_mirror(mirror, {matrix_path(): SEQUENCED, f"{SUPPL}/GSE123_counts.csv.gz": counts})
    described = cohort(values=SUBMITTED, id_type="ensembl")
    data = read_series(tmp_path, fetch_series(client, described, tmp_path))
    result = build_expression(data.values, data.id_table, described, data.kind)
    assert result.table.index.tolist() == ["FOXP3", "TP53"]
    assert result.report["scale"]["kind"] == "counts"
    assert result.report["ids"]["type"] == "ensembl"


def family(**options: object) -> str:
    texts = [
        sample_soft(gsm, [(name, cells[n]) for name, *cells in ROWS]) for n, gsm in enumerate(GSMS)
    ]
    return family_text(texts, **options)  # type: ignore[arg-type]


def test_a_soft_family_gives_samples_values_and_its_platforms_table(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {FAMILY: family()})
    soft = cohort(values={"source": "soft"}, id_type="probe")
    manifest = fetch_series(client, soft, tmp_path)
    assert [file.role for file in manifest.files] == ["family"]
    data = read_series(tmp_path, manifest)
    assert data.values.columns.tolist() == data.samples["gsm"].tolist() == list(GSMS)
    assert data.id_table is not None
    assert data.id_table["symbol"].tolist() == ["DDR1"]
    assert (data.report["source"], data.title) == ("soft", "Sepsis in children")
    assert read_samples(tmp_path, manifest).equals(data.samples)
    with pytest.raises(GeoError, match="are on GPL570, not on GPL96"):
        fetch_series(client, cohort(values={"source": "soft"}, platform="GPL96"), tmp_path)


def test_a_family_whose_platform_names_no_gene_takes_the_curated_table(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    text = family(platforms={"GPL570": [["ID", "SEQUENCE"], ["1007_s_at", "ACGT"]]})
    write_mirror(mirror, {FAMILY: text, addresses.platform_annotation("GPL570"): CURATED})
    manifest = fetch_series(client, cohort(values={"source": "soft"}, id_type="probe"), tmp_path)
    data = read_series(tmp_path, manifest)
    assert data.id_table is not None
    assert data.id_table["entrez"].tolist() == ["780///100616237", "5982"]


def test_the_familys_table_stands_in_where_a_platform_has_no_other(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text(), FAMILY: family()})
    geo.pages["/query/acc.cgi"] = lambda request: (200, b"<html>no such platform</html>")
    manifest = fetch_series(client, cohort(id_type="probe"), tmp_path)
    assert [file.role for file in manifest.files] == ["matrix", "platform"]
    data = read_series(tmp_path, manifest)
    assert data.id_table is not None
    assert data.id_table["symbol"].tolist() == ["DDR1"]


OWN_TABLES = {
    "genes.csv": "id,symbol\n1007_s_at,DDR1\n",
    "genes.tsv": "# by hand\nID\tGene Symbol\n1007_s_at\tDDR1\n",
    "genes.txt": "id;Symbol\n1007_s_at;DDR1\n",
    "saved.txt": platform_text([["1007_s_at", "DDR1"]], ["ID", "Gene Symbol"]),
    "genes.csv.gz": "id,symbol\n1007_s_at,DDR1\n",
}


@pytest.mark.parametrize("name", OWN_TABLES)
def test_a_table_of_ones_own_comes_before_any_other(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort, name: str
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    folder = tmp_path / "cohorts"
    (folder / "tables").mkdir(parents=True)
    table = folder / "tables" / name
    if name.endswith(".gz"):
        write_gzip(table, OWN_TABLES[name])
    else:
        table.write_text(OWN_TABLES[name])
    made = cohort(id_type="probe", platform_table=f"tables/{name}")
    own = made.with_origin("GSE123.yaml", file=folder / "GSE123.yaml")
    first = fetch_series(client, own, tmp_path / "raw")
    assert [file.role for file in first.files] == ["matrix", "local_platform"]
    assert not geo.asked("/query/acc.cgi")
    data = read_series(tmp_path / "raw", first)
    assert data.id_table is not None
    assert data.id_table[["id", "symbol"]].to_numpy().tolist() == [["1007_s_at", "DDR1"]]
    assert fetch_series(client, own, tmp_path / "raw") == first
    assert local_table_digest(first.files[1]) == first.files[1].sha256
    changed = OWN_TABLES[name].replace("DDR1", "RFC2")
    if name.endswith(".gz"):
        write_gzip(table, changed)
    else:
        table.write_text(changed)
    assert local_table_digest(first.files[1]) != first.files[1].sha256
    assert fetch_series(client, own, tmp_path / "raw").fingerprint != first.fingerprint


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.csv", "a/../../x", "", "a\\b", "none.csv"])
def test_a_platform_table_stays_below_the_cohorts_folder(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort, path: str
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    made = cohort(id_type="probe", platform_table=path)
    own = made.with_origin("GSE123.yaml", file=tmp_path / "GSE123.yaml")
    with pytest.raises(GeoError, match=r"no path below the folder|cannot be read"):
        fetch_series(client, own, tmp_path / "raw")


def test_a_platform_table_that_names_no_gene_is_refused(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    (tmp_path / "t.csv").write_text("probe,gene\n1007_s_at,DDR1\n")
    own = cohort(id_type="probe", platform_table="t.csv")
    with pytest.raises(GeoError, match="which gene an id measures"):
        fetch_series(client, own.with_origin("x", folder=tmp_path), tmp_path / "raw")
    with pytest.raises(GeoError, match="stands in no file"):
        fetch_series(client, own, tmp_path / "raw")


def test_a_manifest_of_an_earlier_version_is_still_read(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    manifest = fetch_series(client, cohort(), tmp_path)
    old = manifest.model_dump(mode="json")
    for key in ("id_type", "sheet", "problems"):
        del old[key]
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    again = read_manifest(tmp_path)
    assert again == manifest == Manifest.model_validate(old)
    assert read_series(tmp_path, again).values.shape == (2, 3)
