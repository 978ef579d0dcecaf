"""The numbers and names inside Parquet and AnnData files, bounded, nothing else of them touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.new_samples import gene_id_type

if TYPE_CHECKING:
    import h5py

MAX_BYTES = 2 << 30
MAX_CELLS = 150_000_000
_MAX_NAME_BYTES = 64 << 20
_NAMES_AT_ONCE = 256
_SPARSE = ("csr_matrix", "csc_matrix")
# Columns of `var` that may name the genes better than its index does.
_GENE_COLUMNS = ("gene_symbols", "gene_symbol", "feature_name", "gene_name", "symbol", "gene_ids")


@dataclass(frozen=True)
class RawTable:
    """A table of numbers with its names, not yet known which way round.

    Attributes:
        rows: Names of the rows; None where it has none.
        rows_name: Heading of the column that they stand in.
        columns: Names of the columns of numbers.
        values: rows x columns, float32, NaN missing.
        notes: What was found out.
    """

    rows: list[str] | None
    rows_name: str
    columns: list[str]
    values: np.ndarray
    notes: list[str] = field(default_factory=list)


def read_parquet_table(path: Path) -> RawTable:
    """Read a Parquet file: its columns of numbers, and the column of text that names the rows.

    Raises:
        ExpressionError: When it is damaged, too large, or holds no numbers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        about = file.metadata
        sizes = [about.row_group(number).total_byte_size for number in range(about.num_row_groups)]
        _require_small(path, about.num_rows * about.num_columns, sum(sizes))
        schema = file.schema_arrow
        kinds = pa.types
        numbers = [
            one.name for one in schema if kinds.is_integer(one.type) or kinds.is_floating(one.type)
        ]
        words = [
            one.name
            for one in schema
            if kinds.is_string(one.type) or kinds.is_large_string(one.type)
        ]
        index = [name for name in numbers if name.startswith("__index_level_")]
        numbers = [name for name in numbers if name not in index]
        if not numbers or len(set(schema.names)) != len(schema.names):
            raise ExpressionError(
                f"{path} holds no columns of numbers, or one of them twice; save genes x samples."
            )
        texts = {name: file.read([name]).column(0).to_pylist() for name in words}
        table = file.read(numbers)
        values = np.empty((table.num_rows, len(numbers)), dtype=np.float32)
        with np.errstate(over="ignore"):
            for place, name in enumerate(numbers):
                values[:, place] = table.column(name).to_numpy(zero_copy_only=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise ExpressionError(
            f"{path} is no readable Parquet file ({reason}); save it again."
        ) from error
    named = {name: ["" if one is None else one for one in cells] for name, cells in texts.items()}
    best = max(named, key=lambda name: gene_id_type(named[name][:1000])[1], default=None)
    return RawTable(None if best is None else named[best], best or "", numbers, values)


def read_h5ad(path: Path) -> RawTable:
    """Read X of an AnnData file, and the names of its samples and genes.

    Read by h5py: links to other files, and data that lies outside, are refused, and neither
    ``uns`` nor ``layers`` are looked at.

    Raises:
        ExpressionError: When it is damaged, too large, or has no such X.
    """
    with _opened(path) as file:
        samples = _names(_own(file, "obs", path), path)
        genes = _gene_names(_own(file, "var", path), path)
        values = _matrix(_own(file, "X", path), path)
    if values.shape != (len(samples), len(genes)):
        raise ExpressionError(
            f"{path}: X is {values.shape[0]} x {values.shape[1]} for {len(samples)} samples and "
            f"{len(genes)} genes; write it again by anndata."
        )
    return RawTable(samples, "", genes, values)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, UnicodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ExpressionError(
            f"{path} is no readable AnnData file ({reason}); write it again by anndata."
        ) from error


def _own(group: Any, name: str, path: Path) -> Any:
    """Return a member that lies in the file itself."""
    import h5py

    link = group.get(name, getlink=True)
    if link is None:
        raise ExpressionError(f"{path} has no {name}; write it again by anndata.")
    if not isinstance(link, h5py.HardLink):
        raise ExpressionError(f"{path}: {name} lies in another place; write the file as a whole.")
    found = group[name]
    if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
        raise ExpressionError(f"{path}: {name} lies in another file; write the file as a whole.")
    return found


def _gene_names(var: Any, path: Path) -> list[str]:
    names = _names(var, path)
    for column in _GENE_COLUMNS:
        if gene_id_type(names)[1] >= 0.5:
            break
        if column in var and _is_text(_own(var, column, path)):
            other = _texts(_own(var, column, path), path)
            if len(other) == len(names) and gene_id_type(other)[1] > gene_id_type(names)[1]:
                names = other
    return names


def _names(frame: Any, path: Path) -> list[str]:
    index = _own(frame, str(frame.attrs["_index"]), path)
    if not _is_text(index):
        raise ExpressionError(f"{path}: its index holds no names; write it again by anndata.")
    return _texts(index, path)


def _is_text(found: Any) -> bool:
    import h5py

    return isinstance(found, h5py.Dataset) and h5py.check_string_dtype(found.dtype) is not None


def _texts(found: h5py.Dataset, path: Path) -> list[str]:
    _require_small(path, found.size, found.size * found.dtype.itemsize)
    names: list[str] = []
    size = 0
    for start in range(0, found.shape[0], _NAMES_AT_ONCE):
        part = [str(one) for one in found.asstr()[start : start + _NAMES_AT_ONCE]]
        # One long text may stand behind many short references.
        size += sum(map(len, part))
        if size > _MAX_NAME_BYTES:
            raise ExpressionError(f"{path} holds names without end; write it again by anndata.")
        names += part
    return names


def _matrix(found: Any, path: Path) -> np.ndarray:
    import h5py

    if isinstance(found, h5py.Dataset):
        if len(found.shape) != 2 or found.dtype.kind not in "fiu":
            raise ExpressionError(f"{path}: X is no table of numbers; write it again by anndata.")
        _require_small(path, found.size, found.size * found.dtype.itemsize)
        with np.errstate(over="ignore"):
            return np.asarray(found[:], dtype=np.float32)
    return _unpacked(found, path)


def _unpacked(found: Any, path: Path) -> np.ndarray:
    """Return a sparse X in full; what it does not name is a measured zero."""
    from scipy import sparse

    form = str(found.attrs.get("encoding-type", ""))
    shape = tuple(int(size) for size in np.asarray(found.attrs.get("shape", ())).ravel())
    if form not in _SPARSE or len(shape) != 2 or min(shape) < 0:
        raise ExpressionError(f"{path}: X is no table of numbers; write it again by anndata.")
    _require_small(path, shape[0] * shape[1], 0)
    parts = {}
    for name in ("data", "indices", "indptr"):
        part = _own(found, name, path)
        if len(part.shape) != 1 or part.dtype.kind not in ("fiu" if name == "data" else "iu"):
            raise ExpressionError(f"{path}: X is damaged; write it again by anndata.")
        _require_small(path, part.size, part.size * part.dtype.itemsize)
        parts[name] = part[:]
    lines, width = shape if form == "csr_matrix" else shape[::-1]
    ends, places = parts["indptr"].astype(np.int64), parts["indices"].astype(np.int64)
    whole = (
        len(ends) == lines + 1
        and ends[0] == 0
        and (np.diff(ends) >= 0).all()
        and ends[-1] == len(places) == len(parts["data"])
        and (len(places) == 0 or (places.min() >= 0 and places.max() < width))
    )
    if not whole:
        raise ExpressionError(f"{path}: X is damaged; write it again by anndata.")
    with np.errstate(over="ignore"):
        data = parts["data"].astype(np.float32)
    kind = sparse.csr_matrix if form == "csr_matrix" else sparse.csc_matrix
    return kind((data, places, ends), shape=shape).toarray()


def _require_small(path: Path, cells: int, size: int) -> None:
    if cells > MAX_CELLS or size > MAX_BYTES:
        raise ExpressionError(
            f"{path} holds more than {MAX_CELLS:,} cells or {MAX_BYTES >> 30} GiB; score its "
            "samples in parts."
        )
