"""The starts of a series' files: enough to propose a cohort, and not a byte much more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import GeoError
from genellm_dagster.geo import addresses
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.starts import read_series_starts, read_start
from genellm_dagster_tests.geo.files_of_geo import (
    COUNTS,
    GSMS,
    matrix_path,
    matrix_text,
    write_gzip,
    write_mirror,
)
from genellm_dagster_tests.geo.server import FakeGeo

COUNTS_PATH = f"{addresses.counts_folder('GSE123')}/{addresses.counts_name('GSE123')}"
LONG = matrix_text(rows=[(f"{n}_at", "1", "2", "3") for n in range(2_000)])


@pytest.fixture(params=["http", "folder"])
def reader(
    request: pytest.FixtureRequest,
    client: GeoClient,
    mirror: Path,
    options: Callable[..., GeoOptions],
) -> GeoClient:
    return client if request.param == "http" else GeoClient(str(mirror), options())


def test_samples_and_first_ids_are_read(reader: GeoClient, mirror: Path) -> None:
    write_mirror(
        mirror,
        {matrix_path(): LONG, f"{addresses.supplementary_folder('GSE123')}/GSE123_x.txt.gz": "x"},
    )
    starts = read_series_starts(reader, "GSE123")
    (start,) = starts.files.values()
    assert start.samples["gsm"].tolist() == list(GSMS)
    assert start.ids == tuple(f"{n}_at" for n in range(500))
    assert start.has_values
    assert start.platforms == ("GPL570",)
    assert start.series["title"] == ["Sepsis in children"]
    assert starts.problems == {}
    assert starts.supplementary == ("GSE123_x.txt.gz",)
    assert not starts.has_ncbi_counts


def test_a_broken_file_hides_no_other(reader: GeoClient, mirror: Path) -> None:
    write_mirror(
        mirror,
        {
            matrix_path(platform="GPL570"): matrix_text(),
            matrix_path(platform="GPL96"): matrix_text(gsms=()),
            matrix_path(platform="GPL97"): "nothing of the kind",
        },
    )
    write_gzip(mirror / matrix_path(platform="GPL98"), LONG)
    cut = mirror / matrix_path(platform="GPL98")
    cut.write_bytes(cut.read_bytes()[:300])
    starts = read_series_starts(reader, "GSE123")
    assert list(starts.files) == ["GSE123-GPL570_series_matrix.txt.gz"]
    sentences = {name.split("_")[0]: reason for name, reason in starts.problems.items()}
    assert set(sentences) == {"GSE123-GPL96", "GSE123-GPL97", "GSE123-GPL98"}
    assert "holds no samples" in sentences["GSE123-GPL96"]
    assert "begin is missing" in sentences["GSE123-GPL97"]
    assert "truncated" in sentences["GSE123-GPL98"]


@pytest.mark.parametrize("counted", [True, False])
def test_a_header_only_file_has_no_ids_and_counts_are_looked_for(
    reader: GeoClient, mirror: Path, counted: bool
) -> None:
    files = {matrix_path(): matrix_text(rows=())} | ({COUNTS_PATH: COUNTS} if counted else {})
    write_mirror(mirror, files)
    starts = read_series_starts(reader, "GSE123")
    (start,) = starts.files.values()
    assert (start.ids, start.has_values, starts.has_ncbi_counts) == ((), False, counted)


def test_counts_are_found_on_geos_page_too(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text(rows=())})
    counts = write_gzip(tmp_path / "c.gz", COUNTS).read_bytes()
    geo.pages["/download/"] = lambda request: (200, counts)
    assert read_series_starts(client, "GSE123").has_ncbi_counts
    geo.pages["/download/"] = lambda request: (200, b"<html>sorry</html>")
    assert not read_series_starts(client, "GSE123").has_ncbi_counts


def test_an_unknown_series_is_told(reader: GeoClient) -> None:
    with pytest.raises(GeoError, match="GSE124 has no series matrix"):
        read_series_starts(reader, "GSE124")


def test_what_comes_after_the_first_ids_is_not_read() -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for start in range(0, len(LONG), 100):
            taken = start + 100
            yield LONG[start : start + 100].encode()

    assert len(read_start(pieces(), "x").ids) == 500
    assert taken < len(LONG) / 2


TEXTS = st.sampled_from(
    [
        LONG,
        matrix_text(),
        matrix_text(rows=()),
        matrix_text().replace("\n", "\r\n"),
        matrix_text().replace("\n\n", "\n"),
        matrix_text(rows=[(f"{n}", "1", "2", "3") for n in range(499)]),
        matrix_text(rows=[(f"{n}", "1", "2", "3") for n in range(501)]),
    ]
)


@given(text=TEXTS, size=st.integers(1, 4_000))
@settings(max_examples=60, deadline=None)
def test_however_the_pieces_are_cut_the_start_is_the_same(text: str, size: int) -> None:
    data = text.encode()
    cut = read_start((data[at : at + size] for at in range(0, len(data), size)), "x")
    whole = read_start(iter([data]), "x")
    assert cut.ids == whole.ids
    assert cut.has_values == whole.has_values
    assert cut.samples.equals(whole.samples)
    assert cut.series == whole.series


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (matrix_text(end=False), "series_matrix_table_end is missing after 2 rows"),
        (matrix_text().replace('"ID_REF"\t', ""), "starts with column 'GSM1' instead of ID_REF"),
        ("", "begin is missing"),
    ],
)
def test_a_table_that_does_not_start_as_one_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(GeoError, match=sentence):
        read_start(iter([text.encode()]), "x")
