"""Files looked at where they are: their beginning, and which version they have."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.compressed import HtmlError
from genellm_dagster.geo.http import MissingFileError
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster_tests.geo.files_of_geo import write_gzip
from genellm_dagster_tests.geo.server import FakeGeo, Mood

PATH = "series/GSEnnn/GSE123/matrix/file.txt.gz"
ADDRESS = f"/{PATH}"
TEXT = b"!Series_title\tx\n" * 1_000
Options = Callable[..., GeoOptions]


@pytest.fixture(params=["http", "folder"])
def either(
    request: pytest.FixtureRequest, geo: FakeGeo, mirror: Path, options: Options
) -> GeoClient:
    return GeoClient(geo.address if request.param == "http" else str(mirror), options())


@pytest.mark.parametrize("name", [PATH, "platforms/GPLnnn/plain.txt"])
def test_content_comes_decompressed_and_whole(either: GeoClient, mirror: Path, name: str) -> None:
    if name == PATH:
        write_gzip(mirror / name, TEXT)
    else:
        (mirror / name).parent.mkdir(parents=True)
        (mirror / name).write_bytes(TEXT)
    with either.content(name) as pieces:
        assert b"".join(pieces) == TEXT


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (None, MissingFileError, "does not exist"),
        (b"", GeoError, "is empty"),
        (b"<!DOCTYPE html><html>sorry</html>", HtmlError, "is a web page"),
        (gzip.compress(b"<html>sorry</html>" * 50), HtmlError, "compressed web page"),
        (gzip.compress(gzip.compress(os.urandom(2_000))), GeoError, "gzip inside gzip"),
        (b"plain words " * 99, GeoError, "is not a gzip file"),
        (gzip.compress(os.urandom(99_999))[:-50], GeoError, "truncated gzip"),
        (gzip.compress(os.urandom(99_999))[:-8] + b"12345678", GeoError, "damaged gzip"),
        (gzip.compress(TEXT) + b"more", GeoError, "something else behind the end"),
        (gzip.compress(b"0" * 3_000_000), GeoError, "more than 1,000,000 bytes once decompressed"),
        (gzip.compress(os.urandom(600_000)), GeoError, "is larger than 500,000 bytes"),
    ],
    # The bytes hold the time at which they were compressed, and workers must agree on the names.
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("over_http", [True, False])
@pytest.mark.parametrize("way", ["content", "fetch"])
def test_what_is_no_sound_file_is_refused_whichever_way_it_is_read(
    geo: FakeGeo,
    mirror: Path,
    tmp_path: Path,
    options: Options,
    content: bytes | None,
    error: type[GeoError],
    sentence: str,
    over_http: bool,
    way: str,
) -> None:
    (mirror / PATH).parent.mkdir(parents=True)
    if content is not None:
        (mirror / PATH).write_bytes(content)
    limits = options(max_decompressed_bytes=1_000_000, max_file_bytes=500_000)
    client = GeoClient(geo.address if over_http else str(mirror), limits)
    with pytest.raises(error, match=sentence):
        if way == "fetch":
            client.fetch(PATH, tmp_path / "target" / "file.txt.gz")
        else:
            with client.content(PATH) as pieces:
                for _ in pieces:
                    pass
    target = tmp_path / "target"
    assert not target.exists() or not list(target.iterdir())


def test_leaving_the_block_early_ends_the_transfer(
    client: GeoClient, geo: FakeGeo, mirror: Path
) -> None:
    stuck = threading.Event()
    body = gzip.compress(TEXT + os.urandom(3 << 20), compresslevel=1)
    # The server sends a part and then waits, longer than this test may take, for the rest.
    geo.next(ADDRESS, Mood(body=body, cut_after=1 << 20, length=len(body), hold=stuck))
    with client.content(PATH) as pieces:
        assert next(pieces).startswith(b"!Series_title")
    write_gzip(mirror / PATH, TEXT)
    with client.content(PATH) as pieces:  # the connection is good for the next question
        assert b"".join(pieces) == TEXT
    assert not stuck.is_set()
    stuck.set()


def test_a_failure_before_the_first_bytes_is_tried_again(
    client: GeoClient, geo: FakeGeo, mirror: Path
) -> None:
    write_gzip(mirror / PATH, TEXT)
    geo.next(ADDRESS, Mood(503), Mood(429, {"Retry-After": "0"}), Mood(cut_after=5))
    with client.content(PATH) as pieces:
        assert b"".join(pieces) == TEXT
    assert len(geo.asked(ADDRESS)) == 4


def test_a_connection_that_breaks_later_is_told_where_the_pieces_are_read(
    client: GeoClient, geo: FakeGeo
) -> None:
    body = gzip.compress(os.urandom(1 << 20), compresslevel=0)
    geo.next(ADDRESS, Mood(body=body, cut_after=1 << 19, length=len(body)))
    read = 0
    with client.content(PATH) as pieces:
        with pytest.raises(GeoError, match="broke off"):
            for piece in pieces:
                read += len(piece)
        assert read > 0
    assert len(geo.asked(ADDRESS)) == 1


def test_a_server_that_never_answers_is_told(geo: FakeGeo, options: Options) -> None:
    geo.next(ADDRESS, *[Mood(503)] * 4)
    with (
        pytest.raises(GeoError, match=r"after 4 tries \(HTTP 503\)"),
        GeoClient(geo.address, options()).content(PATH),
    ):
        pass


def test_what_the_reader_raises_comes_out_as_it_is(either: GeoClient, mirror: Path) -> None:
    write_gzip(mirror / PATH, TEXT)
    with pytest.raises(ZeroDivisionError), either.content(PATH):
        raise ZeroDivisionError


BOMB = """
import resource, sys
from pathlib import Path
from genellm_dagster.errors import GeoError
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
root, folder, way = sys.argv[1:]
options = GeoOptions(lock_folder=Path(folder) / "locks", max_decompressed_bytes=1 << 30)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with GeoClient(root, options) as client:
    client.exists("nothing")
    before = peak()
    try:
        if way == "fetch":
            client.fetch("series/bomb.gz", Path(folder) / "bomb.gz")
        else:
            with client.content("series/bomb.gz") as pieces:
                for _ in pieces:
                    pass
    except GeoError as error:
        print((peak() - before) // 1024, error)
"""


@pytest.mark.parametrize("way", ["fetch", "content"])
@pytest.mark.parametrize("over_http", [True, False])
def test_a_bomb_is_stopped_at_the_limit_and_not_at_the_end_of_memory(
    geo: FakeGeo, mirror: Path, tmp_path: Path, way: str, over_http: bool
) -> None:
    (mirror / "series").mkdir()
    member = gzip.compress(b"\0" * (256 << 20), compresslevel=1)
    (mirror / "series" / "bomb.gz").write_bytes(member * 40)  # 10 GB
    root = geo.address if over_http else str(mirror)
    command = [sys.executable, "-c", BOMB, root, str(tmp_path), way]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    grown, _, sentence = said.partition(" ")
    assert "more than 1,073,741,824 bytes once decompressed" in sentence
    assert int(grown) < 150  # MB


@pytest.mark.parametrize("tagged", [True, False])
def test_a_file_is_unchanged_until_its_date_size_or_tag_changes(
    either: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, tagged: bool
) -> None:
    geo.tags_files = tagged
    write_gzip(mirror / PATH, TEXT)
    os.utime(mirror / PATH, (1.5e9, 1.5e9))
    record = either.fetch(PATH, tmp_path / "file.txt.gz")
    asked = len(geo.asked(ADDRESS))
    assert not either.is_changed(record)
    revision = either.revision(PATH)
    assert revision is not None
    assert (revision.size, revision.last_modified) == (record.size, record.last_modified)
    assert [request.method for request in geo.asked(ADDRESS)[asked:]] in (["HEAD"] * 2, [])

    os.utime(mirror / PATH, (1.6e9, 1.6e9))
    # A tag names the content; without one a new date is all that can be seen.
    assert either.is_changed(record) == (either.folder is not None or not tagged)
    write_gzip(mirror / PATH, TEXT + b"one more line")
    os.utime(mirror / PATH, (1.5e9, 1.5e9))
    assert either.is_changed(record)
    (mirror / PATH).unlink()
    assert either.revision(PATH) is None
    assert either.is_changed(record)


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({}, False),
        ({"etag": '"of another server of the same name"'}, False),
        ({"etag": None}, False),
        ({"last_modified": None}, False),
        ({"size": 5}, True),
        ({"etag": '"other"', "last_modified": "Sun, 09 Sep 2001 01:46:40 GMT"}, True),
        ({"etag": '"other"', "last_modified": None}, True),
        ({"etag": None, "last_modified": None}, True),  # nothing to compare but the size
    ],
)
def test_records_are_compared_by_what_both_sides_tell(
    client: GeoClient,
    geo: FakeGeo,
    mirror: Path,
    tmp_path: Path,
    fields: dict[str, object],
    changed: bool,
) -> None:
    geo.tags_files = True
    write_gzip(mirror / PATH, TEXT)
    record = client.fetch(PATH, tmp_path / "file.txt.gz").model_copy(update=fields)
    assert client.is_changed(record) == changed


def test_a_page_that_a_program_makes_is_unknown(
    client: GeoClient, geo: FakeGeo, tmp_path: Path
) -> None:
    geo.pages["/query/acc.cgi"] = lambda request: (
        (405, b"") if request.method == "HEAD" else (200, b"ID\tSymbol\n" * 99)
    )
    record = client.fetch(f"{client.web}/query/acc.cgi?acc=GPL570", tmp_path / "GPL570.txt")
    assert client.revision(record.address) is not None
    assert [request.method for request in geo.requests] == ["GET", "HEAD", "GET"]
    assert client.is_changed(record)
    assert not client.is_changed(record, if_unknown=False)
    assert client.is_changed(record.model_copy(update={"size": 1}), if_unknown=False)


@pytest.mark.parametrize(
    "address",
    [
        "http://elsewhere.invalid/series/x.gz",
        "http://127.0.0.1:1/series/x.gz",
        "file:///etc/passwd",
        "",
        "series/x.gz",
    ],
)
def test_a_record_of_another_root_counts_as_changed_and_nobody_is_asked(
    either: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path, address: str
) -> None:
    write_gzip(mirror / PATH, TEXT)
    record = either.fetch(PATH, tmp_path / "file.txt.gz")
    asked = len(geo.requests)
    assert either.is_changed(record.model_copy(update={"address": address}))
    assert len(geo.requests) == asked


def test_a_server_that_compresses_on_its_own_is_understood_or_refused(
    client: GeoClient, geo: FakeGeo, mirror: Path, tmp_path: Path
) -> None:
    write_gzip(mirror / PATH, TEXT)
    # A file that is gzip by itself, named so as its encoding, too.
    geo.next(ADDRESS, Mood(headers={"Content-Encoding": "gzip"}))
    record = client.fetch(PATH, tmp_path / "file.txt.gz")
    assert (tmp_path / "file.txt.gz").read_bytes() == (mirror / PATH).read_bytes()
    assert record.size == (mirror / PATH).stat().st_size
    geo.next(ADDRESS, Mood(headers={"Content-Encoding": "br"}))
    with pytest.raises(GeoError, match="comes as 'br' although"):
        client.fetch(PATH, tmp_path / "other.txt.gz")
    listing = gzip.compress(b'<a href="one.gz">x</a>')
    geo.next("/series/", Mood(headers={"Content-Encoding": "gzip"}, body=listing))
    assert client.list_folder("series") == ["one.gz"]
    broken = Mood(headers={"Content-Encoding": "gzip"}, body=b"no gzip")
    geo.next("/series/", broken)
    assert client.list_folder("series") == ["GSEnnn"]  # asked again
