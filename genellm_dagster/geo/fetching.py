"""Fetch the files of one cohort's series; which they are follows from its description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import ValidationError

from genellm_dagster.errors import GeoError
from genellm_dagster.files import atomic_path, read_json, sha256_of, write_json
from genellm_dagster.geo import addresses
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.compressed import HtmlError
from genellm_dagster.geo.http import BrokenTransferError, MissingFileError
from genellm_dagster.geo.matrix import SeriesHeader, read_series_header
from genellm_dagster.geo.places import (
    counts_places,
    matrix_names,
    platform_of_matrix,
    supplementary_names,
)
from genellm_dagster.geo.platform import read_local_table
from genellm_dagster.geo.records import FileRecord, Manifest, Role
from genellm_dagster.geo.soft import read_soft_platform, read_soft_samples
from genellm_dagster.geo.supplementary import naming_hint
from genellm_dagster.studies.cohort import Cohort

MANIFEST_NAME = "manifest.json"


def fetch_series(client: GeoClient, cohort: Cohort, destination: Path) -> Manifest:
    """Fetch the files that a cohort needs: its samples, its values, a platform table.

    Where the values come from is said by ``cohort.values``. Of several files of one kind (parts of
    a matrix, a submitter's files) those that cannot be used are left out and told in the manifest,
    as long as one is left. The manifest is kept beside the files as ``manifest.json``; files that
    GEO has not changed since are not fetched again.

    Args:
        client: Where to fetch from.
        cohort: Its accession, platform, id_type, values and platform_table are used.
        destination: The folder for the files of this cohort, made when missing.

    Raises:
        GeoError: When a file is missing or broken, or the series does not fit the cohort.
    """
    fetching = _Fetching(client, cohort, destination)
    source = cohort.values.source
    if source == "soft":
        fetching.family()
    else:
        has_values = fetching.matrices()
        if source == "supplementary":
            fetching.submitted()
        elif source == "ncbi_counts" or (source == "auto" and not has_values):
            fetching.counts()
        elif not has_values:
            raise GeoError(
                f"the matrix of {cohort.accession} holds its header only; leave values.source out "
                "of its cohort file to take NCBI's counts."
                f"{naming_hint(supplementary_names(client, cohort.accession))}"
            )
        elif cohort.id_type == "probe":
            fetching.platform_table()
    if cohort.platform_table is not None:
        fetching.local_table(cohort.platform_table)
    elif cohort.id_type == "probe" and source in ("supplementary", "soft"):
        fetching.platform_table()
    return fetching.finish()


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


def local_table_digest(record: FileRecord) -> str:
    """Return the SHA-256 that the user's own platform table has now; empty when it is gone.

    Args:
        record: Its record in the manifest, of role ``local_platform``.
    """
    path = Path(url2pathname(urlsplit(record.address).path))
    try:
        return sha256_of(path)
    except OSError:
        return ""


class _Fetching:
    def __init__(self, client: GeoClient, cohort: Cohort, destination: Path) -> None:
        self._client = client
        self._cohort = cohort
        self._folder = destination
        self._known = _known_files(destination)
        self._limit = client.options.max_decompressed_bytes
        self._files: list[FileRecord] = []
        self._problems: dict[str, str] = {}

    def finish(self) -> Manifest:
        """Write the manifest."""
        submitted = self._cohort.values.source == "supplementary"
        manifest = Manifest(
            accession=self._cohort.accession,
            platform=self._cohort.platform,
            root=self._client.root,
            files=self._files,
            id_type=self._cohort.id_type if submitted else None,
            sheet=self._cohort.values.sheet if submitted else None,
            problems=self._problems,
        )
        write_json(self._folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
        return manifest

    def matrices(self) -> bool:
        """Fetch the matrix file of the cohort's platform, or its parts; tell if it has values."""
        cohort = self._cohort
        folder = addresses.matrix_folder(cohort.accession)
        headers: dict[str, SeriesHeader] = {}
        for name in self._several(folder, _own_matrices(self._client, cohort), "matrix"):
            try:
                header = read_series_header(self._folder / name, self._limit)
            except GeoError as error:
                self._leave_out(name, error)
                continue
            _check_platform(set(header.samples["platform"].dropna()), cohort, name)
            headers[name] = header
        self._require_one("matrix")
        return any(header.has_values for header in headers.values())

    def family(self) -> None:
        """Fetch the SOFT family file."""
        path = addresses.family_file(self._cohort.accession)
        name = PurePosixPath(path).name
        self._files.append(self._get(path, name, "family"))
        samples = read_soft_samples(self._folder / name, None, self._limit)[1]
        _check_platform(set(samples["platform"].dropna()), self._cohort, name)

    def submitted(self) -> None:
        """Fetch the submitter's files that the cohort names."""
        folder = addresses.supplementary_folder(self._cohort.accession)
        names = list(dict.fromkeys(self._cohort.values.files))
        try:
            self._several(folder, names, "supplementary")
            self._require_one("supplementary")
        except MissingFileError as error:
            there = supplementary_names(self._client, self._cohort.accession)
            if not there:
                raise
            raise MissingFileError(f"{error} GEO has {', '.join(there[:10])}.") from error

    def counts(self) -> None:
        """Fetch NCBI's counts and the gene table that goes with them."""
        cohort = self._cohort
        there: tuple[str, ...] = ()
        if cohort.id_type != "entrez":
            there = supplementary_names(self._client, cohort.accession)
            raise GeoError(
                f"the matrix of {cohort.accession} holds its header only; NCBI's counts of it are "
                f"by Entrez id, so set id_type: entrez in its cohort file (it says "
                f"{cohort.id_type}).{naming_hint(there)}"
            )
        names: dict[Role, str] = {
            "counts": addresses.counts_name(cohort.accession),
            "annotation": addresses.counts_annotation_name(),
        }
        for role, name in names.items():
            places = counts_places(self._client, cohort.accession, name)
            record = self._first_found(places, name, role)
            if record is None:
                there = supplementary_names(self._client, cohort.accession)
                raise MissingFileError(
                    f"{name} is at none of {', '.join(places)}: the series matrix holds its header "
                    "only and NCBI has made no counts of this series; leave the cohort out."
                    f"{naming_hint(there)}"
                )
            self._files.append(record)

    def platform_table(self) -> None:
        """Fetch a table of the platform: curated, the submitter's, or the SOFT family's."""
        if self._cohort.platform_table is not None:
            return
        platform = self._cohort.platform
        curated = addresses.platform_annotation(platform)
        family = addresses.family_file(self._cohort.accession)
        own = next((record for record in self._files if record.role == "family"), None)
        if own is not None and self._names_genes(self._folder / own.name):
            return
        record = self._first_found([curated], f"{platform}.annot.gz", "platform")
        page = f"{self._client.web}/{addresses.platform_page(platform)}"
        if record is None and self._client.web is not None:
            record = self._first_found([page], f"{platform}.txt", "platform")
        if record is None and own is None:
            record = self._first_found([family], PurePosixPath(family).name, "platform")
        if record is None:
            raise MissingFileError(self._no_table(curated, page))
        self._files.append(record)

    def local_table(self, path: str) -> None:
        """Copy the user's own table of the platform beside the other files, and read it once."""
        source = _local_path(self._cohort, path)
        name = f"platform_table{''.join(source.suffixes[-2:]).lower()}"
        limit = self._client.options.max_file_bytes
        try:
            if source.stat().st_size > limit:
                raise GeoError(f"{source} is larger than {limit:,} bytes.")
            content = source.read_bytes()
        except OSError as error:
            raise GeoError(
                f"{source}, the platform_table of {self._cohort.origin}, cannot be read "
                f"({error.strerror or error}); correct its path."
            ) from error
        with atomic_path(self._folder / name) as temporary:
            temporary.write_bytes(content)
        read_local_table(self._folder / name, self._limit)
        record = FileRecord(
            address=source.as_uri(),
            size=len(content),
            sha256=sha256_of(self._folder / name),
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
            name=name,
            role="local_platform",
        )
        before = self._known.get(name)
        unchanged = before is not None and before.sha256 == record.sha256
        self._files.append(before if before is not None and unchanged else record)

    def _get(self, path: str, name: str, role: Role) -> FileRecord:
        record = self._client.fetch(path, self._folder / name, self._known.get(name))
        return record.model_copy(update={"name": name, "role": role})

    def _several(self, folder: str, names: Sequence[str], role: Role) -> list[str]:
        """Fetch files of which some may be broken; returns the names of those that are not."""
        for name in names:
            try:
                self._files.append(self._get(f"{folder}/{name}", name, role))
            except GeoError as error:
                # A server that does not answer says nothing about the file.
                if len(names) == 1 or isinstance(error.__cause__, BrokenTransferError):
                    raise
                self._problems[name] = str(error)
        return [record.name for record in self._files if record.role == role]

    def _leave_out(self, name: str, error: GeoError) -> None:
        others = [record for record in self._files if record.name != name]
        if not any(record.role == "matrix" for record in others) and not self._problems:
            raise error
        self._files = others
        self._problems[name] = str(error)

    def _require_one(self, role: Role) -> None:
        if not any(record.role == role for record in self._files):
            raise GeoError(
                f"no file of {self._cohort.accession} could be used: "
                f"{' '.join(self._problems.values())}"
            )

    def _first_found(self, places: Sequence[str], name: str, role: Role) -> FileRecord | None:
        for place in places:
            try:
                return self._get(place, name, role)
            except (MissingFileError, HtmlError):
                continue
        return None

    def _names_genes(self, family: Path) -> bool:
        try:
            read_soft_platform(family, self._cohort.platform, self._limit)
        except GeoError:
            return False
        return True

    def _no_table(self, curated: str, page: str) -> str:
        platform, cohort = self._cohort.platform, self._cohort.accession
        if self._client.web is None:
            return (
                f"{self._client.root}/{curated} does not exist, and a mirror of files has no other "
                f"table of {platform}; add that file, name your own table in the cohort {cohort} "
                "(platform_table), or set its id_type if its ids are no probes."
            )
        return (
            f"GEO has no table of {platform}, neither {curated} nor {page}; check the platform of "
            f"the cohort {cohort}, name your own table (platform_table), or set another id_type."
        )


def _known_files(destination: Path) -> Mapping[str, FileRecord]:
    if not (destination / MANIFEST_NAME).exists():
        return {}
    return {record.name: record for record in read_manifest(destination).files}


def _own_matrices(client: GeoClient, cohort: Cohort) -> list[str]:
    """Choose the files of the cohort's platform among the matrix files of the series."""
    names = matrix_names(client, cohort.accession, cohort.platform)
    platforms = [platform_of_matrix(name) for name in names]
    for wanted in (cohort.platform, None):
        own = [name for name, told in zip(names, platforms, strict=True) if told == wanted]
        if own:
            return own
    there = sorted({platform for platform in platforms if platform is not None})
    raise GeoError(
        f"{cohort.accession} has no samples on {cohort.platform} but on {', '.join(there)}; "
        "correct the cohort's platform."
    )


def _check_platform(platforms: set[str], cohort: Cohort, name: str) -> None:
    if platforms and cohort.platform not in platforms:
        raise GeoError(
            f"the samples of {name} are on {', '.join(sorted(platforms))}, not on "
            f"{cohort.platform} as the cohort {cohort.accession} says; correct its platform."
        )


def _local_path(cohort: Cohort, path: str) -> Path:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\x00" in path:
        raise GeoError(
            f"{cohort.origin}: platform_table {path!r} is no path below the folder of the cohort "
            "file; put the table there."
        )
    if cohort.folder is None:
        raise GeoError(
            f"{cohort.origin} names a platform_table but stands in no file, so it is not known "
            "where that is; write the cohort into a file of its own."
        )
    return (cohort.folder / path).absolute()
