"""The way to MLflow: its address, its database set up once, and its failures as sentences.

Every call names its tracking address: MLflow's process-wide address is neither read nor set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from genellm_dagster.errors import StoreError
from genellm_dagster.store import Store
from genellm_dagster.tracking.database import prepare_database
from genellm_dagster.tracking.options import TrackingOptions

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOCAL_UI = "http://127.0.0.1:5000"
# MLflow answered, and what it was asked for was wrong.
_REFUSALS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}


class Connection:
    """A tracking server or database, reached when it is first needed.

    Args:
        options: Where it is.
        store: The project's store; ``mlflow/`` below it holds sqlite, artifacts and locks.
    """

    def __init__(self, options: TrackingOptions, store: Path) -> None:
        self.options = options
        self.folder = store.absolute() / "mlflow"
        self.backbones = Store(store.absolute(), "").backbones
        self.uri = options.uri or f"sqlite:///{self.folder / 'mlflow.db'}"
        self.is_server = urlsplit(self.uri).scheme in {"http", "https"}
        self.artifacts = options.artifacts
        if self.artifacts is None and not self.is_server:
            self.artifacts = (self.folder / "artifacts").as_uri()
        server = self._shown() if self.is_server else _LOCAL_UI
        self.ui = (options.ui or server).rstrip("/")
        self._client: MlflowClient | None = None
        # Before anything imports MLflow, which reads some of them only then.
        _set_defaults(options)

    @property
    def client(self) -> MlflowClient:
        """MLflow's client of this address; the first use sets a database up.

        Raises:
            StoreError: When the server or database cannot be reached or used.
        """
        if self._client is None:
            from mlflow import MlflowClient

            if not self.is_server:
                with self.lock("database"), self.reaching("be opened"):
                    prepare_database(
                        self.uri,
                        self._shown(),
                        self.artifacts or "",
                        float(self.options.timeout_seconds),
                    )
            with self.reaching("be reached"):
                # The registry's address is given too: MLflow would ask the environment for it.
                client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                client.search_experiments(max_results=1)
            self._client = client
        return self._client

    def __getstate__(self) -> dict[str, object]:
        # A client holds open connections, which no other process can use.
        return {**self.__dict__, "_client": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        _set_defaults(self.options)

    def run_url(self, experiment_id: str, run_id: str) -> str:
        """Return the address of a run's page."""
        return f"{self.ui}/#/experiments/{experiment_id}/runs/{run_id}"

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keep other processes of this store out for the length of a block.

        Raises:
            StoreError: When the store cannot be written or another process never lets go.
        """
        path = self.lock_path(name)
        lock = FileLock(path, timeout=self.options.lock_timeout_seconds)
        try:
            lock.acquire()
        except Timeout as error:
            raise StoreError(
                f"Another process holds {path} for more than "
                f"{self.options.lock_timeout_seconds:g} s; end it, or wait and run again."
            ) from error
        except OSError as error:
            raise StoreError(_not_writable(path, error)) from error
        try:
            yield
        finally:
            lock.release()

    def lock_path(self, name: str) -> Path:
        """Return the file of a lock, its folder made.

        Raises:
            StoreError: When the store cannot be written.
        """
        folder = self.folder / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(_not_writable(folder, error)) from error
        return folder / f"{name}.lock"

    @contextmanager
    def reaching(self, what: str) -> Iterator[None]:
        """Turn what MLflow raises inside the block into one sentence.

        Args:
            what: What MLflow was to do, as in "could not ...".

        Raises:
            StoreError: Instead of any error of MLflow, of the database or of the network.
        """
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise StoreError(
                f"MLflow at {self._shown()} could not {what} "
                f"({first.replace(self.uri, self._shown())}); {self._remedy(error)}."
            ) from error

    def _remedy(self, error: Exception) -> str:
        if getattr(error, "error_code", None) in _REFUSALS:
            return "mend what was asked of it"
        if self.is_server:
            return (
                "start the server, or correct the setting tracking.uri and, where it asks who you "
                "are, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        if self.uri.startswith("sqlite"):
            return "make sure that its folder can be written and its disk is not full"
        return "start the database, or correct the setting tracking.uri"

    def _shown(self) -> str:
        """The address without name and password."""
        parts = urlsplit(self.uri)
        if "@" not in parts.netloc:
            return self.uri
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _set_defaults(options: TrackingOptions) -> None:
    """Set what MLflow reads from the environment only; what the user has set there stands."""
    defaults = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Its log lines then go where the program's own go, and nothing goes to standard output,
        # which belongs to programs that read --json.
        "MLFLOW_CONFIGURE_LOGGING": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(options.timeout_seconds),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(options.retries),
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _not_writable(path: Path, error: OSError) -> str:
    return (
        f"{path} cannot be written ({error.strerror or error}); make its folder writable, or set "
        "the store to a folder that is."
    )
