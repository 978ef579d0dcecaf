"""What has been run, and with what: the memory of refreshes, and digests to hold against it.

Each stage is remembered with a digest of all that it was made from: files, descriptions, and the
settings it reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from genellm_dagster.errors import StoreError
from genellm_dagster.expression.gene_lists import gene_list_digest
from genellm_dagster.files import read_json, sha256_of, write_json
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.plan import StrataPlan
from genellm_dagster.studies.study import Study

_WITHOUT_EFFECT = {"title", "sources", "verified"}
"""What a curator may change in a cohort's description without another table coming of it."""
_HOW_FAST = {
    "prefix": {"max_gigabytes", "batch_tokens"},
    "training": {"kept_megabytes"},
    "launch": {"kind", "processes"},
}
"""Settings of the model that change how fast or where it is trained, or in how much room; no
result."""
NEW, DESCRIBED_ANEW, REVISED, LEFT = (
    "new", "its description changed", "its files changed at GEO", "it left the study",
)  # fmt: skip
"""Why a cohort waits for a refresh."""
_FILE = "refresh.json"
_CHANGES = ("geo_catalog", "changes.json")


class CohortDone(BaseModel):
    """A cohort as it was last ingested.

    Attributes:
        fingerprint: Of its files.
        description: Of what its description says, and of the study's labels and strata.
        key: Of all that its tables were made from.
        checked_at: When its files were last held against GEO, UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    fingerprint: str
    description: str
    key: str
    checked_at: str


class Done(BaseModel):
    """What has been run, each stage with the digest of what it was made from.

    Attributes:
        cohorts: Cohorts that were ingested.
        compared: Overlaps between cohorts, and the backbone.
        cells: Quality control, by ``stratum/cohort``.
        strata: Strata that were trained and evaluated.
        report: The report of the study.
    """

    model_config = ConfigDict(extra="ignore")

    cohorts: dict[str, CohortDone] = {}
    compared: str | None = None
    cells: dict[str, str] = {}
    strata: dict[str, str] = {}
    report: str | None = None


@dataclass(frozen=True)
class SettingsDigests:
    """Digests of what each stage reads of settings and study, its inputs apart.

    ``tuned`` is by stratum, of the options that a search found, where models are trained with them.
    """

    tables: str
    overlaps: str
    quality: str
    models: str
    report: str
    tuned: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, study: Study) -> SettingsDigests:
        """Take them from settings and study."""
        expression = settings.expression
        backbone = study.backbone or settings.backbone
        profiles = {"normalisation", "harmonisation", "variance", "vocabulary"}
        later = {*profiles, "qc", "overlap", "composition"}
        return cls(
            tables=digest(expression.model_dump(mode="json", exclude=later)),
            overlaps=digest(expression.overlap.model_dump(mode="json"), backbone),
            quality=digest(expression.model_dump(mode="json", include={"qc", "composition"})),
            models=digest(
                backbone,
                settings.controls.model_dump(mode="json"),
                study.allow_single_class,
                study.name,
                expression.model_dump(mode="json", include=profiles),
                gene_list_digest(expression.vocabulary.gene_list),
                *(
                    getattr(settings, part).model_dump(mode="json", exclude=_HOW_FAST)
                    for part in ("tokenizer", "model", "baselines", "evaluation", "interpretation")
                ),
            ),
            report=digest(
                settings.report.model_dump(mode="json"),
                [gene_list_digest(name) for name in settings.evaluation.age.gene_sets],
                study.title,
                study.simulated,
                {name: study.cohort(name).title for name in study.cohorts},
            ),
            tuned=_tuned_digests(settings, study),
        )


def description_digest(study: Study, name: str) -> str:
    """Digest what decides a cohort's tables: its description, and labels and strata of the study.

    The words that no table depends on are left out; ``verified`` is set by ingestion itself.
    """
    cohort = study.cohort(name)
    strata = {one: part.model_dump(mode="json") for one, part in study.strata.items()}
    content = cohort.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
    return digest(content, _own_table(cohort), study.case, study.control, strata)


def cohort_digest(fingerprint: str, description: str, digests: SettingsDigests) -> str:
    """Digest all that a cohort's tables are made from."""
    return digest(fingerprint, description, digests.tables)


def compared_key(done: Done, study: Study, digests: SettingsDigests) -> str:
    """Digest all that the overlaps between cohorts are made from."""
    return digest([(name, done.cohorts[name].key) for name in study.cohorts], digests.overlaps)


def cell_digest(done: Done, cohort: str, digests: SettingsDigests) -> str:
    """Digest all that quality control of a cell is made from."""
    return digest(done.cohorts[cohort].key, digests.quality)


def stratum_digest(
    done: Done, plan: StrataPlan, stratum: str, overlaps: pd.DataFrame, digests: SettingsDigests
) -> str:
    """Digest all that a stratum's models are made from: its cells, and pairs inside it."""
    gsms = plan.samples(stratum)["gsm"]
    inside = overlaps[overlaps["gsm_a"].isin(gsms) & overlaps["gsm_b"].isin(gsms)]
    pairs = sorted(inside[["gsm_a", "gsm_b", "reason"]].astype(str).itertuples(index=False))
    cells = [(name, cell_digest(done, name, digests)) for name in plan.cells[stratum]]
    tuned = digests.tuned.get(stratum)
    return digest(stratum, cells, [tuple(pair) for pair in pairs], digests.models, tuned)


def report_digest(done: Done, study: Study, digests: SettingsDigests) -> str:
    """Digest all that the report is made from."""
    cohorts = [(name, done.cohorts[name].key) for name in study.cohorts]
    return digest(sorted(done.strata.items()), cohorts, done.compared, digests.report)


def digest(*parts: Any) -> str:
    """Return the SHA-256 of JSON-like values."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_done(store: Store) -> Done:
    """Read what was done, without the stages whose outputs are not in the store any more."""
    try:
        done = Done.model_validate(read_json(store.place(_FILE)))
    except (StoreError, ValidationError):
        # Nothing is known of what was done: all is done again, which is always right.
        return Done()

    def there(*files: str) -> bool:
        return all(store.place(file).is_file() for file in files)

    def of_cell(cell: str) -> list[str]:
        return [f"token_dataset/{cell}.parquet", f"prefix_states/{cell}.json"]

    done.cohorts = {
        name: value
        for name, value in done.cohorts.items()
        if there(
            f"raw_series/{name}.json",
            f"sample_sheet/{name}.parquet",
            f"gene_expression/{name}.parquet",
        )
    }
    if not there("sample_overlap.parquet", "backbone.json"):
        done.compared = None
    done.cells = {
        cell: key
        for cell, key in done.cells.items()
        if there(f"qc_expression/{cell}.parquet", f"blood_composition/{cell}.parquet")
    }
    done.strata = {
        name: key
        for name, key in done.strata.items()
        if there(
            f"evaluation_report/{name}.json",
            f"profiles/{name}.parquet",
            f"tokenizer/{name}.json",
            f"cross_validation/{name}.parquet",
            f"baseline_predictions/{name}.parquet",
            f"adapter/{name}.json",
            f"gene_attributions/{name}.parquet",
            *(file for cell in done.cells if cell.startswith(f"{name}/") for file in of_cell(cell)),
        )
    }
    if not there(
        "report.html",
        "stratum_transfer.parquet",
        "stratum_transfer.json",
        "age_comparison.json",
        "model_comparison.parquet",
    ):
        done.report = None
    return done


def write_done(store: Store, done: Done) -> None:
    """Keep what was done."""
    write_json(store.place(_FILE), done.model_dump(mode="json"))


def pending(done: Done, study: Study, changes: Mapping[str, Change]) -> dict[str, str]:
    """Say which cohorts wait for a refresh, and why, by what is known without asking GEO.

    Args:
        done: What was done.
        study: The study as its file says now.
        changes: What the last search saw of the files of its cohorts.
    """
    waiting = {}
    for name in study.cohorts:
        known = done.cohorts.get(name)
        if known is None:
            waiting[name] = NEW
        elif known.description != description_digest(study, name):
            waiting[name] = DESCRIBED_ANEW
        elif name in changes and changes[name].seen_at > known.checked_at:
            waiting[name] = REVISED
    left = [name for name in done.cohorts if name not in study.cohorts]
    return waiting | dict.fromkeys(left, LEFT)


def pending_key(
    done: Done, study: Study, changes: Mapping[str, Change], waiting: Mapping[str, str]
) -> str:
    """Digest what waits for a refresh: the same as long as nothing else comes up."""
    parts = []
    for name, why in sorted(waiting.items()):
        known = done.cohorts.get(name)
        there = name in study.cohorts
        parts.append(
            (
                name,
                why,
                description_digest(study, name) if there else None,
                known.fingerprint if known else None,
                changes[name].token if name in changes else None,
            )
        )
    return digest(study.name, parts)


@dataclass(frozen=True)
class Change:
    """Files of a cohort that GEO serves in another state than the store has them.

    Attributes:
        token: Digest of that state.
        seen_at: When it was seen, UTC, ISO 8601.
    """

    token: str
    seen_at: str


def read_changes(store: Store) -> dict[str, Change]:
    """Return what the last search saw of the files of the study's cohorts."""
    try:
        return {name: Change(**entry) for name, entry in read_json(store.place(*_CHANGES)).items()}
    except (StoreError, AttributeError, TypeError):
        return {}


def write_changes(store: Store, tokens: Mapping[str, str]) -> None:
    """Keep what a search saw, cohort to digest of the state of its files."""
    seen_at = now_utc()
    content = {name: {"token": token, "seen_at": seen_at} for name, token in tokens.items()}
    write_json(store.place(*_CHANGES), content)


def _tuned_digests(settings: Settings, study: Study) -> dict[str, str]:
    if not settings.model.tuned:
        return {}
    folder = Store(settings.store, study.name).place("tuned_options")
    return {path.stem: sha256_of(path) for path in sorted(folder.glob("*.json"))}


def _own_table(cohort: Cohort) -> str | None:
    """Digest the user's own table of the platform, which lies beside the description."""
    if cohort.platform_table is None or cohort.folder is None:
        return None
    path = cohort.folder / cohort.platform_table
    return sha256_of(path) if path.is_file() else None


def now_utc() -> str:
    """Return the time, UTC, ISO 8601, comparable as text."""
    return datetime.now(UTC).isoformat()
