"""One search of GEO: the catalogue brought up to date, what is new proposed, revisions noticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pandas as pd

from genellm_dagster.errors import GeneLLMError, GeoError, StoreError
from genellm_dagster.files import read_json, write_json
from genellm_dagster.geo import catalog as geo_catalog
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.series import read_manifest
from genellm_dagster.settings import Settings, study_as_it_is_now, study_file_of
from genellm_dagster.store import Store
from genellm_dagster.studies.approval import approve_cohort
from genellm_dagster.studies.cohort import series_of
from genellm_dagster.studies.loading import known_cohorts
from genellm_dagster.studies.options import DiscoveryOptions
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.catalog import (
    FOUND,
    NO_PROPOSAL,
    PROPOSED,
    UNREADABLE,
    UNREVIEWED,
    merge_catalog,
    noted,
    read_catalog,
    rows_of,
    stamp,
    time_of,
    with_status,
)
from genellm_dagster.workflows.done import write_changes
from genellm_dagster.workflows.proposals import Proposed, propose_series, read_proposals
from genellm_dagster.workflows.refresh import remote_of

_PROPOSABLE = "expression profiling"


@dataclass(frozen=True)
class Discovery:
    """What one search brought.

    Attributes:
        catalog: The whole catalogue, one row a series.
        new: Series never seen before.
        revised: Series whose facts differ from those of the last search.
        proposed: Cohorts proposed now.
        approved: Cohorts taken into the study without a review, as it asks for.
        changed: Cohorts of the study whose files GEO serves in another state than the store has.
        notes: What else the search has to tell.
        since: The first day of publication that was asked for; None: the whole search.
    """

    catalog: pd.DataFrame
    new: list[str] = field(default_factory=list)
    revised: list[str] = field(default_factory=list)
    proposed: list[str] = field(default_factory=list)
    approved: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    since: date | None = None


def discover(
    client: GeoClient,
    settings: Settings,
    study: Study,
    now: datetime | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Discovery:
    """Search GEO, bring the catalogue up to date, propose cohorts for what is new.

    A series that cannot be proposed is noted in the catalogue and does not stop the others.

    Args:
        client: Where to search.
        settings: All settings.
        study: The study.
        now: The time, for tests.
        announce: Called with a line of text before each proposal.

    Raises:
        GeoError: When the search cannot be asked.
        StoreError: When the catalogue that is there cannot be read.
    """
    now = now or datetime.now(UTC)
    store = Store(settings.store, study.name)
    previous = read_catalog(store)
    memory = _Memory.read(store)
    term = geo_catalog.search_term(study)
    since = None
    # A folder is walked as a whole: it answers no question, and dates would hide what is revised.
    if client.folder is None and previous is not None and memory.term == term:
        since = search_since(previous, memory.whole_at, settings.discovery, now)
    found = geo_catalog.search_series(client, study, since)
    merged = merge_catalog(previous, found, now, whole=since is None and found.attrs["complete"])
    known = set() if previous is None else set(previous["accession"])
    revised = merged.loc[merged["revised_at"] == stamp(now), "accession"].tolist()
    memory.term = term
    if since is None:
        memory.whole_at = stamp(now)
    merged = with_status(merged, study, store)
    made = _propose(client, settings, study, store, merged, memory, announce)
    memory.write(store)
    changed = _changed_files(client, study, store)
    write_changes(store, changed)
    study = study_as_it_is_now(settings, study)
    return Discovery(
        catalog=with_status(merged, study, store),
        new=[name for name in found["accession"] if name not in known],
        revised=revised,
        proposed=[name for name, approved in made.items() if not approved],
        approved=[name for name, approved in made.items() if approved],
        changed=list(changed),
        notes=[str(note) for note in found.attrs["notes"]],
        since=since,
    )


def search_since(
    previous: pd.DataFrame, whole_at: str | None, options: DiscoveryOptions, now: datetime
) -> date | None:
    """Return the first day of publication to ask for, None for the whole search.

    Args:
        previous: The catalogue so far.
        whole_at: When the whole search was last asked; None: never.
        options: The overlap, and how often the whole search is asked.
        now: The time.
    """
    whole = time_of(whole_at)
    if whole is None or now - whole >= timedelta(days=options.full_search_days):
        return None
    times = [time for text in previous["checked_at"] if (time := time_of(text)) is not None]
    if not times:
        return None
    return (max(times) - timedelta(days=options.overlap_days)).date()


@dataclass
class _Memory:
    """What a search leaves for the next one beside the catalogue."""

    term: str | None = None
    whole_at: str | None = None
    tried: dict[str, str | None] = field(default_factory=dict)
    """Series that could not be proposed, with the revision that was tried."""

    @classmethod
    def read(cls, store: Store) -> _Memory:
        try:
            content = read_json(store.place("geo_catalog", "search.json"))
            return cls(content["term"], content["whole_at"], dict(content["tried"]))
        except (StoreError, KeyError, TypeError, ValueError):
            # Without a memory the whole search is asked again, which is always right.
            return cls()

    def write(self, store: Store) -> None:
        content = {"term": self.term, "whole_at": self.whole_at, "tried": self.tried}
        write_json(store.place("geo_catalog", "search.json"), content)


def _propose(
    client: GeoClient,
    settings: Settings,
    study: Study,
    store: Store,
    catalog: pd.DataFrame,
    memory: _Memory,
    announce: Callable[[str], None],
) -> dict[str, bool]:
    """Propose cohorts for found series; return their names and whether they were approved."""
    made: dict[str, bool] = {}
    rows = {row["accession"]: row for row in rows_of(catalog)}
    notes = dict(zip(catalog["accession"], catalog["note"], strict=True))
    described = {series_of(name) for name in known_cohorts(settings.data_dir)}
    waiting = [
        accession
        for accession in _to_propose(rows, read_proposals(store), memory.tried)
        if accession not in described
    ]
    for accession in waiting[: settings.discovery.proposals_per_search]:
        revision = rows[accession]["revision"]
        announce(f"propose {accession}")
        unreviewed = problem = None
        try:
            for proposed in propose_series(client, study, store, accession, revision):
                made[proposed.name] = False
                told = _approve_if_sure(settings, study, proposed)
                if told is not None:
                    made[proposed.name], unreviewed = True, told
            memory.tried.pop(accession, None)
        except GeneLLMError as error:
            problem = str(error)
            memory.tried[accession] = revision
        note = noted(notes[accession], NO_PROPOSAL, problem)
        notes[accession] = noted(note, UNREVIEWED, unreviewed)
    catalog["note"] = pd.Series(
        [notes[accession] for accession in catalog["accession"]], index=catalog.index, dtype=object
    )
    return made


def _changed_files(client: GeoClient, study: Study, store: Store) -> dict[str, str]:
    """Hold the files of the study's cohorts against GEO; cohort to digest of its new state."""
    changed = {}
    for name in study.cohorts:
        try:
            manifest = read_manifest(store.place("raw_series", name))
        except (StoreError, GeoError):
            # Never ingested, or broken: a refresh fetches it anyway.
            continue
        remote, token = remote_of(client, manifest)
        if remote == "changed":
            changed[name] = token
    return changed


def _to_propose(
    rows: Mapping[str, Mapping[str, str | None]],
    proposals: Mapping[str, Proposed],
    tried: Mapping[str, str | None],
) -> list[str]:
    """Choose the series to propose, newest first; what failed waits until it is revised."""
    # What a person asked for or corrected is theirs; what a search proposed follows the series.
    own = {
        series_of(name): one.content["revision"]
        for name, one in proposals.items()
        if one.content.get("revision") is not None and not one.edited
    }
    chosen = []
    for accession, row in rows.items():
        kind, revision = (row["type"] or _PROPOSABLE).lower(), row["revision"]
        if _PROPOSABLE not in kind or UNREADABLE in (row["note"] or ""):
            continue
        if accession in tried and tried[accession] == revision:
            continue
        revised = row["status"] == PROPOSED and own.get(accession, revision) != revision
        if row["status"] == FOUND or revised:
            chosen.append((row["published"] or "", accession))
    return [accession for _, accession in sorted(chosen, reverse=True)]


def _approve_if_sure(settings: Settings, study: Study, proposed: Proposed) -> str | None:
    """Take a proposal into the study when the study says so; return the note of it."""
    limit = study.auto_approve_above
    if limit is None or proposed.confidence < limit or not proposed.adds_both_classes:
        return None
    now = study_as_it_is_now(settings, study)
    if now is study:
        # Not the study of a file: there is nothing that a cohort could be added to.
        return None
    day = datetime.now(UTC).date().isoformat()
    told = f"confidence {proposed.confidence:.2f}, the study asks for {limit:.2f}, {day}"
    approve_cohort(
        proposed.file,
        proposed.name,
        study_file_of(settings),
        settings.data_dir,
        note=f"Approved without a review: proposed with {told}",
    )
    return told
