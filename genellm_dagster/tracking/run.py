"""One run of MLflow: what is recorded on it, its nested runs, and how it ends."""

from __future__ import annotations

import getpass
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel

from genellm_dagster.errors import StoreError
from genellm_dagster.tracking.connection import Connection
from genellm_dagster.tracking.lineage import Lineage
from genellm_dagster.tracking.values import metrics_of, params_of, sentence_of, tags_of

logger = logging.getLogger(__name__)

STRATUM_LEVEL = "stratum"
FOLD_LEVEL = "fold"
# MLflow takes at most this many in one call (mlflow.utils.validation).
_METRICS_A_CALL = 1000
_PARAMS_OR_TAGS_A_CALL = 100
# Tags of one run alone, which its nested runs do not take over.
_OWN = ("owner", "level", "failure")


class TrackedRun:
    """A run that is open, or a finished one that gets more.

    Attributes:
        run_id: MLflow's name for it.
        experiment_id: MLflow's name for its study's experiment.
    """

    def __init__(
        self, connection: Connection, run_id: str, experiment_id: str, tags: Mapping[str, str]
    ) -> None:
        self.run_id = run_id
        self.experiment_id = experiment_id
        self._connection = connection
        self._inherited = {
            key: value
            for key, value in tags.items()
            if key not in _OWN and not key.startswith("mlflow.")
        }

    @property
    def url(self) -> str:
        """Address of its page."""
        return self._connection.run_url(self.experiment_id, self.run_id)

    def params(self, values: Mapping[str, Any] | BaseModel) -> None:
        """Record settings, nested ones under dotted names; a setting cannot change later.

        Raises:
            StoreError: When MLflow cannot be reached, or a setting was recorded otherwise before.
        """
        from mlflow.entities import Param

        items = [Param(key, value) for key, value in params_of(values).items()]
        for part in _parts(items, _PARAMS_OR_TAGS_A_CALL):
            self._log(params=part)

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Record measurements, nested ones under dotted names.

        Args:
            values: Numbers, ``None`` for what was not measured, and intervals as
                ``{"value", "low", "high"}``.
            step: Epoch, or whatever else is counted.

        Raises:
            StoreError: When MLflow cannot be reached.
        """
        self._log_metrics([(key, value, step) for key, value in metrics_of(values).items()])

    def curves(self, values: Mapping[str, Sequence[float]]) -> None:
        """Record measurements that have steps, the first one at step 1, in few calls.

        Args:
            values: Name and numbers; MLflow's pages put ``loss/member-0`` and ``loss/member-1``
                under one heading.

        Raises:
            StoreError: When MLflow cannot be reached.
        """
        self._log_metrics(
            [
                (key, number, step)
                for name, numbers in values.items()
                for step, number in enumerate(numbers, start=1)
                for key, number in metrics_of({name: number}).items()
            ]
        )

    def tags(self, values: Mapping[str, Any]) -> None:
        """Record words to search by; they can change.

        Raises:
            StoreError: When MLflow cannot be reached.
        """
        from mlflow.entities import RunTag

        flat = tags_of(values)
        for part in _parts(
            [RunTag(key, value) for key, value in flat.items()], _PARAMS_OR_TAGS_A_CALL
        ):
            self._log(tags=part)
        self._inherited |= {key: value for key, value in flat.items() if key not in _OWN}

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file, or of all files of a folder, with the run.

        Args:
            path: The file or folder.
            folder: Where among the run's artifacts; for a folder its own name by default.

        Raises:
            StoreError: When it is missing or cannot be copied.
        """
        if not path.exists():
            raise StoreError(f"{path} is missing; materialize the asset that writes it.")
        client = self._connection.client
        with self._connection.reaching(f"keep {path}"):
            if path.is_dir():
                client.log_artifacts(self.run_id, str(path), folder or path.name)
            else:
                client.log_artifact(self.run_id, str(path), folder)

    def datasets(self, tables: Sequence[Lineage], role: str = "training") -> None:
        """Record which tables the run has read.

        Args:
            tables: The tables.
            role: What for: training, validation, test.

        Raises:
            StoreError: When MLflow cannot be reached.
        """
        client = self._connection.client
        with self._connection.reaching("record the tables of a run"):
            client.log_inputs(self.run_id, datasets=[table.as_input(role) for table in tables])

    @contextmanager
    def fold(
        self,
        name: str,
        *,
        cohort: str | None = None,
        params: Mapping[str, Any] | BaseModel | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> Iterator[TrackedRun]:
        """Open the nested run of a fold.

        Args:
            name: The fold's.
            cohort: The cohort that is held out, where a fold is one.
            params: Settings of this fold alone.
            tags: Beside those that it takes over from this run.
        """
        more = {**(tags or {}), "fold": name, "cohort": cohort}
        with self.nested(name, level=FOLD_LEVEL, params=params, tags=more) as run:
            yield run

    @contextmanager
    def nested(
        self,
        name: str,
        *,
        level: str,
        params: Mapping[str, Any] | BaseModel | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> Iterator[TrackedRun]:
        """Open a nested run that takes over this run's tags.

        Args:
            name: Shown on MLflow's pages.
            level: What the run is: ``fold``, or another word to tell it apart in a search.
            params: Settings.
            tags: Beside those that it takes over.
        """
        own = {**self._inherited, **(tags or {}), "level": level}
        with open_run(
            self._connection, self.experiment_id, name, own, params, parent=self.run_id
        ) as run:
            yield run

    def _log_metrics(self, values: list[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        items = [Metric(key, value, now, step) for key, value, step in values]
        for part in _parts(items, _METRICS_A_CALL):
            self._log(metrics=part)

    def _log(self, **items: Sequence[Any]) -> None:
        client = self._connection.client
        with self._connection.reaching(f"record {', '.join(items)} of a run"):
            client.log_batch(self.run_id, **items, synchronous=True)


@contextmanager
def open_run(
    connection: Connection,
    experiment_id: str,
    name: str,
    tags: Mapping[str, Any],
    params: Mapping[str, Any] | BaseModel | None,
    parent: str | None = None,
) -> Iterator[TrackedRun]:
    """Open a run for the length of a block.

    It ends as FINISHED; as FAILED, with the error's sentence in the tag ``failure``, when the block
    raises; as KILLED when it is interrupted. A process that is killed leaves it RUNNING, which
    :func:`close_abandoned` mends.

    Args:
        connection: To MLflow.
        experiment_id: Of the study.
        name: Shown on MLflow's pages.
        tags: Words to search by.
        params: Settings.
        parent: Run to nest it under.

    Raises:
        StoreError: When MLflow cannot be reached.
    """
    client = connection.client
    owner = secrets.token_hex(8)
    # As long as the process lives, it holds this lock; the system lets go of it for a dead one.
    path = connection.lock_path(_owner_lock(owner))
    lock = FileLock(path, thread_local=False)
    with connection.reaching("open a run"):
        lock.acquire(timeout=0)
    ended = False
    try:
        with connection.reaching("open a run"):
            about = {"mlflow.parentRunId": parent, "mlflow.user": _user(), "owner": owner}
            run_id = client.create_run(
                experiment_id, run_name=name, tags=tags_of({**tags, **about})
            ).info.run_id
        run = TrackedRun(connection, run_id, experiment_id, tags_of(tags))
        try:
            if params is not None:
                run.params(params)
            yield run
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            try:
                _end(connection, run_id, status, sentence_of(error))
                ended = True
            except StoreError as second:
                # What went wrong first is what the user has to know.
                logger.warning("The run %s could not be closed: %s", run_id, second)
            raise
        _end(connection, run_id, "FINISHED")
        ended = True
    finally:
        lock.release()
        if ended:
            path.unlink(missing_ok=True)


def close_abandoned(connection: Connection, experiment_id: str) -> list[str]:
    """Close the runs of a study whose process is gone.

    A run counts as abandoned when it is RUNNING and nobody holds the lock of its owner. Runs opened
    from another store (another machine) have no lock here and are left alone.

    Returns:
        The runs that were closed, now KILLED with the tag ``failure``.
    """
    client = connection.client
    with connection.reaching("look for abandoned runs"):
        running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    closed = []
    for found in running:
        owner = found.data.tags.get("owner")
        path = connection.lock_path(_owner_lock(owner)) if owner else None
        if path is None or not path.exists():
            continue
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            if _closed_for_owner(connection, found.info.run_id):
                closed.append(found.info.run_id)
            path.unlink(missing_ok=True)
        finally:
            lock.release()
    return closed


def _closed_for_owner(connection: Connection, run_id: str) -> bool:
    """Close a run whose owner holds its lock no more; False when the owner itself has closed it."""
    with connection.reaching("look at an abandoned run"):
        # An owner closes its run before it lets go of the lock, so what is read now is final.
        if connection.client.get_run(run_id).info.status != "RUNNING":
            return False
    failure = "the process ended without closing the run; a later run has closed it"
    _end(connection, run_id, "KILLED", failure)
    logger.info("Closed the run %s, whose process is gone.", run_id)
    return True


def _end(connection: Connection, run_id: str, status: str, failure: str | None = None) -> None:
    with connection.reaching("close a run"):
        if failure is not None:
            for key, value in tags_of({"failure": failure}).items():
                connection.client.set_tag(run_id, key, value, synchronous=True)
        connection.client.set_terminated(run_id, status)


def _owner_lock(owner: str) -> str:
    return f"run-{owner}"


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container may run under a number without a name.
        return None
