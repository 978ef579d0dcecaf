"""The files of prefix states: read in part, damage is found, two writers lose nothing."""

from __future__ import annotations

import json
import mmap
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import StoreError
from genellm_dagster.genellm.prefix_cache import PrefixCache
from genellm_dagster_tests.genellm.cache_process import ADDRESS, cache, process, state


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.rglob(pattern)
    return found


def entries(folder: Path) -> dict[str, list[int]]:
    return json.loads(only(folder / ADDRESS[:32], "*.json").read_text())["entries"]


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 0x10
    file.write_bytes(content)


def test_states_come_back_as_they_were_in_the_order_asked_for(tmp_path: Path):
    states = {str(n): np.random.default_rng(n).normal(size=(n, 4)) for n in range(1, 6)}
    kept = PrefixCache(tmp_path, ADDRESS, 4, "float16")
    kept.write({key: states[key] for key in "12"})
    kept.write({key: states[key] for key in "345"})
    keys = ["5", "1", "3", "1"]
    for key, found in zip(keys, cache_of(tmp_path).read(keys), strict=True):
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, states[key].astype(np.float16))


def cache_of(folder: Path) -> PrefixCache:
    return PrefixCache(folder, ADDRESS, 4, "float16")


def test_a_shard_can_be_opened_as_an_array(tmp_path: Path):
    cache(tmp_path).write({"a": state(1), "b": state(2)})
    opened = np.load(only(tmp_path, "*.npy"), allow_pickle=False)
    np.testing.assert_array_equal(opened, np.concatenate([state(1), state(2)]))


def test_what_is_read_is_mapped_and_not_copied(tmp_path: Path):
    cache(tmp_path).write({"a": state(1)})
    (found,) = cache(tmp_path).read(["a"])
    root = found
    while isinstance(root.base, np.ndarray):
        root = root.base
    assert isinstance(root.base, mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read there")
def test_few_states_of_a_large_shard_cost_little_memory(tmp_path: Path):
    hidden, megabyte = 1024, 2**20
    large = np.ones((64 * megabyte // (4 * hidden), hidden), dtype=np.float32)
    cache(tmp_path, hidden=hidden).write({"few": large[:16], "large": large})
    for keys, least, most in ((["few"], 0, 16), (["few", "large"], 48, 96)):
        with process("peak", tmp_path, hidden, *keys) as reader:
            assert least <= int(reader.word) / 1024 <= most


def test_one_damaged_byte_costs_one_state(tmp_path: Path):
    cache(tmp_path).write({key: state(int(key), 8) for key in "123"})
    flip(only(tmp_path, "*.npy"), entries(tmp_path)["2"][0] + 17)
    found = cache(tmp_path)
    assert found.missing("123") == ["2"]
    np.testing.assert_array_equal(found.read("13"), [state(1, 8), state(3, 8)])
    found.write({"2": state(2, 8)})
    np.testing.assert_array_equal(cache(tmp_path).read("321"), [state(n, 8) for n in (3, 2, 1)])


def test_a_damaged_state_is_refused_rather_than_returned(tmp_path: Path):
    cache(tmp_path).write({"1": state(1)})
    flip(only(tmp_path, "*.npy"), -1)
    with pytest.raises(StoreError, match="materialize prefix_states again"):
        cache(tmp_path).read(["1"])
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize("left", [0, 1, 100, 150])
def test_of_a_truncated_shard_only_whole_states_are_read(tmp_path: Path, left: int):
    cache(tmp_path).write({"1": state(1, 1), "2": state(2, 50)})
    shard = only(tmp_path, "*.npy")
    shard.write_bytes(shard.read_bytes()[:left])
    assert cache(tmp_path).missing("12") == (["2"] if left == 150 else ["1", "2"])


def test_a_shard_that_is_gone_is_missing_and_its_index_goes(tmp_path: Path):
    cache(tmp_path).write({"1": state(1)})
    only(tmp_path, "*.npy").unlink()
    assert cache(tmp_path).missing("1") == ["1"]
    assert not list((tmp_path / ADDRESS[:32]).iterdir())


@pytest.mark.parametrize(
    "index",
    [
        "", "no json", "[]", '{"something": 1}', '{"entries": []}', '{"entries": {"1": 2}}',
        '{"entries": {"1": [128, -2, 5]}}', '{"entries": {"1": [128, 2]}}',
        '{"entries": {"1": [128, 2.0, 5]}}', '{"entries": {"1": [128, 2, null]}}', "\\xff\\xfe",
    ],
)  # fmt: skip
def test_an_index_that_is_none_is_missing_and_makes_place(tmp_path: Path, index: str):
    cache(tmp_path).write({"1": state(1)})
    only(tmp_path / ADDRESS[:32], "*.json").write_bytes(index.encode("latin-1"))
    again = cache(tmp_path)
    assert again.missing("1") == ["1"]
    again.write({"1": state(1)})
    np.testing.assert_array_equal(cache(tmp_path).read("1")[0], state(1))


@given(place=st.tuples(st.integers(0, 2**70), st.integers(0, 2**70), st.integers(0, 2**32 - 1)))
@settings(max_examples=30, deadline=None)
def test_an_index_that_points_elsewhere_never_gives_a_state(tmp_path_factory, place):
    folder = tmp_path_factory.mktemp("pointed")
    cache(folder).write({"1": state(1), "2": state(2)})
    index = only(folder / ADDRESS[:32], "*.json")
    content = {"entries": {"1": list(place), "2": entries(folder)["2"]}}
    index.write_text(json.dumps(content))
    assert cache(folder).missing("12") == ["1"]


def test_states_that_were_mixed_up_are_missing(tmp_path: Path):
    cache(tmp_path).write({"1": state(1), "2": state(2)})
    index = only(tmp_path / ADDRESS[:32], "*.json")
    there = entries(tmp_path)
    index.write_text(json.dumps({"entries": {"1": there["2"], "2": there["1"]}}))
    assert cache(tmp_path).missing("12") == ["1", "2"]


def test_states_of_another_width_or_number_type_are_missing(tmp_path: Path):
    cache(tmp_path).write({"1": state(1, 4)})
    copied = {file: file.read_bytes() for file in (tmp_path / ADDRESS[:32]).iterdir()}
    for hidden, dtype in ((8, "float32"), (2, "float32"), (4, "float16"), (4, "int32")):
        for file, content in copied.items():
            file.write_bytes(content)
        assert PrefixCache(tmp_path, ADDRESS, hidden, dtype).missing("1") == ["1"]


@pytest.mark.parametrize("value", [1e6, np.inf, np.nan])
def test_states_that_do_not_fit_are_refused_and_leave_nothing(tmp_path: Path, value: float):
    with pytest.raises(StoreError, match="do not fit"):
        cache_of(tmp_path).write({"k": np.full((1, 4), value)})
    assert list(tmp_path.rglob("*.*")) == []


def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genellm_dagster.files.os.fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device.*max_gigabytes"):
        cache(tmp_path).write({"1": state(1)})
    monkeypatch.undo()
    assert list((tmp_path / ADDRESS[:32]).iterdir()) == []
    assert cache(tmp_path).missing("1") == ["1"]


def test_a_state_without_tokens_comes_back_empty(tmp_path: Path):
    cache(tmp_path).write({"none": np.zeros((0, 4), np.float32)})
    assert cache(tmp_path).read(["none"])[0].shape == (0, 4)


def test_the_same_state_is_not_stored_twice(tmp_path: Path):
    one, other = cache(tmp_path), cache(tmp_path)
    assert one.missing("1") == other.missing("1") == ["1"]
    one.write({"1": state(1)})
    other.write({"1": state(9), "2": state(2)})
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.npy")) == 2 * (128 + 32)
    np.testing.assert_array_equal(cache(tmp_path).read("1")[0], state(1))
    other.write({"1": state(1), "2": state(2)})
    assert len(list(tmp_path.rglob("*.npy"))) == 2


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path):
    with process("write", tmp_path, 0, 25) as one, process("write", tmp_path, 15, 25) as other:
        for writer in (one, other):
            writer.stdin.write("go\n")
        reader = cache(tmp_path)
        while one.poll() is None or other.poll() is None:
            # A reader between two writers never meets half of a shard.
            keys = [str(n) for n in range(40)]
            lost = set(reader.missing(keys))
            there = [key for key in keys if key not in lost]
            for key, found in zip(there, reader.read(there), strict=True):
                np.testing.assert_array_equal(found, state(int(key)))
        assert (one.wait(), other.wait()) == (0, 0)
    assert reader.missing([*map(str, range(40)), "shared"]) == []
    stored = [key for file in (tmp_path / ADDRESS[:32]).glob("*.json")
              for key in json.loads(file.read_text())["entries"]]  # fmt: skip
    assert sorted(stored) == sorted(set(stored))
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize(
    ("where", "left", "missing"),
    [("array", "*.part", ["1", "2"]), ("index", "*.npy", ["1", "2"]), ("lease", "*.lock", [])],
)
def test_a_writer_that_is_killed_leaves_nothing_half(tmp_path, where, left, missing):
    with process("stop", tmp_path, where) as writer:
        assert writer.word == "ready"
        writer.kill()
        writer.wait()
    assert list(tmp_path.rglob(left))
    again = cache(tmp_path)
    assert again.missing("12") == missing
    again.write({"3": state(3)})
    assert not list(tmp_path.rglob("*.part"))
    arrays, indices = (
        {file.stem for file in (tmp_path / ADDRESS[:32]).glob(kind)} for kind in ("*.npy", "*.json")
    )
    assert arrays == indices
    # One lease is left: that of this process.
    assert len(list((tmp_path / ".leases").iterdir())) == 2
    if where == "lease":
        np.testing.assert_array_equal(again.read("1")[0], state(1, 5000))


def test_writers_killed_at_any_time_leave_only_sound_states(tmp_path: Path):
    draw = random.Random(4)
    for start in (0, 400, 800):
        with process("write", tmp_path, start, 400) as writer:
            writer.stdin.write("go\n")
            time.sleep(draw.uniform(0.02, 0.3))
            writer.kill()
            writer.wait()
        reader = cache(tmp_path)
        keys = [str(number) for number in range(start + 400)]
        lost = set(reader.missing(keys))
        there = [key for key in keys if key not in lost]
        for key, found in zip(there, reader.read(there), strict=True):
            np.testing.assert_array_equal(found, state(int(key)))
    reader.write({"last": state(1)})
    assert there
    assert not list(tmp_path.rglob("*.part"))
