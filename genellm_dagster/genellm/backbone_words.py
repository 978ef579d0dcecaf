"""Words to text tokens, whatever kind of text tokenizer a backbone has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genellm_dagster.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SENTENCEPIECE_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
# That of Llama-2 has half a megabyte.
_MAX_BYTES = 64 * 2**20
_BPE = 2  # among sentencepiece's kinds of model
# Short, long, with digits and hyphens; and the words of the default value direction.
_PROBES = ("low", "high", "IL6", "CD177", "HLA-DRB1", "C1orf112")


def word_tokens(tokenizer: PreTrainedTokenizerBase, word: str) -> list[int]:
    """Return the text tokens of a word as it stands within a text, after a space.

    A tokenizer of the sentencepiece kind puts that space before a text by itself; one given to it
    would become a token of its own, the same for every word.

    Args:
        tokenizer: The text tokenizer.
        word: A gene symbol or another word.

    Returns:
        Token ids without the one for what the tokenizer does not know; none when that is all.
    """
    alone = tokenizer(word, add_special_tokens=False)["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(alone[:1])
    if not pieces or not pieces[0].startswith(_SENTENCEPIECE_SPACE):
        alone = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    return [token for token in alone if token != tokenizer.unk_token_id]


def read_sentencepiece(file: Path) -> PreTrainedTokenizerBase:
    """Read the ``tokenizer.model`` that early LLaMA models were published with.

    transformers would need the package sentencepiece for it, whose present versions do not go
    together with MLflow's protobuf; the file's pieces and their order are all that is needed.

    Raises:
        ValueError: When the file is none of pairs of pieces, or too large to be one.
        google.protobuf.message.DecodeError: When it is damaged.
    """
    from transformers import LlamaTokenizer
    from transformers.tokenization_utils_base import generate_merges
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_format

    if file.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{file.name} is too large")
    content = sentencepiece_format.ModelProto()  # type: ignore[attr-defined]
    content.ParseFromString(file.read_bytes())
    trained = content.trainer_spec
    if trained.model_type != _BPE:
        raise ValueError(f"{file.name} does not merge pairs of pieces")
    pieces = {piece.piece: number for number, piece in enumerate(content.pieces)}
    return LlamaTokenizer(
        vocab=pieces,
        merges=generate_merges(pieces),
        unk_token=trained.unk_piece,
        bos_token=trained.bos_piece,
        eos_token=trained.eos_piece,
    )


def require_words(tokenizer: PreTrainedTokenizerBase, embeddings: int, name: str) -> None:
    """Refuse a text tokenizer that does not belong to the weights, or cannot tell words apart.

    Args:
        tokenizer: The text tokenizer.
        embeddings: Rows of the backbone's embedding table.
        name: Of the backbone, for the message.

    Raises:
        ModelError: When it does not.
    """
    words = [tuple(word_tokens(tokenizer, probe)) for probe in _PROBES]
    if not all(words) or len(set(words)) < len(words):
        raise ModelError(
            f"The text tokenizer of the backbone {name!r} cannot tell gene symbols apart; its "
            "folder needs the tokenizer.json that belongs to the weights."
        )
    if max(map(max, words)) >= embeddings:
        raise ModelError(
            f"The text tokenizer of the backbone {name!r} knows more words than its weights have "
            f"({embeddings}); its folder needs the tokenizer.json that belongs to them."
        )
