"""Files of GEO, from NCBI or from a mirror with the same layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from types import TracebackType
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.compressed import read_pieces
from genellm_dagster.geo.http import (
    MissingFileError,
    PoliteHttp,
    public_address,
    refuse_too_large,
)
from genellm_dagster.geo.options import NCBI_ROOT, NCBI_WEB, GeoOptions
from genellm_dagster.geo.records import FileRecord
from genellm_dagster.geo.remote import asked_revision, opened
from genellm_dagster.geo.revisions import Revision, revision_of_file
from genellm_dagster.geo.transfer import copy, download

_WEB_SCHEMES = ("http", "https")


class GeoClient:
    """Reads files below a GEO root, wherever that is.

    Args:
        root: An http(s) address, a ``file://`` address or a folder, with ``series/`` and
            ``platforms/`` in NCBI's layout.
        options: Limits and manners; its own ``root`` is not used.

    Raises:
        GeoError: When the root is a folder that does not exist, or an address of another kind.

    Example:
        >>> with GeoClient("file:///data/geo", GeoOptions()) as client:
        ...     client.list_folder("series/GSE65nnn/GSE65682/matrix")
    """

    def __init__(self, root: str, options: GeoOptions) -> None:
        self.options = options
        self._http: PoliteHttp | None = None
        self._folder: Path | None = None
        self._root = ""
        try:
            parts = urlsplit(root)
        except ValueError as error:
            raise GeoError(f"the GEO root is no address ({error}); correct --geo-root.") from error
        if parts.scheme in _WEB_SCHEMES:
            # Its password, if it has one, is known to the connection alone.
            self._base = public_address(root).rstrip("/")
            self._root = root
        elif parts.scheme == "file" or "://" not in root:
            self._folder = _local_folder(root)
            self._base = self._folder.as_uri()
        else:
            raise GeoError(
                f"the GEO root {public_address(root)!r} is neither an http(s) address, a file:// "
                "address nor a folder; correct --geo-root."
            )
        self.root = self._base

    def __enter__(self) -> GeoClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, if any were opened."""
        if self._http is not None:
            self._http.close()
            self._http = None

    @property
    def folder(self) -> Path | None:
        """The root as a folder of this machine; None when it is reached over http(s)."""
        return self._folder

    @property
    def is_ncbi(self) -> bool:
        """Whether the root is NCBI's own."""
        return self._base == NCBI_ROOT

    @property
    def web(self) -> str | None:
        """Address above GEO's web pages (acc.cgi, download); None when the root is a folder."""
        if self._folder is not None:
            return None
        if self.options.web is not None:
            return public_address(self.options.web).rstrip("/")
        return NCBI_WEB if self.is_ncbi else self._base

    @property
    def http(self) -> PoliteHttp:
        """The connection, made when first used."""
        if self._http is None:
            self._http = PoliteHttp(self.options, self._root)
        return self._http

    def exists(self, path: str) -> bool:
        """Tell whether a file or folder is there.

        Args:
            path: Below the root, with ``/``.

        Raises:
            GeoError: When the server cannot be asked.
        """
        if self._folder is not None:
            return self._local(path).exists()
        try:
            self.http.text(self._address(path), method="HEAD")
        except MissingFileError:
            return False
        return True

    def list_folder(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; folders without their slash.

        Raises:
            MissingFileError: When there is no such folder.
            GeoError: When it cannot be listed.
        """
        if self._folder is not None:
            folder = self._local(path)
            try:
                return sorted(entry.name for entry in folder.iterdir())
            except (FileNotFoundError, NotADirectoryError) as error:
                raise MissingFileError(
                    f"{folder} does not exist; check the accession and the GEO root."
                ) from error
            except OSError as error:
                raise GeoError(f"{folder} cannot be listed ({error.strerror}).") from error
        parser = _Links()
        parser.feed(self.http.text(self._address(path) + "/"))
        return sorted(parser.names)

    def fetch(self, path: str, destination: Path, previous: FileRecord | None = None) -> FileRecord:
        """Copy a file of GEO to ``destination``, whole and checked, or not at all.

        A transfer that breaks off is gone on with, by a later try or a later process, as long as
        the server still has the same version. Processes that fetch to the same destination take
        turns.

        Args:
            path: Below the root; or, for a root reached over http(s), a full address.
            destination: The file to write. A name that ends in ``.gz`` must turn out to be gzip.
            previous: What :meth:`fetch` returned last time. When GEO's file has not changed
                and ``destination`` still holds it, nothing is fetched and this is returned.

        Raises:
            MissingFileError: When GEO has no such file.
            GeoError: When what comes is HTML, truncated, damaged or too large, or when the server
                does not answer.
        """
        if self._folder is not None:
            return copy(self._local(path), destination, previous, self.options)
        return download(self.http, self._address(path), destination, previous, self.options)

    @contextmanager
    def content(self, path: str) -> Iterator[Iterator[bytes]]:
        """Read a file of GEO from its beginning without keeping it, as far as one wants.

        Leaving the block ends the transfer. A failure before the first bytes is tried again; a
        connection that breaks later is told.

        Args:
            path: As for :meth:`fetch`. A name that ends in ``.gz`` must turn out to be gzip.

        Yields:
            The content in pieces, decompressed, at most ``max_decompressed_bytes`` of it.

        Raises:
            MissingFileError: When GEO has no such file.
            GeoError: As :meth:`fetch`; also while the pieces are read.

        Example:
            >>> with client.content("series/GSEnnn/GSE123/soft/GSE123_family.soft.gz") as pieces:
            ...     start = next(pieces)
        """
        if self._folder is not None:
            file, limit = self._existing(path), self.options.max_decompressed_bytes
            refuse_too_large(str(file), file.stat().st_size, self.options)
            with closing(read_pieces(file, limit)) as pieces:
                yield pieces
            return
        with opened(self.http, self._address(path), self.options) as pieces:
            yield pieces

    def revision(self, path: str) -> Revision | None:
        """Tell which version of a file GEO has, without fetching it; None when it has none.

        Args:
            path: As for :meth:`fetch`.

        Raises:
            GeoError: When the server cannot be asked.
        """
        if self._folder is not None:
            try:
                return revision_of_file(self._local(path))
            except (MissingFileError, FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise GeoError(f"{path} cannot be read ({error.strerror or error}).") from error
        try:
            return asked_revision(self.http, self._address(path))
        except MissingFileError:
            return None

    def is_changed(self, record: FileRecord, *, if_unknown: bool = True) -> bool:
        """Tell whether GEO has another version of a file than the one that was fetched.

        Args:
            record: What :meth:`fetch` returned.
            if_unknown: The answer for files of which the server tells neither date nor tag, as for
                pages that it makes when asked.

        Returns:
            True also when the file is gone, or when it came from another root than this one.

        Raises:
            GeoError: When the server cannot be asked.
        """
        path = self._path_of(record.address)
        revision = None if path is None else self.revision(path)
        if revision is None:
            return True
        same = revision.is_of(record)
        return if_unknown if same is None else not same

    def _path_of(self, address: str) -> str | None:
        """Return what :meth:`revision` takes for an address in a manifest; None when not ours.

        A manifest is a file like others: it must not make this program ask any address it likes.
        """
        if self._folder is not None:
            file = Path(url2pathname(urlsplit(address).path))
            inside = urlsplit(address).scheme == "file" and file.is_relative_to(self._folder)
            return file.relative_to(self._folder).as_posix() if inside else None
        places = [self._base, self.web]
        return address if any(address.startswith(f"{place}/") for place in places) else None

    def _address(self, path: str) -> str:
        if urlsplit(path).scheme in _WEB_SCHEMES:
            return path
        return f"{self._base}/{_checked(path)}"

    def _local(self, path: str) -> Path:
        if self._folder is None:
            raise AssertionError("the root is no folder")
        if urlsplit(path).scheme in _WEB_SCHEMES:
            raise MissingFileError(f"{path} is not in the mirror {self._folder}.")
        return self._folder / _checked(path)

    def _existing(self, path: str) -> Path:
        file = self._local(path)
        if not file.is_file():
            raise MissingFileError(f"{file} does not exist; check the accession and the GEO root.")
        return file


class _Links(HTMLParser):
    """Collects the names in a web server's folder listing."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href") if tag == "a" else None
        if not target or "?" in target or "#" in target or "://" in target:
            return
        name = unquote(target).removeprefix("./").rstrip("/")
        if name and "/" not in name and not name.startswith("."):
            self.names.add(name)


def _local_folder(root: str) -> Path:
    parts = urlsplit(root)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise GeoError(
                f"the GEO root {root!r} names the host {parts.netloc!r}; write three slashes: "
                "file:///folder."
            )
        folder = Path(url2pathname(parts.path))
    else:
        folder = Path(root)
    if not folder.is_dir():
        raise GeoError(f"the GEO root {folder} is no folder; correct --geo-root.")
    return Path(os.path.normpath(folder.absolute()))


def _checked(path: str) -> str:
    """Return ``path`` when it stays below the root; names come from listings and descriptions."""
    pure = PurePosixPath(path.split("?", 1)[0])
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\x00" in path:
        raise GeoError(f"{path!r} is no path below the GEO root.")
    return path
