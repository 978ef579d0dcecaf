"""Prefix states: equal to running the layers, kept by content, made again when damaged or gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import StoreError
from genellm_dagster.genellm.options import AdapterOptions, PrefixOptions, TrainingOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.states import PrefixStates, StateSet, _halved, uncached
from genellm_dagster.genellm.training import Fit, fit
from genellm_dagster_tests.genellm.makers import GENES, Setting, simulated


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


def _same(one: StateSet, other: StateSet) -> None:
    assert one.gsm == other.gsm
    for name in ("delta", "reference", "reference_of", "positions", "present"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-4, rtol=0)


def _bounded(tiny: Setting, folder: Path, gigabytes: float) -> PrefixStates:
    return PrefixStates(
        folder, tiny.backbone, tiny.tokenizer.describe(), 1, max_gigabytes=gigabytes
    )


def test_scores_equal_those_of_states_that_were_never_kept(tiny: Setting, easy, fitted: Fit):
    states, samples = easy
    profiles, _ = simulated(cohorts=3, each=24)
    straight = uncached(tiny.tokens(profiles), tiny.encoder(), len(GENES))
    assert straight.delta.dtype == torch.float32
    rows = np.arange(len(samples))
    kept, never = (
        predict(tiny.model, which, rows, fitted.members, 1, AdapterOptions())
        for which in (states, straight)
    )
    np.testing.assert_allclose(kept.score, never.score, atol=1e-4)
    np.testing.assert_allclose(kept.logits, never.logits, atol=2e-3)
    assert np.ptp(kept.score) > 0.5


def test_rounding_errors_cancel_over_the_tokens(tiny: Setting, easy):
    states, _ = easy
    profiles, _ = simulated(cohorts=3, each=24)
    exact = uncached(tiny.tokens(profiles), tiny.encoder(), len(GENES)).delta

    def mean_error(rounded: torch.Tensor) -> float:
        return float((rounded.double() - exact.double()).mean(dim=1).abs().mean())

    assert mean_error(states.delta) < 0.4 * mean_error(exact.half())
    assert float((states.delta.float() - exact).abs().max()) <= 2**-10 * float(exact.abs().max())


def _planted(size: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States of ordinary size, and where tokens that draw all attention stand among them."""
    random = torch.Generator().manual_seed(seed)
    delta = torch.randn(6, 40, 16, generator=random)
    huge = torch.rand(6, 40, generator=random) < 0.05
    delta[huge] += size * torch.randn(int(huge.sum()), 16, generator=random).clamp(-2, 2)
    return delta, huge


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 30_000), st.integers(0, 10_000))
def test_rounding_spoils_no_token_though_another_is_huge(size: float, seed: int):
    delta, _ = _planted(size, seed)
    for state in delta.numpy():
        rounded = _halved(state)
        assert rounded.dtype == np.float16
        error = np.abs(rounded.astype(np.float64) - state)
        assert (error <= 0.76 * np.spacing(np.abs(state).astype(np.float16))).all()
        plain = np.abs(state.astype(np.float16).astype(np.float64) - state)
        assert (error.sum(axis=0) <= 2 * plain.sum(axis=0)).all()
        # Over the tokens errors add up to no more than rounding to the nearest numbers leaves.
        sums = [
            np.abs((r.astype(np.float64) - state).sum(axis=0))
            for r in (rounded, state.astype(np.float16))
        ]
        assert (sums[0] <= sums[1] + 1e-6).all()


@pytest.mark.parametrize("size", [0.0, 30.0, 300.0, 3000.0, 20_000.0])
def test_scores_stay_though_tokens_draw_all_attention(tiny: Setting, easy, size: float):
    """SmolLM2 has such tokens, whose states are thousands of times the others'."""
    _, samples = easy
    profiles, _ = simulated(cohorts=3, each=24)
    straight = uncached(tiny.tokens(profiles), tiny.encoder(), len(GENES))
    delta, random = straight.delta.clone(), torch.Generator().manual_seed(1)
    for token, every in ((3, 1), (7, 2)):
        part = delta[::every, token, :4]
        part += size * torch.randn(part.shape, generator=random).clamp(-2, 2)
    exact = replace(straight, delta=delta)
    kept = replace(
        straight, delta=torch.from_numpy(np.stack([_halved(state) for state in delta.numpy()]))
    )
    rows = np.arange(len(samples))
    result = fit(
        tiny.model, tiny.backbone, kept, rows, samples["case"].to_numpy(),
        samples["cohort"].to_numpy(str), 1, AdapterOptions(), TrainingOptions(epochs=2, ensemble=2),
    )  # fmt: skip
    scores = [
        predict(tiny.model, which, rows, result.members, 1, AdapterOptions()).score
        for which in (kept, exact)
    ]
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_numbers_beyond_float16_are_left_for_writing_to_refuse():
    state = np.full((3, 2), 1.3, np.float32)
    state[1, 0] = 1e5
    assert np.isinf(_halved(state)[1, 0])


def test_states_do_not_depend_on_what_they_are_encoded_with(tiny: Setting, easy, tmp_path: Path):
    states, _ = easy
    profiles, _ = simulated(cohorts=3, each=24)
    alone = tiny.states(tmp_path, profiles.iloc[[40]])
    length = int(alone.present.sum())
    torch.testing.assert_close(
        alone.delta[0, :length], states.delta[40, :length], atol=1e-4, rtol=1e-3
    )


def test_training_on_kept_states_gives_the_scores_of_training_on_straight_ones(tiny: Setting, easy):
    states, samples = easy
    profiles, _ = simulated(cohorts=3, each=24)
    straight = uncached(tiny.tokens(profiles), tiny.encoder(), len(GENES))
    rows, cases = np.arange(len(samples)), samples["case"].to_numpy()
    training, adapter = TrainingOptions(epochs=2, ensemble=1), AdapterOptions()
    scores = []
    for which in (states, straight):
        result = fit(
            tiny.model, tiny.backbone, which, rows[:48], cases[:48],
            samples["cohort"].to_numpy(str)[:48], 1, adapter, training,
        )  # fmt: skip
        scores.append(predict(tiny.model, which, rows[48:], result.members, 1, adapter).score)
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_a_reference_is_run_once_for_all_samples_and_cohorts(tiny: Setting, tmp_path: Path):
    profiles, _ = simulated(cohorts=3, each=4, absent=False)
    first = tiny.encode(tmp_path, tiny.tokens(profiles.iloc[:4]))
    rest = tiny.encode(tmp_path, tiny.tokens(profiles))
    assert (first.encoded, rest.encoded) == (4 + 1, 8)
    assert tiny.cache(tmp_path).load(tiny.tokens(profiles)).reference.shape[0] == 1


def test_a_profile_that_stands_twice_is_run_once_and_read_twice(tiny: Setting, tmp_path: Path):
    profiles, _ = simulated(cohorts=1, each=3, absent=False)
    twice = tiny.tokens(profiles.iloc[[0, 1, 0, 2]].set_axis(["A", "B", "C", "D"]))
    assert tiny.encode(tmp_path, twice).encoded == 3 + 1
    states = tiny.cache(tmp_path).load(twice)
    assert states.gsm == ("A", "B", "C", "D")
    torch.testing.assert_close(states.delta[0], states.delta[2], atol=0, rtol=0)
    assert not torch.equal(states.delta[0], states.delta[1])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_damaged_states_are_run_again_and_no_others(tiny: Setting, tmp_path: Path, dtype: str):
    profiles, _ = simulated(cohorts=2, each=6)
    tokens = tiny.tokens(profiles)
    tiny.encode(tmp_path, tokens)
    before = tiny.cache(tmp_path).load(tokens)
    arrays = [np.lib.format.open_memmap(file, mode="r+") for file in tmp_path.rglob("*.npy")]
    (array,) = [array for array in arrays if array.dtype == dtype]
    array[-1, 3] += 1  # in the last state of the deltas, or of the references
    array.flush()
    again = tiny.encode(tmp_path, tokens)
    assert again.encoded == 1
    _same(tiny.cache(tmp_path).load(tokens), before)


def test_states_of_an_older_layout_are_run_again(tiny: Setting, tmp_path: Path):
    profiles, _ = simulated(cohorts=1, each=4)
    tokens = tiny.tokens(profiles)
    folder = tmp_path / tiny.cache(tmp_path).address[:32]
    folder.mkdir()
    (folder / "0123456789abcdef.json").write_text('{"entries": {"some key": 12}}')
    np.save(folder / "0123456789abcdef.npy", np.zeros((12, 64), np.float16))
    assert tiny.encode(tmp_path, tokens).encoded == 4 + 1
    assert not list(folder.glob("0123456789abcdef*"))


def test_states_that_had_to_go_are_run_again_and_the_same(tiny: Setting, tmp_path: Path):
    first, _ = simulated(cohorts=1, each=6, seed=1)
    second, _ = simulated(cohorts=1, each=6, seed=2)
    gigabytes = 12_000 / 2**30  # about the states of six profiles and a reference
    whole = []
    for profiles in (first, second, first):
        states = _bounded(tiny, tmp_path, gigabytes)
        report = states.encode(tiny.tokens(profiles), tiny.encoder)
        # The reference, used by both, is the last to go.
        assert report.encoded == (7 if not whole else 6)
        whole.append(states.load(tiny.tokens(profiles)))
        states.release()
    _same(whole[0], whole[2])


def test_a_reference_outlasts_what_rests_on_it(tiny: Setting, tmp_path: Path):
    tokens = tiny.tokens(simulated(cohorts=1, each=6)[0])
    tiny.encode(tmp_path, tokens)
    size = sum(file.stat().st_size for file in tmp_path.glob("[!.]*/*"))
    _bounded(tiny, tmp_path, (size - 1) / 2**30).encode([], tiny.encoder)
    assert tiny.encode(tmp_path, tokens).encoded == 6  # the samples, not their reference


def test_what_a_run_uses_stays_though_another_needs_room(tiny: Setting, tmp_path: Path):
    first, _ = simulated(cohorts=1, each=6, seed=1)
    second, _ = simulated(cohorts=1, each=6, seed=2)
    running = _bounded(tiny, tmp_path, 1e-9)
    running.encode(tiny.tokens(first), tiny.encoder)
    other = _bounded(tiny, tmp_path, 1e-9)
    other.encode(tiny.tokens(second), tiny.encoder)
    assert len(running.load(tiny.tokens(first))) == len(other.load(tiny.tokens(second))) == 6
    running.release()
    other.encode(tiny.tokens(second), tiny.encoder)
    assert tiny.encode(tmp_path, tiny.tokens(first)).encoded == 6
    assert tiny.encode(tmp_path, tiny.tokens(second)).encoded == 0


def test_what_was_computed_before_a_failure_is_kept(
    tiny: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("genellm_dagster.genellm.states._SHARD_PROFILES", 2)
    profiles, _ = simulated(cohorts=1, each=6, absent=False)
    encoder = tiny.encoder(batch_tokens=len(GENES))
    straight = encoder.encode

    def failing(tokens, progress=None):
        for number, pair in enumerate(straight(tokens, progress)):
            if number == 4:
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(encoder, "encode", failing)
    with pytest.raises(KeyboardInterrupt):
        tiny.cache(tmp_path).encode(tiny.tokens(profiles), lambda: encoder)
    assert tiny.encode(tmp_path, tiny.tokens(profiles)).encoded == 2


def test_the_bound_of_the_settings_is_in_gibibytes_and_may_be_none():
    assert PrefixOptions().max_gigabytes == 20
    assert PrefixOptions(max_gigabytes=None).max_gigabytes is None
    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="max_gigabytes"):
            PrefixOptions(max_gigabytes=wrong)
