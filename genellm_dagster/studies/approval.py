"""A person's word on a proposed cohort: among the study's cohorts, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genellm_dagster.errors import StudyError
from genellm_dagster.files import write_text
from genellm_dagster.studies.cohort import Cohort, check_cohort_name, series_of
from genellm_dagster.studies.loading import load_study, read_cohort
from genellm_dagster.studies.study import Study
from genellm_dagster.studies.yaml_edits import append_item, put_entry, remove_entry, write_edited

MAX_REASON_CHARS = 500
_CURATORS_OWN = {"verified", "sources"}


@dataclass(frozen=True)
class Approval:
    """What an approval wrote.

    Attributes:
        name: The cohort.
        cohort_file: Its description.
        study: The study with the cohort in it.
    """

    name: str
    cohort_file: Path
    study: Study


def approve_cohort(
    proposal: Path | None, name: str, study_file: Path, data_dir: Path, note: str | None = None
) -> Approval:
    """Move a proposed cohort among the cohorts of a study.

    The description goes to ``data_dir/cohorts``, the name into the study's file, in that order:
    stopped in between, the same call goes on where it was.

    Args:
        proposal: The proposed cohort file, perhaps corrected by hand; it is removed at the end.
            None: the description that is in ``data_dir/cohorts`` already.
        name: The cohort, ``GSE123`` or ``GSE123-GPL4``.
        study_file: The study.
        data_dir: The folder with ``cohorts/``.
        note: A sentence to add to the description's sources.

    Raises:
        StudyError: When the description does not fit the study, another one of that name is there,
            or a file cannot be written. Nothing is written then.
    """
    target = data_dir / "cohorts" / f"{name}.yaml"
    cohort = read_cohort(proposal or target, name)
    study = load_study(study_file, data_dir=data_dir)
    changed = _with_cohort(study, name, cohort, study_file)
    there = _described_as(target, name, cohort)
    if proposal is not None and not there:
        text = proposal.read_text(encoding="utf-8-sig")
        _write(target, _with_note(text, note) if note else text)
    try:
        if name not in study.cohorts:
            _put_into_study(study_file, name)
    except StudyError:
        if not there:
            target.unlink(missing_ok=True)
        raise
    if proposal is not None:
        proposal.unlink(missing_ok=True)
    # The file that stands there now, so that what is written next goes into it.
    own = read_cohort(target, name)
    files = {**changed.cohort_files, name: own}
    return Approval(name, target, changed.model_copy(update={"cohort_files": files}))


def reject_series(study_file: Path, data_dir: Path, name: str, reason: str) -> None:
    """Put a series, or one platform of it, among the rejected of a study.

    Args:
        study_file: The study.
        data_dir: The folder with ``cohorts/``.
        name: ``GSE123`` or ``GSE123-GPL4``.
        reason: Why, in words.

    Raises:
        StudyError: When the name is none, the reason is empty, the series is a cohort of the study,
            or the file cannot be written.
    """
    _check(name)
    words = " ".join(reason.split())[:MAX_REASON_CHARS]
    if not words:
        raise StudyError(f"{name} is not rejected without a reason; give one with --reason.")
    study = load_study(study_file, data_dir=data_dir)
    held = [one for one in study.cohorts if name in (one, series_of(one))]
    if held:
        raise StudyError(
            f"{held[0]} is a cohort of the study {study.name!r}; take it out of `cohorts:` in "
            f"{study_file} before you reject it."
        )
    if study.rejected.get(name) == words:
        return

    def change(content: dict[str, Any]) -> None:
        content["rejected"] = {**(content.get("rejected") or {}), name: words}

    write_edited(
        study_file,
        "study",
        lambda text: put_entry(text, "rejected", name, words),
        change,
        f"write `rejected: {{{name}: the reason}}` into it yourself",
    )


def _check(name: str) -> None:
    try:
        check_cohort_name(name)
    except ValueError as error:
        raise StudyError(f"{error}.") from error


def _with_cohort(study: Study, name: str, cohort: Cohort, study_file: Path) -> Study:
    """Return the study with a cohort added, validated as if it had been read so."""
    inline = study.cohort_files.get(name)
    if inline is not None and inline.file is None:
        raise StudyError(
            f"The study file {study_file} describes {name} itself, under cohort_files; add it to "
            "`cohorts:` there, or take that description out."
        )
    content: dict[str, Any] = {field: getattr(study, field) for field in Study.model_fields}
    content["cohorts"] = [*study.cohorts, *([] if name in study.cohorts else [name])]
    content["cohort_files"] = {**study.cohort_files, name: cohort}
    content["rejected"] = {
        one: reason for one, reason in study.rejected.items() if one not in _both(name)
    }
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise StudyError(
            f"{name} does not fit the study {study.name!r} as it is proposed: {problem} "
            f"({cohort.origin})."
        ) from error


def _described_as(target: Path, name: str, cohort: Cohort) -> bool:
    """Tell whether the same description is there already; another one is not overwritten."""
    if not target.exists():
        return False
    own = read_cohort(target, name)
    if own.model_dump(exclude=_CURATORS_OWN) != cohort.model_dump(exclude=_CURATORS_OWN):
        raise StudyError(
            f"{target} describes {name} in another way than the proposal {cohort.origin}; delete "
            "one of the two and approve again."
        )
    return True


def _put_into_study(study_file: Path, name: str) -> None:
    rejected = _both(name)

    def edit(text: str) -> str:
        for one in rejected:
            text = remove_entry(text, "rejected", one)
        return append_item(text, "cohorts", name)

    def change(content: dict[str, Any]) -> None:
        content["cohorts"] = [*content["cohorts"], name]
        held = content.get("rejected") or {}
        content["rejected"] = {one: why for one, why in held.items() if one not in rejected}

    write_edited(
        study_file, "study", edit, change, f"add {name} to its `cohorts:` yourself, then ask again"
    )


def _both(name: str) -> Collection[str]:
    return {name, series_of(name)}


def _with_note(text: str, note: str) -> str:
    """Add a sentence to the sources of a proposed description, or above it."""
    try:
        return append_item(text, "sources", note)
    except ValueError:
        return f"# {note}\n{text}"


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise StudyError(
            f"{path} cannot be written ({error.strerror}); make its folder writable or name "
            "another one with GENELLM_DATA_DIR."
        ) from error
