"""Gene symbols as words, whatever kind of text tokenizer a backbone has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_format

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone import load_text_tokenizer, prepare_backbone
from genellm_dagster.genellm.backbone_words import require_words, word_tokens
from genellm_dagster.genellm.embedding import GeneEmbedding
from genellm_dagster_tests.genellm.makers import Setting
from genellm_dagster_tests.genellm.published import byte_text, published, sentencepiece_text


def test_a_symbol_begins_as_a_word_does_for_either_kind_of_tokenizer():
    for text, pieces in (
        (sentencepiece_text(), ["▁IL", "6"]),
        (byte_text(), ["ĠIL", "6"]),
    ):
        assert text.convert_ids_to_tokens(word_tokens(text, "IL6")) == pieces


def test_no_token_of_the_space_alone_is_shared_by_all_sentencepiece_words():
    text = sentencepiece_text()
    naive = text(" IL6", add_special_tokens=False)["input_ids"]
    assert text.convert_ids_to_tokens(naive)[0] == "▁"
    assert naive[0] not in word_tokens(text, "IL6")


def test_a_symbol_of_many_tokens_is_their_mean(tiny: Setting):
    text = load_text_tokenizer(tiny.backbone)
    ids = word_tokens(text, "HLA-DRB1")
    assert len(ids) > 3
    embedding = GeneEmbedding(tiny.model, text, ["HLA-DRB1"], "low", "high")
    wanted = tiny.model.model.embed_tokens.weight[ids].mean(dim=0)
    assert (embedding.table[0] - wanted).abs().max() < 1e-7


def test_words_that_the_tokenizer_does_not_know_have_no_token():
    text = byte_text()
    assert word_tokens(text, "") == text(" ", add_special_tokens=False)["input_ids"]

    empty = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")),
        unk_token="<unk>",
    )
    assert word_tokens(empty, "IL6") == []
    with pytest.raises(ModelError, match="cannot tell gene symbols apart"):
        require_words(empty, 10, "x")


def test_a_tokenizer_of_another_model_is_refused():
    text = byte_text()
    require_words(text, len(text), "x")
    with pytest.raises(ModelError, match="more words than its weights"):
        require_words(text, 20, "x")


def _sentencepiece_file(folder: Path, **trained: Any) -> Path:
    """Write the pieces of the fast tokenizer as sentencepiece keeps them."""
    content = sentencepiece_format.ModelProto()
    text = sentencepiece_text()
    for number, piece in enumerate(text.convert_ids_to_tokens(range(len(text)))):
        kind = 2 if number == 0 else 3 if number < 3 else 6 if number < 259 else 1
        content.pieces.add(piece=piece, score=-float(number), type=kind)
    content.trainer_spec.model_type = trained.get("model_type", 2)
    (folder / "tokenizer.model").write_bytes(content.SerializeToString())
    return folder / "tokenizer.model"


def test_a_sentencepiece_file_alone_gives_the_same_words(tmp_path: Path):
    source = published(tmp_path / "source", "llama-1")
    plain = load_text_tokenizer(prepare_backbone(str(source), tmp_path / "plain"))
    for file in source.glob("token*"):
        file.unlink()
    _sentencepiece_file(source)
    read = load_text_tokenizer(prepare_backbone(str(source), tmp_path / "store"))
    for word in ("IL6", "HLA-DRB1", "low", "β"):
        assert word_tokens(read, word) == word_tokens(plain, word)
    assert read.convert_ids_to_tokens(word_tokens(read, "IL6")) == ["▁IL", "6"]


def test_a_sentencepiece_file_of_another_kind_or_damaged_is_refused(tmp_path: Path):
    source = published(tmp_path / "source", "llama-1")
    for file in source.glob("token*"):
        file.unlink()
    file = _sentencepiece_file(source, model_type=1)
    with pytest.raises(ModelError, match="does not merge pairs of pieces"):
        prepare_backbone(str(source), tmp_path / "store")
    file.write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match=r"text tokenizer .* cannot be read"):
        prepare_backbone(str(source), tmp_path / "store")
