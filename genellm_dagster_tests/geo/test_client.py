"""The client against a real server: whole files or none, polite, silent about keys."""

from __future__ import annotations

import gzip
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from filelock import FileLock

from genellm_dagster.errors import GeoError
from genellm_dagster.files import sha256_of
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.http import MissingFileError
from genellm_dagster.geo.options import NCBI_ROOT, NCBI_WEB, GeoOptions
from genellm_dagster.geo.throttle import Throttle
from genellm_dagster_tests.geo.files_of_geo import write_gzip
from genellm_dagster_tests.geo.server import FakeGeo, Mood

PATH = "series/GSEnnn/GSE123/matrix/file.txt.gz"
CONTENT = os.urandom(40_000)
Options = Callable[..., GeoOptions]


@pytest.fixture
def served(mirror: Path) -> Path:
    return write_gzip(mirror / PATH, CONTENT)


def nothing_left(folder: Path) -> bool:
    return not list(folder.iterdir())


def test_a_file_is_fetched_whole_with_its_record(
    client: GeoClient, geo: FakeGeo, served: Path, tmp_path: Path
) -> None:
    record = client.fetch(PATH, tmp_path / "got" / "file.txt.gz")
    assert (tmp_path / "got" / "file.txt.gz").read_bytes() == served.read_bytes()
    assert record.address == f"{geo.address}/{PATH}"
    assert (record.size, record.sha256) == (served.stat().st_size, sha256_of(served))
    assert record.last_modified is not None
    assert datetime.fromisoformat(record.fetched_at) <= datetime.now(UTC)


def test_folders_are_listed_and_files_found(client: GeoClient, served: Path) -> None:
    assert client.list_folder("series/GSEnnn") == ["GSE123"]
    assert client.list_folder("series/GSEnnn/GSE123/matrix") == ["file.txt.gz"]
    assert client.exists(PATH)
    assert not client.exists("series/GSEnnn/GSE9")
    with pytest.raises(MissingFileError, match="does not exist"):
        client.list_folder("series/GSE9nnn")


@pytest.mark.parametrize("as_address", [True, False])
def test_a_folder_serves_as_root_in_both_spellings(
    served: Path, mirror: Path, tmp_path: Path, options: Options, as_address: bool
) -> None:
    client = GeoClient(mirror.as_uri() if as_address else str(mirror), options())
    assert client.list_folder("series/GSEnnn") == ["GSE123"]
    assert client.exists(PATH)
    assert not client.exists("series/none")
    record = client.fetch(PATH, tmp_path / "f.gz")
    assert record.sha256 == sha256_of(served)
    assert client.fetch(PATH, tmp_path / "f.gz", record) is record
    with pytest.raises(MissingFileError):
        client.fetch("series/none.gz", tmp_path / "g.gz")
    with pytest.raises(MissingFileError):
        client.list_folder("series/none")


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        ("/nowhere/at/all", "is no folder"),
        ("file:///nowhere", "is no folder"),
        ("file://host/x", "three slashes"),
        ("ftp://ftp.ncbi.nlm.nih.gov/geo", "neither an http"),
        ("ftp://me:secret@host/geo", "neither an http"),
    ],
)
def test_a_root_that_cannot_be_used_is_refused(root: str, sentence: str, options: Options) -> None:
    with pytest.raises(GeoError, match=sentence) as refusal:
        GeoClient(root, options())
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("path", ["../x", "series/../../x", "/etc/passwd", "a\\b", "", "a\x00"])
def test_no_path_leaves_the_root(path: str, mirror: Path, options: Options) -> None:
    with pytest.raises(GeoError, match="no path below"):
        GeoClient(str(mirror), options()).exists(path)


def test_failures_that_may_pass_are_tried_again(
    client: GeoClient, geo: FakeGeo, served: Path, tmp_path: Path
) -> None:
    geo.next(
        f"/{PATH}",
        Mood(503, {"Retry-After": "0"}),
        Mood(429, {"Retry-After": format_datetime(datetime.now(UTC) - timedelta(days=1))}),
        Mood(cut_after=1000),
    )
    client.fetch(PATH, tmp_path / "file.gz")
    assert len(geo.asked(f"/{PATH}")) == 4
    assert sha256_of(tmp_path / "file.gz") == sha256_of(served)


def test_retry_after_is_honoured(
    client: GeoClient, geo: FakeGeo, served: Path, tmp_path: Path
) -> None:
    geo.next(f"/{PATH}", Mood(429, {"Retry-After": "1"}))
    client.fetch(PATH, tmp_path / "file.gz")
    first, second = geo.asked(f"/{PATH}")
    assert second.at - first.at >= 1.0


def test_a_pause_longer_than_allowed_is_told_at_once(
    client: GeoClient, geo: FakeGeo, served: Path, tmp_path: Path
) -> None:
    geo.next(f"/{PATH}", Mood(503, {"Retry-After": "86400"}))
    with pytest.raises(GeoError, match="asks to wait 86,400 s"):
        client.fetch(PATH, tmp_path / "file.gz")
    assert len(geo.asked(f"/{PATH}")) == 1


@pytest.mark.parametrize(
    ("mood", "sentence", "tries"),
    [
        (Mood(503), r"after 4 tries \(HTTP 503\)", 4),
        (Mood(429), r"after 4 tries \(HTTP 429\)", 4),
        (Mood(body=b"<html>Error</html>"), "web page", 1),
        (Mood(body=b"plain words" * 100), "not a gzip file", 1),
        (Mood(body=gzip.compress(CONTENT)[:-200]), "truncated gzip", 1),
        (Mood(body=gzip.compress(CONTENT)[:-200], without_length=True), "truncated gzip", 4),
        (Mood(body=gzip.compress(CONTENT), length=99_999), "after 4 tries", 4),
        (Mood(403), r"refuses the request \(HTTP 403\)", 1),
        (Mood(404), "does not exist", 1),
        (Mood(302, {"Location": "ftp://elsewhere/x"}), "cannot be asked", 1),
    ],
)
def test_what_cannot_be_had_ends_in_a_sentence_and_leaves_nothing(
    client: GeoClient, geo: FakeGeo, tmp_path: Path, mood: Mood, sentence: str, tries: int
) -> None:
    if mood.length is not None:
        mood.cut_after = len(mood.body or b"")
    geo.next(f"/{PATH}", *[mood] * tries)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(GeoError, match=sentence) as refusal:
        client.fetch(PATH, target / "file.gz")
    assert PATH in str(refusal.value) or "ftp" in str(refusal.value)
    assert len(geo.asked(f"/{PATH}")) == tries
    assert nothing_left(target)


def test_a_server_that_is_not_there_is_told(tmp_path: Path, options: Options) -> None:
    client = GeoClient("http://127.0.0.1:9", options(retries=1))
    with pytest.raises(GeoError, match=r"after 2 tries .*Connect"):
        client.fetch(PATH, tmp_path / "file.gz")


@pytest.mark.parametrize("without_length", [True, False])
def test_a_file_over_the_size_limit_is_refused(
    geo: FakeGeo, served: Path, tmp_path: Path, options: Options, without_length: bool
) -> None:
    geo.next(f"/{PATH}", Mood(body=served.read_bytes(), without_length=without_length))
    client = GeoClient(geo.address, options(max_file_bytes=10_000))
    with pytest.raises(GeoError, match="larger than 10,000 bytes"):
        client.fetch(PATH, tmp_path / "target" / "file.gz")


@pytest.mark.parametrize("local", [True, False])
def test_a_bomb_is_refused_while_it_is_fetched(
    geo: FakeGeo, mirror: Path, tmp_path: Path, options: Options, local: bool
) -> None:
    write_gzip(mirror / PATH, b"0" * 30_000_000)
    client = GeoClient(
        str(mirror) if local else geo.address, options(max_decompressed_bytes=1_000_000)
    )
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(GeoError, match="more than 1,000,000 bytes once decompressed"):
        client.fetch(PATH, target / "file.gz")
    assert nothing_left(target)


def test_an_unchanged_file_is_not_sent_again(
    client: GeoClient, geo: FakeGeo, served: Path, tmp_path: Path
) -> None:
    target = tmp_path / "file.gz"
    record = client.fetch(PATH, target)
    inode = target.stat().st_ino
    assert client.fetch(PATH, target, record) == record  # the server answers 304
    assert geo.asked(f"/{PATH}")[-1].headers["if-modified-since"] == record.last_modified
    changed = {"Last-Modified": record.last_modified or ""}
    geo.next(f"/{PATH}", Mood(body=served.read_bytes(), headers=changed))  # it ignores conditions
    assert client.fetch(PATH, target, record) == record
    assert target.stat().st_ino == inode


def test_a_damaged_copy_is_fetched_again(
    client: GeoClient, geo: FakeGeo, served: Path, tmp_path: Path
) -> None:
    target = tmp_path / "file.gz"
    record = client.fetch(PATH, target)
    target.write_bytes(b"x" * record.size)
    assert client.fetch(PATH, target, record).sha256 == record.sha256 == sha256_of(target)
    assert "if-modified-since" not in geo.asked(f"/{PATH}")[-1].headers


def test_a_changed_file_is_fetched_and_the_same_bytes_keep_their_time(
    client: GeoClient, served: Path, tmp_path: Path
) -> None:
    target = tmp_path / "file.gz"
    record = client.fetch(PATH, target).model_copy(update={"fetched_at": "2020-01-01T00:00:00Z"})
    os.utime(served, (1e9, 1e9))
    touched = client.fetch(PATH, target, record)
    assert touched.last_modified != record.last_modified
    assert (touched.sha256, touched.fetched_at) == (record.sha256, record.fetched_at)
    write_gzip(served, b"a revised series")
    revised = client.fetch(PATH, target, touched)
    assert revised.sha256 == sha256_of(served) != record.sha256
    assert revised.fetched_at != record.fetched_at


def test_passwords_in_the_root_stay_secret(
    geo: FakeGeo, served: Path, tmp_path: Path, options: Options
) -> None:
    root = geo.address.replace("http://", "http://me:pa55word@")
    with GeoClient(root, options()) as client:
        record = client.fetch(PATH, tmp_path / "file.gz")
        with pytest.raises(GeoError) as refusal:
            client.fetch("series/none.gz", tmp_path / "none.gz")
    assert geo.requests[0].headers["authorization"].startswith("Basic ")
    for text in (record.model_dump_json(), str(refusal.value), client.root):
        assert "pa55word" not in text


def test_tool_and_email_are_told_to_the_server(
    geo: FakeGeo, served: Path, tmp_path: Path, options: Options
) -> None:
    with GeoClient(geo.address, options(tool="mytool", email="me@x.org")) as client:
        client.fetch(PATH, tmp_path / "file.gz")
    assert geo.requests[0].headers["user-agent"] == "mytool (me@x.org)"
    assert geo.requests[0].headers["accept-encoding"] == "identity"


def test_the_key_reaches_no_log(
    geo: FakeGeo, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "0123secretkey"
    client = GeoClient(geo.address, options(api_key=secret, retries=0))
    geo.next("/eutils/esearch.fcgi", Mood(500))
    with caplog.at_level(logging.DEBUG), pytest.raises(GeoError) as refusal:
        client.http.text(f"{geo.address}/eutils/esearch.fcgi", form={"api_key": secret})
    assert geo.requests[0].form["api_key"] == secret
    assert secret not in caplog.text + str(refusal.value) + repr(client.options)
    assert "esearch" in caplog.text  # something was logged, so the line above can fail


def test_the_limit_is_ncbis_unless_set() -> None:
    assert GeoOptions().requests_per_second == 3
    assert GeoOptions(api_key="k").requests_per_second == 10  # type: ignore[arg-type]
    assert GeoOptions(rate_per_second=1).requests_per_second == 1


def test_processes_share_one_limit(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path;"
        "from genellm_dagster.geo.throttle import Throttle;"
        "throttle = Throttle(Path(sys.argv[1]), 10, 60)\n"
        "for _ in range(4): throttle.wait(sys.argv[2]); print(repr(time.time()))"
    )
    start = time.time() + 1  # a slot ahead of all, so that every bound below is exact
    slots = tmp_path / "ncbi.nlm.nih.gov.next"
    slots.write_text(repr(start))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), host], stdout=subprocess.PIPE, text=True
        )
        for host in ("eutils.ncbi.nlm.nih.gov", "ftp.ncbi.nlm.nih.gov", "www.ncbi.nlm.nih.gov")
    ]
    times = sorted(float(t) for process in processes for t in process.communicate()[0].split())
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(times) == 12
    # The n-th of all requests waits for the n-th slot, whichever process sends it.
    assert all(at >= start + 0.1 * n - 0.01 for n, at in enumerate(times))
    assert float(slots.read_text()) >= start + 1.2 - 0.01


def test_a_slot_left_by_another_clock_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / "x.org.next").write_text(repr(time.time() + 1e6))
    Throttle(tmp_path, 1000, 60).wait("x.org")
    assert float((tmp_path / "x.org.next").read_text()) < time.time() + 60


def test_a_lock_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GeoError, match=r"lock folder .* cannot be written"):
        Throttle(tmp_path / "file" / "locks", 10, 1).wait("x.org")


def test_a_lock_that_nobody_gives_back_is_told(tmp_path: Path) -> None:
    with (
        FileLock(str(tmp_path / "x.org.lock")),
        pytest.raises(GeoError, match=r"another process holds .*x\.org\.lock"),
    ):
        Throttle(tmp_path, 10, 0.05).wait("x.org")


def test_web_pages_are_ncbis_only_for_ncbis_root(mirror: Path, options: Options) -> None:
    assert GeoClient(NCBI_ROOT + "/", options()).web == NCBI_WEB
    assert GeoClient("http://x.org/geo/", options()).web == "http://x.org/geo"
    assert GeoClient("http://x.org/geo", options(web="http://y.org/")).web == "http://y.org"
    client = GeoClient(str(mirror), options(web="http://y.org"))
    assert client.web is None
    with pytest.raises(MissingFileError, match="not in the mirror"):
        client.fetch("http://y.org/file", mirror / "x")
