"""What the head reads of each gene: its own token's state, whatever the order of the tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.genellm import gene_values as module
from genellm_dagster.genellm.adapter import Member
from genellm_dagster.genellm.gene_values import gene_values, learn_reading
from genellm_dagster.genellm.head_features import HeadInput, head_features
from genellm_dagster.genellm.options import AdapterOptions, TrainingOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.states import StateSet, _halved
from genellm_dagster.genellm.training import fit
from genellm_dagster_tests.genellm.makers import GENES, Setting, simulated

HIDDEN = 24


def carrying(
    values: np.ndarray, seed: int = 0, noise: float = 0.05, huge: int | None = None
) -> StateSet:
    """States that carry each token's value along one direction, beside noise; NaN is absent."""
    random = torch.Generator().manual_seed(seed)
    direction = torch.randn(HIDDEN, generator=random)
    given_ = torch.as_tensor(values, dtype=torch.float32)
    patterns, which = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    longest, samples = int(patterns.sum(axis=1).max()), len(values)
    tokens = torch.zeros(samples, longest)
    genes = torch.zeros(samples, longest, dtype=torch.long)
    present = torch.zeros(len(patterns), longest, dtype=torch.bool)
    for row in range(samples):
        here = np.flatnonzero(~np.isnan(values[row]))
        genes[row, : len(here)] = torch.as_tensor(here)
        tokens[row, : len(here)] = given_[row, here]
        present[which.ravel()[row], : len(here)] = True
    delta = tokens.unsqueeze(-1) * direction
    delta = delta + noise * torch.randn(delta.shape, generator=random)
    if huge is not None:
        delta[:, huge] += 3e4 * torch.randn(samples, HIDDEN, generator=random).clamp(-2, 2)
    return StateSet(
        gsm=tuple(f"GSM{row}" for row in range(samples)),
        delta=delta.half(),
        reference=torch.randn(len(patterns), longest, HIDDEN, generator=random),
        reference_of=torch.as_tensor(which.ravel()),
        positions=torch.arange(longest).repeat(len(patterns), 1),
        present=present,
        readout_position=values.shape[1],
        genes=genes,
        values=tokens,
    )


def drawn(samples: int, genes: int, absent: float = 0.0, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(size=(samples, genes))
    values[random.random(values.shape) < absent] = np.nan
    values[:, 0] = np.where(np.isnan(values[:, 0]), 0.0, values[:, 0])
    return values


def test_each_gene_tells_its_own_value_and_an_absent_one_nothing():
    values = drawn(60, 8, absent=0.2)
    states = carrying(values)
    reading = learn_reading(states, np.arange(40))
    assert reading.readable.all()
    told = gene_values(states, torch.arange(60), reading.direction).numpy()
    np.testing.assert_array_equal(np.isnan(told), np.isnan(values))
    # Held-out samples.
    np.testing.assert_allclose(told[40:], values[40:], atol=0.1)


def test_the_order_of_training_samples_does_not_matter_and_no_other_sample_does(
    monkeypatch: pytest.MonkeyPatch,
):
    # So few tokens suffice here that some samples are passed over.
    monkeypatch.setattr(module, "_TOKENS", 60)
    monkeypatch.setattr(module, "_TOKENS_A_DIMENSION", 1)
    states = carrying(drawn(40, 6))
    rows = np.arange(30)
    one = learn_reading(states, rows)
    mixed = np.random.default_rng(1).permutation(rows)
    torch.testing.assert_close(learn_reading(states, mixed).direction, one.direction)
    delta = states.delta.clone()
    delta[30:] = 7.0
    other = learn_reading(replace(states, delta=delta), rows)
    assert torch.equal(other.direction, one.direction)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_tokens_in_another_order_tell_the_same_of_each_gene(seed: int):
    """The state of a gene is compared with that gene's state in the reference, not its place's."""
    states = carrying(drawn(6, 5, seed=seed), seed=seed)
    direction = torch.randn(HIDDEN, generator=torch.Generator().manual_seed(seed))
    straight = gene_values(states, torch.arange(6), direction)
    order = np.random.default_rng(seed).permutation(5)
    # What is kept is relative to the reference's state at the same place.
    full = states.delta.float() + states.reference[states.reference_of]
    moved = replace(
        states,
        delta=full[:, order] - states.reference[states.reference_of],
        genes=states.genes[:, order],
        values=states.values[:, order],
    )
    torch.testing.assert_close(
        gene_values(moved, torch.arange(6), direction), straight, atol=1e-3, rtol=1e-4
    )


def test_where_no_token_is_moved_its_place_is_what_it_says():
    random = np.random.default_rng(3)
    samples, genes = 50, 6
    order = np.stack([random.permutation(genes) for _ in range(samples)])
    place = order.argsort(axis=1).astype(float)
    states = carrying(place)
    unmoved = replace(
        states,
        # A token stands where its rank says; its state carries that.
        delta=states.delta.float().gather(
            1, torch.as_tensor(order).unsqueeze(-1).expand(-1, -1, HIDDEN)
        ),
        reference=torch.zeros_like(states.reference),
        genes=torch.as_tensor(order),
        values=torch.zeros(samples, genes),
    )
    reading = learn_reading(unmoved, np.arange(samples))
    told = gene_values(unmoved, torch.arange(samples), reading.direction).numpy()
    # The first place is the highest.
    assert np.corrcoef(told.ravel(), -place.ravel())[0, 1] > 0.99


def test_a_gene_whose_token_is_huge_spoils_no_other_gene():
    """Where a token draws all attention, what rounding leaves of it is more than others' states."""
    values = drawn(60, 8)
    states = carrying(values, huge=3)
    kept = torch.from_numpy(np.stack([_halved(state) for state in states.delta.float().numpy()]))
    states = replace(states, delta=kept)
    reading = learn_reading(states, np.arange(60))
    told = gene_values(states, torch.arange(60), reading.direction).numpy()
    for gene in (0, 1, 2, 4, 5, 6, 7):
        assert reading.readable[gene]
        # The huge token rules the direction, so that its sign says nothing.
        assert abs(np.corrcoef(told[:, gene], values[:, gene])[0, 1]) > 0.99


def test_a_gene_that_rounding_drowns_is_not_read():
    states = carrying(drawn(60, 8))
    delta = states.delta.clone()
    # As far from zero as that, a number's step is eight.
    delta[:, 3] += 12_000
    readable = learn_reading(replace(states, delta=delta), np.arange(60)).readable
    assert not readable[3]
    assert readable[[0, 1, 2, 4, 5, 6, 7]].all()


def test_nothing_is_read_where_tokens_say_nothing():
    states = carrying(np.ones((20, 5)), noise=0.0)
    reading = learn_reading(states, np.arange(20))
    assert not reading.readable.any()
    assert not reading.direction.any()


def test_shares_of_variance_are_as_asked_and_an_absent_gene_adds_nothing():
    values = drawn(80, 10, absent=0.1)
    states = carrying(values)
    cohorts = np.repeat([0, 1], 40)
    read = torch.randn(80, 30, generator=torch.Generator().manual_seed(1)) * 5 + 3
    reads = HeadInput.fit(read, states, np.arange(80), cohorts, 0.2)
    features = reads.features(read, torch.arange(80))
    assert bool((features[:, 30:][torch.as_tensor(np.isnan(values))] == 0).all())
    within = torch.cat([part - part.mean(dim=0) for part in features.split(40)])
    variance = within.square().mean(dim=0)
    assert float(variance[:30].sum()) == pytest.approx(0.2, rel=1e-3)
    assert float(variance[30:].sum()) == pytest.approx(0.8, rel=0.2)
    member = Member({}, torch.zeros(40), torch.zeros(1), reads.scale, reads.direction, reads.centre)
    rows = torch.tensor([5, 70])
    torch.testing.assert_close(head_features(read[rows], states, rows, member), features[rows])


def test_a_share_of_one_leaves_the_pooled_read_out_alone(tiny: Setting, easy):
    states, samples = easy
    rows = np.arange(len(samples))
    adapter = AdapterOptions()
    result = fit(
        tiny.model, tiny.backbone, states, rows, samples["case"].to_numpy(),
        samples["cohort"].to_numpy(str), 1, adapter,
        TrainingOptions(epochs=1, ensemble=1, context_share=1.0),
    )  # fmt: skip
    (member,) = result.members
    assert len(member.direction) == len(member.centre) == 0
    assert len(member.weight) == len(member.scale) == tiny.backbone.hidden
    said = predict(tiny.model, states, rows, result.members, 1, adapter)
    assert said.representation.shape == (len(samples), tiny.backbone.hidden)


def test_a_single_gene_among_noise_is_found_as_on_the_profile_itself(
    tiny: Setting, tmp_path_factory: pytest.TempPathFactory
):
    """One gene tells, the others are noise: what the pooled read-out alone misses."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    profiles, samples = simulated(cohorts=1, each=120, effect=0.0, absent=False, seed=5)
    cases = samples["case"].to_numpy()
    profiles[GENES[7]] += np.float32(2.0) * cases
    states = tiny.states(tmp_path_factory.mktemp("single"), profiles)
    train, test = np.arange(80), np.arange(80, 120)
    adapter, aurocs = AdapterOptions(), {}
    for share in (0.05, 1.0):
        result = fit(
            tiny.model, tiny.backbone, states, train, cases[train],
            samples["cohort"].to_numpy(str)[train], 1, adapter,
            TrainingOptions(epochs=0, ensemble=1, context_share=share),
        )  # fmt: skip
        said = predict(tiny.model, states, test, result.members, 1, adapter)
        aurocs[share] = roc_auc_score(cases[test], said.score)
    linear = LogisticRegression(C=0.1).fit(profiles.iloc[train], cases[train])
    known = roc_auc_score(cases[test], linear.decision_function(profiles.iloc[test]))
    assert aurocs[0.05] > known - 0.02
    assert aurocs[0.05] >= aurocs[1.0]


def test_the_mean_logit_of_the_members_is_that_of_the_samples_as_they_are(tiny: Setting, easy):
    states, samples = easy
    rows = np.arange(len(samples))
    logits = []
    for drawn_weights in (True, False):
        result = fit(
            tiny.model, tiny.backbone, states, rows, samples["case"].to_numpy(),
            samples["cohort"].to_numpy(str), 1, AdapterOptions(),
            TrainingOptions(epochs=0, ensemble=3, reweigh=drawn_weights),
        )  # fmt: skip
        logits.append(predict(tiny.model, states, rows, result.members, 1, AdapterOptions()).logits)
    np.testing.assert_allclose(logits[0].mean(axis=0), logits[1].mean(axis=0), atol=1e-3)
    assert logits[0].std(axis=0).max() > 0.05 > logits[1].std(axis=0).max()
