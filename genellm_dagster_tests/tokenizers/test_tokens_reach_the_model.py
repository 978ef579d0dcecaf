"""Every tokenizer through prefix, training and prediction of the tiny backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from genellm_dagster.genellm.backbone import Backbone, prepare_backbone
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.prefix import reference_of
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.states import StateSet
from genellm_dagster.genellm.training import fit
from genellm_dagster.tokenizers.kinds import fit_tokenizer
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import Tokenizer, TokenProfile, token_profiles

GENES = [f"GENE{number}" for number in range(24)]
RAISED = 8
TRAINING, TEST = 60, 24
OPTIONS = GeneLLMOptions.model_validate({"training": {"epochs": 2, "ensemble": 2}})
KINDS = ("value", "rank", "bins")


def simulated() -> tuple[pd.DataFrame, np.ndarray]:
    """Draw profiles in which cases have some genes raised; a gene is absent in every third."""
    random = np.random.default_rng(3)
    cases = np.arange(TRAINING + TEST) % 2
    values = random.normal(size=(len(cases), len(GENES)))
    values[:, :RAISED] += 2.0 * cases[:, None]
    values[::3, -1] = np.nan
    gsm = [f"GSM{number}" for number in range(len(cases))]
    return pd.DataFrame(values.astype(np.float32), index=gsm, columns=GENES), cases


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return prepare_backbone("tiny", tmp_path_factory.mktemp("backbones"))


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    profiles, _ = simulated()
    # Larger steps than the default, so that the tiny random layers have something to tell.
    options = TokenizerOptions(kind=request.param, value_scale=1)
    return fit_tokenizer(GENES, options, profiles.iloc[:TRAINING])


def straight(session: Session, token: TokenProfile) -> torch.Tensor:
    """Run the prefix on one profile alone, nothing kept."""
    genes, positions, values = (
        torch.as_tensor(part)[None] for part in (token.genes, token.positions, token.values)
    )
    with torch.no_grad():
        return session.encoder.states(genes.long(), positions.long(), values)[0]


def uncached(session: Session, tokens: list[TokenProfile]) -> StateSet:
    """Put together by hand what the prefix cache gives, all in float32."""
    longest = max(map(len, tokens))

    def padded(parts: list[torch.Tensor]) -> torch.Tensor:
        whole = torch.zeros(len(parts), longest, *parts[0].shape[1:], dtype=parts[0].dtype)
        for row, part in enumerate(parts):
            whole[row, : len(part)] = part
        return whole

    own = padded([straight(session, token) for token in tokens])
    reference = padded([straight(session, reference_of(token)) for token in tokens])
    return StateSet(
        gsm=tuple(token.gsm for token in tokens),
        delta=own - reference,
        reference=reference,
        reference_of=torch.arange(len(tokens)),
        positions=padded([torch.as_tensor(token.positions).long() for token in tokens]),
        present=padded([torch.ones(len(token), dtype=torch.bool) for token in tokens]),
        readout_position=len(GENES),
        genes=padded([torch.as_tensor(token.genes).long() for token in tokens]),
        values=padded([torch.as_tensor(token.values) for token in tokens]),
    )


def test_a_fold_learns_from_the_tokens_and_scores_do_not_depend_on_the_cache(
    tokenizer: Tokenizer, backbone: Backbone, tmp_path: Path
):
    profiles, cases = simulated()
    tokens = token_profiles(tokenizer.transform(profiles))
    session = Session(backbone, tokenizer.describe(), OPTIONS, tmp_path)
    states = session.load(tokens)
    layers = OPTIONS.prefix.head_layers
    fitted = fit(
        session.model, backbone, states, np.arange(TRAINING), cases[:TRAINING],
        np.full(TRAINING, "GSE1"), layers, OPTIONS.adapter, OPTIONS.training,
    )  # fmt: skip
    test = np.arange(TRAINING, TRAINING + TEST)

    def score(of: StateSet, rows: np.ndarray) -> np.ndarray:
        return predict(session.model, of, rows, fitted.members, layers, OPTIONS.adapter).score

    said = score(states, test)
    truth = cases[test]
    pairs = said[truth == 1][:, None] > said[truth == 0][None]
    assert pairs.mean() > 0.8
    # A new sample alone, and states that were never rounded to be kept.
    alone = session.load([tokens[TRAINING + 3]])
    np.testing.assert_allclose(score(alone, np.array([0]))[0], said[3], atol=1e-5)
    whole = uncached(session, [tokens[row] for row in test])
    np.testing.assert_allclose(score(whole, np.arange(TEST)), said, atol=1e-4)


def test_kept_states_are_what_the_layers_give_on_the_sample_alone(
    tokenizer: Tokenizer, backbone: Backbone, tmp_path: Path
):
    profiles, _ = simulated()
    tokens = token_profiles(tokenizer.transform(profiles.iloc[:6]))
    session = Session(backbone, tokenizer.describe(), OPTIONS, tmp_path)
    states = session.load(tokens)
    for row, token in enumerate(tokens):
        which = states.reference_of[row]
        kept = (states.reference[which] + states.delta[row].float())[: len(token)]
        expected = straight(session, token)
        torch.testing.assert_close(kept, expected, atol=1e-3, rtol=1e-3)
        assert states.positions[which][: len(token)].tolist() == token.positions.tolist()
    assert len(states.reference) == 2  # with and without the absent gene


def test_tokenizers_share_the_states_of_equal_tokens(backbone: Backbone, tmp_path: Path):
    profiles, _ = simulated()
    found = set()
    for kind in ("value", "rank", "bins"):
        options = TokenizerOptions(kind=kind)  # type: ignore[arg-type]
        found |= {
            Session(
                backbone,
                fit_tokenizer(GENES, options, profiles.iloc[side]).describe(),
                OPTIONS,
                tmp_path,
            ).states.address
            for side in (slice(0, 30), slice(30, 60))
        }
    assert len(found) == 1
