"""The registry of adapters: one registered model a study and stratum, with two aliases.

A version is a served model (:mod:`genellm_dagster.tracking.served`) around the adapter's folder
itself, kept as artifact of the run that trained it; the adapter is verified by its content hash.
(``mlflow.transformers`` reloads LoRA on re-initialised base weights.)
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genellm_dagster.errors import ModelError, StoreError
from genellm_dagster.files import atomic_folder, sha256_of
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.tracking.connection import Connection
from genellm_dagster.tracking.run import TrackedRun
from genellm_dagster.tracking.served import adapter_in, write_served
from genellm_dagster.tracking.values import metrics_of, tags_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"
_SHA256 = "adapter_sha256"
_ARTIFACT_FOLDER = "adapter"
_SHORT_HASH = 12


@dataclass(frozen=True)
class RegisteredAdapter:
    """A version of a registered adapter.

    Attributes:
        name: Of the registered model.
        version: Its number, from 1.
        run_id: Run that trained it.
        sha256: Of the folder's content, see :func:`content_hash`.
        champion: Whether it is the one in use.
        tags: Decision, its reason and numbers, and what else was recorded.
    """

    name: str
    version: int
    run_id: str
    sha256: str
    champion: bool
    tags: Mapping[str, str]


def content_hash(folder: Path) -> str:
    """Return the SHA-256 over names and contents of all files of a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{sha256_of(file)}\n".encode())
    return digest.hexdigest()


class Registry:
    """Registered adapters of one MLflow.

    Args:
        connection: To MLflow.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def register(
        self,
        study: str,
        stratum: str,
        adapter_folder: Path,
        run: TrackedRun,
        metrics: Mapping[str, Any],
        tags: Mapping[str, Any],
        promote: bool,
        reason: str,
        against: int | None = None,
        options: GeneLLMOptions | None = None,
    ) -> RegisteredAdapter:
        """Register an adapter as challenger, and as champion when it is to be; see ``Tracker``."""
        if not adapter_folder.is_dir() or not any(adapter_folder.iterdir()):
            raise ModelError(
                f"There is no adapter in {adapter_folder}; materialize the asset adapter first."
            )
        sha256 = content_hash(adapter_folder)
        name = self._name(study, stratum)
        client = self._connection.client
        # Under the lock, so that the challenger is the newest also when two register at once.
        with (
            self._connection.lock(f"register-{name}"),
            self._connection.reaching("register the adapter"),
        ):
            self._ensure(name, study, stratum)
            version = self._existing(name, run.run_id, sha256)
            if version is None:
                # A fresh folder each time: a kill may have left half a copy in an older one.
                place = f"{_ARTIFACT_FOLDER}/{sha256[:_SHORT_HASH]}-{secrets.token_hex(2)}"
                with tempfile.TemporaryDirectory() as temporary:
                    model = Path(temporary) / "model"
                    write_served(adapter_folder, model, self._connection.backbones, options)
                    run.artifact(model, place)
                home = client.get_run(run.run_id).info.artifact_uri.rstrip("/")
                # Known by its hash from the first moment on: a rerun after a kill finds it.
                own = {_SHA256: sha256, "study": study, "stratum": stratum}
                version = client.create_model_version(
                    name, f"{home}/{place}", run.run_id, tags=own, await_creation_for=0
                )
            before = self._by_alias(name, CHAMPION)
            if before is not None and before.version == version.version:
                return self._described(before)  # Its crowning was the last step: all is done.
            if promote and before is not None and against not in {None, int(before.version)}:
                promote = False  # The decision was made against another one.
                reason = (
                    f"Version {before.version} became champion while this one was compared with "
                    f"{f'version {against}' if against else 'none'}: challenger, until the asset "
                    "adapter is materialized again."
                )
            crowned = promote or before is None
            if not reason:
                reason = "there was no champion" if before is None else "no reason was given"
            words = {
                **tags,
                **{f"metric.{key}": value for key, value in metrics_of(metrics).items()},
                "decision": CHAMPION if crowned else CHALLENGER,
                "decision_reason": reason,
                "champion_before": None if before is None else before.version,
            }
            for key, value in tags_of(words).items():
                client.set_model_version_tag(name, version.version, key, value)
            client.update_model_version(name, version.version, reason)
            client.set_registered_model_alias(name, CHALLENGER, version.version)
            if crowned:
                client.set_registered_model_alias(name, CHAMPION, version.version)
            return self._described(client.get_model_version(name, version.version))

    def find(self, study: str, stratum: str, alias: str) -> RegisteredAdapter | None:
        """Return the adapter that bears an alias, or None."""
        name = self._name(study, stratum)
        with self._connection.reaching(f"look for {name}"):
            version = self._by_alias(name, alias)
            return None if version is None else self._described(version)

    def folder(self, study: str, stratum: str, alias: str) -> Path:
        """Return the folder of the adapter that bears an alias, its content verified."""
        name = self._name(study, stratum)
        with self._connection.reaching(f"look for {name}"):
            version = self._by_alias(name, alias)
        if version is None:
            raise ModelError(
                f"The study {study} has no {alias} for the stratum {stratum}; materialize the "
                "asset adapter first."
            )
        return self._verified(version)

    def _verified(self, version: ModelVersion) -> Path:
        """The folder of a version, its content verified."""
        expected = version.tags.get(_SHA256, "")
        source = str(version.source)
        if source.startswith(("file:", "/")):
            found = self._fetch(source, None)
        else:
            found = self._downloaded(source, expected)
        if content_hash(found) != expected:
            raise ModelError(
                f"The adapter in {found} (version {version.version} of {version.name}) is damaged; "
                "materialize the asset adapter again."
            )
        return found

    def _downloaded(self, source: str, sha256: str) -> Path:
        target = self._connection.folder / "downloads" / sha256
        with self._connection.lock(f"download-{sha256}"):
            if target.is_dir() and content_hash(target) == sha256:
                return target
            with (
                tempfile.TemporaryDirectory() as folder,
                self._connection.reaching("store the adapter here"),
            ):
                fetched = self._fetch(source, Path(folder))
                with atomic_folder(target) as temporary:
                    for file in fetched.iterdir():
                        shutil.move(file, temporary / file.name)
        return target

    def _fetch(self, source: str, into: Path | None) -> Path:
        from mlflow.artifacts import download_artifacts

        uri = self._connection.uri
        with self._connection.reaching("give the adapter's files"):
            found = Path(
                download_artifacts(
                    artifact_uri=source,
                    dst_path=None if into is None else str(into),
                    tracking_uri=uri,
                    registry_uri=uri,
                )
            )
        if not adapter_in(found).is_dir():
            raise StoreError(
                f"The adapter's files are not in {found} any more; materialize the asset adapter "
                "again."
            )
        return adapter_in(found)

    def _name(self, study: str, stratum: str) -> str:
        return f"{self._connection.options.prefix}{study}-{stratum}"

    def _ensure(self, name: str, study: str, stratum: str) -> None:
        from mlflow.exceptions import MlflowException

        client = self._connection.client
        try:
            client.create_registered_model(name, tags={"study": study, "stratum": stratum})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            owner = client.get_registered_model(name).tags
            if (owner.get("study"), owner.get("stratum")) != (study, stratum):
                raise ModelError(
                    f"The registered model {name} belongs to the stratum {owner.get('stratum')} of "
                    f"the study {owner.get('study')}; rename the study or stratum."
                ) from error

    def _existing(self, name: str, run_id: str, sha256: str) -> ModelVersion | None:
        found = self._connection.client.search_model_versions(f"name = '{name}'")
        for version in found:
            if version.run_id == run_id and version.tags.get(_SHA256) == sha256:
                try:
                    self._verified(version)
                except (ModelError, StoreError):
                    continue  # Damaged since: registering anew is the remedy.
                return version
        return None

    def _by_alias(self, name: str, alias: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._connection.client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            # A missing alias is told as a wrong parameter, a missing model as missing.
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise

    @staticmethod
    def _described(version: ModelVersion) -> RegisteredAdapter:
        return RegisteredAdapter(
            name=version.name,
            version=int(version.version),
            run_id=version.run_id or "",
            sha256=version.tags.get(_SHA256, ""),
            champion=CHAMPION in version.aliases,
            tags=dict(version.tags),
        )
