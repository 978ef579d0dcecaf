"""A profile as the model sees it."""

from __future__ import annotations

import numpy as np
import pytest

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.kinds import fit_tokenizer
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.show import show_tokens, tokens_as_text
from genellm_dagster_tests.tokenizers.makers import GENES, KINDS, fitted, profiles

TRAINING = profiles([[0, 0, 0, 0, 0], [2, 2, 2, 2, 2], [4, 4, 4, 4, 4]])
SAMPLE = profiles([[1, 9, np.nan, 3, -1]])


def shown(kind: str):
    tokenizer = fitted(kind, TRAINING)
    (tokens,) = token_profiles(tokenizer.transform(SAMPLE))
    return tokens, tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_stands_with_its_gene_and_what_it_says(kind: str):
    tokens, tokenizer = shown(kind)
    table = show_tokens(tokens, tokenizer, SAMPLE.iloc[0])
    assert table["gene"].tolist() == [GENES[gene] for gene in tokens.genes]
    assert table["position"].tolist() == tokens.positions.tolist()
    assert table["value"].tolist() == tokens.values.tolist()
    assert table["profile"].tolist() == SAMPLE.iloc[0][table["gene"]].tolist()
    told = tokenizer.expression([tokens]).iloc[0]
    assert table["told"].tolist() == told[table["gene"]].tolist()


def test_ranks_and_bins_say_where_a_gene_stands():
    ranked = show_tokens(*shown("rank")).set_index("gene")
    assert ranked.index[0] == "CD177"
    assert ranked["rank"].tolist() == [1, 2, 3, 4]
    assert ranked["median"].tolist() == [2.0] * 4
    binned = show_tokens(*shown("bins of a gene")).set_index("gene")
    assert (binned.at["CD177", "bin"], binned.at["CD177", "bins"]) == (3, 3)
    assert binned.at["HLA-DPB1", "bin"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_names_sample_kind_absent_genes_and_every_token(kind: str):
    text = tokens_as_text(*shown(kind))
    assert "GSM0: 4 tokens of a vocabulary of 5 genes" in text
    assert f"tokenizer {KINDS[kind].kind}" in text
    assert "without a token: MMP8" in text
    for gene in ("IL6", "CD177", "ARG1", "HLA-DPB1"):
        assert gene in text
    assert ("sentence: CD177 ARG1 IL6 HLA-DPB1" in text) == (kind == "rank")


def test_a_long_profile_is_cut_in_the_middle():
    genes = [f"GENE{number}" for number in range(90)]
    sample = profiles([np.arange(90.0)], genes)
    tokenizer = fit_tokenizer(genes, TokenizerOptions(), sample)
    (tokens,) = token_profiles(tokenizer.transform(sample))
    text = tokens_as_text(tokens, tokenizer, rows=5)
    assert "… 85 more tokens" in text
    assert [gene for gene in genes if f" {gene} " in text] == [
        "GENE0", "GENE1", "GENE2", "GENE88", "GENE89",
    ]  # fmt: skip
    assert len(tokens_as_text(tokens, tokenizer, rows=None).splitlines()) == 90 + 3


def test_the_words_of_the_backbone_stand_beside_a_symbol():
    table = show_tokens(*shown("value"), pieces={"CD177": ["CD", "1", "77"]})
    assert table.set_index("gene")["pieces"].to_dict() == {
        "IL6": "", "CD177": "CD|1|77", "ARG1": "", "HLA-DPB1": "",
    }  # fmt: skip


def test_what_a_terminal_would_obey_is_not_printed():
    genes = ["\x1b[31mIL6", "ARG1\nfake"]
    sample = profiles([[1, 2]], genes)
    tokenizer = fit_tokenizer(genes, TokenizerOptions(), sample)
    (tokens,) = token_profiles(tokenizer.transform(sample))
    text = tokens_as_text(tokens, tokenizer)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 5


def test_a_profile_of_another_vocabulary_is_refused():
    tokens, tokenizer = shown("value")
    with pytest.raises(ModelError, match="its own profile"):
        show_tokens(tokens, tokenizer, SAMPLE.iloc[0].drop("IL6"))
