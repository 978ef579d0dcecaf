"""Files that runs keep, fetched again."""

from __future__ import annotations

from pathlib import Path

import pytest

from genellm_dagster.errors import StoreError
from genellm_dagster.files import write_text
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.tracker import Tracker

MUCH = 1000


def _round_trip(tracker: Tracker, folder: Path) -> None:
    write_text(folder / "words.txt", "as they were")
    with tracker.parent_run("kept", "adult") as run:
        run.artifact(folder / "words.txt")
        run.artifact(folder / "words.txt", "deep/down")
    into = folder / "into"
    into.mkdir()
    for name in ("words.txt", "deep/down/words.txt"):
        found = tracker.kept(run.run_id, name, into, MUCH)
        assert found is not None
        assert found.read_text() == "as they were"
        assert found.is_relative_to(into)
    for name in ("other.txt", "deep", "deep/other/words.txt", "words.txt/words.txt"):
        assert tracker.kept(run.run_id, name, into, MUCH) is None
    assert tracker.kept(run.run_id, "words.txt", into, 5) is None
    assert tracker.kept("0" * 32, "words.txt", into, MUCH) is None


def test_a_kept_file_comes_back_and_what_is_gone_is_none(tracker: Tracker, tmp_path: Path) -> None:
    _round_trip(tracker, tmp_path)


def test_a_tracking_server_gives_kept_files_back(server: str, tmp_path: Path) -> None:
    _round_trip(Tracker(TrackingOptions(uri=server), tmp_path / "here"), tmp_path)


def test_a_server_that_is_away_is_no_missing_file(tmp_path: Path) -> None:
    options = TrackingOptions(uri="http://127.0.0.1:9", timeout_seconds=1, retries=0)
    with pytest.raises(StoreError, match="could not"):
        Tracker(options, tmp_path).kept("0" * 32, "words.txt", tmp_path, MUCH)
