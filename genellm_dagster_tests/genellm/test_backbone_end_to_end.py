"""Published shapes run through prefix and head as the model that published them would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone import load_model, prepare_backbone, require_room
from genellm_dagster.genellm.options import AdapterOptions, GeneLLMOptions, TrainingOptions
from genellm_dagster.genellm.prediction import predict
from genellm_dagster.genellm.readout import ReadOut
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.training import fit
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster_tests.genellm.makers import GENES, Setting, simulated
from genellm_dagster_tests.genellm.published import SHAPES, published


@pytest.mark.parametrize("shape", SHAPES)
def test_prefix_and_head_equal_the_plain_forward(shape: str, tmp_path: Path):
    source = published(tmp_path / "source", shape)
    backbone = prepare_backbone(str(source), tmp_path / "store")
    setting = Setting.of(backbone, load_model(backbone))
    plain = AutoModelForCausalLM.from_pretrained(source).eval()
    assert plain.config.model_type == ("mistral" if shape == "mistral" else "llama")
    profiles, _ = simulated(cohorts=1, each=3, absent=False)
    tokens = setting.tokens(profiles)
    genes, positions, values = (
        torch.as_tensor(np.stack([getattr(token, part) for token in tokens]))
        for part in ("genes", "positions", "values")
    )
    with torch.no_grad():
        embedded = setting.embedding(genes.long(), values)
        said = plain.model(
            inputs_embeds=embedded, position_ids=positions.long(), output_hidden_states=True
        )
        for head_layers in (1, 2):
            states = setting.encoder(head_layers).states(genes.long(), positions.long(), values)
            wanted = said.hidden_states[3 - head_layers]
            torch.testing.assert_close(states, wanted, atol=1e-5, rtol=0)
        present = torch.ones_like(genes, dtype=torch.bool)
        one = setting.encoder(1).states(genes.long(), positions.long(), values)
        read = ReadOut(setting.model.model, 1)(one, positions.long(), present, len(GENES))
        # In the plain model's last layer: one token more, which attends to all but itself.
        hidden = torch.cat([one, one.mean(dim=1, keepdim=True)], dim=1)
        where = torch.cat([positions.long(), torch.full((3, 1), len(GENES))], dim=1)
        allowed = torch.ones(len(GENES) + 1, len(GENES) + 1).tril().bool()
        allowed[-1, -1] = False
        last = plain.model.layers[-1](
            hidden,
            attention_mask=allowed[None, None],
            position_embeddings=plain.model.rotary_emb(hidden, position_ids=where),
        )
        torch.testing.assert_close(read, plain.model.norm(last)[:, -1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("shape", "dtype"), [("mistral", "float32"), ("llama-3", "bfloat16")])
def test_a_published_backbone_learns_and_scores(shape: str, dtype: str, tmp_path: Path):
    source = published(tmp_path / "source", shape, getattr(torch, dtype))
    backbone = prepare_backbone(str(source), tmp_path / "store")
    options = GeneLLMOptions.model_validate({"backbone": {"dtype": dtype, "device": "cpu"}})
    setting = Setting.of(backbone, load_model(backbone, dtype=dtype))
    session = Session(backbone, setting.tokenizer.describe(), options, tmp_path / "states")
    profiles, samples = simulated(cohorts=1, each=24, effect=4.0, absent=False)
    states = session.load(token_profiles(setting.tokenizer.transform(profiles)))
    cases, cohorts = samples["case"].to_numpy(), samples["cohort"].to_numpy(str)
    result = fit(
        session.model, backbone.model_copy(update={"pretrained": False}), states, np.arange(16),
        cases[:16], cohorts[:16], 1, AdapterOptions(), TrainingOptions(ensemble=1, epochs=1),
    )  # fmt: skip
    said = predict(session.model, states, np.arange(16, 24), result.members, 1, AdapterOptions())
    assert session.model.model.embed_tokens.weight.dtype == getattr(torch, dtype)
    assert said.score[cases[16:] == 1].min() > said.score[cases[16:] == 0].max()


def test_numbers_of_another_kind_have_states_of_their_own(tiny: Setting, tmp_path: Path):
    def address(**backbone: str) -> str:
        options = GeneLLMOptions.model_validate({"backbone": backbone})
        return Session(tiny.backbone, tiny.tokenizer.describe(), options, tmp_path).states.address

    plain = address()
    assert plain == tiny.cache(tmp_path).address
    addresses = {
        plain, address(dtype="bfloat16"), address(quantisation="nf4"),
        address(quantisation="nf4", dtype="bfloat16"),
    }  # fmt: skip
    assert len(addresses) == 4


def test_more_genes_than_the_window_or_the_context_are_refused(tmp_path: Path):
    source = published(tmp_path / "source", "mistral")
    mistral = prepare_backbone(str(source), tmp_path / "store")
    assert mistral.context == 64
    require_room(mistral, 63)
    with pytest.raises(ModelError, match=r"64 tokens and .* can be given \(64\)"):
        require_room(mistral, 64)
    describe = {"genes": [f"G{n}" for n in range(64)], "low_word": "low", "high_word": "high"}
    with pytest.raises(ModelError, match="max_genes"):
        Session(mistral, describe, GeneLLMOptions(), tmp_path)
    full = published(tmp_path / "full", "mistral", sliding_window=None)
    assert prepare_backbone(str(full), tmp_path / "store").context == 512
