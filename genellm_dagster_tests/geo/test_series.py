"""A cohort's series: the right files fetched, checked, and read together."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from genellm_dagster.errors import GeneLLMError, GeoError
from genellm_dagster.geo import addresses
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.series import fetch_series, read_manifest, read_series
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster_tests.geo.files_of_geo import (
    COUNT_GENES,
    COUNTS,
    CURATED,
    GSMS,
    matrix_path,
    matrix_text,
    platform_text,
    write_gzip,
    write_mirror,
)
from genellm_dagster_tests.geo.server import FakeGeo, Mood

MakeCohort = Callable[..., Cohort]
COUNTS_PATH = f"{addresses.counts_folder('GSE123')}/{addresses.counts_name('GSE123')}"
GENES_PATH = f"{addresses.counts_folder('GSE123')}/{addresses.counts_annotation_name()}"
ANNOTATION_PATH = addresses.platform_annotation("GPL570")


@pytest.mark.parametrize("over_http", [True, False])
def test_symbols_need_the_matrix_alone(
    client: GeoClient,
    mirror: Path,
    tmp_path: Path,
    cohort: MakeCohort,
    options: Callable[..., GeoOptions],
    over_http: bool,
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text(), ANNOTATION_PATH: CURATED})
    chosen = client if over_http else GeoClient(str(mirror), options())
    manifest = fetch_series(chosen, cohort(), tmp_path / "raw")
    assert [(file.role, file.name) for file in manifest.files] == [
        ("matrix", "GSE123_series_matrix.txt.gz")
    ]
    assert read_manifest(tmp_path / "raw") == manifest
    data = read_series(tmp_path / "raw", manifest)
    assert (data.kind, data.title, data.platform) == ("array", "Sepsis in children", "GPL570")
    assert data.id_table is None
    assert data.values.columns.tolist() == data.samples["gsm"].tolist() == list(GSMS)


def test_probes_come_with_the_curated_table(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text(), ANNOTATION_PATH: CURATED})
    manifest = fetch_series(client, cohort(id_type="probe"), tmp_path)
    data = read_series(tmp_path, manifest)
    assert data.id_table is not None
    assert data.id_table["id"].tolist() == data.values.index.tolist()
    assert not geo.asked("/query/acc.cgi")


def test_a_platform_without_curated_table_is_asked_for_in_full(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    table = platform_text([["1007_s_at", "DDR1 /// MIR4640"]], ["ID", "Gene Symbol"])
    geo.pages["/query/acc.cgi"] = lambda request: (200, table.encode())
    manifest = fetch_series(client, cohort(id_type="probe"), tmp_path)
    asked = geo.asked("/query/acc.cgi")[0].query
    assert asked == {"acc": "GPL570", "targ": "self", "form": "text", "view": "full"}
    data = read_series(tmp_path, manifest)
    assert data.id_table is not None
    assert data.id_table["symbol"].tolist() == ["DDR1 /// MIR4640"]


def test_a_platform_without_any_table_is_told(
    client: GeoClient,
    geo: FakeGeo,
    mirror: Path,
    tmp_path: Path,
    cohort: MakeCohort,
    options: Callable[..., GeoOptions],
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    geo.pages["/query/acc.cgi"] = lambda request: (200, b"<html>no such platform</html>")
    with pytest.raises(GeoError, match=r"no table of GPL570, neither .*annot.gz nor .*acc.cgi"):
        fetch_series(client, cohort(id_type="probe"), tmp_path / "a")
    with pytest.raises(GeoError, match=r"GPL570\.annot\.gz does not exist, and a mirror"):
        fetch_series(GeoClient(str(mirror), options()), cohort(id_type="probe"), tmp_path / "b")
    assert not (tmp_path / "a" / "manifest.json").exists()


def test_the_file_of_the_cohorts_platform_is_chosen(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    for platform, gsm in (("GPL570", "GSM1"), ("GPL96", "GSM2")):
        text = matrix_text(
            platform=platform, gsms=[gsm], characteristics=[], rows=[("A", "1"), ("B", "2")]
        )
        write_mirror(mirror, {matrix_path(platform=platform): text})
    manifest = fetch_series(client, cohort(platform="GPL96"), tmp_path)
    assert manifest.files[0].name == "GSE123-GPL96_series_matrix.txt.gz"
    assert read_series(tmp_path, manifest).samples["gsm"].tolist() == ["GSM2"]
    with pytest.raises(GeoError, match="no samples on GPL1 but on GPL570, GPL96"):
        fetch_series(client, cohort(platform="GPL1"), tmp_path / "other")


def test_a_platform_that_is_not_the_cohorts_is_refused(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text(platform="GPL96")})
    with pytest.raises(GeoError, match="are on GPL96, not on GPL570"):
        fetch_series(client, cohort(), tmp_path)


def test_a_server_that_lists_no_folders_will_do(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    geo.lists_folders = False
    write_mirror(mirror, {matrix_path(): matrix_text()})
    assert fetch_series(client, cohort(), tmp_path).files[0].role == "matrix"


@pytest.mark.parametrize("listed", [True, False])
def test_an_unknown_series_is_told(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort, listed: bool
) -> None:
    if listed:
        (mirror / addresses.matrix_folder("GSE123")).mkdir(parents=True)
    with pytest.raises(GeoError, match=r"series matrix .*check the accession"):
        fetch_series(client, cohort(), tmp_path)


def header_only(gsms: tuple[str, ...] = GSMS) -> str:
    return matrix_text(gsms=gsms, characteristics=[], rows=[])


def test_counts_stand_in_for_a_matrix_without_values(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(
        mirror,
        {
            matrix_path(): header_only(("GSM3", "GSM1", "GSM9", "GSM2")),
            COUNTS_PATH: COUNTS,
            GENES_PATH: COUNT_GENES,
        },
    )
    manifest = fetch_series(client, cohort(id_type="entrez"), tmp_path)
    assert [file.role for file in manifest.files] == ["matrix", "counts", "annotation"]
    data = read_series(tmp_path, manifest)
    assert data.kind == "counts"
    assert data.values.columns.tolist() == data.samples["gsm"].tolist() == ["GSM3", "GSM1", "GSM2"]
    assert data.values.loc["7105"].tolist() == [3, 10, 0]
    assert data.without_values == ("GSM9",)
    assert data.id_table is not None
    assert data.id_table["symbol"].tolist() == ["TSPAN6", "TNMD"]
    assert data.id_table["id"].equals(data.id_table["entrez"])


def test_counts_are_asked_from_geos_page_when_no_folder_has_them(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): header_only()})
    files = {
        addresses.counts_name("GSE123"): write_gzip(tmp_path / "c.gz", COUNTS),
        addresses.counts_annotation_name(): write_gzip(tmp_path / "g.gz", COUNT_GENES),
    }
    geo.pages["/download/"] = lambda request: (200, files[request.query["file"]].read_bytes())
    manifest = fetch_series(client, cohort(id_type="entrez"), tmp_path / "raw")
    asked = geo.asked("/download/")[0].query
    assert asked["type"] == "rnaseq_counts"
    assert (asked["acc"], asked["format"]) == ("GSE123", "file")
    assert read_series(tmp_path / "raw", manifest).kind == "counts"


def test_a_series_without_values_and_counts_is_told(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): header_only()})
    with pytest.raises(GeoError, match="set id_type: entrez"):
        fetch_series(client, cohort(id_type="probe"), tmp_path)
    geo.pages["/download/"] = lambda request: (200, b"<!DOCTYPE html>sorry")
    with pytest.raises(GeoError, match="NCBI has made no counts"):
        fetch_series(client, cohort(id_type="entrez"), tmp_path)


def test_counts_of_other_samples_are_refused(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    files = {
        matrix_path(): header_only(("GSM8", "GSM9")),
        COUNTS_PATH: COUNTS,
        GENES_PATH: COUNT_GENES,
    }
    manifest = fetch_series(
        GeoClient(str(write_mirror(mirror, files)), client.options),
        cohort(id_type="entrez"),
        tmp_path,
    )
    with pytest.raises(GeoError, match="none of the samples"):
        read_series(tmp_path, manifest)


def test_an_unchanged_series_is_not_sent_again_and_a_revised_one_is(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text(), ANNOTATION_PATH: CURATED})
    probes = cohort(id_type="probe")
    first = fetch_series(client, probes, tmp_path)
    assert fetch_series(client, probes, tmp_path) == first
    last = geo.asked(f"/{matrix_path()}")[-1]
    assert last.headers["if-modified-since"] == first.files[0].last_modified
    write_mirror(mirror, {matrix_path(): matrix_text(rows=[("A", "1", "2", "3")])})
    os.utime(mirror / matrix_path(), (2e9, 2e9))  # HTTP dates know whole seconds only
    revised = fetch_series(client, probes, tmp_path)
    assert revised.fingerprint != first.fingerprint
    assert revised.files[1] == first.files[1]
    assert read_series(tmp_path, revised).values.shape == (1, 3)


def test_a_failed_refresh_keeps_the_good_copy(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    first = fetch_series(client, cohort(), tmp_path)
    geo.next(f"/{matrix_path()}", Mood(body=b"<html>maintenance</html>"))
    with pytest.raises(GeoError, match="web page"):
        fetch_series(client, cohort(), tmp_path)
    assert read_series(tmp_path, read_manifest(tmp_path)).values.shape == (2, 3)
    assert read_manifest(tmp_path) == first


def test_files_that_are_not_the_fetched_ones_are_refused(
    client: GeoClient, mirror: Path, tmp_path: Path, cohort: MakeCohort
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    manifest = fetch_series(client, cohort(), tmp_path)
    file = tmp_path / manifest.files[0].name
    write_gzip(file, matrix_text(rows=[("A", "1", "2", "3")]))
    with pytest.raises(GeoError, match="SHA-256 differs"):
        read_series(tmp_path, manifest)
    file.unlink()
    with pytest.raises(GeoError, match="is missing; fetch"):
        read_series(tmp_path, manifest)
    escaped = manifest.files[0].model_copy(update={"name": "../x"})
    with pytest.raises(GeoError, match=r"names '\.\./x'"):
        read_series(tmp_path, manifest.model_copy(update={"files": [escaped]}))
    with pytest.raises(GeoError, match="names no matrix"):
        read_series(tmp_path, manifest.model_copy(update={"files": []}))


@pytest.mark.parametrize("content", ["{", json.dumps({"accession": "GSE1"})])
def test_a_broken_manifest_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(GeneLLMError, match=r"manifest\.json is no .*delete it"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("accession", "folder"),
    [
        ("GSE1", "series/GSEnnn/GSE1"),
        ("GSE123", "series/GSEnnn/GSE123"),
        ("GSE1234", "series/GSE1nnn/GSE1234"),
        ("GSE65682", "series/GSE65nnn/GSE65682"),
        ("GSE107991", "series/GSE107nnn/GSE107991"),
    ],
)
def test_series_lie_in_their_stub_folder(accession: str, folder: str) -> None:
    assert addresses.series_folder(accession) == folder


@pytest.mark.parametrize("accession", ["GPL570", "GSE", "GSE1/../x", "gse1", "GSE１"])
def test_what_is_no_accession_becomes_no_path(accession: str) -> None:
    with pytest.raises(GeoError, match="no GSE accession"):
        addresses.series_folder(accession)
