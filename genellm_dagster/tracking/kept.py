"""One file that a run keeps, fetched."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from genellm_dagster.tracking.connection import Connection


def kept_file(
    connection: Connection, run_id: str, name: str, into: Path, largest: int
) -> Path | None:
    """Fetch a file from among a run's artifacts.

    Args:
        connection: To MLflow.
        run_id: The run.
        name: The file's path among the artifacts.
        into: Folder to put a copy in.
        largest: Bytes; a larger file is none that was kept by this project.

    Returns:
        The copy; None when run or file is gone, or the file is larger.

    Raises:
        StoreError: When MLflow cannot be reached.
    """
    from mlflow.exceptions import MlflowException

    client = connection.client
    folder = str(PurePosixPath(name).parent)
    with connection.reaching(f"give {name} of the run {run_id}"):
        try:
            listed = client.list_artifacts(run_id, None if folder == "." else folder)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        found = next((item for item in listed if item.path == name and not item.is_dir), None)
        if found is None or (found.file_size or 0) > largest:
            return None
        return Path(client.download_artifacts(run_id, name, str(into)))
