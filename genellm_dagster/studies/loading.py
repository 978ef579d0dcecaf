"""Studies and cohorts found by name or path and read from their YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.cohort import Cohort, check_cohort_name
from genellm_dagster.studies.study import Study, check_fits_name
from genellm_dagster.studies.yaml_files import YamlDocument, read_yaml, study_error

_SUFFIXES = (".yaml", ".yml")


def known_studies(data_dir: Path) -> list[str]:
    """Return the names of the studies under ``data_dir/studies``, sorted."""
    return _names_in(data_dir / "studies")


def known_cohorts(data_dir: Path) -> list[str]:
    """Return the names of the cohorts under ``data_dir/cohorts``, sorted."""
    return _names_in(data_dir / "cohorts")


def load_study(name_or_path: str | Path, *, data_dir: Path) -> Study:
    """Read a study and the descriptions of its cohorts.

    Args:
        name_or_path: A name under ``data_dir/studies``, or the path of a YAML file (anything that
            ends with ``.yaml`` or ``.yml``, holds a separator, or is a ``Path``).
        data_dir: The folder with ``studies/`` and ``cohorts/``. Descriptions inline under
            ``cohort_files`` win over those in ``cohorts/``.

    Returns:
        The study; ``cohort_files`` holds every cohort of it. A relative ``geo_root`` is resolved
        against the folder of the study's file.

    Raises:
        StudyError: When there is no such study, or one of the files cannot be used.
    """
    path = study_path(name_or_path, data_dir)
    document = read_yaml(path, "study")
    content = dict(document.data)
    content["cohort_files"] = _all_cohorts(document, data_dir)
    if isinstance(content.get("geo_root"), str):
        content["geo_root"] = _beside(content["geo_root"], path)
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise study_error(error, document, "study") from error
    inline = document.data.get("cohort_files") or {}
    files = {
        name: cohort.with_origin(
            f"{path} (cohort_files, {document.place(('cohort_files', name))})", folder=path.parent
        )
        if name in inline
        else cohort
        for name, cohort in study.cohort_files.items()
    }
    return study.model_copy(update={"cohort_files": files})


def load_cohort(name: str, *, data_dir: Path, study: Study | None = None) -> Cohort:
    """Read the description of one cohort, of a study or from ``data_dir/cohorts``.

    Args:
        name: ``GSE123`` or ``GSE123-GPL4``.
        data_dir: The folder with ``cohorts/``.
        study: Looked into first, when given.

    Raises:
        StudyError: When there is none, or it cannot be used.
    """
    try:
        check_cohort_name(name)
    except ValueError as error:
        raise StudyError(f"{error}.") from error
    if study is not None and name in study.cohort_files:
        return study.cohort_files[name]
    path = _find(data_dir / "cohorts", name)
    if path is None:
        known = ", ".join(known_cohorts(data_dir)) or "none"
        raise StudyError(
            f"There is no description of the cohort {name} in {data_dir / 'cohorts'} "
            f"(there are: {known}); write {name}.yaml there, "
            f"`genellm cohort inspect {name}` shows the fields of its samples."
        )
    return read_cohort(path, name)


def read_cohort(path: Path, name: str) -> Cohort:
    """Read the description of the cohort ``name`` from its file.

    Raises:
        StudyError: When the file cannot be used, or describes another series.
    """
    document = read_yaml(path, "cohort")
    try:
        cohort = Cohort.model_validate(document.data)
    except ValidationError as error:
        raise study_error(error, document, "cohort") from error
    try:
        check_fits_name(cohort, name)
    except ValueError as error:
        place = document.place(("accession",))
        raise StudyError(f"The cohort file {path}, {place}: {error}.") from error
    return cohort.with_origin(str(path), file=path)


def _all_cohorts(document: YamlDocument, data_dir: Path) -> Any:
    """Give the inline descriptions, and for the other cohorts those of ``data_dir``."""
    inline = document.data.get("cohort_files")
    names = document.data.get("cohorts")
    if inline is None:
        inline = {}
    if not isinstance(inline, dict) or not isinstance(names, list):
        return inline
    together: dict[Any, Any] = dict(inline)
    for position, name in enumerate(names):
        # What is no name of a cohort is left to the study's own validation, which tells its place.
        if not isinstance(name, str) or name in together or not _is_cohort_name(name):
            continue
        path = _find(data_dir / "cohorts", name)
        if path is None:
            place = document.place(("cohorts", position))
            raise StudyError(
                f"The study file {document.path}, {place}: the cohort {name} has no description; "
                f"write {data_dir / 'cohorts' / name}.yaml or put it under cohort_files."
            )
        together[name] = read_cohort(path, name)
    return together


def _is_cohort_name(name: str) -> bool:
    try:
        check_cohort_name(name)
    except ValueError:
        return False
    return True


def study_path(name_or_path: str | Path, data_dir: Path) -> Path:
    """Return the file of a study, by its name under ``data_dir/studies`` or by its path.

    Raises:
        StudyError: When there is no such study.
    """
    text = str(name_or_path)
    is_path = (
        isinstance(name_or_path, Path) or text.endswith(_SUFFIXES) or "/" in text or "\\" in text
    )
    if is_path:
        path = Path(text).expanduser()
        if path.is_file():
            return path
        problem = f"There is no study file {path}"
    else:
        found = _find(data_dir / "studies", text) if text else None
        if found is not None:
            return found
        problem = f"There is no study {text!r} in {data_dir / 'studies'}"
    known = ", ".join(known_studies(data_dir)) or "none"
    raise StudyError(
        f"{problem}; name one of the known studies ({known}) or the path of a YAML file."
    )


def _find(folder: Path, name: str) -> Path | None:
    # Names are looked up among the folder's own files, so that no name can lead out of it.
    return next(
        (folder / f"{name}{end}" for end in _SUFFIXES if (folder / f"{name}{end}").is_file()), None
    )


def _names_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted({file.stem for file in folder.iterdir() if file.suffix in _SUFFIXES})


def _beside(root: str, path: Path) -> str:
    if "://" in root or Path(root).expanduser().is_absolute():
        return root
    return str((path.parent / root).resolve())
