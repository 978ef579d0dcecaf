"""One cohort's series: its files, once fetched, read together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from genellm_dagster.errors import GeoError
from genellm_dagster.files import sha256_of
from genellm_dagster.geo.counts import read_count_annotation, read_rnaseq_counts
from genellm_dagster.geo.fetching import fetch_series, read_manifest
from genellm_dagster.geo.joining import join_values
from genellm_dagster.geo.matrix import read_series_header, read_series_matrix
from genellm_dagster.geo.options import MAX_DECOMPRESSED_BYTES
from genellm_dagster.geo.platform import read_local_table, read_platform_table
from genellm_dagster.geo.records import FileRecord, Manifest, Role
from genellm_dagster.geo.soft import read_soft_family, read_soft_platform, read_soft_samples
from genellm_dagster.geo.supplementary import read_supplementary

__all__ = ["SeriesData", "fetch_series", "read_manifest", "read_samples", "read_series"]

T = TypeVar("T")
# As GEO names the kind of a series whose values are numbers of reads.
_SEQUENCING = "high throughput sequencing"


@dataclass(frozen=True)
class SeriesData:
    """A series, read.

    Attributes:
        samples: One row a sample that has values; see :mod:`genellm_dagster.geo.header`.
        values: float32, index = ids as text (they may repeat), columns = gsm as in ``samples``.
        id_table: Columns id, symbol, entrez, ensembl; None when the ids need no table.
        kind: ``array`` for what submitters normalised, ``counts`` for numbers of reads.
        title: Title of the series.
        platform: The platform of these samples.
        without_values: Samples that the series names but that have no values.
        report: JSON-safe: ``source`` (matrix, ncbi_counts, supplementary, soft), ``problems``
            (name of a file that is left out -> why), and ``tables`` (what was found out about a
            submitter's files; see :class:`genellm_dagster.geo.supplementary.TableReport`).
    """

    samples: pd.DataFrame
    values: pd.DataFrame
    id_table: pd.DataFrame | None
    kind: str
    title: str
    platform: str
    without_values: tuple[str, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Read:
    """What the files hold."""

    samples: pd.DataFrame
    series: dict[str, list[str]]
    values: pd.DataFrame | None
    id_table: pd.DataFrame | None
    kind: str
    source: str
    where: str
    problems: dict[str, str]
    tables: dict[str, Any] = field(default_factory=dict)


def read_series(
    folder: Path, manifest: Manifest, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> SeriesData:
    """Read the files that :func:`fetch_series` fetched.

    Args:
        folder: Where they are.
        manifest: What it returned.
        max_decompressed_bytes: The largest content of one file.

    Raises:
        GeoError: When a file is missing, not the one that was fetched, or when what is needed of
            them is broken.
    """
    files = _Files(folder, manifest, max_decompressed_bytes)
    read = _from_family(files) if manifest.of_role("family") else _from_matrices(files)
    read.id_table = _id_table(files, read)
    if read.values is None:
        raise GeoError(
            f"{read.where} holds no values and no counts were fetched beside it; fetch the "
            "series again."
        )
    here, values = _of_platform(read.samples, manifest), read.values
    wanted = here[here["gsm"].isin(values.columns)].reset_index(drop=True)
    if wanted.empty:
        raise GeoError(
            f"none of the samples of {read.where} on {manifest.platform} has values; check the "
            "cohort's platform."
        )
    gsms = list(wanted["gsm"])
    return SeriesData(
        samples=wanted,
        values=values if list(values.columns) == gsms else values[gsms],
        id_table=read.id_table,
        kind=read.kind,
        title=" ".join(read.series.get("title", [])),
        platform=manifest.platform,
        without_values=tuple(here.loc[~here["gsm"].isin(values.columns), "gsm"]),
        report={"source": read.source, "problems": read.problems, "tables": read.tables},
    )


def read_samples(
    folder: Path, manifest: Manifest, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> pd.DataFrame:
    """Read what the series says of its samples on the manifest's platform, without their values.

    Args:
        folder: Where :func:`fetch_series` put the files.
        manifest: What it returned.
        max_decompressed_bytes: The largest content of one file.

    Returns:
        One row a sample, with or without values; see :mod:`genellm_dagster.geo.header`.

    Raises:
        GeoError: When the matrix is missing, not the one that was fetched, or broken.
    """
    files = _Files(folder, manifest, max_decompressed_bytes)
    record = manifest.of_role("family")
    if record is not None:
        samples = read_soft_samples(files.path(record), None, files.limit)[1]
    else:
        headers = files.all_readable("matrix", lambda path: read_series_header(path, files.limit))
        samples = _stacked([header.samples for header in headers.values()], files)
    return _of_platform(samples, manifest)


class _Files:
    """The fetched files of a cohort, verified as they are used."""

    def __init__(self, folder: Path, manifest: Manifest, limit: int) -> None:
        self.folder = folder
        self.manifest = manifest
        self.limit = limit
        self.problems: dict[str, str] = dict(manifest.problems)

    def path(self, record: FileRecord) -> Path:
        return _verified(self.folder, record)

    def first(self, role: Role) -> Path | None:
        record = self.manifest.of_role(role)
        return None if record is None else self.path(record)

    def all_readable(self, role: Role, read: Callable[[Path], T]) -> dict[str, T]:
        """Read every file of a role; one that is broken is told, unless it is the only one."""
        records = self.manifest.all_of_role(role)
        if not records:
            raise GeoError(
                f"the manifest of {self.folder} names no {role} file; fetch the series again."
            )
        found: dict[str, T] = {}
        # What is not the fetched file is no matter of its content: it is refused in any case.
        for record, path in [(record, self.path(record)) for record in records]:
            try:
                found[record.name] = read(path)
            except GeoError as error:
                if len(records) == 1:
                    raise
                self.problems[record.name] = str(error)
        if not found:
            raise GeoError(
                f"no {role} file in {self.folder} could be read: {' '.join(self.problems.values())}"
            )
        return found


def _from_family(files: _Files) -> _Read:
    path = files.first("family")
    if path is None:
        raise AssertionError("there is a family file")
    family = read_soft_family(path, files.manifest.platform, files.limit)
    return _Read(
        samples=family.samples,
        series=family.series,
        values=family.values,
        id_table=family.id_tables.get(files.manifest.platform),
        kind="array",
        source="soft",
        where=str(path),
        problems=files.problems,
    )


def _from_matrices(files: _Files) -> _Read:
    only_samples = files.manifest.of_role("counts") or files.manifest.of_role("supplementary")
    if only_samples:
        headers = files.all_readable("matrix", lambda path: read_series_header(path, files.limit))
        samples = _stacked([header.samples for header in headers.values()], files)
        series, values = next(iter(headers.values())).series, None
    else:
        parts = files.all_readable("matrix", lambda path: read_series_matrix(path, files.limit))
        samples = _stacked([part.samples for part in parts.values()], files)
        series = next(iter(parts.values())).series
        filled = {name: part.values for name, part in parts.items() if part.values is not None}
        values = _joined(filled, files)
    where = str(files.folder / files.manifest.all_of_role("matrix")[0].name)
    read = _Read(samples, series, values, None, "array", "matrix", where, files.problems)
    counts = files.first("counts")
    if counts is not None:
        read.values, read.kind = read_rnaseq_counts(counts, files.limit), "counts"
        read.source, read.where = "ncbi_counts", f"{where} and {counts.name}"
    elif only_samples:
        _add_submitted(read, files)
    return read


def _add_submitted(read: _Read, files: _Files) -> None:
    """Read the values out of the submitter's files."""
    manifest = files.manifest
    if manifest.id_type is None:
        raise GeoError(
            f"the manifest of {files.folder} does not say what the ids are; fetch the series again."
        )
    id_type = manifest.id_type
    here = _of_platform(read.samples, manifest)
    tables = files.all_readable(
        "supplementary",
        lambda path: read_supplementary(path, here, id_type, manifest.sheet, files.limit),
    )
    read.values = _joined({name: table.values for name, table in tables.items()}, files)
    read.tables = {name: table.report.as_json() for name, table in tables.items()}
    read.source = "supplementary"
    kinds = " ".join(read.series.get("type", []))
    if _SEQUENCING in kinds and all(table.are_counts for table in tables.values()):
        read.kind = "counts"


def _id_table(files: _Files, read: _Read) -> pd.DataFrame | None:
    local = files.first("local_platform")
    if local is not None:
        return read_local_table(local, files.limit)
    annotation = files.first("annotation")
    if annotation is not None:
        genes = read_count_annotation(annotation, files.limit)
        return genes.assign(id=genes["entrez"])[["id", "symbol", "entrez", "ensembl"]]
    table = files.first("platform")
    if table is None:
        return read.id_table
    if table.name.endswith("_family.soft.gz"):
        return read_soft_platform(table, files.manifest.platform, files.limit)
    return read_platform_table(table, files.limit)


def _of_platform(samples: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    here = samples["platform"].isna() | (samples["platform"] == manifest.platform)
    return samples[here].reset_index(drop=True)


def _stacked(parts: list[pd.DataFrame], files: _Files) -> pd.DataFrame:
    """Put the samples of the parts of a matrix below one another."""
    if len(parts) == 1:
        return parts[0]
    samples = pd.concat(parts, ignore_index=True)
    twice = samples.loc[samples["gsm"].duplicated(), "gsm"]
    if len(twice):
        raise GeoError(
            f"the matrix files in {files.folder} name {twice.iloc[0]} more than once; fetch the "
            "series again."
        )
    return samples.astype(object).where(samples.notna(), None)


def _joined(parts: Mapping[str, pd.DataFrame], files: _Files) -> pd.DataFrame | None:
    if not parts:
        return None
    values, left_out = join_values(parts)
    files.problems |= left_out
    return values


def _verified(folder: Path, record: FileRecord) -> Path:
    if Path(record.name).name != record.name or not record.name:
        raise GeoError(f"the manifest of {folder} names {record.name!r}; fetch the series again.")
    path = folder / record.name
    if not path.is_file():
        raise GeoError(f"{path} is missing; fetch the series again.")
    if sha256_of(path) != record.sha256:
        raise GeoError(
            f"{path} is not the file that was fetched (its SHA-256 differs); delete it and fetch "
            "the series again."
        )
    return path
