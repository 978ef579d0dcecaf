"""Transfers that break off: gone on with by the next try or process, or begun anew."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import GeoError
from genellm_dagster.files import sha256_of
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster_tests.geo.server import FakeGeo, Mood

PATH = "series/GSEnnn/GSE123/matrix/file.txt.gz"
ADDRESS = f"/{PATH}"
CHUNK = 1 << 18
#: Large enough to be written in several pieces.
CONTENT = gzip.compress(os.urandom(9 * CHUNK), compresslevel=0)
Options = Callable[..., GeoOptions]
FETCH = """
import sys
from pathlib import Path
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
options = GeoOptions(lock_folder=Path(sys.argv[3]), rate_per_second=10_000, backoff_seconds=0.001)
with GeoClient(sys.argv[1], options) as client:
    print(client.fetch("series/GSEnnn/GSE123/matrix/file.txt.gz", Path(sys.argv[2])).sha256)
"""


@pytest.fixture
def served(mirror: Path) -> Path:
    file = mirror / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target" / "file.txt.gz"


def names(target: Path) -> list[str]:
    return sorted(entry.name for entry in target.parent.iterdir())


def ranges(geo: FakeGeo) -> list[str | None]:
    return [request.headers.get("range") for request in geo.asked(ADDRESS)]


def broken_off(
    geo: FakeGeo, served: Path, target: Path, options: Options, after: int = 5 * CHUNK
) -> None:
    """Leave what a client leaves whose connection breaks and that does not try again."""
    geo.next(ADDRESS, Mood(cut_after=after))
    with (
        GeoClient(geo.address, options(retries=0)) as client,
        pytest.raises(GeoError, match="1 tr"),
    ):
        client.fetch(PATH, target)
    assert ".file.txt.gz.part" in names(target)
    geo.requests.clear()


@pytest.mark.parametrize("tagged", [True, False])
def test_a_cut_transfer_is_gone_on_with_in_the_next_try(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path, tagged: bool
) -> None:
    geo.tags_files = tagged
    geo.next(ADDRESS, Mood(cut_after=4 * CHUNK), Mood(cut_after=3 * CHUNK + 17))
    record = client.fetch(PATH, target)
    assert ranges(geo) == [None, f"bytes={4 * CHUNK}-", f"bytes={7 * CHUNK}-"]
    conditions = {request.headers["if-range"] for request in geo.asked(ADDRESS)[1:]}
    assert conditions == {record.etag if tagged else record.last_modified}
    assert target.read_bytes() == CONTENT
    assert (record.sha256, record.size) == (sha256_of(served), len(CONTENT))
    assert names(target) == ["file.txt.gz"]


def test_a_cut_transfer_is_gone_on_with_in_a_later_process(
    geo: FakeGeo, served: Path, target: Path, tmp_path: Path, options: Options
) -> None:
    broken_off(geo, served, target, options)
    command = [sys.executable, "-c", FETCH, geo.address, str(target), str(tmp_path / "locks")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sha256_of(served) == sha256_of(target)
    assert ranges(geo) == [f"bytes={5 * CHUNK}-"]
    assert names(target) == ["file.txt.gz"]


def test_a_killed_process_leaves_what_the_next_one_goes_on_with(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path, tmp_path: Path
) -> None:
    stuck = threading.Event()
    geo.next(ADDRESS, Mood(cut_after=6 * CHUNK, hold=stuck))
    command = [sys.executable, "-c", FETCH, geo.address, str(target), str(tmp_path / "locks")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    part = target.with_name(".file.txt.gz.part")
    try:
        while not part.exists() or part.stat().st_size < 6 * CHUNK:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
        stuck.set()
    assert not target.exists()
    client.fetch(PATH, target)
    assert ranges(geo)[-1] == f"bytes={6 * CHUNK}-"
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.txt.gz"]


def test_a_process_killed_before_the_last_step_asks_for_one_byte(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    broken_off(geo, served, target, options)
    target.with_name(".file.txt.gz.part").write_bytes(CONTENT)
    client.fetch(PATH, target)
    assert ranges(geo) == [f"bytes={len(CONTENT) - 1}-"]
    assert target.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_anew(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    broken_off(geo, served, target, options)
    revised = gzip.compress(os.urandom(8 * CHUNK), compresslevel=0)
    served.write_bytes(revised)
    os.utime(served, (1e9, 1e9))
    record = client.fetch(PATH, target)
    assert ranges(geo) == [f"bytes={5 * CHUNK}-"]  # the server answers with the whole new file
    assert target.read_bytes() == revised
    assert record.sha256 == sha256_of(served)
    assert names(target) == ["file.txt.gz"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-9/10"},
        {"Content-Range": f"bytes {5 * CHUNK}-{len(CONTENT)}/{len(CONTENT) + 1}"},
        {"Content-Range": f"bytes {4 * CHUNK}-{len(CONTENT) - CHUNK - 1}/{len(CONTENT)}"},
        {"Content-Range": "everything"},
        {},
        {"ETag": '"another"', "Content-Range": f"bytes {5 * CHUNK}-{len(CONTENT) - 1}/*"},
        {
            "Last-Modified": "Sun, 09 Sep 2001 01:46:40 GMT",
            "Content-Range": f"bytes {5 * CHUNK}-/*",
        },
    ],
)
def test_a_part_that_does_not_fit_is_never_appended(
    client: GeoClient,
    geo: FakeGeo,
    served: Path,
    target: Path,
    options: Options,
    headers: dict[str, str],
) -> None:
    geo.tags_files = True
    broken_off(geo, served, target, options)
    geo.next(ADDRESS, Mood(206, headers, body=CONTENT[5 * CHUNK :]))
    client.fetch(PATH, target)
    assert target.read_bytes() == CONTENT
    assert ranges(geo) == [f"bytes={5 * CHUNK}-", None]


def test_a_range_that_the_server_cannot_give_is_begun_anew(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    broken_off(geo, served, target, options)
    geo.next(ADDRESS, Mood(416))
    client.fetch(PATH, target)
    assert ranges(geo) == [f"bytes={5 * CHUNK}-", None]
    assert target.read_bytes() == CONTENT


def test_a_part_that_nobody_asked_for_is_refused(
    client: GeoClient, geo: FakeGeo, target: Path
) -> None:
    geo.next(ADDRESS, Mood(206, {"Content-Range": "bytes 0-9/99"}, body=b"0123456789"))
    with pytest.raises(GeoError, match="gives a part where the whole file was asked for"):
        client.fetch(PATH, target)
    assert names(target) == []


def test_a_server_that_sends_no_parts_is_asked_for_the_whole(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path
) -> None:
    geo.sends_parts = False
    geo.next(ADDRESS, Mood(cut_after=4 * CHUNK))
    client.fetch(PATH, target)
    assert ranges(geo) == [None, f"bytes={4 * CHUNK}-"]
    assert target.read_bytes() == CONTENT


def test_what_no_date_or_tag_identifies_is_not_kept(
    geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    geo.dates_files = False
    geo.next(ADDRESS, Mood(cut_after=4 * CHUNK), Mood(cut_after=4 * CHUNK))
    with GeoClient(geo.address, options(retries=1)) as client, pytest.raises(GeoError):
        client.fetch(PATH, target)
    assert ranges(geo) == [None, None]
    assert names(target) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / ".file.txt.gz.part.json").unlink(),
        lambda folder: (folder / ".file.txt.gz.part.json").write_text("{"),
        lambda folder: (folder / ".file.txt.gz.part.json").write_text('{"address": 1}'),
        lambda folder: (folder / ".file.txt.gz.part.json").write_bytes(b"\xff" * 99),
        lambda folder: (folder / ".file.txt.gz.part").write_bytes(b""),
        lambda folder: (folder / ".file.txt.gz.part").write_bytes(CONTENT + b"more"),
        lambda folder: (folder / ".file.txt.gz.part").write_bytes(b"no gzip at all" * 99),
        lambda folder: change_note(folder, address="http://elsewhere/file.txt.gz"),
        lambda folder: change_note(folder, etag=None, last_modified=None),
        lambda folder: change_note(folder, last_modified=None, etag='W/"weak"'),
    ],
)
def test_what_cannot_be_gone_on_with_is_begun_anew_and_removed(
    client: GeoClient,
    geo: FakeGeo,
    served: Path,
    target: Path,
    options: Options,
    damage: Callable[[Path], object],
) -> None:
    broken_off(geo, served, target, options)
    damage(target.parent)
    client.fetch(PATH, target)
    assert ranges(geo) == [None]
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.txt.gz"]


def change_note(folder: Path, **fields: object) -> None:
    note = folder / ".file.txt.gz.part.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), **fields}))


def test_a_part_whose_bytes_were_damaged_is_fetched_anew_as_a_whole(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    broken_off(geo, served, target, options)
    part = target.with_name(".file.txt.gz.part")
    damaged = bytearray(part.read_bytes())
    damaged[CHUNK] ^= 1  # inside the stored data: only the checksum at the end can tell
    part.write_bytes(damaged)
    client.fetch(PATH, target)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.txt.gz"]


def test_a_file_that_is_gone_takes_its_part_with_it(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    broken_off(geo, served, target, options)
    served.unlink()
    with pytest.raises(GeoError, match="does not exist"):
        client.fetch(PATH, target)
    assert names(target) == []


def test_a_part_of_a_newer_version_is_dropped_when_the_old_one_is_back(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    old, when = gzip.compress(b"the version that is back"), served.stat().st_mtime
    served.write_bytes(old)
    os.utime(served, (1e9, 1e9))
    record = client.fetch(PATH, target)
    served.write_bytes(CONTENT)
    os.utime(served, (when, when))
    geo.next(ADDRESS, Mood(cut_after=5 * CHUNK))
    with GeoClient(geo.address, options(retries=0)) as hasty, pytest.raises(GeoError):
        hasty.fetch(PATH, target, record)
    assert target.read_bytes() == old  # what was there stays until the new one is whole
    served.write_bytes(old)
    os.utime(served, (1e9, 1e9))
    assert client.fetch(PATH, target, record) == record
    assert names(target) == ["file.txt.gz"]


def test_tries_that_get_on_are_not_counted(
    geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    long = gzip.compress(os.urandom(30 << 20), compresslevel=0)
    served.write_bytes(long)
    geo.next(ADDRESS, *[Mood(cut_after=6 << 20)] * 4)
    with GeoClient(geo.address, options(retries=1)) as client:
        client.fetch(PATH, target)
    assert target.read_bytes() == long
    assert len(geo.asked(ADDRESS)) == 5


def test_processes_that_fetch_one_file_take_turns(
    geo: FakeGeo, served: Path, target: Path, tmp_path: Path
) -> None:
    stuck = threading.Event()
    geo.next(ADDRESS, Mood(cut_after=5 * CHUNK, hold=stuck))
    command = [sys.executable, "-c", FETCH, geo.address, str(target), str(tmp_path / "locks")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        while not geo.asked(ADDRESS):
            time.sleep(0.01)
        time.sleep(0.5)  # the others had time to come, and wait
        assert len(geo.asked(ADDRESS)) == 1
    finally:
        stuck.set()
    answers = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert answers == {sha256_of(served)} == {sha256_of(target)}
    assert names(target) == ["file.txt.gz"]


def test_threads_that_fetch_one_file_take_turns(
    client: GeoClient, geo: FakeGeo, served: Path, target: Path
) -> None:
    geo.next(ADDRESS, *[Mood(cut_after=3 * CHUNK)] * 3)
    with ThreadPoolExecutor(6) as pool:
        records = list(pool.map(lambda _: client.fetch(PATH, target), range(6)))
    assert {record.sha256 for record in records} == {sha256_of(served), sha256_of(target)}
    assert len(records) == 6
    assert names(target) == ["file.txt.gz"]


def test_another_process_that_gets_nowhere_is_told(
    geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    target.parent.mkdir()
    with (
        GeoClient(geo.address, options(lock_timeout_seconds=0.05)) as client,
        FileLock(str(target.with_name(".file.txt.gz.lock"))),
        pytest.raises(GeoError, match="another process has been fetching"),
    ):
        client.fetch(PATH, target)
    assert not geo.requests


def test_another_process_that_gets_on_is_waited_for(
    geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    target.parent.mkdir()
    part = target.with_name(".file.txt.gz.part")
    lock = FileLock(str(target.with_name(".file.txt.gz.lock")), thread_local=False)
    lock.acquire()

    def get_on() -> None:
        with part.open("ab", buffering=0) as handle:
            for _ in range(20):
                handle.write(b"x" * 10)
                time.sleep(0.05)
        lock.release()

    other = threading.Thread(target=get_on)
    other.start()
    with GeoClient(geo.address, options(lock_timeout_seconds=0.3)) as client:
        client.fetch(PATH, target)
    other.join()
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("local", [True, False])
def test_a_folder_that_cannot_be_written_is_told(
    geo: FakeGeo, served: Path, mirror: Path, tmp_path: Path, options: Options, local: bool
) -> None:
    (tmp_path / "file").write_text("")
    with (
        GeoClient(str(mirror) if local else geo.address, options()) as client,
        pytest.raises(GeoError, match=r"cannot be (copied|written) to"),
    ):
        client.fetch(PATH, tmp_path / "file" / "below" / "file.txt.gz")


def test_a_killed_copy_from_a_folder_leaves_nothing_that_harms(
    served: Path, mirror: Path, target: Path, options: Options
) -> None:
    target.parent.mkdir()
    target.with_name(".file.txt.gz.part").write_bytes(b"half of another file")
    GeoClient(str(mirror), options()).fetch(PATH, target)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.txt.gz"]


def test_halves_of_two_versions_with_one_date_are_not_put_together(
    geo: FakeGeo, served: Path, target: Path, options: Options
) -> None:
    geo.tags_files = False
    for content in (CONTENT, gzip.compress(os.urandom(9 * CHUNK), compresslevel=0)):
        served.write_bytes(content)
        os.utime(served, (1e9, 1e9))
        if content is CONTENT:
            geo.next(ADDRESS, Mood(cut_after=3 * CHUNK))
            with (
                GeoClient(geo.address, options(retries=0)) as client,
                pytest.raises(GeoError, match="could not be fetched"),
            ):
                client.fetch(PATH, target)
    with GeoClient(geo.address, options(retries=0)) as client:
        client.fetch(PATH, target)
    assert target.read_bytes() == served.read_bytes()
    assert names(target) == ["file.txt.gz"]


@settings(max_examples=15, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    cuts=st.lists(st.integers(0, 3 * CHUNK), max_size=5),
    changes=st.sets(st.integers(0, 4), max_size=2),
    tagged=st.booleans(),
    parts=st.booleans(),
)
def test_however_a_transfer_breaks_the_file_is_one_whole_version(
    geo: FakeGeo,
    served: Path,
    target: Path,
    options: Options,
    cuts: list[int],
    changes: set[int],
    tagged: bool,
    parts: bool,
) -> None:
    target.unlink(missing_ok=True)
    geo.tags_files, geo.sends_parts = tagged, parts
    geo.moods[ADDRESS].clear()
    for turn, cut in enumerate(cuts):
        if turn in changes:
            served.write_bytes(gzip.compress(os.urandom(2 * CHUNK + turn), compresslevel=0))
            os.utime(served, (1e9 + turn, 1e9 + turn))
        geo.next(ADDRESS, Mood(cut_after=cut))
        with GeoClient(geo.address, options(retries=0)) as client:
            try:
                client.fetch(PATH, target)
            except GeoError:
                assert not target.exists()
            else:
                assert target.read_bytes() == served.read_bytes()
                target.unlink()
    with GeoClient(geo.address, options()) as client:
        client.fetch(PATH, target)
    assert target.read_bytes() == served.read_bytes()
    assert names(target) == ["file.txt.gz"]
