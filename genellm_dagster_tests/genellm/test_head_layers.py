"""The read-out: kept inputs and cached states change no score, nor does the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genellm_dagster.genellm.adapter import adapted
from genellm_dagster.genellm.kept_inputs import keep_inputs
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.prefix import reference_of
from genellm_dagster.genellm.readout import ReadOut, represent
from genellm_dagster.genellm.training import Fit, fit, kept_for
from genellm_dagster_tests.genellm.makers import GENES, Setting, simulated

ALL_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def _awake(wrapped: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Give LoRA's upper matrices values, so that it changes something."""
    torch.manual_seed(3)
    parameters = [p for p in wrapped.parameters() if p.requires_grad]
    for parameter in parameters:
        torch.nn.init.normal_(parameter, std=0.3)
    return parameters


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("k_proj",), ("o_proj",), ALL_TARGETS])
def test_kept_inputs_change_neither_representation_nor_gradient(
    tiny: Setting, easy, targets: tuple[str, ...]
):
    states, _ = easy
    rows = torch.tensor([3, 40, 8, 70, 25])
    with adapted(tiny.model, 1, AdapterOptions(targets=targets)) as wrapped:
        readout = ReadOut.of(wrapped, 1)
        kept = keep_inputs(readout, states, 100)
        assert kept is not None
        asleep = represent(readout, states, rows).detach()
        parameters = _awake(wrapped)
        plain = represent(readout, states, rows)
        quick = represent(readout, states, rows, kept)
        assert (plain - asleep).abs().max() > 1e-3
        torch.testing.assert_close(quick, plain, atol=1e-5, rtol=0)
        for one, other in zip(
            torch.autograd.grad(plain.square().sum(), parameters),
            torch.autograd.grad(quick.square().sum(), parameters),
            strict=True,
        ):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_inputs_are_not_kept_where_they_do_not_fit_or_do_not_stay(tiny: Setting, easy):
    states, _ = easy
    assert keep_inputs(ReadOut(tiny.model.model, 1), states, 0) is None
    assert keep_inputs(ReadOut(tiny.model.model, 2), states, 100) is None


def test_training_without_kept_inputs_gives_the_same_scores(tiny: Setting, easy):
    states, samples = easy
    rows, cases = np.arange(len(samples)), samples["case"].to_numpy()
    scores = []
    for megabytes in (100, 0):
        training = TrainingOptions(
            epochs=2, ensemble=1, adapter_learning_rate=0.02, kept_megabytes=megabytes
        )
        result = fit(
            tiny.model, tiny.backbone, states, rows, cases, samples["cohort"].to_numpy(str),
            1, AdapterOptions(), training,
        )  # fmt: skip
        said = predict(tiny.model, states, rows, result.members, 1, AdapterOptions())
        scores.append(said.score)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)


def test_scores_equal_the_uncached_differentiable_forward(tiny: Setting, easy, fitted: Fit):
    """Straight through all layers in float32, no state stored: the path of attributions."""
    states, _ = easy
    profiles, _ = simulated(cohorts=3, each=24)
    rows = np.array([0, 7, 24, 55, 71])
    said = predict(tiny.model, states, rows, fitted.members, 1, AdapterOptions())
    from peft import set_peft_model_state_dict

    encoder = tiny.encoder()
    for member, logits in zip(fitted.members, said.logits, strict=True):
        with adapted(tiny.model, 1, AdapterOptions()) as wrapped:
            set_peft_model_state_dict(wrapped, member.peft)
            readout = ReadOut.of(wrapped, 1)
            for row, logit in zip(rows, logits, strict=True):
                token = tiny.tokens(profiles.iloc[[row]])[0]
                values = torch.as_tensor(token.values)[None].requires_grad_()
                read, own = [], []
                for moved in (values, torch.as_tensor(reference_of(token).values)[None]):
                    genes = torch.as_tensor(token.genes)[None].long()
                    positions = torch.as_tensor(token.positions)[None].long()
                    hidden = encoder.states(genes, positions, moved)
                    present = torch.ones_like(genes, dtype=torch.bool)
                    read.append(readout(hidden, positions, present, states.readout_position))
                    own.append(hidden[0] @ member.direction)
                told = torch.zeros(len(GENES))
                told = told.index_add(0, genes[0], own[0] - own[1] - member.centre[genes[0]])
                features = torch.cat([(read[0] - read[1])[0], told]) / member.scale
                straight = features @ member.weight + member.bias
                assert float(straight.detach()) == pytest.approx(logit, abs=1e-4, rel=1e-4)
                (gradient,) = torch.autograd.grad(straight.sum(), values)
                assert gradient.abs().min() > 0


def test_a_score_does_not_depend_on_the_batch_nor_on_padding(tiny: Setting, easy, fitted: Fit):
    states, samples = easy
    everyone = predict(
        tiny.model, states, np.arange(len(samples)), fitted.members, 1, AdapterOptions()
    )
    kept = kept_for(tiny.model, states, 1, TrainingOptions())
    for rows in (np.array([2]), np.array([60]), np.array([60, 2, 33])):
        for inputs in (None, kept):
            some = predict(tiny.model, states, rows, fitted.members, 1, AdapterOptions(), inputs)
            np.testing.assert_allclose(some.score, everyone.score[rows], atol=1e-5)


def test_a_sample_encoded_alone_gets_the_score_it_gets_among_others(
    tiny: Setting, easy, fitted: Fit, tmp_path: Path
):
    states, samples = easy
    profiles, _ = simulated(cohorts=3, each=24)
    everyone = predict(
        tiny.model, states, np.arange(len(samples)), fitted.members, 1, AdapterOptions()
    )
    for row in (4, 50):
        alone = tiny.states(tmp_path / str(row), profiles.iloc[[row]])
        said = predict(tiny.model, alone, np.array([0]), fitted.members, 1, AdapterOptions())
        # Batches of another shape round differently, and float16 steps of the states show.
        assert said.score[0] == pytest.approx(everyone.score[row], abs=1e-5)


def test_two_head_layers_run_and_differ_from_one(tiny: Setting, tmp_path: Path):
    profiles, _ = simulated(cohorts=2, each=6)
    one, two = (tiny.states(tmp_path, profiles, layers) for layers in (1, 2))
    rows = torch.arange(12)
    with torch.no_grad():
        first = represent(ReadOut(tiny.model.model, 1), one, rows)
        second = represent(ReadOut(tiny.model.model, 2), two, rows)
        some = represent(ReadOut(tiny.model.model, 2), two, rows[:1])
    # Without an adapter the layer between prefix and last is the same frozen one on either side.
    torch.testing.assert_close(first, second, atol=1e-3, rtol=0)
    torch.testing.assert_close(some, second[:1], atol=1e-5, rtol=0)
