"""Which files of a series there are, and where they lie."""

from __future__ import annotations

import re

from genellm_dagster.geo import addresses
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.http import MissingFileError

# A folder beyond this is no folder of one series.
_MAX_NAMES = 10_000
_MAX_LIST_BYTES = 16 << 20
_FILE_LIST = "filelist.txt"
# GEO cuts the matrix of a large series in parts: ..._series_matrix-1.txt.gz, -2, ...
_MATRIX = re.compile(r"(GSE\d+)(?:-(GPL\d+))?_series_matrix(?:-(\d+))?\.txt\.gz", re.ASCII)


def matrix_names(client: GeoClient, accession: str, platform: str | None = None) -> list[str]:
    """Return the names of the matrix files of a series, in the order of platforms and parts.

    Args:
        client: Where to look.
        accession: The series.
        platform: Look for the file of this platform, too, where folders cannot be listed.

    Raises:
        MissingFileError: When the series has none.
        GeoError: When GEO does not answer.
    """
    folder = addresses.matrix_folder(accession)
    try:
        listed = client.list_folder(folder)
    except MissingFileError as error:
        # A web server may serve files without listing folders.
        guesses = [addresses.matrix_name(accession)]
        if platform is not None:
            guesses.append(addresses.matrix_name(accession, platform))
        listed = [name for name in guesses if client.exists(f"{folder}/{name}")]
        if not listed:
            raise MissingFileError(
                f"{accession} has no series matrix below {client.root} ({folder} is "
                "missing); check the accession and the GEO root."
            ) from error
    found = [
        (match[2] or "", int(match[3] or 0), name)
        for name in listed[:_MAX_NAMES]
        if (match := _MATRIX.fullmatch(name)) and match[1] == accession
    ]
    if not found:
        raise MissingFileError(
            f"{client.root}/{folder} holds no series matrix of {accession}; check the "
            "accession and the GEO root."
        )
    return [name for _, _, name in sorted(found)]


def platform_of_matrix(name: str) -> str | None:
    """Return the platform that the name of a matrix file tells, if it tells one."""
    match = _MATRIX.fullmatch(name)
    return match[2] if match else None


def supplementary_names(client: GeoClient, accession: str) -> tuple[str, ...]:
    """Return the names of the submitter's own files of a series, sorted; empty when unknown.

    They are taken from the folder, and from ``filelist.txt`` where folders are not listed.

    Raises:
        GeoError: When GEO does not answer.
    """
    folder = addresses.supplementary_folder(accession)
    try:
        names = client.list_folder(folder)
    except MissingFileError:
        names = _names_in_list(client, folder)
    own = {name for name in names[:_MAX_NAMES] if name.startswith(accession)}
    return tuple(sorted(own))


def _names_in_list(client: GeoClient, folder: str) -> list[str]:
    """Read GEO's own list: kind, name, time, size, type, separated by tabs."""
    text = b""
    try:
        with client.content(f"{folder}/{_FILE_LIST}") as pieces:
            for piece in pieces:
                text += piece
                if len(text) > _MAX_LIST_BYTES:
                    break
    except MissingFileError:
        return []
    rows = [line.split("\t") for line in text.decode("utf-8", "replace").splitlines()]
    return [row[1].strip() for row in rows if len(row) > 1 and not row[0].startswith("#")]


def counts_places(client: GeoClient, accession: str, name: str) -> list[str]:
    """Return where to look for a count file of NCBI, first place first."""
    mirror = f"{addresses.counts_folder(accession)}/{name}"
    if client.web is None:
        return [mirror]
    page = f"{client.web}/{addresses.counts_page(accession, name)}"
    return [page] if client.is_ncbi else [mirror, page]
