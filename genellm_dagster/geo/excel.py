"""Submitters' Excel files: each sheet as the text of a table.

The file is untrusted twice over: its zip may unfold without end, and so may its sheets. The first
is measured before anything is parsed, the second happens in a process with limits of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from genellm_dagster.errors import GeoError

ZIP_MAGIC = b"PK\x03\x04"
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# 60,000 genes x 500 samples unzip to about 1.5 GB of XML.
MAX_UNZIPPED_BYTES = 4 << 30
_MAX_MEMORY_BYTES = 6 << 30
_MAX_TEXT_BYTES = 2 << 30
_MAX_SECONDS = 900
_MAX_ENTRIES = 10_000
_CHUNK_BYTES = 1 << 20
_WORKBOOKS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
_CHILD = Path(__file__).with_name("excel_child.py")


def looks_like_excel(start: bytes) -> bool:
    """Tell whether a file that starts with these bytes may be an Excel file."""
    return start.startswith((ZIP_MAGIC, OLE_MAGIC))


def read_sheets(
    content: bytes,
    where: str,
    max_unzipped_bytes: int = MAX_UNZIPPED_BYTES,
    max_memory_bytes: int = _MAX_MEMORY_BYTES,
) -> dict[str, bytes]:
    r"""Read the sheets of an Excel file.

    Args:
        content: The file.
        where: Its name, for sentences.
        max_unzipped_bytes: The largest sum of what its zip holds.
        max_memory_bytes: The memory that reading it may take.

    Returns:
        Name of the sheet -> its cells, tabs between and ``\n`` behind rows; empty sheets are left
        out. Dates become what Excel shows of them ("1-Dec"): among genes they are damaged names.

    Raises:
        GeoError: When it is no Excel file, is damaged, or unfolds into more than the limits.
    """
    with tempfile.TemporaryDirectory(prefix="genellm-excel-") as name:
        folder = Path(name)
        is_zip = content.startswith(ZIP_MAGIC)
        workbook = folder / ("workbook.xlsx" if is_zip else "workbook.xls")
        workbook.write_bytes(content)
        if is_zip:
            _check_zip(workbook, where, max_unzipped_bytes)
        _run_child(workbook, folder, where, max_memory_bytes)
        sheets: list[list[str]] = json.loads((folder / "sheets.json").read_text(encoding="utf-8"))
        return {
            sheet: (folder / f"{number}.tsv").read_bytes()
            for number, (sheet, rows) in enumerate(sheets)
            if rows
        }


def _run_child(workbook: Path, folder: Path, where: str, max_memory_bytes: int) -> None:
    limits = (max_memory_bytes, _MAX_TEXT_BYTES, _MAX_SECONDS)
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter and a file of this package
            [sys.executable, "-I", str(_CHILD), str(workbook), str(folder), *map(str, limits)],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_MAX_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise GeoError(
            f"{where} takes longer than {_MAX_SECONDS} s to read; save its sheet as text and put "
            "that in its place, or leave the series out."
        ) from error
    if done.returncode == 0 and (folder / "sheets.json").is_file():
        return
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
    if done.returncode < 0 or "memory" in said[0].lower():
        raise GeoError(
            f"{where} unfolds into more than {max_memory_bytes:,} bytes of memory; it is no "
            "expression table, leave it out or save its sheet as text."
        )
    raise GeoError(
        f"{where} is no readable Excel file ({said[0][:200] or 'it ends early'}); fetch it again, "
        "or save its sheet as text."
    )


def _check_zip(path: Path, where: str, limit: int) -> None:
    """Refuse a zip that holds more than ``limit``, by what it says and by what it does."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            if not names & set(_WORKBOOKS):
                raise GeoError(
                    f"{where} is a zip archive and no Excel file; unpack it and name the table in "
                    "it, or leave it out."
                )
            if len(entries) > _MAX_ENTRIES or sum(entry.file_size for entry in entries) > limit:
                raise GeoError(_too_large(where, limit))
            # Sizes can lie, ratios cannot: deflate makes at most 1,032 of one byte.
            if sum(entry.compress_size for entry in entries) * 1_032 > limit:
                _unzip_to_nowhere(path, entries, where, limit)
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        raise GeoError(
            f"{where} is a damaged Excel file ({error}); delete it and fetch it again."
        ) from error


def _unzip_to_nowhere(path: Path, entries: list[zipfile.ZipInfo], where: str, limit: int) -> None:
    total = 0
    with path.open("rb") as file:
        for entry in entries:
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise GeoError(f"{where} is packed in an unusual way; save its sheet as text.")
            file.seek(entry.header_offset)
            header = file.read(30)
            if len(header) < 30 or not header.startswith(ZIP_MAGIC):
                raise zipfile.BadZipFile("a local header is missing")
            name_length = int.from_bytes(header[26:28], "little")
            file.seek(name_length + int.from_bytes(header[28:30], "little"), 1)
            if entry.compress_type == zipfile.ZIP_STORED:
                total += entry.compress_size
                continue
            total += _inflated(file, entry.compress_size, limit - total)
            if total > limit:
                raise GeoError(_too_large(where, limit))


def _inflated(file: BinaryIO, size: int, limit: int) -> int:
    """Return how much a deflated entry holds, or more than ``limit`` when it does."""
    inflate, total, left = zlib.decompressobj(-15), 0, size
    while left > 0 and not inflate.eof and total <= limit:
        data = file.read(min(left, _CHUNK_BYTES))
        if not data:
            raise zipfile.BadZipFile("an entry ends early")
        left -= len(data)
        while data and total <= limit:
            try:
                total += len(inflate.decompress(data, _CHUNK_BYTES))
            except zlib.error as error:
                raise zipfile.BadZipFile(str(error)) from error
            data = inflate.unconsumed_tail
    return total


def _too_large(where: str, limit: int) -> str:
    return (
        f"{where} unpacks to more than {limit:,} bytes; it is no expression table, leave it out or "
        "save its sheet as text."
    )
