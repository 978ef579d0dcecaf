"""MLflow's database: made whole or not at all, and brought up to date with a copy kept.

MLflow offers this as the command ``mlflow db upgrade``; the functions behind it are called here, so
that four first users at once wait for one of them instead of tearing the tables.
"""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from genellm_dagster.errors import StoreError
from genellm_dagster.files import atomic_path

if TYPE_CHECKING:
    from sqlalchemy import URL

_PORTS = {"postgresql": 5432, "mysql": 3306}


def prepare_database(uri: str, shown: str, artifacts: str, timeout_seconds: float) -> None:
    """Make the tables when there are none, and bring an older sqlite schema up to date.

    The caller holds a lock against other processes.

    Args:
        uri: SQLAlchemy address.
        shown: The address without password.
        artifacts: Where MLflow's default experiment keeps its artifacts; without it, MLflow would
            name the current folder.
        timeout_seconds: Longest wait for a database server.

    Raises:
        StoreError: When the database cannot be reached, is none, or has a schema that this version
            of MLflow cannot use.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    try:
        if url.get_backend_name() == "sqlite":
            _prepare_sqlite(Path(url.database or ""))
        else:
            _prepare_server(url, shown, timeout_seconds)
        # Makes the default experiment when it is missing.
        SqlAlchemyStore(uri, artifacts)
    except ImportError as error:
        raise StoreError(
            f"The database {shown} needs the Python package {error.name}, which is not installed; "
            "install it, or set tracking.uri to another address."
        ) from error


def _prepare_sqlite(path: Path) -> None:
    from mlflow.store.db import utils

    if not path.exists():
        with atomic_path(path) as temporary:
            engine = utils.create_sqlalchemy_engine(f"sqlite:///{temporary}")
            utils._initialize_tables(engine)
            engine.dispose()
        return
    latest = utils._get_latest_schema_revision()
    # Looked at without SQLAlchemy first: MLflow tries a file that is no database for 100 s.
    try:
        with closing(sqlite3.connect(path)) as database:
            (current,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise StoreError(
            f"{path} is no database of MLflow ({error}); move it away, and run again."
        ) from error
    if current == latest:
        return
    copy = path.with_name(f"{path.name}.{current}.bak")
    with (
        atomic_path(copy) as temporary,
        closing(sqlite3.connect(path)) as database,
        closing(sqlite3.connect(temporary)) as target,
    ):
        database.backup(target)
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    try:
        utils._upgrade_db(engine)
    except Exception as error:
        # Alembic raises errors of its own that have no common base.
        raise StoreError(
            f"The tables of {path} are of revision {current} and could not be brought to {latest}, "
            f"which this MLflow needs ({error}); they stand as before in {copy}: use the MLflow "
            "that wrote them, or move the file away."
        ) from error
    finally:
        engine.dispose()


def _prepare_server(url: URL, shown: str, timeout_seconds: float) -> None:
    from mlflow.store.db import utils

    if url.host is not None:
        address = (url.host, url.port or _PORTS.get(url.get_backend_name(), 0))
        # Knocked at first: MLflow tries a server that is not there for 100 s.
        try:
            socket.create_connection(address, timeout=timeout_seconds).close()
        except OSError as error:
            raise StoreError(
                f"The database {shown} does not answer ({error}); start it, or correct the setting "
                "tracking.uri."
            ) from error
    engine = utils.create_sqlalchemy_engine(url.render_as_string(hide_password=False))
    try:
        if utils._is_empty_database(engine):
            utils._initialize_tables(engine)
            return
        current, latest = utils._get_schema_version(engine), utils._get_latest_schema_revision()
    finally:
        engine.dispose()
    if current != latest:
        # Others may use it: bringing it up to date is for whoever runs it to decide.
        raise StoreError(
            f"The tables of {shown} are of revision {current}, but this MLflow needs {latest}; "
            "back the database up and run `mlflow db upgrade` on it."
        )
