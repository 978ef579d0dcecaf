"""First use, unreachable servers, and what a process is left with afterwards."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from genellm_dagster.errors import StoreError
from genellm_dagster.files import write_text
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.tracker import Tracker

_USERS = 4
# Two before the one of MLflow 3.17.2.
_OLD_REVISION = "b7e2c1a4d9f3"
# The modules are imported once and the processes forked, so that all four begin at one moment.
_FIRST_USES = """
import json, multiprocessing, sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.tracker import Tracker

def use(number):
    start.wait()
    tracker = Tracker(TrackingOptions(), Path(sys.argv[1]))
    with tracker.parent_run("first", "adult", {"user": number}) as run, run.fold("GSE1") as fold:
        fold.curves({"loss": [0.5, 0.25]})

context = multiprocessing.get_context("fork")
start = context.Barrier(int(sys.argv[2]))
users = [context.Process(target=use, args=(number,)) for number in range(int(sys.argv[2]))]
for user in users:
    user.start()
for user in users:
    user.join()
print(json.dumps([user.exitcode for user in users]))
"""


def test_four_first_users_at_once_all_record_their_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_USES, str(tmp_path), str(_USERS)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    # Standard output belongs to programs that read --json: MLflow wrote nothing there.
    assert json.loads(done.stdout) == [0] * _USERS, done.stderr
    table = Tracker(TrackingOptions(), tmp_path).runs("first", folds=True)
    assert len(table) == 2 * _USERS
    assert set(table["status"]) == {"FINISHED"}
    assert table["experiment_id"].nunique() == 1
    assert list((tmp_path / "mlflow").glob(".*")) == []


_LOOKS_AROUND = """
import os, sys
from pathlib import Path
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.tracker import Tracker
tracker = Tracker(TrackingOptions(), Path(sys.argv[1]))
assert "mlflow" not in sys.modules
with tracker.parent_run("quiet", "adult"):
    pass
import mlflow
from mlflow.telemetry.client import get_telemetry_client
assert get_telemetry_client() is None
assert "MLFLOW_TRACKING_URI" not in os.environ
assert mlflow.active_run() is None
assert not mlflow.tracking.is_tracking_uri_set()
assert not {"torch", "transformers"} & set(sys.modules)
"""


def test_tracking_is_silent_sends_nothing_and_leaves_mlflows_own_address_alone(
    tracker: Tracker, store: Path, tmp_path: Path
) -> None:
    drop = ("PYTEST_CURRENT_TEST", "CI")  # MLflow would be silent for their sake alone.
    left = {
        name: value
        for name, value in os.environ.items()
        if name not in drop and not name.startswith("MLFLOW_")
    }
    done = subprocess.run(
        [sys.executable, "-c", _LOOKS_AROUND, str(store)],
        cwd=tmp_path,
        env={**left, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "INFO" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_threads_share_a_tracker(tracker: Tracker) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with tracker.parent_run("threads", "adult", model=f"model-{number}") as run:
                run.metrics({"number": number})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(tracker.runs("threads")["metrics.number"]) == [0, 1, 2, 3]


def test_a_tracker_travels_to_another_process(tracker: Tracker) -> None:
    with tracker.parent_run("travelling", "adult"):
        pass
    assert len(pickle.loads(pickle.dumps(tracker)).runs("travelling")) == 1


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "mlflow" / "mlflow.db", "not a database" * 100)
    with pytest.raises(StoreError, match=r"mlflow\.db is no database of MLflow .* move it away"):
        Tracker(TrackingOptions(), tmp_path).prepare()


def test_a_store_that_is_a_file_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "store", "a file")
    with pytest.raises(StoreError, match="locks cannot be written"):
        Tracker(TrackingOptions(), tmp_path / "store").prepare()


def test_an_older_database_is_brought_up_to_date_and_kept_as_it_was(
    tmp_path: Path,
) -> None:
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    path = tmp_path / "mlflow" / "mlflow.db"
    path.parent.mkdir()
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, _OLD_REVISION)
    engine.dispose()
    old = path.read_bytes()
    Tracker(TrackingOptions(), tmp_path).prepare()
    assert _revision(path) == utils._get_latest_schema_revision()
    copy = path.with_name(f"mlflow.db.{_OLD_REVISION}.bak")
    assert (_revision(copy), len(copy.read_bytes())) == (_OLD_REVISION, len(old))


def test_a_database_of_a_newer_mlflow_is_left_alone(
    tracker: Tracker, store: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mlflow" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(store / "mlflow" / "mlflow.db", path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        database.commit()
    with pytest.raises(StoreError, match=r"revision ffffffffffff and could not be brought to"):
        Tracker(TrackingOptions(), tmp_path).prepare()
    assert _revision(path) == "ffffffffffff"


def _revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_a_database_server_that_is_down_is_told_at_once_without_its_password(
    tmp_path: Path,
) -> None:
    options = TrackingOptions(uri="postgresql://me:secret@127.0.0.1:1/mlflow", timeout_seconds=1)
    assert "secret" not in repr(options)
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/mlflow does not answer") as caught:
        Tracker(options, tmp_path).prepare()
    assert "secret" not in str(caught.value)


def test_a_tracking_server_that_is_down_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = Tracker(TrackingOptions(uri="http://127.0.0.1:1"), tmp_path)
    with pytest.raises(
        StoreError, match=r"127\.0\.0\.1:1 could not be reached .* start the server"
    ):
        tracker.prepare()


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "databricks", "ftp://host"])
def test_an_address_that_keeps_no_runs_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="scheme"):
        TrackingOptions(uri=uri)
