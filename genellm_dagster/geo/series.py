"""One cohort's series: its files fetched, then read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from genellm_dagster.errors import GeoError
from genellm_dagster.files import read_json, sha256_of, write_json
from genellm_dagster.geo import addresses
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.compressed import HtmlError
from genellm_dagster.geo.counts import read_count_annotation, read_rnaseq_counts
from genellm_dagster.geo.http import MissingFileError
from genellm_dagster.geo.matrix import SeriesHeader, read_series_header, read_series_matrix
from genellm_dagster.geo.options import MAX_DECOMPRESSED_BYTES
from genellm_dagster.geo.platform import read_platform_table
from genellm_dagster.geo.records import FileRecord, Manifest, Role
from genellm_dagster.studies.cohort import Cohort

MANIFEST_NAME = "manifest.json"
_Get = Callable[[str, str, Role], FileRecord]


@dataclass(frozen=True)
class SeriesData:
    """A series, read.

    Attributes:
        samples: One row a sample that has values; see :mod:`genellm_dagster.geo.header`.
        values: float32, index = ids as text (they may repeat), columns = gsm as in ``samples``.
        id_table: Columns id, symbol, entrez, ensembl; None when the ids need no table.
        kind: ``array`` for what submitters normalised, ``counts`` for NCBI's raw counts.
        title: Title of the series.
        platform: The platform of these samples.
        without_values: Samples that the series names but that have no values.
    """

    samples: pd.DataFrame
    values: pd.DataFrame
    id_table: pd.DataFrame | None
    kind: str
    title: str
    platform: str
    without_values: tuple[str, ...] = ()


def fetch_series(client: GeoClient, cohort: Cohort, destination: Path) -> Manifest:
    """Fetch the files that a cohort needs: its matrix, then counts or a platform table.

    The manifest is kept beside the files as ``manifest.json``; files that GEO has not changed
    since are not fetched again.

    Args:
        client: Where to fetch from.
        cohort: Its accession, platform and id_type are used.
        destination: The folder for the files of this cohort, made when missing.

    Raises:
        GeoError: When a file is missing or broken, or the series does not fit the cohort.
    """
    known = _known_files(destination)

    def get(path: str, name: str, role: Role) -> FileRecord:
        previous = known.get(name)
        record = client.fetch(path, destination / name, previous)
        return record.model_copy(update={"name": name, "role": role})

    folder = addresses.matrix_folder(cohort.accession)
    name = _matrix_name(client, cohort)
    files = [get(f"{folder}/{name}", name, "matrix")]
    header = read_series_header(destination / name, client.options.max_decompressed_bytes)
    _check_platform(header, cohort, destination / name)
    if not header.has_values:
        _refuse_other_ids(cohort)
        counts = addresses.counts_name(cohort.accession)
        annotation = addresses.counts_annotation_name()
        roles: dict[Role, str] = {"counts": counts, "annotation": annotation}
        for role, name in roles.items():
            files.append(_first_found(_counts_places(client, cohort, name), name, role, get))
    elif cohort.id_type == "probe":
        files.append(_platform_file(client, cohort, get))
    manifest = Manifest(
        accession=cohort.accession, platform=cohort.platform, root=client.root, files=files
    )
    write_json(destination / MANIFEST_NAME, manifest.model_dump(mode="json"))
    return manifest


def fetch_headers(client: GeoClient, accession: str, destination: Path) -> dict[str, pd.DataFrame]:
    """Fetch every series matrix of a series and read what it says of its samples.

    Args:
        client: Where to fetch from.
        accession: The series.
        destination: Folder for the files, made when missing.

    Returns:
        Name of the file to its samples, one row each.

    Raises:
        GeoError: When there is no such series or a file is broken.
    """
    folder = addresses.matrix_folder(accession)
    names = [name for name in client.list_folder(folder) if name.endswith("_series_matrix.txt.gz")]
    if not names:
        raise MissingFileError(
            f"{client.root}/{folder} holds no series matrix; check the accession and the GEO root."
        )
    headers = {}
    for name in sorted(names):
        client.fetch(f"{folder}/{name}", destination / name)
        header = read_series_header(destination / name, client.options.max_decompressed_bytes)
        headers[name] = header.samples
    return headers


def read_series(
    folder: Path, manifest: Manifest, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> SeriesData:
    """Read the files that :func:`fetch_series` fetched.

    Args:
        folder: Where they are.
        manifest: What it returned.
        max_decompressed_bytes: The largest content of one file.

    Raises:
        GeoError: When a file is missing, not the one that was fetched, or broken.
    """
    paths = {record.role: _verified(folder, record) for record in manifest.files}
    if "matrix" not in paths:
        raise GeoError(f"the manifest of {folder} names no matrix file; fetch the series again.")
    matrix = read_series_matrix(paths["matrix"], max_decompressed_bytes)
    values, id_table, kind = matrix.values, None, "array"
    if "counts" in paths:
        values, kind = read_rnaseq_counts(paths["counts"], max_decompressed_bytes), "counts"
        if "annotation" in paths:
            genes = read_count_annotation(paths["annotation"], max_decompressed_bytes)
            id_table = genes.assign(id=genes["entrez"])[["id", "symbol", "entrez", "ensembl"]]
    elif "platform" in paths:
        id_table = read_platform_table(paths["platform"], max_decompressed_bytes)
    if values is None:
        raise GeoError(
            f"{paths['matrix']} holds no values and no counts were fetched beside it; fetch the "
            "series again."
        )
    samples = matrix.samples
    here = samples["platform"].isna() | (samples["platform"] == manifest.platform)
    wanted = samples[here & samples["gsm"].isin(values.columns)].reset_index(drop=True)
    if wanted.empty:
        raise GeoError(
            f"none of the samples of {paths['matrix']} on {manifest.platform} has values in "
            f"{paths.get('counts', paths['matrix'])}; check the cohort's platform."
        )
    gsms = list(wanted["gsm"])
    return SeriesData(
        samples=wanted,
        values=values if list(values.columns) == gsms else values[gsms],
        id_table=id_table,
        kind=kind,
        title=" ".join(matrix.series.get("title", [])),
        platform=manifest.platform,
        without_values=tuple(samples.loc[here & ~samples["gsm"].isin(values.columns), "gsm"]),
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
    record = manifest.of_role("matrix")
    if record is None:
        raise GeoError(f"the manifest of {folder} names no matrix file; fetch the series again.")
    samples = read_series_header(_verified(folder, record), max_decompressed_bytes).samples
    here = samples["platform"].isna() | (samples["platform"] == manifest.platform)
    return samples[here].reset_index(drop=True)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest that :func:`fetch_series` left in ``folder``.

    Raises:
        StoreError: When there is none or it is no JSON.
        GeoError: When it is no manifest.
    """
    path = folder / MANIFEST_NAME
    content = read_json(path)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise GeoError(
            f"{path} is no manifest of fetched files ({error.error_count()} fields are wrong); "
            "delete it and fetch the series again."
        ) from error


def _known_files(destination: Path) -> Mapping[str, FileRecord]:
    if not (destination / MANIFEST_NAME).exists():
        return {}
    return {record.name: record for record in read_manifest(destination).files}


def _matrix_name(client: GeoClient, cohort: Cohort) -> str:
    """Choose the file of the cohort's platform among the matrix files of the series."""
    own = addresses.matrix_name(cohort.accession, cohort.platform)
    single = addresses.matrix_name(cohort.accession)
    folder = addresses.matrix_folder(cohort.accession)
    try:
        names = client.list_folder(folder)
    except MissingFileError as error:
        # A web server may serve files without listing folders.
        names = [name for name in (own, single) if client.exists(f"{folder}/{name}")]
        if not names:
            raise MissingFileError(
                f"{cohort.accession} has no series matrix below {client.root} ({folder} is "
                "missing); check the accession and the GEO root."
            ) from error
    for name in (own, single):
        if name in names:
            return name
    pattern = re.compile(rf"{cohort.accession}-(GPL\d+)_series_matrix\.txt\.gz", re.ASCII)
    platforms = [match[1] for name in names if (match := pattern.fullmatch(name))]
    if not platforms:
        raise MissingFileError(
            f"{client.root}/{folder} holds no series matrix of {cohort.accession}; check the "
            "accession and the GEO root."
        )
    raise GeoError(
        f"{cohort.accession} has no samples on {cohort.platform} but on {', '.join(platforms)}; "
        "correct the cohort's platform."
    )


def _check_platform(header: SeriesHeader, cohort: Cohort, path: Path) -> None:
    platforms = set(header.samples["platform"].dropna())
    if platforms and cohort.platform not in platforms:
        raise GeoError(
            f"the samples of {path.name} are on {', '.join(sorted(platforms))}, not on "
            f"{cohort.platform} as the cohort {cohort.accession} says; correct its platform."
        )


def _refuse_other_ids(cohort: Cohort) -> None:
    if cohort.id_type != "entrez":
        raise GeoError(
            f"the matrix of {cohort.accession} holds its header only; NCBI's counts of it are by "
            f"Entrez id, so set id_type: entrez in its cohort file (it says {cohort.id_type})."
        )


def _counts_places(client: GeoClient, cohort: Cohort, name: str) -> list[str]:
    """Return where to look for a count file, first place first."""
    mirror = f"{addresses.counts_folder(cohort.accession)}/{name}"
    if client.web is None:
        return [mirror]
    page = f"{client.web}/{addresses.counts_page(cohort.accession, name)}"
    return [page] if client.is_ncbi else [mirror, page]


def _first_found(places: list[str], name: str, role: Role, get: _Get) -> FileRecord:
    for place in places:
        try:
            return get(place, name, role)
        except (MissingFileError, HtmlError):
            continue
    raise MissingFileError(
        f"{name} is at none of {', '.join(places)}: the series matrix holds its header only and "
        "NCBI has made no counts of this series; leave the cohort out."
    )


def _platform_file(client: GeoClient, cohort: Cohort, get: _Get) -> FileRecord:
    """Fetch the curated table of the platform, else the submitter's from GEO's web page."""
    platform = cohort.platform
    curated = addresses.platform_annotation(platform)
    try:
        return get(curated, f"{platform}.annot.gz", "platform")
    except MissingFileError as error:
        if client.web is None:
            raise MissingFileError(
                f"{client.root}/{curated} does not exist, and a mirror of files has no other table "
                f"of {platform}; add that file, or set id_type in the cohort {cohort.accession} if "
                "its ids are no probes."
            ) from error
    page = f"{client.web}/{addresses.platform_page(platform)}"
    try:
        return get(page, f"{platform}.txt", "platform")
    except (MissingFileError, HtmlError) as error:
        raise MissingFileError(
            f"GEO has no table of {platform}, neither {curated} nor {page}; check the platform of "
            f"the cohort {cohort.accession}, or set another id_type."
        ) from error


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
