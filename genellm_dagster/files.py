"""Files written whole or not at all.

Everything that the project writes goes through here: to a temporary name in the same folder,
synced, then renamed, so that a reader (or a rerun after a kill) never meets half of a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genellm_dagster.errors import StoreError

_HASH_CHUNK_BYTES = 1 << 20


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that becomes ``path`` when the block ends well.

    Args:
        path: The file to write; its folder is made when missing.

    Yields:
        The temporary path to write to. It is removed when the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that takes its place when the block ends well.

    Args:
        path: The folder to write. One that is already there is replaced.

    Yields:
        The temporary folder, empty. It is removed when the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = f"{os.getpid()}.{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.name}.{token}.part")
    old = path.with_name(f".{path.name}.{token}.old")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON (no NaN), whole or not at all.

    Raises:
        ValueError: When ``content`` holds NaN or infinity: a missing number must be ``None``.
    """
    write_text(path, json.dumps(content, indent=2, sort_keys=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StoreError: When the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing; materialize the asset that writes it.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StoreError(
            f"{path} is no readable JSON ({error}); delete it and run again."
        ) from error


def write_parquet(
    path: Path, frame: pd.DataFrame, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a table as Parquet with page checksums, whole or not at all.

    Args:
        path: The file to write.
        frame: The table; a named index is kept as a column and restored by :func:`read_parquet`.
        metadata: Words to keep in the file's schema (provenance, for instance).
    """
    table = pa.Table.from_pandas(frame)
    if metadata:
        extra = {key.encode(): value.encode() for key, value in metadata.items()}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **extra})
    # Measured numbers hardly repeat: a dictionary of them is as long as they are and costs four
    # times the time. Split into bytes they pack as well with lz4 as otherwise with zstd.
    split = [field.name for field in table.schema if field.type in (pa.float32(), pa.float64())]
    numbers = set(split)
    words = [name for name in table.schema.names if name not in numbers]
    with atomic_path(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression=dict.fromkeys(words, "zstd") | dict.fromkeys(split, "lz4"),
            use_dictionary=words,
            use_byte_stream_split=split,
            write_page_checksum=True,
        )


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet table and verify its page checksums.

    Raises:
        StoreError: When the file is missing, truncated or damaged.
    """
    try:
        frame: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing; materialize the asset that writes it.") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it and run again.") from error
    return frame


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
