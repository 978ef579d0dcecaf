"""A profile as the model sees it, for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError
from genellm_dagster.tokenizers.protocol import Tokenizer, TokenProfile
from genellm_dagster.tokenizers.rank import RankTokenizer
from genellm_dagster.tokenizers.sentence import cell_sentence

_SENTENCE = 40
_ABSENT = 12


def show_tokens(
    tokens: TokenProfile,
    tokenizer: Tokenizer,
    profile: pd.Series | None = None,
    pieces: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """List a sample's tokens.

    Args:
        tokens: A row of the token table (:func:`token_profiles`).
        tokenizer: What made it.
        profile: The sample's profile, gene to value, to set beside what the tokens say.
        pieces: Gene to the text tokens by which the backbone knows its symbol.

    Returns:
        One row a token, in reading order: position, gene, (pieces,) value (how far the token is
        moved), what the tokenizer tells of it (rank and median, or bin and bins), told (the
        expression that the token stands for), (profile).

    Raises:
        ModelError: When the tokens are of another vocabulary.
    """
    told = tokenizer.expression([tokens]).to_numpy()[0]
    genes = [tokenizer.genes[gene] for gene in tokens.genes]
    table = pd.DataFrame({"position": tokens.positions, "gene": genes})
    if pieces is not None:
        table["pieces"] = ["|".join(pieces.get(gene, ())) for gene in genes]
    table["value"] = tokens.values
    table = table.assign(**tokenizer.details(tokens), told=told[tokens.genes])
    if profile is not None:
        if not set(genes) <= set(profile.index):
            raise ModelError(
                f"The profile given for {tokens.gsm} lacks genes that its tokens have; give its "
                "own profile."
            )
        table["profile"] = profile.loc[genes].to_numpy()
    return table


def tokens_as_text(
    tokens: TokenProfile,
    tokenizer: Tokenizer,
    profile: pd.Series | None = None,
    pieces: Mapping[str, Sequence[str]] | None = None,
    rows: int | None = 40,
) -> str:
    """Write a sample's tokens as a person reads them in a terminal.

    Args:
        tokens: As for :func:`show_tokens`.
        tokenizer: As there.
        profile: As there.
        pieces: As there.
        rows: Most rows, half from the start and half from the end; all when None.

    Returns:
        A heading, the genes without a token, the cell sentence of the rank tokenizer, the table.
    """
    table = show_tokens(tokens, tokenizer, profile, pieces)
    absent = np.setdiff1d(np.arange(len(tokenizer.genes)), tokens.genes)
    kind = tokenizer.describe()["kind"]
    parts = [
        f"{tokens.gsm}: {len(tokens)} tokens of a vocabulary of {len(tokenizer.genes)} genes, "
        f"tokenizer {kind}"
    ]
    if len(absent):
        named = " ".join(tokenizer.genes[gene] for gene in absent[:_ABSENT])
        more = f" and {len(absent) - _ABSENT} more" if len(absent) > _ABSENT else ""
        parts.append(f"without a token: {named}{more}")
    if isinstance(tokenizer, RankTokenizer):
        parts.append(f"sentence: {cell_sentence(tokens, tokenizer.genes, first=_SENTENCE)}")
    parts += ["", *_lines(table, rows)]
    # Symbols and names come from files of others; a terminal obeys what is not printable.
    return "\n".join("".join(c if c.isprintable() else "?" for c in part) for part in parts)


def _lines(table: pd.DataFrame, rows: int | None) -> list[str]:
    text = {name: [str(name), *(_cell(value) for value in table[name])] for name in table.columns}
    widths = {name: max(map(len, column)) for name, column in text.items()}
    left = {"gene", "pieces"}
    lines = [
        "  ".join(
            cell.ljust(widths[name]) if name in left else cell.rjust(widths[name])
            for name, cell in zip(text, row, strict=True)
        ).rstrip()
        for row in zip(*text.values(), strict=True)
    ]
    body = lines[1:]
    if rows is not None and len(body) > rows:
        head, tail = rows - rows // 2, rows // 2
        gap = f"… {len(body) - rows} more tokens"
        body = [*body[:head], gap, *body[len(body) - tail :]]
    return [lines[0], *body]


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:+.3f}"
    return str(value)
