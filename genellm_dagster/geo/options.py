"""Settings of the GEO client."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

NCBI_ROOT = "https://ftp.ncbi.nlm.nih.gov/geo"
NCBI_WEB = "https://www.ncbi.nlm.nih.gov/geo"
NCBI_EUTILS = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
# https://www.ncbi.nlm.nih.gov/books/NBK25497/: 3 requests a second, 10 with an API key.
RATE_WITHOUT_KEY = 3.0
RATE_WITH_KEY = 10.0
MAX_DECOMPRESSED_BYTES = 16 << 30


def _default_lock_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "genellm" / "locks"


class GeoOptions(BaseModel):
    """Where GEO is and how politely and how far it is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Addresses may carry a password: they are left out of what is printed.
    root: str = Field(
        default=NCBI_ROOT,
        repr=False,
        description="Root of GEO's files: an http(s) or file address, or a folder, holding series/ "
        "and platforms/ in NCBI's layout.",
    )
    web: str | None = Field(
        default=None,
        repr=False,
        description="Address above query/acc.cgi (platform tables) and download/ (RNA-seq counts); "
        "by default NCBI's when the root is NCBI's, else the root itself when it is http(s).",
    )
    eutils: str = Field(
        default=NCBI_EUTILS,
        repr=False,
        description="Address of NCBI's E-utilities, for the search.",
    )
    email: str | None = Field(
        default=None,
        description="Address of the person responsible, which NCBI asks every tool to send.",
    )
    tool: str = Field(
        default="genellm-dagster", min_length=1, description="Name of this tool as sent to NCBI."
    )
    api_key: SecretStr | None = Field(
        default=None, description="NCBI API key; raises the limit from 3 to 10 requests a second."
    )
    rate_per_second: float | None = Field(
        default=None,
        gt=0,
        description="Requests a second, all processes together; by default NCBI's limit: 3, or 10 "
        "with a key.",
    )
    connect_timeout_seconds: float = Field(
        default=20.0, gt=0, description="Patience for a connection."
    )
    read_timeout_seconds: float = Field(
        default=90.0, gt=0, description="Patience for the next bytes of an answer."
    )
    retries: int = Field(
        default=5, ge=0, le=20, description="Further tries after 429, 5xx or a broken connection."
    )
    backoff_seconds: float = Field(
        default=1.0, ge=0, description="First wait between tries; doubles each time, with jitter."
    )
    max_backoff_seconds: float = Field(
        default=60.0, ge=0, description="Longest wait between two tries."
    )
    max_retry_after_seconds: float = Field(
        default=300.0,
        ge=0,
        description="A server that asks for a longer pause (Retry-After) ends the run.",
    )
    max_file_bytes: int = Field(
        default=4 << 30, gt=0, description="Largest file accepted, in bytes as served (compressed)."
    )
    max_decompressed_bytes: int = Field(
        default=MAX_DECOMPRESSED_BYTES,
        gt=0,
        description="Largest content of one gzip file, in bytes; stops decompression bombs.",
    )
    max_answer_bytes: int = Field(
        default=64 << 20, gt=0, description="Largest folder listing or search answer, in bytes."
    )
    page_size: int = Field(
        default=200,
        ge=1,
        le=500,
        description="Series asked for in one page of search results; NCBI gives 500 at most. Pages "
        "that are too large for it are asked for in smaller ones.",
    )
    lock_folder: Path = Field(
        default_factory=_default_lock_folder,
        description="Folder where all processes of this user share the request limit.",
    )
    lock_timeout_seconds: float = Field(
        default=120.0,
        gt=0,
        description="Longest wait for another process to give a lock back; one that is fetching "
        "the same file is waited for as long as that file grows.",
    )

    @property
    def requests_per_second(self) -> float:
        """The limit in force, in requests a second."""
        if self.rate_per_second is not None:
            return self.rate_per_second
        return RATE_WITH_KEY if self.api_key is not None else RATE_WITHOUT_KEY
