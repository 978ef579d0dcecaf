"""What is kept about fetched files: one record a file, one manifest a series."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

#: What a file is for. ``local_platform`` is the user's own table, ``family`` the SOFT family file.
Role = Literal[
    "matrix", "platform", "counts", "annotation", "supplementary", "family", "local_platform"
]


class FileRecord(BaseModel):
    """One file as it was fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(description="Where it came from; never holds a password or key.")
    size: int = Field(ge=0, description="Bytes, as served.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of those bytes.")
    fetched_at: str = Field(description="Time of the fetch, UTC, ISO 8601.")
    last_modified: str | None = Field(
        default=None,
        description="The Last-Modified header, or the time of change of a mirror's file.",
    )
    etag: str | None = Field(default=None, description="The ETag header.")
    name: str = Field(default="", description="Name of the file inside the series' folder.")
    role: Role | None = Field(default=None, description="What the file is for.")


class Manifest(BaseModel):
    """The files of one cohort's series as they were fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accession: str = Field(description="The series.")
    platform: str = Field(description="The platform whose samples are read.")
    root: str = Field(description="The GEO root they came from.")
    files: list[FileRecord] = Field(description="One record a file.")
    id_type: Literal["probe", "symbol", "entrez", "ensembl"] | None = Field(
        default=None, description="What ids are looked for in a submitter's files."
    )
    sheet: str | None = Field(default=None, description="Sheet of a submitter's Excel file.")
    problems: dict[str, str] = Field(
        default_factory=dict,
        description="Name of a file that is not among them -> why; the others are used.",
    )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over roles and contents: the same as long as GEO serves the same bytes.

        How a submitter's files are read counts as well, where there are any.
        """
        lines = sorted(f"{record.role} {record.sha256}" for record in self.files)
        if self.of_role("supplementary") is not None:
            lines.append(f"{self.id_type} {self.sheet}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def of_role(self, role: Role) -> FileRecord | None:
        """Return the record of the first file with this role, or None."""
        return next(iter(self.all_of_role(role)), None)

    def all_of_role(self, role: Role) -> list[FileRecord]:
        """Return the records of all files with this role, in their order."""
        return [record for record in self.files if record.role == role]
