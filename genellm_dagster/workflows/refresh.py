"""A refresh: what is not up to date runs again, down to the report, and nothing else does.

How a stage runs is not known here; what was done is remembered in ``workflows.done``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pandas as pd

from genellm_dagster.errors import GeneLLMError, GeoError
from genellm_dagster.geo.addresses import matrix_folder, supplementary_folder
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.fetching import local_table_digest
from genellm_dagster.geo.http import MissingFileError
from genellm_dagster.geo.places import matrix_names
from genellm_dagster.geo.records import Manifest
from genellm_dagster.studies.plan import StrataPlan
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.done import (
    DESCRIBED_ANEW,
    NEW,
    REVISED,
    CohortDone,
    Done,
    SettingsDigests,
    cell_digest,
    cohort_digest,
    compared_key,
    digest,
    now_utc,
    report_digest,
    stratum_digest,
)

Remote = Literal["same", "changed", "gone", "unknown"]
"""A series at GEO against the files in the store; ``unknown`` when GEO did not answer."""
_SETTINGS_CHANGED = "the settings changed"


@dataclass(frozen=True)
class CohortNow:
    """A cohort of the study as it stands.

    Attributes:
        description: Digest of its description, see :func:`description_digest`.
        remote: Its series at GEO against the files in the store.
    """

    description: str
    remote: Remote = "unknown"


class Stages(Protocol):
    """What runs the stages; each returns when its outputs are in the store, or raises."""

    def fetch(self, name: str, why: str) -> str:
        """Fetch a cohort's files and return their fingerprint."""

    def ingest(self, name: str, why: str) -> None:
        """Read a cohort's fetched files: sample sheet and expression table."""

    def compare(self) -> None:
        """Find overlaps between cohorts; prepare the backbone."""

    def quality_control(self, stratum: str, cohort: str) -> None:
        """Control the quality of one cell."""

    def train(self, stratum: str, cohorts: list[str]) -> None:
        """Encode the cells of a stratum; train, evaluate and explain its model."""

    def report(self) -> None:
        """Compare strata and models; write the report."""

    def plan(self) -> StrataPlan:
        """Say which cells hold samples."""

    def overlaps(self) -> pd.DataFrame:
        """Return the pairs that :meth:`compare` found."""


@dataclass
class Outcome:
    """What a refresh did.

    Attributes:
        ran: The stages that ran, in order, like ``ingest GSE1`` or ``train adult``.
        notes: Sentences about what could not be looked at.
    """

    ran: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def refresh(
    stages: Stages,
    study: Study,
    digests: SettingsDigests,
    done: Done,
    now: Mapping[str, CohortNow],
    save: Callable[[Done], None],
) -> Outcome:
    """Run what is not up to date, down to the report.

    Args:
        stages: What runs them.
        study: The study.
        digests: Of its settings.
        done: What was done with what; brought up to date as stages end.
        now: Every cohort of the study as it stands.
        save: Called after each stage, so that a refresh that was stopped goes on from there.

    Raises:
        GeneLLMError: When cohorts cannot be ingested; the others are, and what follows does not
            run. A defect of a later stage ends the refresh at once.
    """
    outcome = Outcome()
    _forget_what_left(done, study)
    _ingest(stages, digests, done, now, save, outcome)

    key = compared_key(done, study, digests)
    if done.compared != key:
        # A stage that is stopped half-way has other outputs than any digest says.
        done.compared = None
        save(done)
        stages.compare()
        outcome.ran.append("compare cohorts")
        done.compared = key
        save(done)

    plan = stages.plan()
    overlaps = stages.overlaps()
    for stratum, cohorts in plan.cells.items():
        for cohort in cohorts:
            cell, key = f"{stratum}/{cohort}", cell_digest(done, cohort, digests)
            if done.cells.get(cell) == key:
                continue
            _before(done.cells, cell, done, save)
            stages.quality_control(stratum, cohort)
            outcome.ran.append(f"quality control {cell}")
            done.cells[cell] = key
            save(done)
    done.strata = {name: key for name, key in done.strata.items() if name in plan.cells}
    for stratum, cohorts in plan.cells.items():
        key = stratum_digest(done, plan, stratum, overlaps, digests)
        if done.strata.get(stratum) == key:
            continue
        _before(done.strata, stratum, done, save)
        stages.train(stratum, cohorts)
        outcome.ran.append(f"train {stratum}")
        done.strata[stratum] = key
        save(done)
    key = report_digest(done, study, digests)
    if done.report != key:
        done.report = None
        save(done)
        stages.report()
        outcome.ran.append("report")
        done.report = key
    save(done)
    return outcome


def _before(of: dict[str, Any], name: str, done: Done, save: Callable[[Done], None]) -> None:
    if of.pop(name, None) is not None:
        save(done)


def _ingest(
    stages: Stages,
    digests: SettingsDigests,
    done: Done,
    now: Mapping[str, CohortNow],
    save: Callable[[Done], None],
    outcome: Outcome,
) -> None:
    failed: list[GeneLLMError] = []
    for name, cohort in now.items():
        before, checked_at = done.cohorts.get(name), now_utc()
        why = why_ingest(before, cohort, digests)
        out_of_reach = before is not None and cohort.remote in ("gone", "unknown")
        if out_of_reach:
            outcome.notes.append(_not_looked_at(name, cohort.remote))
        if why is None:
            if before is not None and not out_of_reach:
                done.cohorts[name] = before.model_copy(update={"checked_at": checked_at})
            continue
        try:
            if before is None or (why != _SETTINGS_CHANGED and not out_of_reach):
                fingerprint = stages.fetch(name, why)
                outcome.ran.append(f"fetch {name}")
            else:
                fingerprint = before.fingerprint
            key = cohort_digest(fingerprint, cohort.description, digests)
            if before is None or before.key != key:
                _before(done.cohorts, name, done, save)
                stages.ingest(name, why)
                outcome.ran.append(f"ingest {name}")
        except GeneLLMError as error:
            failed.append(error)
            continue
        done.cohorts[name] = CohortDone(
            fingerprint=fingerprint,
            description=cohort.description,
            key=key,
            checked_at=before.checked_at if before and out_of_reach else checked_at,
        )
        save(done)
    save(done)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        told = " ".join(str(error) for error in failed)
        raise GeneLLMError(f"{len(failed)} cohorts could not be ingested, nothing else ran: {told}")


def why_ingest(done: CohortDone | None, now: CohortNow, digests: SettingsDigests) -> str | None:
    """Say why a cohort has to be fetched again, None when it has not."""
    if done is None:
        return NEW
    if done.description != now.description:
        return DESCRIBED_ANEW
    if done.key != cohort_digest(done.fingerprint, done.description, digests):
        return _SETTINGS_CHANGED
    return REVISED if now.remote == "changed" else None


def _forget_what_left(done: Done, study: Study) -> None:
    done.cohorts = {name: done.cohorts[name] for name in study.cohorts if name in done.cohorts}
    done.cells = {
        cell: key for cell, key in done.cells.items() if cell.split("/", 1)[1] in study.cohorts
    }


def _not_looked_at(name: str, remote: Remote) -> str:
    if remote == "gone":
        return f"The files of {name} are not at GEO any more; what was made of them is kept."
    return f"GEO did not say whether the files of {name} changed; they are taken as they are."


def remote_of(client: GeoClient, manifest: Manifest) -> tuple[Remote, str]:
    """Hold the files of a cohort against GEO, without fetching them.

    Args:
        client: Where the series is.
        manifest: The files in the store.

    Returns:
        How they stand, and a digest of the state that GEO serves where it is another one.
    """
    if manifest.root != client.root:
        return "changed", digest(client.root)
    changed: list[tuple[str, str | None, str | None, int | None]] = []
    try:
        for record in manifest.files:
            if record.role == "local_platform":  # the user's own table, in no GEO root
                if (now := local_table_digest(record)) != record.sha256:
                    changed.append((record.name, now, None, None))
                continue
            # A page made on request has no date to tell by: it is read again with the others.
            if not client.is_changed(record, if_unknown=False):
                continue
            revision = client.revision(record.address.removeprefix(f"{client.root}/"))
            if revision is None:
                return _gone(client, manifest.accession)
            changed.append((record.name, revision.etag, revision.last_modified, revision.size))
        for name in manifest.problems:
            # Broken when it was fetched: it is looked at again, as it may have been mended since.
            for folder in (matrix_folder, supplementary_folder):
                revision = client.revision(f"{folder(manifest.accession)}/{name}")
                if revision is not None:
                    changed.append((name, revision.etag, revision.last_modified, revision.size))
    except GeoError:
        return "unknown", ""
    return ("changed", digest(changed)) if changed else ("same", "")


def _gone(client: GeoClient, accession: str) -> tuple[Remote, str]:
    """Tell a series that left GEO from one whose files have other names now."""
    try:
        return "changed", digest(matrix_names(client, accession))
    except MissingFileError:
        return "gone", ""
    except GeoError:
        return "unknown", ""
