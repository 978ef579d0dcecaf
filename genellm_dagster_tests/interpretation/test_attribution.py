"""Attributions of GeneLLM on a randomly initialised backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import Member, adapted, trained_weights
from genellm_dagster.genellm.backbone import load_model, load_text_tokenizer, prepare_backbone
from genellm_dagster.genellm.embedding import GeneEmbedding
from genellm_dagster.genellm.options import AdapterOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.prefix import PrefixEncoder
from genellm_dagster.genellm.states import PrefixStates
from genellm_dagster.interpretation.attribution import (
    AdaptedLogit,
    Attributions,
    adapted_heads,
    attribute,
)
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster_tests.interpretation.shapley import exact_shapley

GENES = ["ARG1", "CD177", "MMP8", "HLA-DRA", "IL10", "CCR2"]
OPTIONS = InterpretationOptions(gradient_samples=8)
ADAPTER = AdapterOptions()
HEAD_LAYERS = 2
# The random embeddings are twenty times shorter than those of SmolLM2, and so are the moves.
TOKENIZER = TokenizerOptions(value_scale=0.01)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    return prepare_backbone("tiny", tmp_path_factory.mktemp("backbones"))


@pytest.fixture(scope="module")
def encoder(backbone) -> PrefixEncoder:
    model = load_model(backbone)
    embedding = GeneEmbedding(model, load_text_tokenizer(backbone), GENES, "low", "high")
    return PrefixEncoder(model, embedding, HEAD_LAYERS, batch_tokens=512)


@pytest.fixture(scope="module")
def members(encoder: PrefixEncoder) -> list[Member]:
    return members_with(encoder, ADAPTER)


def members_with(encoder: PrefixEncoder, adapter: AdapterOptions) -> list[Member]:
    """Two members whose adapter does something and whose heads, which read genes too, differ."""
    made = []
    with adapted(encoder.model, HEAD_LAYERS, adapter) as wrapped:
        state = trained_weights(wrapped)
    hidden = encoder.model.config.hidden_size
    for seed in (1, 2):
        random = torch.Generator().manual_seed(seed)
        made.append(
            Member(
                peft={
                    key: value + 0.1 * torch.randn(value.shape, generator=random)
                    for key, value in state.items()
                },
                weight=torch.randn(hidden + len(GENES), generator=random),
                bias=torch.tensor([0.3 * seed]),
                scale=torch.rand(hidden + len(GENES), generator=random) + 0.5,
                direction=torch.randn(hidden, generator=random),
                centre=0.1 * torch.randn(len(GENES), generator=random),
            )
        )
    return made


def profiles(number: int, seed: int, absent: Sequence[str] = ()) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(number, len(GENES)))
    frame = pd.DataFrame(
        values, index=[f"GSM{seed}{row}" for row in range(number)], columns=GENES
    ).astype(np.float32)
    frame[list(absent)] = np.nan
    return frame


def joined(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        np.concatenate([frame.to_numpy() for frame in frames]),
        index=[gsm for frame in frames for gsm in frame.index],
        columns=GENES,
    )


def tokens(frame: pd.DataFrame) -> list[TokenProfile]:
    tokenizer = ValueTokenizer(GENES, TOKENIZER)
    return token_profiles(tokenizer.transform(frame))


BACKGROUND = profiles(8, seed=50)


def run(encoder, members, explained, background=BACKGROUND, options=OPTIONS) -> Attributions:
    return attribute(
        encoder, members, ADAPTER, GENES, tokens(explained), tokens(background), options
    )


@pytest.mark.parametrize("reads_genes", [True, False])
def test_the_explained_logit_is_the_one_that_is_predicted(
    encoder, members, backbone, tmp_path: Path, reads_genes: bool
) -> None:
    if not reads_genes:
        hidden, nothing = backbone.hidden, torch.empty(0)
        members = [
            replace(
                one,
                weight=one.weight[:hidden],
                scale=one.scale[:hidden],
                direction=nothing,
                centre=nothing,
            )
            for one in members
        ]
    explained = joined(profiles(3, 1), profiles(2, 2, absent=["MMP8"]))
    wanted = tokens(explained)
    tokenizer = ValueTokenizer(GENES, TOKENIZER)
    states = PrefixStates(tmp_path, backbone, tokenizer.describe(), HEAD_LAYERS)
    states.encode(wanted, lambda: encoder)
    predicted = predict(
        encoder.model, states.load(wanted), np.arange(5), members, HEAD_LAYERS, ADAPTER
    )
    found = run(encoder, members, explained)
    assert found.logit.to_numpy() == pytest.approx(predicted.logits.mean(axis=0), abs=2e-3)
    assert predicted.logits.std() > 0.05


@pytest.mark.parametrize("kind", ["ia3", "prompt"])
def test_the_explained_logit_is_the_predicted_one_for_every_kind_of_adapter(
    encoder, backbone, tmp_path: Path, kind: str
) -> None:
    adapter = AdapterOptions(kind=kind)
    members = members_with(encoder, adapter)
    wanted = tokens(profiles(2, 1))
    states = PrefixStates(
        tmp_path, backbone, ValueTokenizer(GENES, TOKENIZER).describe(), HEAD_LAYERS
    )
    states.encode(wanted, lambda: encoder)
    rows = np.arange(2)
    logits = predict(encoder.model, states.load(wanted), rows, members, HEAD_LAYERS, adapter).logits
    found = attribute(encoder, members, adapter, GENES, wanted, tokens(BACKGROUND), OPTIONS)
    assert found.logit.to_numpy() == pytest.approx(logits.mean(axis=0), abs=2e-3)
    assert found.completeness_error.median() < 0.05


def test_values_add_up_to_the_difference_from_the_background(encoder, members) -> None:
    found = run(encoder, members, profiles(6, 3))
    difference = found.logit - found.base
    assert found.values.sum(axis=1).to_numpy() == pytest.approx(difference.to_numpy(), abs=0.02)
    missed = (found.values.sum(axis=1) - difference).abs() / difference.abs()
    usual = difference.abs() > 0.1 * difference.abs().median()
    assert found.completeness_error[usual].to_numpy() == pytest.approx(missed[usual].to_numpy())
    assert found.completeness_error.median() < 0.02


def test_values_agree_with_exact_shapley_values(encoder, members) -> None:
    explained = profiles(3, 4)
    heads = adapted_heads(encoder, members, ADAPTER)
    function = AdaptedLogit(encoder, heads, members, tokens(explained)[0], len(GENES))

    def logit(values: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return function(torch.tensor(values, dtype=torch.float32)).mean(dim=1).numpy()

    reference = np.stack([profile.values for profile in tokens(BACKGROUND)])
    wanted = np.stack([profile.values for profile in tokens(explained)])
    exact = exact_shapley(logit, wanted, reference)
    found = run(encoder, members, explained).values.to_numpy()
    # Aumann-Shapley values are not Shapley values, but come near where the function is smooth.
    assert np.abs(found - exact).mean() < 0.1 * np.abs(exact).mean()
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.98


def test_a_gene_that_is_absent_has_no_value_and_all_others_have_one(encoder, members) -> None:
    explained = joined(profiles(1, 5), profiles(2, 6, absent=["ARG1", "IL10"]))
    found = run(encoder, members, explained)
    assert found.values.isna().to_numpy().tolist() == explained.isna().to_numpy().tolist()
    assert found.inputs.isna().equals(found.values.isna())
    assert found.values.index.tolist() == explained.index.tolist()
    assert list(found.values.columns) == GENES


def test_each_pattern_of_genes_has_its_own_base(encoder, members) -> None:
    explained = joined(profiles(1, 5), profiles(2, 6, absent=["IL10"]), profiles(1, 7))
    base = run(encoder, members, explained).base
    assert base.iloc[0] == base.iloc[3]
    assert base.iloc[1] == base.iloc[2]
    assert base.iloc[0] != base.iloc[1]


def test_a_sample_is_explained_the_same_alone_and_in_company(encoder, members) -> None:
    options = OPTIONS.model_copy(update={"gradient_samples": 3})
    explained = joined(profiles(3, 8), profiles(2, 9, absent=["CCR2"]))
    together = run(encoder, members, explained, options=options).values
    for gsm in explained.index:
        alone = run(encoder, members, explained.loc[[gsm]], options=options).values
        assert alone.loc[gsm].to_numpy() == pytest.approx(
            together.loc[gsm].to_numpy(), abs=1e-4, nan_ok=True
        )


def test_the_ensemble_is_explained_by_the_mean_of_its_members(encoder, members) -> None:
    explained = profiles(3, 10)
    both = run(encoder, members, explained)
    single = [run(encoder, [member], explained) for member in members]
    mean = (single[0].values + single[1].values) / 2
    assert both.values.to_numpy() == pytest.approx(mean.to_numpy(), abs=1e-4)
    assert not np.allclose(single[0].values, single[1].values, atol=0.01)


def test_a_background_sample_that_lacks_a_gene_takes_the_mean_of_the_others(
    encoder, members
) -> None:
    explained, background = profiles(2, 11), BACKGROUND.copy()
    background.iloc[[1, 4], 2] = np.nan
    filled = background.fillna(background.mean())
    assert run(encoder, members, explained, background).values.to_numpy() == pytest.approx(
        run(encoder, members, explained, filled).values.to_numpy(), abs=1e-4
    )


def test_genes_of_the_background_that_a_sample_lacks_play_no_part(encoder, members) -> None:
    explained, other = profiles(2, 12, absent=["MMP8"]), BACKGROUND.copy()
    other["MMP8"] = 3.0
    pd.testing.assert_frame_equal(
        run(encoder, members, explained).values, run(encoder, members, explained, other).values
    )


def test_the_backbone_is_itself_again_afterwards(encoder, members) -> None:
    before = [name for name, _ in encoder.model.named_modules()]
    run(encoder, members, profiles(1, 13))
    assert [name for name, _ in encoder.model.named_modules()] == before


def test_progress_reaches_its_total(encoder, members) -> None:
    seen: list[tuple[int, int]] = []
    explained = tokens(joined(profiles(2, 14), profiles(1, 15, absent=["IL10"])))
    attribute(
        encoder,
        members,
        ADAPTER,
        GENES,
        explained,
        tokens(BACKGROUND),
        OPTIONS,
        lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (2 * 8 + 3 * 9, 2 * 8 + 3 * 9)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_explanation_is_of_shap_and_holds_the_same_numbers(encoder, members) -> None:
    import shap

    found = run(encoder, members, profiles(2, 16))
    explanation = found.explanation()
    assert isinstance(explanation, shap.Explanation)
    assert explanation.feature_names == GENES
    assert explanation.values == pytest.approx(found.values.to_numpy())
    assert explanation.base_values == pytest.approx(found.base.to_numpy())


def test_a_gene_that_no_background_sample_has_is_named(encoder, members) -> None:
    background = BACKGROUND.assign(**{"HLA-DRA": np.float32(np.nan)})
    with pytest.raises(ModelError, match=r"HLA-DRA of sample GSM170 .* every training cohort"):
        run(encoder, members, profiles(1, 17), background)


def test_nothing_to_explain_or_no_member_or_no_background_is_said(encoder, members) -> None:
    some = tokens(profiles(1, 18))
    for ensemble, explained, background, said in (
        ([], some, some, "a trained member"),
        (members, [], some, "samples to explain"),
        (members, some, [], "background samples"),
    ):
        with pytest.raises(ModelError, match=said):
            attribute(encoder, ensemble, ADAPTER, GENES, explained, background, OPTIONS)


def test_a_sample_named_twice_is_refused(encoder, members) -> None:
    twice = pd.concat([profiles(1, 19)] * 2)
    with pytest.raises(ModelError, match="GSM190 is to be explained twice"):
        run(encoder, members, twice)


def test_a_tokenizer_that_moves_genes_about_is_refused(encoder, members) -> None:
    first, second = tokens(profiles(2, 20))
    moved = replace(second, positions=second.positions[::-1].copy())
    with pytest.raises(ModelError, match="GSM201 has genes at other positions"):
        attribute(encoder, members, ADAPTER, GENES, [first, moved], tokens(BACKGROUND), OPTIONS)
