"""SOFT family files: a series, its platforms and its samples, each sample with its own table.

The file is read as a stream. A sample's table is held only until its ids and values are taken; when
its ids are those of the sample before, as they mostly are, they are compared and not kept again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path

import pandas as pd
import polars as pl

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.compressed import prefetch, read_blocks
from genellm_dagster.geo.header import is_used, samples_table
from genellm_dagster.geo.numeric import unquote
from genellm_dagster.geo.options import MAX_DECOMPRESSED_BYTES
from genellm_dagster.geo.platform import parse_platform_table
from genellm_dagster.geo.sample_tables import SampleTable, read_sample_table, stack_samples

_ENTITY = re.compile(r"\^(\w+)\s*=\s*(\S+)")
_LINE = re.compile(r"!(\w+)\s*=\s?(.*)", re.DOTALL)
_TABLES = (b"!platform_table_begin", b"!sample_table_begin", b"!series_table_begin")
# What a table's line of names and its rows may hold at most; see compressed.read_blocks.
_MAX_TABLE_BYTES = 2 << 30


@dataclass(frozen=True)
class SoftFamily:
    """A SOFT family file.

    Attributes:
        series: Key without ``!Series_`` -> values, one a line.
        samples: One row a sample, in the order of the file; see
            :func:`genellm_dagster.geo.header.parse_header`.
        values: float32, index = ids as text (they may repeat), columns = the samples that have
            values, NaN = missing; None when there are none.
        id_tables: Platform -> its table as :func:`genellm_dagster.geo.platform` gives it; platforms
            without a table that names genes are not among them.
        table_problems: Platform -> why its table is not among them.
        without_values: Samples that have no table, or one without rows.
    """

    series: dict[str, list[str]]
    samples: pd.DataFrame
    values: pd.DataFrame | None
    id_tables: dict[str, pd.DataFrame]
    table_problems: dict[str, str]
    without_values: tuple[str, ...]


@dataclass
class _Entity:
    kind: str
    name: str
    lines: dict[str, list[str]] = field(default_factory=dict)

    def first(self, key: str) -> str | None:
        return next(iter(self.lines.get(key, [])), None)


@dataclass
class _Reading:
    """What has been read so far."""

    where: str
    platform: str | None
    with_values: bool
    with_platforms: bool
    series: dict[str, list[str]] = field(default_factory=dict)
    entities: dict[str, _Entity] = field(default_factory=dict)
    tables: dict[str, SampleTable] = field(default_factory=dict)
    id_tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    table_problems: dict[str, str] = field(default_factory=dict)
    ids: pl.Series | None = None

    def is_wanted(self, entity: _Entity) -> bool:
        if entity.kind == "PLATFORM":
            return self.with_platforms and self.platform in (None, entity.name)
        own = entity.first("platform_id")
        return entity.kind == "SAMPLE" and (self.platform is None or own in (None, self.platform))

    def add_table(self, entity: _Entity, table: bytes) -> None:
        if entity.kind == "SAMPLE" and self.with_values:
            read = read_sample_table(table, entity.name, self.where, self.ids)
            if read is not None:
                self.ids = read.ids
                self.tables[entity.name] = read
        elif entity.kind == "PLATFORM":
            try:
                self.id_tables[entity.name] = parse_platform_table(
                    table, f"{self.where}, {entity.name}"
                )
            except GeoError as error:
                # Values by symbol need no table; who needs this one is told what it lacks.
                self.table_problems[entity.name] = str(error)


def read_soft_family(
    path: Path,
    platform: str | None = None,
    max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES,
) -> SoftFamily:
    """Read a SOFT family file, gzip or plain.

    Args:
        path: The file.
        platform: Read the samples of this platform only; needed when those of several have values.
        max_decompressed_bytes: The largest content accepted.

    Raises:
        GeoError: When the file is truncated, damaged or HTML, holds a sample twice or lacks one
            that its series names, when a value is no number, or when the samples of several
            platforms have values and ``platform`` says not which.
    """
    reading = _read(path, platform, max_decompressed_bytes, with_values=True, with_platforms=True)
    samples = _samples(reading)
    platforms = sorted(
        set(samples.loc[samples["gsm"].isin(list(reading.tables)), "platform"]) - {None}
    )
    if len(platforms) > 1:
        raise GeoError(
            f"{path} holds values of {', '.join(platforms)}; each platform is a cohort of its own, "
            "so say which one is meant."
        )
    return SoftFamily(
        series=reading.series,
        samples=samples,
        values=stack_samples(reading.tables, str(path)),
        id_tables=reading.id_tables,
        table_problems=reading.table_problems,
        without_values=tuple(gsm for gsm in samples["gsm"] if gsm not in reading.tables),
    )


def read_soft_samples(
    path: Path,
    platform: str | None = None,
    max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES,
) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Read what a SOFT family file says of the series and its samples, without any table.

    Raises:
        GeoError: As :func:`read_soft_family`, but for what only the tables hold.
    """
    reading = _read(path, platform, max_decompressed_bytes, with_values=False, with_platforms=False)
    return reading.series, _samples(reading)


def read_soft_platform(
    path: Path, platform: str, max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES
) -> pd.DataFrame:
    """Read the table of one platform in a SOFT family file.

    Raises:
        GeoError: When the file is broken, does not hold the platform, or its table names no gene.
    """
    reading = _read(path, platform, max_decompressed_bytes, with_values=False, with_platforms=True)
    if platform in reading.id_tables:
        return reading.id_tables[platform]
    raise GeoError(
        reading.table_problems.get(platform)
        or f"{path} holds no table of {platform}; check the cohort's platform."
    )


def _read(
    path: Path, platform: str | None, max_bytes: int, *, with_values: bool, with_platforms: bool
) -> _Reading:
    reading = _Reading(str(path), platform, with_values, with_platforms)
    with prefetch(read_blocks(path, max_bytes)) as blocks:
        source = _Source(blocks, str(path))
        entity = _Entity("", "")
        for line in _joined_lines(source.lines()):
            if line.startswith("^"):
                match = _ENTITY.match(line)
                entity = _Entity(match[1].upper(), match[2]) if match else _Entity("", "")
                _add(reading, entity)
            elif line.startswith("!"):
                mark = line.encode("utf-8", "replace")
                if mark.startswith(_TABLES):
                    end = mark.split(b"_begin")[0] + b"_end"
                    wanted = reading.is_wanted(entity)
                    table = source.table(end, keep=wanted, of=entity.name)
                    if wanted:
                        reading.add_table(entity, table)
                elif match := _LINE.match(line):
                    key = match[1].partition("_")[2]
                    entity.lines.setdefault(key, []).append(unquote(match[2]))
    if not reading.entities:
        raise GeoError(
            f"{path} is no SOFT family file (it has no line that starts with ^SERIES, ^PLATFORM or "
            "^SAMPLE); fetch it again."
        )
    return reading


def _add(reading: _Reading, entity: _Entity) -> None:
    if entity.kind == "SERIES":
        reading.series = entity.lines
    if entity.kind not in ("SAMPLE", "PLATFORM", "SERIES"):
        return
    if entity.name in reading.entities:
        raise GeoError(
            f"{reading.where} holds {entity.name} twice; fetch the file again or report it to GEO."
        )
    reading.entities[entity.name] = entity


class _Source:
    """Lines of a stream, and tables whole."""

    def __init__(self, blocks: Iterator[bytes], where: str) -> None:
        self._blocks = blocks
        self._where = where
        self._text = b""
        self._at = 0

    def lines(self) -> Iterator[str]:
        while True:
            end = self._text.find(b"\n", self._at)
            if end < 0:
                rest = self._text[self._at :]
                block = next(self._blocks, None)
                self._text, self._at = rest + (block or b""), 0
                if block is None:
                    if rest:
                        self._text = b""
                        yield _decoded(rest)
                    return
                continue
            line = self._text[self._at : end]
            self._at = end + 1
            yield _decoded(line)

    def table(self, end_mark: bytes, *, keep: bool, of: str) -> bytes:
        """Read to the line ``end_mark``; returns what stands before it when ``keep``."""
        held: list[bytes] = []
        size = 0
        text, start = self._text, self._at
        while True:
            # The position before the table is an end of line, too.
            at = (
                start
                if text.startswith(end_mark, start)
                else text.find(b"\n" + end_mark, start) + 1
            )
            if at > 0 or (start == 0 and text.startswith(end_mark)):
                held.append(text[start:at])
                after = text.find(b"\n", at)
                self._text, self._at = text, (after + 1 if after >= 0 else len(text))
                return b"".join(held) if keep else b""
            if keep:
                held.append(text[start:])
                size += len(text) - start
            block = next(self._blocks, None)
            if block is None or size > _MAX_TABLE_BYTES:
                raise GeoError(
                    f"{self._where} ends before the table of {of} does ({end_mark.decode()} is "
                    "missing); the file is truncated, fetch it again."
                )
            text, start = block, 0  # blocks are whole lines: no mark is cut in two


def _joined_lines(lines: Iterator[str]) -> Iterator[str]:
    """Put back together what a line end inside a value has torn apart."""
    held: str | None = None
    for line in chain(lines, ["^"]):
        if line.startswith(("^", "!", "#")):
            if held is not None:
                yield held
            held = line
            if _is_table(line):
                yield line
                held = None
        elif line.strip() and held is not None:
            held = f"{held} {line.strip()}"


def _is_table(line: str) -> bool:
    return line.startswith("!") and line.encode("utf-8", "replace").startswith(_TABLES)


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8").replace("\r", " ")
    except UnicodeDecodeError:
        return line.decode("latin-1").replace("\r", " ")


def _samples(reading: _Reading) -> pd.DataFrame:
    entities = [one for one in reading.entities.values() if one.kind == "SAMPLE"]
    _refuse_absent(reading, {entity.name for entity in entities})
    kept = [entity for entity in entities if reading.is_wanted(entity)]
    if not kept:
        there = sorted({entity.first("platform_id") or "no platform" for entity in entities})
        raise GeoError(
            f"{reading.where} holds no samples"
            + (
                f" of {reading.platform} but of {', '.join(there)}; correct the cohort's platform."
                if there
                else "; if it is of a SuperSeries, name the series it is made of instead."
            )
        )
    keys = {key for entity in kept for key in entity.lines if is_used(key)}
    described = {
        key: [
            list(cells)
            for cells in zip_longest(*(e.lines.get(key, []) for e in kept), fillvalue="")
        ]
        for key in keys
    }
    return samples_table([entity.name for entity in kept], described, reading.series)


def _refuse_absent(reading: _Reading, names: set[str]) -> None:
    absent = [gsm for gsm in reading.series.get("sample_id", []) if gsm not in names]
    if absent:
        raise GeoError(
            f"{reading.where} lacks {len(absent)} of the samples that its series names "
            f"({', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}); the file is "
            "truncated, fetch it again."
        )
