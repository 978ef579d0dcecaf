"""Proposed cohorts of a series: its files' beginnings read, its rules inferred, both kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from genellm_dagster.errors import StoreError, StudyError
from genellm_dagster.expression.symbols import approve_symbols
from genellm_dagster.files import read_json, write_json, write_text
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.starts import SeriesStart, SeriesStarts, read_series_starts
from genellm_dagster.store import Store
from genellm_dagster.studies.cohort import Cohort, SampleRules, check_cohort_name, series_of
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.proposal import Proposal, SeriesFacts, propose_cohort
from genellm_dagster.studies.study import Study

FOLDER = "cohort_proposals"
_PLATFORM = re.compile(r"GPL\d{1,9}", re.ASCII)
_OF_VALUES = ("accession", "platform", "title", "id_type", "values", "scale")
_NO_SYMBOLS = ("unknown", "empty")
"""Outcomes of a name that no gene has or had."""


@dataclass(frozen=True)
class Proposed:
    """A proposed cohort as it lies in the store.

    Attributes:
        name: The cohort, ``GSE123`` or, for one platform of several, ``GSE123-GPL4``.
        file: Its cohort file, to be read, corrected and approved.
        content: What stands beside it as JSON: evidence, confidence, labels, unmatched samples,
            warnings, what was abstained from, files that could not be read; ``would_use``, the
            cases and controls that each stratum would get, or ``refused``, why it would get none.
    """

    name: str
    file: Path
    content: dict[str, Any]

    @property
    def confidence(self) -> float:
        """The smallest confidence of what decides a sample's use."""
        return float(self.content["confidence"])

    @property
    def adds_both_classes(self) -> bool:
        """Whether a stratum would get cases and controls of it."""
        strata = self.content.get("would_use", {}).values()
        return any(one["cases"] and one["controls"] for one in strata)

    @property
    def told(self) -> str:
        """What would come of it, in words: its labels, and whether any sample could be used."""
        labels = ", ".join(f"{n} {label}" for label, n in self.content.get("labels", {}).items())
        return f"{labels or 'no labels'}{'' if self.would_be_used else ', none usable yet'}"

    @property
    def would_be_used(self) -> bool:
        """Whether some sample would enter the study."""
        use = self.content.get("would_use", {})
        return any(sum(counts.values()) for counts in use.values())

    @property
    def edited(self) -> bool:
        """Whether a person has changed the file since it was written."""
        return _digest(self.file.read_text(encoding="utf-8-sig")) != self.content.get("sha256")


def propose_series(
    client: GeoClient, study: Study, store: Store, name: str, revision: str | None = None
) -> list[Proposed]:
    """Propose cohorts of a series, one a platform, and keep them in the store.

    Args:
        client: Where the series is.
        study: Whose labels and strata are asked for.
        store: Where proposals are kept, under ``cohort_proposals``.
        name: The series, or one platform of it: ``GSE123`` or ``GSE123-GPL4``.
        revision: The state of the series in the catalogue, kept beside the proposal.

    Raises:
        StudyError: When the name is none, or nothing in the series can be proposed.
        GeoError: When there is no such series or none of its files can be read.
    """
    starts, parts, wanted = _read_starts(client, name)
    made = []
    for cohort, platform in wanted.items():
        _refuse_edited(store, cohort)
        part = parts[platform]
        proposal = propose_cohort(part.samples, _facts(starts, platform, part), study)
        more = {"problems": starts.problems, "revision": revision}
        trial = _trial(part.samples, proposal.cohort, study)
        made.append(_keep(store, cohort, proposal, {**trial, **more}))
    return made


def unlabelled_cohort(client: GeoClient, study: Study, name: str) -> tuple[str, Cohort]:
    """Describe a series that nobody has described, enough to read its values; it has no labels.

    Args:
        client: Where the series is.
        study: Whose words the series is read with.
        name: The series, or one platform of it: ``GSE123`` or ``GSE123-GPL4``.

    Returns:
        The cohort's name and its description.

    Raises:
        StudyError: When the name is none, the series has several platforms, or none can be read.
        GeoError: When there is no such series or none of its files can be read.
    """
    starts, parts, wanted = _read_starts(client, name)
    if len(wanted) > 1:
        raise StudyError(
            f"{name} has samples on several platforms; name one of them ({', '.join(wanted)})."
        )
    ((cohort, platform),) = wanted.items()
    proposed = propose_cohort(
        parts[platform].samples, _facts(starts, platform, parts[platform]), study
    ).cohort
    told = {key: getattr(proposed, key) for key in _OF_VALUES}
    origin = f"{cohort}, which has no cohort file"
    return cohort, Cohort(**told, sample=SampleRules()).with_origin(origin)


def _read_starts(
    client: GeoClient, name: str
) -> tuple[SeriesStarts, dict[str, SeriesStart], dict[str, str]]:
    """Return the starts of a series, its parts by platform, and the platform of each cohort."""
    try:
        check_cohort_name(name)
    except ValueError as error:
        raise StudyError(f"{error}.") from error
    accession = series_of(name)
    starts = read_series_starts(client, accession)
    parts = _by_platform(starts)
    wanted = {
        f"{accession}-{platform}" if len(parts) > 1 else accession: platform for platform in parts
    }
    if name != accession:
        platform = name.removeprefix(f"{accession}-")
        wanted = dict([(name, platform)] if platform in parts else [])
    if not wanted:
        raise StudyError(_nothing_to_propose(name, list(parts), starts.problems))
    return starts, parts, wanted


def read_proposals(store: Store) -> dict[str, Proposed]:
    """Return the proposals that wait for a person's word, by name."""
    folder = store.place(FOLDER)
    files = sorted(folder.glob("GSE*.yaml")) if folder.is_dir() else []
    return {file.stem: _read(file) for file in files}


def proposal_of(store: Store, name: str) -> Proposed:
    """Return the one proposal that a name means.

    Args:
        store: Where proposals are.
        name: A cohort's name, or a series with one proposal.

    Raises:
        StudyError: When there is none, or several.
    """
    every = read_proposals(store)
    if name in every:
        return every[name]
    of_series = [one for one in every if series_of(one) == name]
    if len(of_series) == 1:
        return every[of_series[0]]
    if of_series:
        raise StudyError(
            f"{name} has a proposal for each of its platforms; approve one by its own name "
            f"({', '.join(of_series)})."
        )
    raise StudyError(
        f"There is no proposal of {name} in {store.place(FOLDER)}; "
        f"`genellm cohort propose {name}` makes one."
    )


def _facts(starts: SeriesStarts, platform: str, part: SeriesStart) -> SeriesFacts:
    def said(key: str) -> str:
        return " ".join(part.series.get(key, ()))

    return SeriesFacts(
        accession=starts.accession,
        platform=platform,
        title=said("title"),
        summary=said("summary"),
        overall_design=said("overall_design"),
        series_type="; ".join(part.series.get("type", ())),
        relations=tuple(part.series.get("relation", ())),
        ids=part.ids,
        approved_share=_approved_share(part.ids),
        has_values=part.has_values,
        has_ncbi_counts=starts.has_ncbi_counts,
        supplementary=starts.supplementary,
    )


def _by_platform(starts: SeriesStarts) -> dict[str, SeriesStart]:
    """Split a series by the platforms of its samples; a platform may come in several files."""
    parts: dict[str, list[SeriesStart]] = {}
    for start in starts.files.values():
        samples = start.samples
        for platform, rows in samples.groupby(samples["platform"].fillna(""), sort=False):
            part = replace(start, samples=rows.reset_index(drop=True))
            # It becomes part of a file's name: nothing but an accession may.
            known = str(platform) if _PLATFORM.fullmatch(str(platform)) else ""
            parts.setdefault(known, []).append(part)
    if len(parts) > 1:
        parts.pop("", None)
    return {
        platform: replace(
            same[0],
            samples=pd.concat([part.samples for part in same], ignore_index=True),
            has_values=any(part.has_values for part in same),
        )
        for platform, same in parts.items()
    }


def _nothing_to_propose(name: str, platforms: Sequence[str], problems: dict[str, str]) -> str:
    if platforms:
        return (
            f"{series_of(name)} has no samples on that platform; propose it as "
            f"{', '.join(f'{series_of(name)}-{one}' for one in platforms)} or as a whole."
        )
    if problems:
        told = "; ".join(f"{file}: {why.rstrip('.')}" for file, why in problems.items())
        return f"No file of {name} can be read ({told}); try again later or leave it out."
    return (
        f"{name} holds no samples, as a SuperSeries does; propose its SubSeries instead, "
        "their accessions stand on its page."
    )


def _refuse_edited(store: Store, name: str) -> None:
    file = store.place(FOLDER, f"{name}.yaml")
    if file.is_file() and _read(file).edited:
        raise StudyError(
            f"{file} was corrected by hand since it was proposed; approve it "
            f"(`genellm cohort approve {name}`), or delete it to have it proposed anew."
        )


def _trial(samples: pd.DataFrame, cohort: Cohort, study: Study) -> dict[str, Any]:
    """Read the samples as ingestion would, to tell what would come of it."""
    try:
        sheet = build_sample_sheet(samples, cohort, study)
    except StudyError as error:
        return {"refused": str(error), "would_use": {}}
    used = sheet[sheet["used"]]
    return {
        "refused": None,
        "would_use": {
            str(stratum): {
                "cases": int((rows["case"] == 1).sum()),
                "controls": int((rows["case"] == 0).sum()),
            }
            for stratum, rows in used.groupby("stratum")
        },
    }


def _keep(store: Store, name: str, proposal: Proposal, more: dict[str, Any]) -> Proposed:
    file = store.place(FOLDER, f"{name}.yaml")
    text = proposal.to_yaml()
    content = {
        "name": name,
        **proposal.to_dict(),
        "samples": {str(gsm): _text(label) for gsm, label in proposal.labels.items()},
        **more,
        "proposed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": _digest(text),
    }
    # The evidence first: a cohort file without it would count as corrected by hand.
    write_json(file.with_suffix(".json"), content)
    write_text(file, text)
    return Proposed(name, file, content)


def _read(file: Path) -> Proposed:
    beside = file.with_suffix(".json")
    try:
        content = read_json(beside)
    except StoreError:
        content = {}
    if not isinstance(content, dict) or not isinstance(content.get("confidence"), int | float):
        # A cohort file that a person put there: nothing is known of it, and it stays.
        content = {"name": file.stem, "confidence": 0.0}
    return Proposed(file.stem, file, content)


def _approved_share(ids: tuple[str, ...]) -> float | None:
    if not ids:
        return None
    _, outcomes = approve_symbols(list(ids))
    return 1 - sum(outcomes.get(kind, 0) for kind in _NO_SYMBOLS) / len(ids)


def _text(label: object) -> str | None:
    return None if pd.isna(label) else str(label)  # type: ignore[call-overload]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
