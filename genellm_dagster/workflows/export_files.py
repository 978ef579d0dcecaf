"""Exported tables as files: AnnData for scanpy, Parquet, CSV; each whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from genellm_dagster.errors import StoreError
from genellm_dagster.files import atomic_path, write_json, write_parquet
from genellm_dagster.workflows.export import Exported

FileFormat = Literal["h5ad", "parquet", "csv"]
# A spreadsheet takes a cell that begins with one of these for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_GUARD = "'"
# Many different values, which categories would not make smaller.
_FREE_TEXT = ("subject", "why_not")


def format_of(output: Path, named: FileFormat | None = None) -> FileFormat:
    """Return the format of a file by its name.

    Args:
        output: The file.
        named: What was asked for; the name must say the same.

    Raises:
        StoreError: When the name says no format, or another.
    """
    formats: tuple[FileFormat, ...] = get_args(FileFormat)
    found = next((one for one in formats if output.suffix == f".{one}"), None)
    if found is None or named not in (None, found):
        wanted = [f".{named}"] if named else [f".{one}" for one in formats]
        raise StoreError(
            f"{output} does not end in {' or '.join(wanted)}; name the file by its format."
        )
    if output.is_dir():
        raise StoreError(f"{output} is a folder; name a file.")
    return found


def write_export(exported: Exported, output: Path) -> list[Path]:
    """Write the file that ``output`` names, replacing what is there.

    H5AD: ``X`` samples x genes, ``obs`` the sample sheet, ``var`` the genes, ``uns["genellm"]`` the
    provenance. Parquet: one row a sample, the sheet's columns in front of the genes, provenance as
    JSON in the schema's metadata. CSV: the same table, provenance as JSON in a file beside it; text
    that a spreadsheet would run as a formula has an apostrophe put in front.

    Returns:
        The files written.

    Raises:
        StoreError: When it cannot be written, or a gene is named as a column of the sheet.
    """
    form = format_of(output)
    if form != "h5ad":
        _require_own_names(exported)
    try:
        if form == "h5ad":
            _write_h5ad(exported, output)
        elif form == "parquet":
            frame = pd.concat([_plain(exported.samples), exported.values], axis=1)
            write_parquet(output, frame, {"provenance": json.dumps(exported.provenance)})
        else:
            return _write_csv(exported, output)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"{output} cannot be written ({reason}); name another place.") from error
    return [output]


def guarded(cell: object) -> object:
    """Put an apostrophe before text that a spreadsheet would run as a formula."""
    return _GUARD + cell if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _require_own_names(exported: Exported) -> None:
    both = exported.values.columns.intersection(["gsm", *exported.samples.columns])
    if len(both):
        raise StoreError(
            f"The gene {both[0]} has the name of a column of the sample sheet; export as h5ad, "
            "which keeps the two apart."
        )


def _plain(samples: pd.DataFrame) -> pd.DataFrame:
    """Columns that are empty throughout are text as well: what they are must not hang on values."""
    text = samples.select_dtypes(object).columns
    return samples.astype(dict.fromkeys(text, pd.StringDtype()))


def _write_h5ad(exported: Exported, output: Path) -> None:
    import anndata

    data = anndata.AnnData(
        X=exported.values.to_numpy(),
        obs=_observations(exported.samples),
        var=exported.genes,
        uns={"genellm": _unstructured(exported.provenance)},
    )
    with atomic_path(output) as temporary:
        data.write_h5ad(temporary, compression="gzip", convert_strings_to_categoricals=False)


def _observations(samples: pd.DataFrame) -> pd.DataFrame:
    """Bring the sheet to what HDF5 holds: categories where text may be missing."""
    obs = samples.copy()
    for name in samples.select_dtypes(object).columns:
        text = samples[name].map(_without_nul, na_action="ignore")
        if name in _FREE_TEXT:
            obs[name] = text.fillna("").astype(object)
        else:
            known = sorted(text.dropna().unique())
            obs[name] = pd.Categorical(text, categories=pd.Index(known, dtype=object))
    return obs


def _without_nul(text: object) -> str:
    # HDF5's text ends at the first one.
    return str(text).replace("\x00", " ")


def _unstructured(provenance: dict[str, Any]) -> dict[str, Any]:
    """Provenance as h5ad holds it: single values, one table of cohorts and one of files.

    The whole of it stands under ``json``.
    """
    cohorts = provenance["cohorts"]
    facts = {
        name: {key: _cell(value) for key, value in cohort.items() if key != "files"}
        for name, cohort in cohorts.items()
    }
    files = [
        {"cohort": name, **{key: _cell(value) for key, value in record.items()}}
        for name, cohort in cohorts.items()
        for record in cohort["files"]
    ]
    single = {
        key: value for key, value in provenance.items() if isinstance(value, str | bool | int)
    }
    return {
        **{key: _without_nul(value) if isinstance(value, str) else value
           for key, value in single.items()},
        "software": dict(provenance["software"]),
        "cohorts": pd.DataFrame.from_dict(facts, orient="index").rename_axis(index="cohort"),
        "files": pd.DataFrame(files).rename(index=str),
        "json": json.dumps(provenance),
    }  # fmt: skip


def _cell(value: Any) -> Any:
    if isinstance(value, bool | int):
        return value
    if isinstance(value, list):
        return _without_nul("; ".join(value))
    return "" if value is None else _without_nul(value)


def _write_csv(exported: Exported, output: Path) -> list[Path]:
    import pyarrow as pa
    from pyarrow import csv

    samples = _plain(exported.samples.reset_index())
    names = [*samples.columns, *exported.values.columns]
    guarded = 0
    columns = []
    for name in samples.columns:
        column = samples[name]
        if column.dtype == "string":
            risky = column.str.startswith(_FORMULA).fillna(False).astype(bool)
            guarded += int(risky.sum())
            column = column.mask(risky, _GUARD + column)
        columns.append(pa.Array.from_pandas(column))
    numbers = exported.values.to_numpy()
    columns += [pa.array(numbers[:, place], from_pandas=True) for place in range(numbers.shape[1])]
    heads = [_GUARD + name if name.startswith(_FORMULA) else name for name in names]
    guarded += sum(head != name for head, name in zip(heads, names, strict=True))
    beside = output.with_name(f"{output.name}.provenance.json")
    said = {**exported.provenance, "cells_with_an_apostrophe_in_front": guarded}
    with atomic_path(output) as temporary:
        csv.write_csv(pa.table(columns, names=heads), temporary)
        # A table whose provenance is not there yet is better than one with another's.
        beside.unlink(missing_ok=True)
    write_json(beside, said)
    return [output, beside]
