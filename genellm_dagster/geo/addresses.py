"""Where GEO keeps what: paths below its root and addresses of its web pages.

Source: https://www.ncbi.nlm.nih.gov/geo/info/download.html and
https://www.ncbi.nlm.nih.gov/geo/info/rnaseqcounts.html.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

from genellm_dagster.errors import GeoError

# The genome build of NCBI's own RNA-seq count tables, as written in their file names.
COUNTS_BUILD = "GRCh38.p13"
_ACCESSION = re.compile(r"(GSE|GPL|GSM)(\d{1,12})", re.ASCII)


def check_accession(accession: str, kind: str) -> str:
    """Return ``accession`` when it is a GEO accession of ``kind`` (GSE, GPL or GSM).

    Raises:
        GeoError: When it is anything else; nothing unchecked becomes part of a path.
    """
    match = _ACCESSION.fullmatch(accession)
    if match is None or match[1] != kind:
        raise GeoError(
            f"{accession!r} is no {kind} accession; write it as {kind} and digits, "
            f"for instance {kind}570."
        )
    return accession


def stub(accession: str) -> str:
    """Return the folder that groups accessions: GSE65682 -> GSE65nnn, GPL570 -> GPLnnn."""
    return f"{accession[:3]}{accession[3:-3]}nnn"


def series_folder(accession: str) -> str:
    """Return the folder of a series below the root."""
    check_accession(accession, "GSE")
    return f"series/{stub(accession)}/{accession}"


def matrix_folder(accession: str) -> str:
    """Return the folder of the series matrix files of a series."""
    return f"{series_folder(accession)}/matrix"


def matrix_name(accession: str, platform: str | None = None) -> str:
    """Return the name of a series matrix file; with ``platform``, of that platform's own file."""
    suffix = "" if platform is None else f"-{check_accession(platform, 'GPL')}"
    return f"{check_accession(accession, 'GSE')}{suffix}_series_matrix.txt.gz"


def platform_annotation(platform: str) -> str:
    """Return the path of the curated table of a platform (only some platforms have one)."""
    check_accession(platform, "GPL")
    return f"platforms/{stub(platform)}/{platform}/annot/{platform}.annot.gz"


def platform_page(platform: str) -> str:
    """Return the page, below the web address, with the full table of a platform as text."""
    query = urlencode(
        {
            "acc": check_accession(platform, "GPL"),
            "targ": "self",
            "form": "text",
            "view": "full",
        }
    )
    return f"query/acc.cgi?{query}"


def counts_folder(accession: str) -> str:
    """Return the folder where a mirror keeps NCBI's RNA-seq counts of a series."""
    return f"{series_folder(accession)}/rnaseq_counts"


def counts_name(accession: str) -> str:
    """Return the name of NCBI's raw count table of a series."""
    return f"{check_accession(accession, 'GSE')}_raw_counts_{COUNTS_BUILD}_NCBI.tsv.gz"


def counts_annotation_name() -> str:
    """Return the name of the gene table that belongs to every human count table."""
    return f"Human.{COUNTS_BUILD}.annot.tsv.gz"


def counts_page(accession: str, name: str) -> str:
    """Return the page, below the web address, that serves a count table or its gene table."""
    query = urlencode(
        {
            "type": "rnaseq_counts",
            "acc": check_accession(accession, "GSE"),
            "format": "file",
            "file": name,
        }
    )
    return f"download/?{query}"


def supplementary_folder(accession: str) -> str:
    """Return the folder of the files that the submitter of a series added."""
    return f"{series_folder(accession)}/suppl"


def family_file(accession: str) -> str:
    """Return the path of the SOFT family file of a series."""
    return f"{series_folder(accession)}/soft/{check_accession(accession, 'GSE')}_family.soft.gz"
