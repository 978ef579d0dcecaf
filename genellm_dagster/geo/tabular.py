"""Tables that submitters wrote: how they are written is found out.

Found out are the encoding, the delimiter, the decimal sign, the line of names (which may lack the
name of the id column, as R writes it) and which columns hold numbers.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.compressed import looks_like_html

#: What submitters write for a value that is missing, beyond GEO's own words.
MISSING = (
    "", "NA", "null", "NULL", "Null", "N/A", "n/a", "#N/A", "#VALUE!", "#DIV/0!", "-", ".", "NaN",
    "nan", "ND",
)  # fmt: skip
_DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar", " ": "blank"}
_SAMPLE_LINES = 400
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COMMA_NUMBER = re.compile(r"[+-]?(\d+,\d+|,\d+)([eE][+-]?\d+)?", re.ASCII)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", re.ASCII)
INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
# What columns of ids are called; a line of names that starts with one lacks some other name.
_ID_NAME = re.compile(r"(id\b|id_|gene|symbol|probe|ensembl|entrez|name|row|#|transcript)", re.I)
_MAX_NAMES_ROW = 60
_MAX_LINES_OF_CELL = 3
CountNames = Callable[[Sequence[str]], int]
_KINDS = {
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"RDX": "an R data file",
    b"X\n\x00\x00": "an R data file",
    b"%%MatrixMarket": "a sparse matrix",
    b"PAR1": "a Parquet file",
}


@dataclass(frozen=True)
class Written:
    """How a table is written.

    Attributes:
        delimiter: The character between cells.
        decimal: ``.`` or ``,``.
        thousands: Whether commas group the digits of large numbers.
        quotes: Whether quotes enclose cells; else they are characters like others.
        names: The line of names, one a column.
        names_at: Number of the row that holds it, from 1.
        body_at: Line number, from 0, of the first row of values.
        skipped: Rows between the names and the values.
        numeric: Positions of the columns that hold numbers.
        sample: The first rows of values.
    """

    delimiter: str
    decimal: str
    thousands: bool
    quotes: bool
    names: tuple[str, ...]
    names_at: int
    body_at: int
    skipped: int
    numeric: tuple[int, ...]
    sample: tuple[tuple[str, ...], ...]

    @property
    def delimiter_name(self) -> str:
        """The delimiter in a word."""
        return _DELIMITERS[self.delimiter]

    def column(self, place: int) -> list[str]:
        """Return the first cells of a column, trimmed."""
        return [row[place].strip() for row in self.sample]


def to_text(content: bytes, where: str) -> bytes:
    r"""Return a file of text as UTF-8 without byte order mark, lines ending in ``\n``.

    Raises:
        GeoError: When it is no text: an archive, a web page, some program's own format.
    """
    for magic, kind in _KINDS.items():
        if content.startswith(magic):
            raise GeoError(_no_table(where, kind))
    if content[257:262] == b"ustar":
        raise GeoError(_no_table(where, "a tar archive"))
    if looks_like_html(content[:512]):
        raise GeoError(_no_table(where, "a web page"))
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = content.decode("utf-16", "replace").encode()
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\x00" in content[:65_536]:
        raise GeoError(_no_table(where, "no text"))
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        content = content.decode("latin-1").encode()
    if not content.strip():
        raise GeoError(f"{where} is empty; fetch it again or leave it out.")
    return content


def find_out(text: bytes, count_names: CountNames, where: str) -> Written:
    """Find out how a table is written.

    Args:
        text: What :func:`to_text` returned.
        count_names: Tells how many cells of a row are names of samples.
        where: The file, for sentences.

    Raises:
        GeoError: When no delimiter makes a table of it, when it holds no numbers or no line of
            names, or when commas in its numbers may mean two things.
    """
    lines = [line.decode() + "\n" for line in text.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]]
    delimiter = _delimiter(lines, where)
    rows, ends, quotes = _rows(lines, delimiter)
    width = _width(rows)
    typical = float(np.median([_numbers(row) for row in rows if len(row) == width]))
    places = _places_of_numbers(rows, width)
    is_data = [_is_data(row, width, places) for row in rows]
    at = _names_row(rows, width, is_data, count_names)
    first = next((number for number in range(at + 1, len(rows)) if is_data[number]), None)
    if at < 0 or first is None:
        raise GeoError(
            f"{where} holds no line of names with rows of numbers below it; name the table's own "
            "file or sheet, or leave it out."
        )
    torn = next((row for row in rows[at + 1 : first] if _numbers(row) >= max(1, typical / 2)), None)
    if torn is not None:
        raise GeoError(
            f"{where}: the row of {torn[0][:60]!r} has {len(torn)} cells for {width} columns; mend "
            "it in a copy of the file, or leave it out."
        )
    sample = tuple(tuple(row) for row in rows[first:] if len(row) == width)
    _refuse_turned([row[0] for row in sample], count_names, where)
    names = _names(rows[at], width, sample, where)
    decimal, thousands = _decimal(sample, where)
    return Written(
        delimiter=delimiter,
        decimal=decimal,
        thousands=thousands,
        quotes=quotes,
        names=names,
        names_at=at + 1,
        body_at=ends[first - 1],
        skipped=sum(any(cell.strip() for cell in row) for row in rows[at + 1 : first]),
        numeric=tuple(
            place
            for place in range(width)
            if _holds_numbers([row[place] for row in sample], count_names([names[place]]) > 0)
        ),
        sample=sample,
    )


def _delimiter(lines: list[str], where: str) -> str:
    """Return the character that gives rows of one width with most numbers in them."""
    best, chosen = 0.0, ""
    for delimiter in _DELIMITERS:
        if delimiter == " " and chosen:  # blanks stand inside names, too
            break
        rows = _rows(lines, delimiter)[0]
        width = _width(rows)
        fitting = [row for row in rows if len(row) == width]
        if width < 2:
            continue
        share = len(fitting) / len(rows)
        score = share * sum(_numbers(row) for row in fitting) / len(fitting)
        if score > best:
            best, chosen = score, delimiter
    if not chosen:
        raise GeoError(
            f"{where} is no table of numbers (no tab, comma, semicolon, bar or blank cuts its "
            "lines into columns); leave it out."
        )
    return chosen


def _rows(lines: list[str], delimiter: str) -> tuple[list[list[str]], list[int], bool]:
    """Cut lines into rows; returns them, the number of lines up to each one's end, and quoting."""
    for quotes in (True, False):
        reader = csv.reader(
            lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
        )
        rows: list[list[str]] = []
        ends: list[int] = []
        try:
            for row in reader:
                rows.append(row)
                ends.append(reader.line_num)
        except csv.Error:
            continue
        # A lone quote would swallow the rows behind it.
        if not quotes or all(
            cell.count("\n") <= _MAX_LINES_OF_CELL for row in rows for cell in row
        ):
            return rows, ends, quotes
    return rows, ends, False


def _width(rows: list[list[str]]) -> int:
    """Return the width of most rows, those at the top aside, where titles and notes may stand."""
    lower = [len(row) for row in rows[len(rows) // 5 :] if any(cell.strip() for cell in row)]
    counts = Counter(lower or [len(row) for row in rows])
    return max(counts, key=lambda width: (counts[width], width), default=0)


def _numbers(row: Sequence[str]) -> int:
    return sum(_is_number(cell.strip()) for cell in row[1:])


def _places_of_numbers(rows: list[list[str]], width: int) -> list[int]:
    """Return the columns in which most rows have a number."""
    fitting = [row for row in rows if len(row) == width and any(cell.strip() for cell in row)]
    return [
        place
        for place in range(width)
        if sum(_is_number(row[place].strip()) for row in fitting) >= len(fitting) / 2
    ]


def _is_data(row: list[str], width: int, places: list[int]) -> bool:
    """Tell a row of values, some of which may be missing, from names and notes."""
    if len(row) != width or not any(cell.strip() for cell in row):
        return False
    cells = [row[place].strip() for place in places]
    fitting = sum(_is_number(cell) or cell in MISSING for cell in cells)
    return fitting > 0 and fitting >= len(cells) / 2


def _is_number(cell: str) -> bool:
    return (
        NUMBER.fullmatch(cell) is not None
        or COMMA_NUMBER.fullmatch(cell) is not None
        or THOUSANDS.fullmatch(cell) is not None
        or INFINITE.fullmatch(cell) is not None
    )


def _names_row(
    rows: list[list[str]], width: int, is_data: list[bool], count_names: CountNames
) -> int:
    """Return the row that names most samples, else the last one above the numbers; -1: none."""
    wide = [
        number
        for number, row in enumerate(rows[:_MAX_NAMES_ROW])
        if sum(bool(cell.strip()) for cell in row) >= max(1, (width - 1) / 2) and len(row) > 1
    ]
    # Numbers may be names, but only where nothing above them is: values resemble such names.
    top = wide[:1]
    counts = {
        number: count_names(rows[number]) for number in wide if not is_data[number] or number in top
    }
    best = max(counts, key=lambda number: (counts[number], -number), default=-1)
    if best >= 0 and counts[best] > 0:
        return best
    first = is_data.index(True) if True in is_data else 0
    return max((number for number in wide if number < first), default=-1)


def _names(
    row: list[str], width: int, sample: Sequence[Sequence[str]], where: str
) -> tuple[str, ...]:
    names = [" ".join(cell.split()) for cell in row]
    while len(names) > width and not names[-1]:
        names.pop()
    if len(names) == width - 1:
        if all(not cells[-1].strip() for cells in sample):
            names.append("")  # rows end in a delimiter
        elif names[0] and not _ID_NAME.match(names[0]):
            names.insert(0, "")  # R names no column of row names
    if len(names) != width:
        raise GeoError(
            f"{where}: the line of names has {len(names)} cells for {width} columns, so it is off "
            "by some; mend it in a copy of the file, or leave it out."
        )
    return tuple(names)


def _refuse_turned(first_cells: Sequence[str], count_names: CountNames, where: str) -> None:
    if len(first_cells) > 1 and count_names(first_cells) > len(first_cells) / 2:
        raise GeoError(
            f"{where} has its samples in rows and genes in columns; turn it in a copy of the file, "
            "or leave it out."
        )


def _decimal(sample: Sequence[Sequence[str]], where: str) -> tuple[str, bool]:
    """Return the decimal sign, and whether commas group digits."""
    cells = [cell.strip() for row in sample for cell in row[1:]]
    commas = [cell for cell in cells if "," in cell and _is_number(cell)]
    if not commas:
        return ".", False
    plain = [cell for cell in cells if "," not in cell and NUMBER.fullmatch(cell)]
    dotted = any("." in cell for cell in plain)
    grouped = all(THOUSANDS.fullmatch(cell) for cell in commas)
    if not grouped and not dotted:
        return ",", False
    if grouped and (dotted or any(cell.count(",") > 1 or "." in cell for cell in commas)):
        return ".", True
    if grouped and any(len(cell.lstrip("+-")) > 3 for cell in plain):
        return ",", False  # 1234 beside 1,234: the comma groups nothing
    raise GeoError(
        f"{where}: it cannot be told whether {commas[0]!r} holds a decimal comma or a thousands "
        "separator; write the numbers with points in a copy of the file, or leave it out."
    )


def _holds_numbers(cells: Sequence[str], is_named: bool) -> bool:
    """Tell whether a column holds numbers; one named like a sample may not hide a word."""
    present = [cell.strip() for cell in cells if cell.strip() not in MISSING]
    numbers = sum(map(_is_number, present))
    return numbers >= 0.9 * len(present) or (is_named and numbers > 0)


def _no_table(where: str, kind: str) -> str:
    return f"{where} is {kind}, not a table as text or Excel; leave it out."
