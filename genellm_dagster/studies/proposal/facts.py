"""What is known of a series beside its samples when a proposal is made."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TEXT_CHARS = 20_000
"""Of a summary this much is read; GEO's own are a few thousand characters."""


@dataclass(frozen=True)
class SeriesFacts:
    """One series on one platform, as far as its files' beginnings tell.

    Attributes:
        accession: The series, like ``GSE65682``.
        platform: The platform, like ``GPL570``; "" when only the samples say it.
        title: Title of the series.
        summary: Its summary.
        overall_design: Its overall design.
        series_type: GEO's type, like ``Expression profiling by array``.
        relations: GEO's relations, like ``Reanalysis of: GSE110487``.
        ids: The first ids of the expression values, "" and blanks left out.
        approved_share: Share of ``ids`` that are approved or known gene symbols; None when nobody
            looked.
        has_values: Whether the series matrix holds values, not its header alone.
        has_ncbi_counts: Whether NCBI offers RNA-seq counts; None when nobody looked.
        supplementary: Names of the submitter's files.
    """

    accession: str
    platform: str = ""
    title: str = ""
    summary: str = ""
    overall_design: str = ""
    series_type: str = ""
    relations: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    approved_share: float | None = None
    has_values: bool = True
    has_ncbi_counts: bool | None = None
    supplementary: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Title, summary and design together, bounded."""
        return "\n".join((self.title, self.summary, self.overall_design))[:MAX_TEXT_CHARS]
