"""Named lists of genes: GMT, text and CSV files, their names brought to approved symbols."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.symbols import resolve_symbol

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "data" / "gene_sets"
MAX_BYTES = 8 * 1024 * 1024
"""The 346 blood transcription modules take 70 KB, Hallmark's 50 sets about as much."""
MAX_NAMES = 500_000
"""Names in a file, repeated ones included."""

_GMT = ".gmt"
_TEXT = (".txt", ".list", ".grp")
_TABLE = (".csv", ".tsv")
_SUFFIXES = (_GMT, *_TEXT, *_TABLE)
_COLUMNS = ("gene", "symbol", "gene_symbol", "gene symbol", "hgnc_symbol", "approved symbol")
# A probe of several genes, as platforms and the blood transcription modules write it.
_SEVERAL = "///"
_SHOWN = 5


@dataclass(frozen=True)
class GeneList:
    """A list of genes as it is used.

    Attributes:
        name: As it was asked for.
        file: Where it is.
        sha256: Of the file's bytes.
        sets: The sets of a GMT file that were taken; empty for other files.
        genes: Approved symbols, sorted, each once.
        counts: Different names by outcome (see ``approve_symbols``), and ``names``, their number.
        lost: Names that mean no gene, or more than one, sorted.
    """

    name: str
    file: Path
    sha256: str
    sets: tuple[str, ...]
    genes: tuple[str, ...]
    counts: dict[str, int]
    lost: tuple[str, ...]


def packaged_gene_lists(folder: Path | None = None) -> dict[str, Path]:
    """Return the lists that can be asked for by name, sorted."""
    folder = folder or DEFAULT_FOLDER
    if not folder.is_dir():
        return {}
    # A licence beside a list is no list: its name has two suffixes.
    files = (one for one in folder.iterdir() if one.suffix in _SUFFIXES and "." not in one.stem)
    return {file.stem: file for file in sorted(files)}


def read_gene_list(
    name_or_path: str, sets: Iterable[str] = (), folder: Path | None = None
) -> GeneList:
    """Read a list and give its names their approved symbols.

    Args:
        name_or_path: A name of :func:`packaged_gene_lists`, or the path of a GMT file, a text file
            with a symbol a line (after ``#`` is comment) or a CSV or TSV file whose header names
            one column gene or symbol (a file of one column needs no header).
        sets: Sets of a GMT file, by name or by the code in brackets at its end; none means all.
        folder: Where named lists are; none means the project's.

    Raises:
        ExpressionError: When there is no such list, when it is too large or no text, when a set is
            not in it, or when none of its names is a gene.
    """
    file = _find(name_or_path, folder or DEFAULT_FOLDER)
    content = _content(file)
    text = _text(file, content)
    wanted = tuple(dict.fromkeys(sets))
    chosen: tuple[str, ...] = ()
    if file.suffix.lower() == _GMT:
        found = _read_gmt(file, text)
        chosen = _chosen_sets(file, found, wanted)
        names = [name for one in chosen for name in found[one]]
    elif wanted:
        raise ExpressionError(
            f"{file} is no GMT file and holds no sets, but gene_sets asks for {wanted[0]!r}; leave "
            "gene_sets empty, or name a GMT file."
        )
    elif file.suffix.lower() in _TABLE:
        names = _read_table(file, text)
    else:
        names = [line.split("#", 1)[0].strip() for line in text.splitlines()]
    return _approved(name_or_path, file, hashlib.sha256(content).hexdigest(), chosen, names)


def read_gene_sets(name_or_path: str, folder: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Read every set of a GMT file, its names brought to approved symbols.

    Args:
        name_or_path: A name of :func:`packaged_gene_lists`, or the path of a GMT file.
        folder: Where named lists are; none means the project's.

    Returns:
        Set to its genes, sorted, each once; a set without a known gene is left out.

    Raises:
        ExpressionError: When there is no such file, or it is no GMT file.
    """
    file = _find(name_or_path, folder or DEFAULT_FOLDER)
    if file.suffix.lower() != _GMT:
        raise ExpressionError(
            f"{file} is no GMT file and holds no sets of genes; name a GMT file in gene_sets."
        )
    found = {}
    for name, members in _read_gmt(file, _text(file, _content(file))).items():
        parts = {part.strip() for one in members for part in one.split(_SEVERAL)}
        known = {resolve_symbol(part)[0] for part in parts if part}
        genes = tuple(sorted(gene for gene in known if gene is not None))
        if genes:
            found[name] = genes
    return found


def gene_list_digest(name_or_path: str | None, folder: Path | None = None) -> str | None:
    """Return the SHA-256 of a list's file, so that a changed file is noticed; None without a list.

    Raises:
        ExpressionError: When there is no such list, or it is too large.
    """
    if name_or_path is None:
        return None
    return hashlib.sha256(_content(_find(name_or_path, folder or DEFAULT_FOLDER))).hexdigest()


def _approved(
    name: str, file: Path, sha256: str, sets: tuple[str, ...], names: list[str]
) -> GeneList:
    if len(names) > MAX_NAMES:
        raise ExpressionError(f"{file} holds more than {MAX_NAMES} names; shorten the list.")
    parts = (part.strip() for one in names for part in one.split(_SEVERAL))
    unique = sorted({part for part in parts if part})
    resolved = {one: resolve_symbol(one) for one in unique}
    counts = Counter(kind for _, kind in resolved.values())
    genes = {symbol for symbol, _ in resolved.values() if symbol is not None}
    if not genes:
        shown = ", ".join(repr(one[:40]) for one in unique[:_SHOWN]) or "nothing"
        raise ExpressionError(
            f"{file} names no gene that HGNC knows (it holds {shown}); give a list of gene symbols."
        )
    return GeneList(
        name=name,
        file=file,
        sha256=sha256,
        sets=sets,
        genes=tuple(sorted(genes)),
        counts={
            "names": len(unique),
            **{
                kind: counts[kind]
                for kind in ("approved", "renamed", "excel_date", "ambiguous", "unknown")
            },
        },
        lost=tuple(one for one, (symbol, _) in resolved.items() if symbol is None),
    )


def _find(name_or_path: str, folder: Path) -> Path:
    known = packaged_gene_lists(folder)
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        there = ", ".join(known) or "none"
        raise ExpressionError(
            f"There is no gene list {name_or_path!r}: it is no file, nor a name under {folder} "
            f"(there are: {there}); mend gene_list."
        )
    if path.suffix.lower() not in _SUFFIXES:
        raise ExpressionError(
            f"{path} ends in none of {', '.join(_SUFFIXES)}, so how to read it is not known; "
            "rename it to what it is."
        )
    return path.resolve()


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise ExpressionError(
            f"{file} cannot be read ({error.strerror}); check its permissions."
        ) from error
    if len(content) > MAX_BYTES:
        raise ExpressionError(
            f"{file} is larger than {MAX_BYTES // 1024 // 1024} MiB, which no gene list needs; "
            "check that it is the right file, or take a part of it."
        )
    return content


def _text(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExpressionError(f"{file} is no UTF-8 text; save it as UTF-8.") from error


def _read_gmt(file: Path, text: str) -> dict[str, list[str]]:
    sets: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) < 3 or not cells[0].strip():
            raise ExpressionError(
                f"{file}, line {number}: a GMT line holds a name, a description and genes with "
                "tabs between them; mend that line."
            )
        sets.setdefault(cells[0].strip(), []).extend(cells[2:])
    if not sets:
        raise ExpressionError(f"{file} is empty; give a GMT file with sets of genes.")
    return sets


def _chosen_sets(
    file: Path, found: dict[str, list[str]], wanted: tuple[str, ...]
) -> tuple[str, ...]:
    if not wanted:
        return tuple(found)
    by_word = {name.casefold(): name for name in found}
    coded = [(name.rsplit("(", 1)[1][:-1].casefold(), name) for name in found if _coded(name)]
    often = Counter(code for code, _ in coded)
    by_code = {code: name for code, name in coded if often[code] == 1}
    chosen: dict[str, None] = {}
    for one in wanted:
        word = one.strip().casefold()
        name = by_word.get(word) or by_code.get(word)
        if name is None:
            close = difflib.get_close_matches(word, by_word, n=3, cutoff=0.5)
            like = ", ".join(repr(by_word[match]) for match in close)
            raise ExpressionError(
                f"{file} holds no set {one!r} among its {len(found)}"
                + (f" (close to it: {like})" if like else "")
                + "; mend gene_sets."
            )
        chosen[name] = None
    return tuple(chosen)


def _coded(name: str) -> bool:
    return "(" in name and name.endswith(")")


def _read_table(file: Path, text: str) -> list[str]:
    delimiter = "\t" if file.suffix.lower() == ".tsv" else _delimiter(text)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise ExpressionError(f"{file} is no readable table ({error}); mend it.") from error
    if not rows:
        raise ExpressionError(f"{file} is empty; give a table with a column gene or symbol.")
    header = [cell.strip().casefold() for cell in rows[0]]
    columns = [at for at, cell in enumerate(header) if cell in _COLUMNS]
    if len(columns) > 1:
        raise ExpressionError(
            f"{file} has {len(columns)} columns of genes ({', '.join(header[at] for at in columns)}"
            "); leave one."
        )
    if not columns and max(len(row) for row in rows) > 1:
        raise ExpressionError(
            f"{file} has no column named gene or symbol (it has {', '.join(header[:_SHOWN])}); "
            "name one of them so."
        )
    at, body = (columns[0], rows[1:]) if columns else (0, rows)
    return [row[at].strip() for row in body if len(row) > at]


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=first.count)
