"""What the rules found, held against what the cohort's file expects, and the file marked verified.

Rules are written from papers and other people's scripts. The first ingestion of GEO's own files
counts what they find; only then does the cohort's file say ``verified: true``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from genellm_dagster.errors import StudyError
from genellm_dagster.files import write_text
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.yaml_files import read_yaml

TOLERANCE = 0.05
"""Share by which a number may differ from what the cohort's file expects."""
SAMPLES, PEOPLE = "samples", "people"
NO_LABEL = "(no label)"
TABLE_COLUMNS = ("counted", "label", "found", "expected", "difference", "fits")
_BOM = "\ufeff"


@dataclass(frozen=True)
class Verification:
    """What came of holding a cohort's rules against its series.

    Attributes:
        table: One row a label: what was counted (samples or people), how many were found and
            expected, the difference as a share of the expected, and whether it fits. Labels that
            nothing is expected of have no expected number.
        verified: Whether the cohort counts as verified now.
        note: One sentence that says so and why.
    """

    table: pd.DataFrame
    verified: bool
    note: str


def verify_cohort(sheet: pd.DataFrame, cohort: Cohort, from_ncbi: bool) -> Verification:
    """Hold a cohort's sample sheet against its expected numbers and note a first success.

    Args:
        sheet: The cohort's sample sheet; every sample with a label counts, used or not.
        cohort: Its ``expected_labels`` and ``expected_subjects``; what they do not name is told
            but not checked.
        from_ncbi: Whether the samples were read from GEO's own files. Only then is ``verified:
            false`` in the cohort's own file replaced by ``verified: true``; a file that cannot be
            written, or a description that stands inline, is no failure and told in the note.

    Raises:
        StudyError: When a number differs by more than 5 %; the table stands below the sentence.
    """
    check_expected_labels(sheet, cohort)
    table = compare_with_expected(sheet, cohort)
    if cohort.verified:
        return Verification(table, True, "The numbers are as expected, as they were before.")
    if not (cohort.expected_labels or cohort.expected_subjects):
        return Verification(
            table,
            False,
            f"{cohort.origin} expects no numbers, so nothing was held against GEO's file; once the "
            "table was looked at, write its numbers into expected_labels.",
        )
    if not from_ncbi:
        return Verification(
            table,
            False,
            "The numbers are as expected, but the files do not come from NCBI; the cohort stays "
            "unverified until NCBI's own files show the same.",
        )
    if cohort.file is None:
        return Verification(
            table,
            True,
            f"The numbers are as expected; {cohort.origin} has no file of its own, write "
            "`verified: true` there.",
        )
    try:
        mark_verified(cohort.file)
    except (StudyError, OSError) as error:
        reason = str(error).rstrip(".")
        return Verification(
            table,
            True,
            f"The numbers are as expected, but {cohort.file} could not be marked so ({reason}); "
            "write `verified: true` there.",
        )
    return Verification(
        table, True, f"The numbers are as expected; {cohort.file} now says `verified: true`."
    )


def compare_with_expected(sheet: pd.DataFrame, cohort: Cohort) -> pd.DataFrame:
    """Put found and expected numbers side by side.

    Args:
        sheet: The cohort's sample sheet.
        cohort: Its expected numbers.

    Returns:
        The table of :class:`Verification`; samples without a label are counted in a row of their
        own.
    """
    labelled = sheet[sheet["label"].notna()]
    found = {str(label): int(n) for label, n in labelled["label"].value_counts().items()}
    unlabelled = len(sheet) - len(labelled)
    rows = _rows(SAMPLES, found, cohort.expected_labels)
    if unlabelled:
        rows.append((SAMPLES, NO_LABEL, unlabelled, None, None, True))
    if cohort.sample.subject is not None:
        each = labelled.groupby("label")["subject"].nunique()
        people = {str(label): int(n) for label, n in each.items()}
        rows += _rows(PEOPLE, people, cohort.expected_subjects)
    table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
    return table.astype({"found": "int64", "expected": "Int64", "difference": "float64"})


def check_expected_labels(sheet: pd.DataFrame, cohort: Cohort) -> None:
    """Stop when the rules found other numbers than the cohort's file expects.

    Args:
        sheet: The cohort's sample sheet; every sample with a label counts, used or not.
        cohort: Its expected numbers; labels not named there are not checked.

    Raises:
        StudyError: When a number differs by more than 5 %.
    """
    table = compare_with_expected(sheet, cohort)
    wrong = table[~table["fits"]]
    if wrong.empty:
        return
    told = "; ".join(
        f"{row.label}: {row.found} {row.counted} found, {row.expected} expected"
        for row in wrong.itertuples()
    )
    raise StudyError(
        f"{cohort.accession}: the rules of {cohort.origin} find other numbers than that file "
        f"expects ({told}; {TOLERANCE:.0%} is allowed), so mend the rules or the expected numbers, "
        f"`genellm cohort inspect {cohort.accession}` shows every field with its values.\n"
        f"{table_text(table)}"
    )


def table_text(table: pd.DataFrame) -> str:
    """Return the table as indented lines for a terminal or a log; "<-" marks what does not fit."""
    shown = [("counted", "label", "found", "expected", "difference", "")]
    for row in table.to_dict("records"):
        known = not pd.isna(row["expected"])
        measured = known and not pd.isna(row["difference"])
        shown.append(
            (
                str(row["counted"]),
                str(row["label"]),
                str(row["found"]),
                str(row["expected"]) if known else "-",
                f"{row['difference']:+.1%}" if measured else "-",
                "" if row["fits"] else "<-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = []
    for cells in shown:
        words = [cell.ljust(width) for cell, width in zip(cells[:2], widths, strict=False)]
        numbers = [cell.rjust(width) for cell, width in zip(cells[2:5], widths[2:5], strict=True)]
        lines.append("  " + "  ".join([*words, *numbers, cells[5]]).rstrip())
    return "\n".join(lines)


def mark_verified(path: Path) -> bool:
    """Write ``verified: true`` into a cohort file and leave every other character as it is.

    The one word is replaced where it stands; no YAML writer touches the file, so comments,
    quotes and line ends stay.

    Args:
        path: The cohort file; a symbolic link is followed.

    Returns:
        Whether the file was changed; False when it said so already.

    Raises:
        StudyError: When the file cannot be read, or has no place for the word.
        OSError: When it cannot be written.
    """
    target = path.resolve()
    document = read_yaml(target, "cohort")
    if document.data.get("verified") is True:
        return False
    root = document.root
    if not isinstance(root, MappingNode) or root.flow_style:
        raise StudyError(
            f"The cohort file {path} is no block of keys, so `verified: true` cannot be added to "
            "it; write it there by hand."
        )
    raw = target.read_bytes().decode("utf-8")
    text = raw.removeprefix(_BOM)
    changed = _with_verified(text, root)
    # Whatever the file looks like, nothing but this one value may change.
    if _data_of(changed) != {**document.data, "verified": True}:
        raise StudyError(
            f"The cohort file {path} has no place where `verified: true` fits safely; write it "
            "there by hand."
        )
    write_text(target, raw[: len(raw) - len(text)] + changed)
    return True


def _rows(
    counted: str, found: Mapping[str, int], expected: Mapping[str, int]
) -> list[tuple[str, str, int, int | None, float | None, bool]]:
    rows: list[tuple[str, str, int, int | None, float | None, bool]] = []
    for label in [*expected, *sorted(set(found) - set(expected))]:
        number, wanted = found.get(label, 0), expected.get(label)
        if wanted is None:
            rows.append((counted, label, number, None, None, True))
            continue
        share = (number - wanted) / wanted if wanted else None
        rows.append(
            (counted, label, number, wanted, share, abs(number - wanted) <= TOLERANCE * wanted)
        )
    return rows


def _with_verified(text: str, root: MappingNode) -> str:
    for key, value in root.value:
        if _is_key(key, "verified"):
            start, end = value.start_mark.index, value.end_mark.index
            if start == end:  # `verified:` with nothing behind it
                start = end = key.end_mark.index + 1
                return text[:start] + " true" + text[end:]
            return text[:start] + "true" + text[end:]
    # Before the rules, where a reader looks for it.
    before = next((key for key, _ in root.value if _is_key(key, "sample")), root.value[0][0])
    at = before.start_mark.index
    newline = "\r\n" if "\r\n" in text else "\n"
    return text[:at] + "verified: true" + newline + text[at:]


def _is_key(node: Node, name: str) -> bool:
    return isinstance(node, ScalarNode) and node.value == name


def _data_of(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
