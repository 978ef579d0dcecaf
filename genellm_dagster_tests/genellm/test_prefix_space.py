"""The bound on prefix states: longest unused goes first, in use stays, whoever is killed."""

from __future__ import annotations

import gc
import logging
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import StoreError
from genellm_dagster.genellm import prefix_space
from genellm_dagster.genellm.prefix_cache import PrefixCache
from genellm_dagster.genellm.prefix_space import PrefixSpace
from genellm_dagster_tests.genellm.cache_process import ADDRESS, cache, process, state

TOKENS = 256  # 4 KiB a state, beside which index and header are small


def room_for(shards: float) -> float:
    """A bound that so many shards of one state each fit in."""
    return shards * (TOKENS * 16 + 400) / 2**30


def taken(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("[!.]*/*"))


def write(folder: Path, number: int, shards: float | None = None) -> PrefixCache:
    kept = cache(folder, None if shards is None else room_for(shards))
    kept.write({str(number): state(number, TOKENS)})
    return kept


def there(folder: Path, numbers: range) -> list[int]:
    """Which states are there, without using them."""
    names = "".join(file.read_text() for file in folder.glob("[!.]*/*.json"))
    return [number for number in numbers if f'"{number}"' in names]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is tested here does not depend on the disk's being told to hurry.
    monkeypatch.setattr("genellm_dagster.files.os.fsync", lambda _: None)


def test_what_was_used_longest_ago_goes_first(tmp_path: Path):
    for number in range(3):
        write(tmp_path, number)
    assert cache(tmp_path).missing(["0"]) == []
    write(tmp_path, 3, shards=3.5)
    assert there(tmp_path, range(4)) == [0, 2, 3]


def test_without_a_bound_all_stays(tmp_path: Path):
    for number in range(8):
        write(tmp_path, number)
    assert there(tmp_path, range(8)) == list(range(8))


@given(
    shards=st.integers(1, 4),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=14),
)
@settings(max_examples=20, deadline=None)
def test_any_order_of_writing_and_using_leaves_the_latest_within_the_bound(
    tmp_path_factory, shards: int, steps: list[tuple[bool, int]]
):
    folder = tmp_path_factory.mktemp("space")
    model: OrderedDict[int, None] = OrderedDict()
    for writes, number in steps:
        # A new object each time: what was used when is known from the disk alone.
        if writes:
            write(folder, number, shards + 0.5)
            model.setdefault(number)
            model.move_to_end(number)
            if len(model) > shards:
                model.popitem(last=False)
        else:
            lost = cache(folder, room_for(shards + 0.5)).missing([str(number)])
            assert bool(lost) == (number not in model)
            if not lost:
                model.move_to_end(number)
        assert there(folder, range(7)) == sorted(model)
        assert taken(folder) <= room_for(shards + 0.5) * 2**30
        assert not list((folder / ".leases").glob("*"))


def test_the_bound_counts_all_addresses_and_an_empty_one_goes(tmp_path: Path):
    write(tmp_path, 0)
    bound = room_for(1.5)
    other = PrefixCache(tmp_path, "b" * 64, 4, "float32", PrefixSpace(tmp_path, bound))
    other.write({"1": state(1, TOKENS)})
    assert there(tmp_path, range(2)) == [1]
    with PrefixSpace(tmp_path, bound).locked():
        PrefixSpace(tmp_path, bound).make_room()
    assert [folder.name for folder in tmp_path.glob("[!.]*")] == ["b" * 32]


def test_a_bound_that_was_lowered_holds_at_once(tmp_path: Path):
    for number in range(4):
        write(tmp_path, number)
    space = PrefixSpace(tmp_path, room_for(2.5))
    with space.locked():
        space.make_room()
    assert there(tmp_path, range(4)) == [2, 3]


def test_what_is_in_use_stays_until_it_is_released(tmp_path: Path, caplog):
    running = [write(tmp_path, number, shards=1.5) for number in range(3)]
    with caplog.at_level(logging.WARNING):
        last = write(tmp_path, 3, shards=1.5)
    assert there(tmp_path, range(4)) == [0, 1, 2, 3]
    assert "max_gigabytes" in caplog.text
    np.testing.assert_array_equal(running[0].read("0")[0], state(0, TOKENS))
    running[0]._space.release()
    running[2]._space.release()
    del last
    gc.collect()
    write(tmp_path, 4, shards=1.5)
    assert there(tmp_path, range(5)) == [1, 4]


def test_a_cache_that_is_no_more_uses_nothing(tmp_path: Path):
    write(tmp_path, 0)
    gc.collect()
    assert not list((tmp_path / ".leases").iterdir())


def test_what_another_process_uses_stays_until_it_ends_however_it_ends(tmp_path: Path):
    for number in range(3):
        write(tmp_path, number)
    with process("hold", tmp_path, 0, 1) as running:
        assert running.word == ""  # nothing was missing
        write(tmp_path, 3, shards=1.5)
        assert there(tmp_path, range(4)) == [0, 1, 3]
        running.kill()
        running.wait()
        assert list((tmp_path / ".leases").iterdir())
        write(tmp_path, 4, shards=1.5)
    assert there(tmp_path, range(5)) == [4]
    assert not list((tmp_path / ".leases").iterdir())


def test_what_was_used_last_is_known_to_the_next_process(tmp_path: Path):
    for number in range(3):
        write(tmp_path, number)
    with process("hold", tmp_path, 0) as running:
        running.stdin.write("end\n")
        running.wait()
    write(tmp_path, 3, shards=2.5)
    assert there(tmp_path, range(4)) == [0, 3]


def test_states_that_were_removed_meanwhile_are_missing_to_who_knew_them(tmp_path: Path):
    knows = write(tmp_path, 0)
    knows._space.release()
    write(tmp_path, 1, shards=1.5)
    assert knows.missing(["0", "1"]) == ["0"]
    with pytest.raises(StoreError, match="materialize prefix_states again"):
        knows.read(["0"])


def test_a_lease_that_cannot_be_read_stops_nobody(tmp_path: Path):
    running = write(tmp_path, 0)
    (lease,) = (tmp_path / ".leases").glob("*.json")
    for content in ("", "[[1]]", "7", "{}"):
        lease.write_text(content)
        write(tmp_path, 1, shards=9)
    assert there(tmp_path, range(2)) == [0, 1]
    running._space.release()


def test_a_lock_that_is_never_let_go_is_said_in_a_sentence(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(prefix_space, "_LOCK_SECONDS", 0.05)
    with FileLock(tmp_path / ".lock"), pytest.raises(StoreError, match="Another process holds"):
        write(tmp_path, 0)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="make the folder writable"):
        write(tmp_path, 0)


def test_a_root_that_is_a_file_is_said_in_a_sentence(tmp_path: Path):
    (tmp_path / "root").write_text("")
    with pytest.raises(StoreError, match="cannot be changed"):
        write(tmp_path / "root", 0)


def test_a_forked_child_does_not_end_what_its_parent_uses(tmp_path: Path):
    running = write(tmp_path, 0)
    child = os.fork()
    if not child:
        running._space.release()
        os._exit(0)
    os.waitpid(child, 0)
    write(tmp_path, 1, shards=1.5)
    assert there(tmp_path, range(2)) == [0, 1]
    assert ADDRESS[:32] in {folder.name for folder in tmp_path.iterdir()}
