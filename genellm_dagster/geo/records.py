"""What is kept about fetched files: one record a file, one manifest a series."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["matrix", "platform", "counts", "annotation"]


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

    @property
    def fingerprint(self) -> str:
        """SHA-256 over roles and contents: the same as long as GEO serves the same bytes."""
        lines = sorted(f"{record.role} {record.sha256}" for record in self.files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def of_role(self, role: Role) -> FileRecord | None:
        """Return the record of the file with this role, or None."""
        return next((record for record in self.files if record.role == role), None)
