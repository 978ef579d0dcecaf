"""Kinds of adapter: each is put on, trained, kept, read and taken off as its authors meant it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import (
    Adapter,
    AdapterCard,
    ProfileRecipe,
    adapted,
    load_adapter,
    put_weights,
    require_small,
    save_adapter,
    trainable_parameters,
    trained_weights,
)
from genellm_dagster.genellm.backbone import load_model
from genellm_dagster.genellm.kept_inputs import keep_inputs, splits
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.readout import ReadOut, represent
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.states import StateSet
from genellm_dagster.genellm.training import Fit, fit, kept_for
from genellm_dagster_tests.genellm.makers import Setting, simulated

LORA, IA3, PROMPT = (AdapterOptions(kind=kind) for kind in ("lora", "ia3", "prompt"))
KINDS = pytest.mark.parametrize("options", [LORA, IA3, PROMPT], ids=lambda one: one.kind)
OTHERS = pytest.mark.parametrize("options", [IA3, PROMPT], ids=lambda one: one.kind)
HEADS = pytest.mark.parametrize("head_layers", [1, 2])


@pytest.fixture(scope="module")
def data(tiny: Setting, tmp_path_factory: pytest.TempPathFactory):
    """States for one and for two head layers, and the samples, of two unlike cohorts."""
    profiles, samples = simulated(cohorts=2, each=16)
    folder = tmp_path_factory.mktemp("prefix")
    return {n: tiny.states(folder, profiles, n) for n in (1, 2)}, samples


def _fit(tiny: Setting, data, options: AdapterOptions, head_layers: int = 1, **changes) -> Fit:
    states, samples = data
    training = TrainingOptions(
        **{"epochs": 2, "ensemble": 2, "adapter_learning_rate": 0.05} | changes
    )
    return fit(
        tiny.model, tiny.backbone, states[head_layers], np.arange(len(samples)),
        samples["case"].to_numpy(), samples["cohort"].to_numpy(str), head_layers, options,
        training,
    )  # fmt: skip


def _moved(wrapped: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Move every trained number away from where it starts."""
    torch.manual_seed(3)
    found = {name: p for name, p in wrapped.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in found.values():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return found


def _snapshot(model: torch.nn.Module):
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [(name, type(module), set(vars(module))) for name, module in model.named_modules()],
        [parameter.requires_grad for parameter in model.parameters()],
    )


@KINDS
@HEADS
def test_the_backbone_is_bit_for_bit_itself_after_an_adapter(
    tiny: Setting, data, options: AdapterOptions, head_layers: int
):
    values, modules, trained = _snapshot(tiny.model)
    _fit(tiny, data, options, head_layers, ensemble=1)
    with pytest.raises(ZeroDivisionError), adapted(tiny.model, head_layers, options) as wrapped:
        _moved(wrapped)
        1 / 0  # noqa: B018
    after_values, after_modules, after_trained = _snapshot(tiny.model)
    assert all(torch.equal(after_values[name], value) for name, value in values.items())
    assert (after_modules, after_trained) == (modules, trained)
    assert after_values.keys() == values.keys()


def test_ia3_leaves_a_backbone_whose_prefix_is_in_four_bits(tiny: Setting):
    modules = _snapshot(tiny.model)[1]
    with adapted(tiny.model, 1, IA3):
        tiny.model.is_loaded_in_4bit = True
    del tiny.model.is_loaded_in_4bit
    assert _snapshot(tiny.model)[1] == modules


@KINDS
@HEADS
def test_a_gradient_reaches_every_trained_number(
    tiny: Setting, data, options: AdapterOptions, head_layers: int
):
    states = data[0][head_layers]
    with adapted(tiny.model, head_layers, options) as wrapped:
        found = _moved(wrapped)
        read = represent(ReadOut.of(wrapped, head_layers), states, torch.arange(len(states)))
        read.pow(3).sum().backward()
        assert found
        for name, parameter in found.items():
            assert parameter.grad is not None, name
            # A scaled vector may meet an activation that is zero, a matrix never a zero row.
            assert (parameter.grad != 0).float().mean() > 0.9, name
    assert all(parameter.grad is None for parameter in tiny.model.parameters())


@OTHERS
def test_kept_inputs_change_neither_representation_nor_gradient(
    tiny: Setting, data, options: AdapterOptions
):
    states, rows = data[0][1], torch.tensor([3, 20, 8, 30, 25])
    kept = keep_inputs(ReadOut(tiny.model.model, 1), states, 100)
    with torch.no_grad():
        frozen = represent(ReadOut(tiny.model.model, 1), states, rows)
    with adapted(tiny.model, 1, options) as wrapped:
        readout, parameters = ReadOut.of(wrapped, 1), list(_moved(wrapped).values())
        plain = represent(readout, states, rows)
        quick = represent(readout, states, rows, kept)
        assert (plain - frozen).abs().max() > 1e-3
        torch.testing.assert_close(quick, plain, atol=1e-5, rtol=0)
        assert not torch.equal(quick, plain)  # Else the quick path was not taken.
        for one, other in zip(
            torch.autograd.grad(plain.square().sum(), parameters),
            torch.autograd.grad(quick.square().sum(), parameters),
            strict=True,
        ):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_kept_inputs_are_not_used_for_what_they_would_leave_out(tiny: Setting, data):
    """A vector on what the key projection takes changes more than what it gives."""
    states, rows = data[0][1], torch.arange(6)
    kept = keep_inputs(ReadOut(tiny.model.model, 1), states, 100)
    with adapted(tiny.model, 1, IA3) as wrapped, torch.no_grad():
        readout = ReadOut.of(wrapped, 1)
        assert splits(readout)
        projection = readout.last.self_attn.k_proj
        projection.is_feedforward = True
        projection.ia3_l["default"] = torch.nn.Parameter(
            torch.linspace(0.5, 1.5, projection.in_features)
        )
        assert not splits(readout)
        assert torch.equal(represent(readout, states, rows, kept), represent(readout, states, rows))


@KINDS
@HEADS
def test_a_saved_adapter_gives_the_very_same_scores(
    tiny: Setting, data, tmp_path: Path, options: AdapterOptions, head_layers: int
):
    states, samples = data
    result = _fit(tiny, data, options, head_layers)
    adapter = Adapter(_card(tiny, options, head_layers, result), result.members)
    save_adapter(adapter, tiny.model, tmp_path / "adapter")
    again = load_adapter(tmp_path / "adapter")
    assert again.card == adapter.card
    fresh = load_model(tiny.backbone)
    rows = np.arange(len(samples))
    one, other = (
        predict(model, states[head_layers], rows, each.members, head_layers, each.card.options)
        for model, each in ((tiny.model, adapter), (fresh, again))
    )
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.uncertainty, other.uncertainty)


@KINDS
def test_each_kind_is_read_by_peft_alone(
    tiny: Setting, data, tmp_path: Path, options: AdapterOptions
):
    from peft import PeftModel

    result = _fit(tiny, data, options, ensemble=1)
    save_adapter(
        Adapter(_card(tiny, options, 1, result), result.members), tiny.model, tmp_path / "adapter"
    )
    model = load_model(tiny.backbone)
    wrapped = PeftModel.from_pretrained(model, str(tmp_path / "adapter" / "member-0"))
    read = trained_weights(wrapped)
    assert read.keys() == result.members[0].peft.keys()
    assert all(torch.equal(read[name], value) for name, value in result.members[0].peft.items())
    assert wrapped.active_peft_config.peft_type == {
        "lora": "LORA", "ia3": "IA3", "prompt": "PROMPT_TUNING",
    }[options.kind]  # fmt: skip


@OTHERS
def test_training_moves_the_adapter_and_lowers_the_loss_with_and_without_kept_inputs(
    tiny: Setting, data, options: AdapterOptions
):
    states, samples = data
    scores = []
    for megabytes in (100, 0):
        result = _fit(tiny, data, options, epochs=6, ensemble=1, kept_megabytes=megabytes)
        assert result.losses[0][-1] < result.losses[0][0]
        rows = np.arange(len(samples))
        scores.append(predict(tiny.model, states[1], rows, result.members, 1, options).score)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)


@OTHERS
def test_the_same_seed_gives_the_same_members_whatever_was_drawn_before(
    tiny: Setting, data, options: AdapterOptions
):
    one = _fit(tiny, data, options)
    torch.rand(7)
    same = _fit(tiny, data, options)
    other = _fit(tiny, data, options, seed=21)
    for a, b, c in zip(one.members, same.members, other.members, strict=True):
        assert all(torch.equal(a.peft[name], b.peft[name]) for name in a.peft)
        assert not all(torch.equal(a.peft[name], c.peft[name]) for name in a.peft)


@OTHERS
@HEADS
def test_a_score_depends_neither_on_the_batch_nor_on_padding(
    tiny: Setting, data, options: AdapterOptions, head_layers: int
):
    states, samples = data[0][head_layers], data[1]
    members = _fit(tiny, data, options, head_layers, ensemble=1).members
    everyone = predict(tiny.model, states, np.arange(len(samples)), members, head_layers, options)
    kept = kept_for(tiny.model, states, head_layers, TrainingOptions())
    for rows in (np.array([2]), np.array([20]), np.array([20, 2, 31])):
        for inputs in (None, kept):
            some = predict(tiny.model, states, rows, members, head_layers, options, inputs)
            np.testing.assert_allclose(some.score, everyone.score[rows], atol=1e-5)


def test_virtual_tokens_are_those_of_peft_when_all_layers_are_the_head(tiny: Setting):
    """A sample of one token, read out at its place, is what the whole model says there."""
    decoder = tiny.model.model
    embedded = 0.1 * torch.randn(1, 1, tiny.backbone.hidden)
    with adapted(tiny.model, decoder.config.num_hidden_layers, PROMPT) as wrapped, torch.no_grad():
        plain = wrapped(inputs_embeds=embedded, output_hidden_states=True).hidden_states[-1]
        readout = ReadOut.of(wrapped, decoder.config.num_hidden_layers)
        present = torch.ones(1, 1, dtype=torch.bool)
        read = readout(embedded, torch.zeros(1, 1, dtype=torch.long), present, 0)
        alone = decoder(inputs_embeds=embedded).last_hidden_state
    torch.testing.assert_close(read, plain[:, -1], atol=1e-5, rtol=0)
    assert (read - alone[:, -1]).abs().max() > 1e-3


def test_the_read_out_pools_the_samples_tokens_alone(tiny: Setting, data):
    """One layer sees only the direction of a virtual token: its length would show in the mean."""
    states, rows = data[0][1], torch.arange(4)
    at = states.reference_of[rows]
    arguments = (
        states.reference[at] + states.delta[rows].float(), states.positions[at],
        states.present[at], states.readout_position,
    )  # fmt: skip
    with adapted(tiny.model, 1, PROMPT) as wrapped, torch.no_grad():
        readout = ReadOut.of(wrapped, 1)
        _moved(wrapped)
        short = readout(*arguments)
        readout.prompt.weight.mul_(100.0)
        torch.testing.assert_close(readout(*arguments), short, atol=1e-3, rtol=0)


def test_an_untrained_prompt_has_the_head_that_was_solved_with_it(tiny: Setting, data):
    states, samples = data
    first = samples["cohort"] == samples["cohort"].iloc[0]
    rows, cases = np.flatnonzero(first), samples["case"].to_numpy()[first]
    options = AdapterOptions(kind="prompt", virtual_tokens=64)
    training = TrainingOptions(epochs=0, ensemble=1, reweigh=False)
    result = fit(
        tiny.model, tiny.backbone, states[1], rows, cases, np.full(len(rows), "GSE0"), 1, options,
        training,
    )  # fmt: skip
    logit = predict(tiny.model, states[1], rows, result.members, 1, options).logits[0]
    sides = [np.logaddexp(0, np.where(cases == 1, -logit, logit))[cases == c] for c in (0, 1)]
    assert np.mean([side.mean() for side in sides]) == pytest.approx(result.losses[0][0], abs=1e-4)


def test_each_kind_counts_what_it_trains(tiny: Setting):
    config = tiny.model.config
    hidden, inner = config.hidden_size, config.intermediate_size
    keys = config.num_key_value_heads * (hidden // config.num_attention_heads)
    wanted = {
        LORA: 4 * (2 * hidden) + 4 * (hidden + keys),
        IA3: 2 * keys + inner,
        PROMPT: 8 * hidden,
        AdapterOptions(kind="ia3", targets=("o_proj",)): hidden,
        AdapterOptions(kind="prompt", virtual_tokens=3): 3 * hidden,
    }
    for options, number in wanted.items():
        with adapted(tiny.model, 1, options) as wrapped:
            assert trainable_parameters(wrapped, 0) == number + 1


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("lora", "rank"), ("ia3", "number of targets"), ("prompt", "number of virtual tokens")],
)
def test_too_large_an_adapter_is_refused_with_what_makes_it_smaller(
    tiny: Setting, kind: str, remedy: str
):
    pretrained = tiny.backbone.model_copy(update={"pretrained": True})
    options = AdapterOptions(kind=kind)
    with adapted(tiny.model, 1, options) as wrapped:
        trainable = trainable_parameters(wrapped, 0)
    with pytest.raises(ModelError, match=rf"max_trainable_share allows \(0\.010%\).*{remedy}"):
        require_small(trainable, pretrained, options)


@pytest.mark.parametrize("kind", ["lora", "ia3"])
@settings(max_examples=8, deadline=None)
@given(layers=st.sets(st.integers(1, 3), min_size=1))
def test_only_the_layers_that_are_named_carry_it(tiny: Setting, kind: str, layers: set[int]):
    options = AdapterOptions(kind=kind, layers=tuple(layers))
    with adapted(tiny.model, 3, options) as wrapped:
        carried = {
            3 - int(name.split(".layers.")[1].split(".")[0])
            for name, parameter in wrapped.named_parameters()
            if parameter.requires_grad
        }
    assert carried == layers


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targets": ("q_proj", "no_such_projection")}, "no projection no_such_projection"),
        ({"targets": ("q_proj", "mlp")}, "no projection mlp"),
        ({"layers": (1, 3)}, "layer 3 from the top, but only 2 are head layers"),
    ],
)
@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_what_the_backbone_does_not_have_is_refused_and_nothing_is_left_on_it(
    tiny: Setting, kind: str, changes: dict, said: str
):
    modules = _snapshot(tiny.model)[1]
    with (
        pytest.raises(ModelError, match=said),
        adapted(tiny.model, 2, AdapterOptions(kind=kind, **changes)),
    ):
        pass
    assert _snapshot(tiny.model)[1] == modules


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "prompt", "targets": ("q_proj",)},
        {"kind": "prompt", "layers": (1,)},
        {"layers": (0,)},
        {"layers": (1, 1)},
        {"layers": ()},
        {"targets": ()},
        {"kind": "prefix"},
        {"virtual_tokens": 0},
    ],
)
def test_options_that_contradict_each_other_are_refused(changes: dict):
    with pytest.raises(ValidationError):
        AdapterOptions(**changes)


def test_weights_of_another_kind_or_size_are_refused(tiny: Setting, data):
    members = {one: _fit(tiny, data, one, ensemble=1, epochs=0).members[0] for one in (LORA, IA3)}
    for options, member in (
        (IA3, members[LORA]),
        (PROMPT, members[IA3]),
        (AdapterOptions(rank=2), members[LORA]),
    ):
        with (
            adapted(tiny.model, 1, options) as wrapped,
            pytest.raises(ModelError, match="not those that its options describe"),
        ):
            put_weights(wrapped, member)


@KINDS
def test_in_half_precision_the_trained_numbers_are_in_full(
    tiny: Setting, data, options: AdapterOptions
):
    model = load_model(tiny.backbone, dtype="bfloat16")
    states: StateSet = data[0][1]
    with adapted(model, 1, options) as wrapped:
        found = _moved(wrapped)
        assert {parameter.dtype for parameter in found.values()} == {torch.float32}
        read = represent(ReadOut.of(wrapped, 1), states, torch.arange(4))
        read.sum().backward()
        assert all(bool(parameter.grad.isfinite().all()) for parameter in found.values())


def test_virtual_tokens_count_among_the_positions_a_backbone_can_be_given(
    tiny: Setting, tmp_path: Path
):
    from genellm_dagster.genellm.options import GeneLLMOptions

    described = tiny.tokenizer.describe()
    short = tiny.backbone.model_copy(update={"context": len(described["genes"]) + 1 + 7})
    for adapter in (LORA, AdapterOptions(kind="prompt", virtual_tokens=7)):
        Session(short, described, GeneLLMOptions(adapter=adapter), tmp_path)
    with pytest.raises(ModelError, match="more positions than the backbone"):
        Session(short, described, GeneLLMOptions(adapter=PROMPT), tmp_path)


def _card(tiny: Setting, options: AdapterOptions, head_layers: int, result: Fit) -> AdapterCard:
    return AdapterCard(
        backbone="tiny",
        backbone_sha256=tiny.backbone.sha256,
        numbers="float32",
        tokenizer=tiny.tokenizer.describe(),
        profiles=ProfileRecipe(normalisation={"method": "rank_normal"}),
        head_layers=head_layers,
        options=options,
        trainable=result.trainable,
        total=tiny.backbone.parameters,
    )
