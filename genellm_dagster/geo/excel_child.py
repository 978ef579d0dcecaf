"""Runs alone, as a process of its own: the sheets of a submitter's Excel file as text.

A workbook may be small and unfold into more than any memory holds (one cell in the last corner of a
sheet, one long text named by every cell). Here it can only bring down this process, which has a
limit of memory, time and file size. It imports nothing of the package, so that it starts at once.

Usage: excel_child.py WORKBOOK FOLDER MEMORY_BYTES FILE_BYTES SECONDS
Writes FOLDER/sheets.json, a list of [name, rows], and FOLDER/<number>.tsv for each of them.
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MAX_SHEETS = 100


def text_of(cell: object) -> str:
    """Return a cell as the text of a table: one line, no tab, numbers as short as they are."""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime.date):
        # What Excel made of a gene's name (SEPT9, DEC1), as it shows it.
        return f"{cell.day}-{_MONTHS[cell.month - 1]}"
    return " ".join(str(cell).split())


def limit(memory: int, file_size: int, seconds: int) -> None:
    """Bound what this process can use; a system without such limits goes on without them."""
    try:
        import resource
    except ImportError:
        return
    for kind, size in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(kind, (size, size))
        except (ValueError, OSError):
            continue


def main(workbook: str, folder: str, *limits: str) -> None:
    """Write the sheets of ``workbook`` into ``folder``."""
    import python_calamine

    limit(*(int(number) for number in limits))
    book = python_calamine.load_workbook(workbook)
    sheets = []
    for number, name in enumerate(book.sheet_names[:_MAX_SHEETS]):
        rows = 0
        with (Path(folder) / f"{number}.tsv").open("w", encoding="utf-8", newline="\n") as file:
            for row in book.get_sheet_by_name(name).iter_rows():
                file.write("\t".join(map(text_of, row)) + "\n")
                rows += 1
        sheets.append([name, rows])
    (Path(folder) / "sheets.json").write_text(json.dumps(sheets), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
