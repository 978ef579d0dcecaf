"""Writes Excel files, sound ones and hostile ones, as the bare XML that they are."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Cell = str | float | datetime.date | None
_EPOCH = datetime.date(1899, 12, 30)
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def workbook(sheets: Mapping[str, Sequence[Sequence[Cell]]]) -> bytes:
    """Return an .xlsx file with these sheets."""
    return package({name: sheet_xml(rows) for name, rows in sheets.items()})


def package(sheets: Mapping[str, str], extra: Mapping[str, bytes] | None = None) -> bytes:
    """Return an .xlsx file whose sheets are given as XML."""
    numbers = range(1, len(sheets) + 1)
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"/>'
        for number, name in zip(numbers, sheets, strict=True)
    )
    targets = "".join(
        f'<Relationship Id="rId{number}" Type="{_RELATIONS}/worksheet" '
        f'Target="worksheets/sheet{number}.xml"/>'
        for number in numbers
    )
    styles = (
        f'<styleSheet {_MAIN}><fonts count="1"><font/></fonts><fills count="1"><fill/></fills>'
        '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
        '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="16" applyNumberFormat="1"/></cellXfs>'
        "</styleSheet>"
    )
    files = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
        f'Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_RELATIONS}"><sheets>{listed}</sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{targets}'
        f'<Relationship Id="rId99" Type="{_RELATIONS}/styles" Target="styles.xml"/>'
        "</Relationships>",
        "xl/styles.xml": styles,
    }
    for number, xml in zip(numbers, sheets.values(), strict=True):
        files[f"xl/worksheets/sheet{number}.xml"] = xml
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def sheet_xml(rows: Sequence[Sequence[Cell]]) -> str:
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = "".join(_cell(cell, f"{column(place)}{number}") for place, cell in enumerate(row))
        lines.append(f'<row r="{number}">{cells}</row>')
    return f"<worksheet {_MAIN}><sheetData>{''.join(lines)}</sheetData></worksheet>"


def column(place: int) -> str:
    """Return the letters of a column: 0 -> A, 26 -> AA."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _cell(cell: Cell, at: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return f'<c r="{at}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
    if isinstance(cell, datetime.date):
        return f'<c r="{at}" s="1"><v>{(cell - _EPOCH).days}</v></c>'
    return f'<c r="{at}"><v>{cell!r}</v></c>'
