"""Expression tables that submitters added to a series: text or Excel, written each in its own way.

What is found out about a table (delimiter, decimal sign, line of names, ids, which column is which
sample and how that is known) is kept as a report; what cannot be told is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.column_names import ColumnMatch, SampleNames, match_columns
from genellm_dagster.geo.compressed import read_pieces
from genellm_dagster.geo.excel import looks_like_excel, read_sheets
from genellm_dagster.geo.id_columns import IdType, as_ids, choose_id_column
from genellm_dagster.geo.options import MAX_DECOMPRESSED_BYTES
from genellm_dagster.geo.tabular import find_out, to_text
from genellm_dagster.geo.tabular_values import read_values

# A table is held whole while it is read: 60,000 ids x 2,000 samples stay below this.
_MAX_TABLE_BYTES = 4 << 30
_TABLE = re.compile(r"\.(tsv|csv|txt|tab|xlsx?|xlsb)(\.gz)?$", re.IGNORECASE)
_LIKE_A_MATRIX = re.compile(
    r"count|fpkm|rpkm|tpm|cpm|norm|expr|matrix|signal|raw|rma|vst|log2|quant|gene|processed", re.I
)
_SHOWN = 5


@dataclass(frozen=True)
class TableReport:
    """What was found out about one table.

    Attributes:
        file: Name of the file.
        sheet: Sheet of an Excel file; empty for text.
        delimiter: In a word; ``tab`` for Excel.
        decimal: ``.`` or ``,``.
        thousands: Whether commas group digits.
        names_at: Number of the row that names the columns, from 1.
        skipped_rows: Rows between that and the values.
        id_column: Name of the column of ids; empty when it has none.
        ids: Number of rows.
        repeated_ids: Rows whose id stood in a row before.
        infinite: Values that were infinite (the log of zero) and count as missing.
        matched_by: How columns were matched with samples -> how many.
        columns: Each matched column: column, gsm, how.
        other_columns: Columns that are neither ids nor samples.
        other_samples: Columns of samples that are not among the cohort's.
        without_column: Samples of the cohort without a column here.
    """

    file: str
    sheet: str
    delimiter: str
    decimal: str
    thousands: bool
    names_at: int
    skipped_rows: int
    id_column: str
    ids: int
    repeated_ids: int
    infinite: int
    matched_by: dict[str, int]
    columns: tuple[dict[str, str], ...]
    other_columns: tuple[str, ...]
    other_samples: tuple[str, ...]
    without_column: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True)
class SupplementaryTable:
    """One table of a submitter.

    Attributes:
        values: float32, index = ids as text (they may repeat), columns = gsm, NaN = missing.
        report: What was found out about it.
    """

    values: pd.DataFrame
    report: TableReport

    @property
    def are_counts(self) -> bool:
        """Whether every value is a whole number and none is negative."""
        numbers = self.values.to_numpy()
        known = numbers[~np.isnan(numbers)]
        return bool(len(known)) and bool((known >= 0).all()) and bool((known % 1 == 0).all())


def looks_like_a_matrix(name: str) -> bool:
    """Tell by its name whether a submitter's file may be a table of expression values."""
    return _TABLE.search(name) is not None and _LIKE_A_MATRIX.search(name) is not None


def read_supplementary(
    path: Path,
    samples: pd.DataFrame,
    id_type: IdType,
    sheet: str | None = None,
    max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES,
) -> SupplementaryTable:
    """Read a submitter's table of values.

    Args:
        path: The file: text or Excel, gzip or plain.
        samples: The samples of the cohort, one row each; see :mod:`genellm_dagster.geo.header`.
        id_type: What the ids are; the column that holds them is looked for.
        sheet: Sheet of an Excel file; None: the only one that holds a table of these samples.
        max_decompressed_bytes: The largest content accepted.

    Raises:
        GeoError: When it is no table, is damaged, unfolds into too much, or when its delimiter,
            decimal sign, ids or samples cannot be told.
    """
    where = str(path)
    content = b"".join(read_pieces(path, min(max_decompressed_bytes, _MAX_TABLE_BYTES)))
    if not looks_like_excel(content[:8]):
        return _read_table(content, path, "", samples, id_type, where)
    sheets = read_sheets(content, where)
    if sheet is not None and sheet not in sheets:
        raise GeoError(
            f"{where} has no sheet {sheet!r} with cells (it has {', '.join(sheets) or 'none'}); "
            "correct values.sheet in the cohort file."
        )
    wanted = {sheet: sheets[sheet]} if sheet is not None else sheets
    tables: dict[str, SupplementaryTable] = {}
    problems: dict[str, str] = {}
    for name, text in wanted.items():
        try:
            tables[name] = _read_table(
                text, path, name, samples, id_type, f"{where}, sheet {name!r}"
            )
        except GeoError as error:
            problems[name] = str(error)
    if len(tables) == 1:
        return next(iter(tables.values()))
    if tables:
        raise GeoError(
            f"{where} holds values of these samples in the sheets {', '.join(tables)}; say in the "
            "cohort file which one is meant (values.sheet)."
        )
    if len(problems) == 1:
        raise GeoError(next(iter(problems.values())))
    raise GeoError(
        f"{where} has no sheet that could be read: "
        f"{' '.join(list(problems.values())[:_SHOWN]) or 'all are empty.'}"
    )


def _read_table(
    content: bytes, path: Path, sheet: str, samples: pd.DataFrame, id_type: IdType, where: str
) -> SupplementaryTable:
    text = to_text(content, where)
    known = SampleNames.of(samples)
    written = find_out(text, known.count, where)
    matching = match_columns(written.names, written.numeric, known, where)
    taken = {match.place for match in matching.matches}
    free = {
        place: written.column(place) for place in range(len(written.names)) if place not in taken
    }
    id_place = choose_id_column(written.names, free, id_type, where)
    places = [match.place for match in matching.matches]
    ids, values, infinite = read_values(text, written, id_place, places, where)
    index = pd.Index(as_ids(ids, id_type), name="id", dtype=object)
    gsms = [match.gsm for match in matching.matches]
    others = set(matching.others)
    report = TableReport(
        file=path.name,
        sheet=sheet,
        delimiter=written.delimiter_name,
        decimal=written.decimal,
        thousands=written.thousands,
        names_at=written.names_at,
        skipped_rows=written.skipped,
        id_column=written.names[id_place],
        ids=len(index),
        repeated_ids=int(index.duplicated().sum()),
        infinite=infinite,
        matched_by=dict(Counter(match.how for match in matching.matches)),
        columns=tuple(_as_words(match) for match in matching.matches),
        other_columns=tuple(
            written.names[place]
            for place in free
            if place != id_place and written.names[place] not in others
        ),
        other_samples=matching.others,
        without_column=tuple(gsm for gsm in known.gsms if gsm not in set(gsms)),
    )
    return SupplementaryTable(pd.DataFrame(values, index=index, columns=gsms, copy=False), report)


def _as_words(match: ColumnMatch) -> dict[str, str]:
    return {"column": match.column, "gsm": match.gsm, "how": match.how}


def naming_hint(names: Sequence[str]) -> str:
    """Say which of a submitter's files look like tables of values, and how to name them."""
    likely = [name for name in names if looks_like_a_matrix(name)]
    if not likely:
        return ""
    more = f" and {len(likely) - _SHOWN} more" if len(likely) > _SHOWN else ""
    return (
        f" Its submitter added {', '.join(likely[:_SHOWN])}{more}: to use such a file write "
        f"`values: {{source: supplementary, files: [{likely[0]}]}}` and its id_type into the "
        "cohort file."
    )
