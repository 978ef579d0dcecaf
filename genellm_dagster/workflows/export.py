"""The tables of a study put together for other programs: values, samples, genes, provenance."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genellm_dagster.errors import StoreError, StudyError
from genellm_dagster.files import read_json, read_parquet
from genellm_dagster.geo.records import Manifest
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.studies.plan import samples_by_stratum
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.profiles import ALL, COHORT, profiles_of, set_of

TableName = Literal["qc", "expression", "profiles"]
OBS_COLUMNS = (
    "cohort", "series", "platform", "subject", "age_years", "sex", "timepoint", "label", "case",
    "stratum", "used", "why_not",
)  # fmt: skip
_SOFTWARE = ("genellm-dagster", "numpy", "pandas", "anndata", "pyarrow")
_VALUES = {
    "qc": "log2 expression after quality control",
    "expression": "log2 expression as built from the series, before quality control",
    "profiles": "profiles as the models see them, of the set learned on all samples of the stratum "
    "(not to be used to measure a model by where anything was learned)",
}
_MISSING = "; missing: the cohort does not measure the gene, or the sample has no value of it"


@dataclass(frozen=True)
class Exported:
    """What a file is written of.

    Attributes:
        values: samples x genes, float32, NaN where there is no value; index gsm.
        samples: Of the sample sheets, on the same index: cohort, series, platform, subject (unique
            in the study), age_years, sex, timepoint, label, case (1, 0 or NA), stratum, used,
            why_not.
        genes: Index gene: in how many of these cohorts and samples it has a value.
        provenance: JSON-safe: study, table, what the values are, date, software, options, and for
            each cohort its files with their SHA-256 and how its values were read.
    """

    values: pd.DataFrame
    samples: pd.DataFrame
    genes: pd.DataFrame
    provenance: dict[str, Any]


def gather(
    settings: Settings,
    study: Study,
    table: TableName = "qc",
    cohorts: Sequence[str] = (),
    stratum: str | None = None,
) -> Exported:
    """Put the tables of a study together.

    Args:
        settings: All settings.
        study: The study; it has been ingested.
        table: ``qc`` (after quality control, of every cell that the study works on),
            ``expression`` (every sample that has values, used or not) or ``profiles`` (of one
            stratum, on its vocabulary).
        cohorts: Only these cohorts; all of the study when none is named.
        stratum: Only this stratum.

    Returns:
        Cohorts below one another in the study's order, with all genes of any of them. A sample that
        two series share comes with the first.

    Raises:
        StudyError: When cohorts or stratum are not the study's, or hold no sample together.
        StoreError: When what is asked for has not been run, or a file of the store is damaged.
    """
    _require_known(study, cohorts, stratum)
    store = Store(settings.store, study.name)
    names = [name for name in study.cohorts if name in cohorts] if cohorts else study.cohorts
    sheets = _sheets(settings, study, store, names)
    found = _parts(settings, study, store, table, names, sheets, stratum)
    # A cohort without samples here brings no genes either.
    parts = [(name, part) for name, part in found if len(part)]
    if not parts:
        raise StudyError(_nothing(study, table, names, stratum))
    values, sample_cohorts, left_out = _stacked(parts)
    samples = pd.concat(
        [_obs(study, name, sheets[name], rows) for name, rows in sample_cohorts.items()]
    )
    exported = [name for name, rows in sample_cohorts.items() if rows]
    provenance = {
        "made_by": "genellm export",
        "research_use_only": True,
        "simulated": study.simulated,
        "study": study.name,
        "title": study.title,
        "table": table,
        "values": _VALUES[table] + _MISSING,
        "strata": [name for name in study.strata if name in set(samples["stratum"])],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {
            "python": platform.python_version(),
            **{name: version(name) for name in _SOFTWARE},
        },
        "options_at_export": settings.expression.model_dump(mode="json"),
        "cohorts": {name: _origin(store, study, name, sample_cohorts[name]) for name in exported},
        "samples_left_out_as_already_there": left_out,
        **_of_profiles(store, table, stratum),
    }
    return Exported(values, samples, _genes(values, samples["cohort"]), provenance)


def _require_known(study: Study, cohorts: Sequence[str], stratum: str | None) -> None:
    for name in cohorts:
        if name not in study.cohorts:
            raise StudyError(
                f"The study {study.name!r} has no cohort {name!r}; it has "
                f"{', '.join(study.cohorts)}."
            )
    if stratum is not None and stratum not in study.strata:
        raise StudyError(
            f"The study {study.name!r} has no stratum {stratum!r}; it has "
            f"{', '.join(study.strata)}."
        )


def _sheets(
    settings: Settings, study: Study, store: Store, names: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Read the sheets of these cohorts, and those that are there of the others of the study."""
    places = {name: store.place("sample_sheet", f"{name}.parquet") for name in study.cohorts}
    return {
        name: _table(settings, path, name)
        for name, path in places.items()
        if name in names or path.exists()
    }


def _table(settings: Settings, path: Path, cohort: str) -> pd.DataFrame:
    if not path.exists():
        raise StoreError(
            f"{path} is missing; run `genellm ingest --study {settings.study}` first, or name "
            f"other cohorts than {cohort} with --cohort."
        )
    return read_parquet(path)


def _parts(
    settings: Settings,
    study: Study,
    store: Store,
    table: TableName,
    names: Sequence[str],
    sheets: dict[str, pd.DataFrame],
    stratum: str | None,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield cohort and samples x genes; a cohort may come once a stratum."""
    if table == "expression":
        for name in names:
            path = store.place("gene_expression", f"{name}.parquet")
            values = _table(settings, path, name)
            sheet = sheets[name]
            if stratum is not None:
                there = set(sheet.loc[sheet["stratum"] == stratum, "gsm"])
                values = values[[gsm for gsm in values.columns if gsm in there]]
            yield name, values.T
    elif table == "qc":
        cells = samples_by_stratum(sheets, study).cells
        wanted = [name for name in study.strata if stratum in (None, name)]
        for name in names:
            for part in wanted:
                if name in cells.get(part, []):
                    path = store.place("qc_expression", part, f"{name}.parquet")
                    yield name, _table(settings, path, name).T
    else:
        if stratum is None:
            raise StudyError(
                "Profiles are on the genes of one stratum's vocabulary; name it with --stratum "
                f"({', '.join(study.strata)})."
            )
        path = store.place("profiles", f"{stratum}.parquet")
        if not path.exists():
            raise StoreError(
                f"{path} is missing; run `genellm run --study {settings.study}` first, or export "
                "--table qc."
            )
        profiles = read_parquet(path)
        cohort_of = set_of(profiles, ALL).set_index("gsm")[COHORT]
        everyone = profiles_of(profiles)
        for name in names:
            yield name, everyone[(cohort_of == name).to_numpy()]


def _stacked(
    parts: list[tuple[str, pd.DataFrame]],
) -> tuple[pd.DataFrame, dict[str, list[str]], dict[str, int]]:
    """Put parts below one another, missing where one lacks a gene; each sample once."""
    genes = sorted(set().union(*(part.columns for _, part in parts)))
    place_of = {gene: place for place, gene in enumerate(genes)}
    taken: set[str] = set()
    kept: list[tuple[pd.DataFrame, np.ndarray]] = []
    of_cohort: dict[str, list[str]] = {}
    left_out: dict[str, int] = {}
    for name, part in parts:
        new = ~part.index.isin(list(taken))
        kept.append((part, new))
        rows = [str(gsm) for gsm in part.index[new]]
        of_cohort.setdefault(name, []).extend(rows)
        taken.update(rows)
        if not new.all():
            left_out[name] = left_out.get(name, 0) + int((~new).sum())
    values = np.full((len(taken), len(genes)), np.nan, dtype=np.float32)
    start, index = 0, []
    for part, new in kept:
        end = start + int(new.sum())
        columns = [place_of[gene] for gene in part.columns]
        values[start:end, columns] = part.to_numpy(dtype=np.float32)[new]
        index += [str(gsm) for gsm in part.index[new]]
        start = end
    frame = pd.DataFrame(
        values,
        index=pd.Index(index, dtype=object, name="gsm"),
        columns=pd.Index(genes, dtype=object),
        copy=False,
    )
    return frame, of_cohort, left_out


def _obs(study: Study, name: str, sheet: pd.DataFrame, rows: list[str]) -> pd.DataFrame:
    cohort = study.cohort(name)
    known = sheet.set_index("gsm")
    missing = [gsm for gsm in rows if gsm not in known.index]
    if missing:
        raise StoreError(
            f"The sample sheet of {name} does not hold {missing[0]}, which has values; run "
            "`genellm ingest` again."
        )
    obs = known.loc[rows].assign(cohort=name, series=cohort.accession, platform=cohort.platform)
    # As the folds know people: two series may both number theirs from 1.
    obs["subject"] = [
        gsm if subject == gsm else f"{cohort.accession}:{subject}"
        for gsm, subject in zip(obs.index, obs["subject"], strict=True)
    ]
    return obs[list(OBS_COLUMNS)].rename_axis(index="gsm")


def _genes(values: pd.DataFrame, cohorts: pd.Series) -> pd.DataFrame:
    seen = np.isfinite(values.to_numpy())
    names = cohorts.to_numpy()
    by_cohort = [seen[names == name].any(axis=0) for name in pd.unique(names)]
    return pd.DataFrame(
        {"cohorts": np.sum(by_cohort, axis=0), "samples": seen.sum(axis=0)},
        index=values.columns.rename("gene"),
    )


def _origin(store: Store, study: Study, name: str, rows: list[str]) -> dict[str, Any]:
    """Say where a cohort's values are from and how they were read."""
    manifest = Manifest.model_validate(read_json(store.place("raw_series", f"{name}.json")))
    report = read_json(store.place("gene_expression", f"{name}.json"))
    cohort = study.cohort(name)
    scale = report.get("scale", {})
    return {
        "accession": manifest.accession,
        "platform": manifest.platform,
        "title": cohort.title,
        "samples": len(rows),
        "verified": cohort.verified,
        "scale": scale.get("kind"),
        "scale_decided_by": scale.get("decided_by"),
        "counts": scale.get("counts"),
        "collapse": report.get("collapse", {}).get("method"),
        "symbols": report.get("hgnc"),
        "transductive": report.get("transductive", []),
        "run": _run_of(store.place("gene_expression", f"{name}.parquet")),
        "root": manifest.root,
        "files": [
            {
                "name": record.name,
                "role": record.role,
                "sha256": record.sha256,
                "size": record.size,
                "address": record.address,
                "fetched_at": record.fetched_at,
            }
            for record in manifest.files
        ],
    }


def _run_of(path: Path) -> str | None:
    """Return the Dagster run that wrote a table, where it says so."""
    try:
        stored = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    return stored.get(b"run", b"").decode("utf-8", "replace") or None


def _of_profiles(store: Store, table: TableName, stratum: str | None) -> dict[str, Any]:
    if table != "profiles":
        return {}
    beside = read_json(store.place("profiles", f"{stratum}.json"))
    learned = beside.get("learned") or {}
    return {
        "transductive": beside.get("marks", []),
        "learned_on_all_samples": sorted(name for name, found in learned.items() if found),
    }


def _nothing(study: Study, table: TableName, names: Sequence[str], stratum: str | None) -> str:
    where = f"the stratum {stratum!r}" if stratum is not None else "any stratum"
    if table == "expression":
        return (
            f"No cohort of {', '.join(names)} has samples with values in {where}; name others with "
            "--cohort, or another --stratum."
        )
    return (
        f"No cohort of {', '.join(names)} enters {where} of {study.name!r}, where both classes are "
        "needed; export --table expression, or name other cohorts."
    )
