"""Prefix states: equal to running the layers, kept by content, safe under two writers."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from genellm_dagster.errors import StoreError
from genellm_dagster.genellm.prefix_cache import PrefixCache
from genellm_dagster_tests.genellm.makers import Setting, simulated


def test_states_are_what_the_layers_give_on_the_sample_alone(tiny: Setting, easy, tmp_path: Path):
    states, _ = easy
    profiles, _ = simulated(cohorts=3, each=24)
    encoder = tiny.encoder()
    for row in (0, 5, 30, 71):
        token = tiny.tokens(profiles.iloc[[row]])[0]
        genes, positions, values = (
            torch.as_tensor(part)[None] for part in (token.genes, token.positions, token.values)
        )
        with torch.no_grad():
            straight = encoder.states(genes.long(), positions.long(), values)[0]
        which = states.reference_of[row]
        kept = (states.reference[which] + states.delta[row].float())[: len(token)]
        torch.testing.assert_close(kept, straight, atol=1e-4, rtol=0)
        assert int(states.present[which].sum()) == len(token)


def test_a_second_call_and_other_names_encode_nothing(tiny: Setting, tmp_path: Path):
    profiles, _ = simulated(cohorts=2, each=6)
    first = tiny.encode(tmp_path, tiny.tokens(profiles))
    assert first.encoded == 12 + 2  # the references: with and without the absent gene
    renamed = profiles.rename(index=lambda gsm: f"{gsm}1")

    def never() -> None:
        raise AssertionError("the encoder was asked for though nothing is missing")

    again = tiny.cache(tmp_path).encode(tiny.tokens(renamed), never)  # type: ignore[arg-type]
    assert (again.encoded, again.tokens, again.stored_bytes) == (0, 0, 0)
    assert again.address == first.address


def test_depth_and_tokenizer_have_addresses_of_their_own(tiny: Setting, tmp_path: Path):
    one, two = tiny.cache(tmp_path, 1), tiny.cache(tmp_path, 2)
    assert one.address != two.address


def test_progress_ends_at_the_total(tiny: Setting, tmp_path: Path):
    profiles, _ = simulated(cohorts=2, each=6)
    seen: list[tuple[int, int]] = []
    tiny.cache(tmp_path).encode(
        tiny.tokens(profiles), tiny.encoder, lambda done, total: seen.append((done, total))
    )
    assert seen[-1][0] == seen[-1][1] > 0
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_states_that_are_not_stored_are_refused(tiny: Setting, tmp_path: Path):
    profiles, _ = simulated(cohorts=1, each=4)
    with pytest.raises(StoreError, match="materialize prefix_states again"):
        tiny.cache(tmp_path).load(tiny.tokens(profiles))


def _only(folder: Path, pattern: str) -> Path:
    (found,) = folder.rglob(pattern)
    return found


def test_a_truncated_shard_is_refused_by_name(tmp_path: Path):
    PrefixCache(tmp_path, "a" * 64, 4, "float16").write({"k": np.ones((3, 4))})
    shard = _only(tmp_path, "*.npy")
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(StoreError, match=f"{shard.name} is damaged"):
        PrefixCache(tmp_path, "a" * 64, 4, "float16").read(["k"])


def test_a_shard_shorter_than_its_index_says_is_refused(tmp_path: Path):
    PrefixCache(tmp_path, "a" * 64, 4, "float16").write({"k": np.ones((3, 4))})
    index = _only(tmp_path, "*.json")
    index.write_text(json.dumps({"entries": {"k": 5}}))
    with pytest.raises(StoreError, match="damaged"):
        PrefixCache(tmp_path, "a" * 64, 4, "float16").read(["k"])


def test_an_index_that_is_none_is_refused_by_name(tmp_path: Path):
    PrefixCache(tmp_path, "a" * 64, 4, "float16").write({"k": np.ones((3, 4))})
    index = _only(tmp_path, "*.json")
    index.write_text('{"something": 1}')
    with pytest.raises(StoreError, match=index.name):
        PrefixCache(tmp_path, "a" * 64, 4, "float16").read(["k"])


def test_states_of_another_width_are_refused(tmp_path: Path):
    PrefixCache(tmp_path, "a" * 64, 4, "float16").write({"k": np.ones((3, 4))})
    with pytest.raises(StoreError, match="another kind of state"):
        PrefixCache(tmp_path, "a" * 64, 8, "float16").read(["k"])


def test_states_that_overflow_are_refused_and_leave_nothing(tmp_path: Path):
    cache = PrefixCache(tmp_path, "a" * 64, 4, "float16")
    with pytest.raises(StoreError, match="do not fit"), np.errstate(over="ignore"):
        cache.write({"k": np.full((1, 4), 1e6)})
    assert list(tmp_path.rglob("*.*")) == []


def _write_shards(folder: Path, start: int, ready) -> None:
    cache = PrefixCache(folder, "a" * 64, 4, "float32")
    ready.wait()
    for number in range(start, start + 30):
        cache.write({str(number): np.full((2, 4), number), "shared": np.full((1, 4), -1)})


def test_two_writers_at_once_lose_nothing(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(2)
    writers = [
        context.Process(target=_write_shards, args=(tmp_path, start, ready)) for start in (0, 20)
    ]
    for writer in writers:
        writer.start()
    reader = PrefixCache(tmp_path, "a" * 64, 4, "float32")
    while any(writer.is_alive() for writer in writers):
        # A reader between two writers never meets half of a shard.
        there = [str(n) for n in range(50) if str(n) not in reader.missing([str(n)])]
        for key, state in zip(there, reader.read(there), strict=True):
            np.testing.assert_array_equal(state, np.full((2, 4), int(key)))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert reader.missing([*map(str, range(50)), "shared"]) == []
    for number, state in enumerate(reader.read([str(n) for n in range(50)])):
        np.testing.assert_array_equal(state, np.full((2, 4), number))
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]
