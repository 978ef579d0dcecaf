"""Manners: NCBI's limits across processes, pauses that are asked for, and silence about secrets."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.catalog import search_series
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.series import fetch_series
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.study import Study
from genellm_dagster_tests.geo.files_of_geo import (
    COUNT_GENES,
    COUNTS,
    matrix_path,
    matrix_text,
    write_gzip,
    write_mirror,
)
from genellm_dagster_tests.geo.server import FakeGeo, Mood

Options = Callable[..., GeoOptions]
ASK = """
import sys
from pathlib import Path
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
address, folder, times, key = sys.argv[1:]
options = GeoOptions(lock_folder=Path(folder), api_key=key or None)
with GeoClient(address, options) as client:
    for number in range(int(times)):
        client.exists(f"file{number}")
"""


@pytest.mark.parametrize(("key", "rate", "times"), [("", 3, 5), ("k3y", 10, 16)])
def test_two_processes_together_keep_to_ncbis_rate(
    geo: FakeGeo, tmp_path: Path, key: str, rate: int, times: int
) -> None:
    command = [sys.executable, "-c", ASK, geo.address, str(tmp_path / "locks"), str(times), key]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    at = sorted(request.at for request in geo.requests)
    assert len(at) == 2 * times
    # Slots are evenly spaced; a request may be a little late, never early. Never more than the
    # rate in one second, but for one that the slots' own spacing does not exclude.
    assert at[-1] - at[0] >= (2 * times - 1) / rate - 0.25
    assert all(later - first >= 0.75 for first, later in zip(at, at[rate:], strict=False))


def test_who_gets_too_many_requests_stops_every_process(
    geo: FakeGeo, mirror: Path, options: Options
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    geo.next("/series", Mood(429, {"Retry-After": "1"}))
    with pytest.raises(GeoError, match="HTTP 429"):
        GeoClient(geo.address, options(retries=0)).exists("series")
    with GeoClient(geo.address, options()) as another:
        assert another.exists(matrix_path())
    first, second = geo.requests
    assert second.at - first.at >= 0.95


def test_a_storm_passes(geo: FakeGeo, mirror: Path, tmp_path: Path, options: Options) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    moods = [Mood(503), Mood(500), Mood(502, {"Retry-After": "soon"}), Mood(504), Mood(cut_after=9)]
    geo.next(f"/{matrix_path()}", *moods)
    with GeoClient(geo.address, options(retries=5)) as client:
        client.fetch(matrix_path(), tmp_path / "file.gz")
    assert len(geo.asked(f"/{matrix_path()}")) == 6


def test_secrets_reach_no_log_error_or_manifest(
    geo: FakeGeo,
    mirror: Path,
    tmp_path: Path,
    options: Options,
    cohort: Callable[..., Cohort],
    caplog: pytest.LogCaptureFixture,
) -> None:
    user, password, key = "who-asks", "pa55/word", "0123secretkey"
    with_password = geo.address.replace("//", f"//{user}:pa55%2Fword@")
    header_only = matrix_text(rows=[])
    write_mirror(mirror, {matrix_path(): header_only, matrix_path("GSE7"): header_only})
    folder = mirror / "series/GSEnnn/GSE123/rnaseq_counts"
    write_gzip(folder / "GSE123_raw_counts_GRCh38.p13_NCBI.tsv.gz", COUNTS)
    write_gzip(folder / "Human.GRCh38.p13.annot.tsv.gz", COUNT_GENES)
    geo.serve_catalogue([{"accession": "GSE123"}])
    geo.next("/eutils/esearch.fcgi", Mood(500), Mood(200, body=b'{"error": "backend"}'))
    geo.next(f"/{matrix_path()}", Mood(302, {"Location": f"{geo.address}/{matrix_path()}"}))
    errors: list[str] = []

    def failing(call: Callable[[], object]) -> None:
        with pytest.raises(GeoError) as refusal:
            call()
        errors.extend(traceback.format_exception(refusal.value))

    study = Study.model_construct(name="sepsis", search="sepsis")
    asking = options(eutils=f"{with_password}/eutils", api_key=key, retries=2)
    described = cohort(id_type="entrez")
    with caplog.at_level(logging.DEBUG), GeoClient(with_password, asking) as client:
        manifest = fetch_series(client, described, tmp_path / "series")
        assert search_series(client, study)["accession"].tolist() == ["GSE123"]
        assert client.is_changed(manifest.files[0]) is False
        with client.content(matrix_path()) as pieces:
            next(pieces)
        # Every way to fail: nothing there, refused, broken, no counts, another search refused.
        failing(lambda: client.fetch("series/none.gz", tmp_path / "none.gz"))
        failing(lambda: client.list_folder("nowhere"))
        failing(lambda: fetch_series(client, cohort(accession="GSE7"), tmp_path / "other"))
        broken = cohort(accession="GSE7", id_type="entrez")
        failing(lambda: fetch_series(client, broken, tmp_path / "other"))
        for mood in (Mood(403), Mood(503), Mood(302, {"Location": "ftp://x"}), Mood(cut_after=3)):
            geo.next(f"/{matrix_path()}", *[mood] * 3)
            failing(lambda: client.fetch(matrix_path(), tmp_path / "more.gz"))
            geo.moods.clear()
        geo.next("/eutils/esearch.fcgi", Mood(400, body=b'{"error": "key 0123secretkey is none"}'))
        failing(lambda: search_series(client, study))
        shown = [client.root, str(client.web), repr(client), repr(client.http)]
    requests = geo.asked(f"/{matrix_path()}")
    assert all(request.headers["authorization"].startswith("Basic ") for request in requests)
    assert geo.asked("/eutils/esearch.fcgi")[0].form["api_key"] == key
    assert all(key not in request.path + str(request.query) for request in geo.requests)
    logged = caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    assert "esearch" in logged  # the requests were logged, so the lines below can fail
    assert matrix_path() in logged
    kept = [
        file.read_text(errors="replace")
        for file in (tmp_path / "series").rglob("*")
        if file.suffix != ".gz" and file.is_file()
    ]
    assert len(kept) == 1  # the manifest
    basic = requests[0].headers["authorization"].removeprefix("Basic ")
    for text in (logged, *errors, *kept, *shown):
        for secret in (password, "pa55%2Fword", key, basic):
            assert secret not in text


def test_a_password_goes_to_its_own_server_alone(
    geo: FakeGeo, mirror: Path, tmp_path: Path, options: Options
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    elsewhere = geo.address.replace("127.0.0.1", "localhost")
    with_password = geo.address.replace("//", "//me:pa55word@")
    geo.next(f"/{matrix_path()}", Mood(302, {"Location": f"{elsewhere}/{matrix_path()}"}))
    with GeoClient(with_password, options()) as client:
        client.fetch(matrix_path(), tmp_path / "file.gz")
        client.fetch(f"{elsewhere}/{matrix_path()}", tmp_path / "other.gz")
        client.fetch(f"{client.web}/{matrix_path()}", tmp_path / "third.gz")
    sent = ["authorization" in request.headers for request in geo.requests]
    assert sent == [True, False, False, True]


def test_an_address_that_is_none_is_told(options: Options) -> None:
    with pytest.raises(GeoError, match="is no address"):
        GeoClient("http://[::1/geo", options())
    with (
        GeoClient("http://host:port/geo", options()) as client,
        pytest.raises(GeoError, match="cannot be asked"),
    ):
        client.exists("series")
