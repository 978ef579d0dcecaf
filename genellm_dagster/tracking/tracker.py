"""What assets and the command line call to record runs and adapters in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import BaseModel

from genellm_dagster.errors import StoreError
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.tracking.connection import Connection
from genellm_dagster.tracking.kept import kept_file
from genellm_dagster.tracking.options import TrackingOptions
from genellm_dagster.tracking.registry import CHAMPION, RegisteredAdapter, Registry
from genellm_dagster.tracking.run import STRATUM_LEVEL, TrackedRun, close_abandoned, open_run

if TYPE_CHECKING:
    from mlflow.entities import Run

GENELLM = "genellm"
_PAGE = 1000
_RUN_COLUMNS = (
    "run_id",
    "experiment_id",
    "name",
    "status",
    "artifact_uri",
    "start_time",
    "end_time",
)


class Tracker:
    """Runs and adapters of studies.

    A tracker can be sent to another process; it reaches MLflow when it is first used.

    Example:
        >>> tracker = Tracker(TrackingOptions(), Path("data/store"))  # doctest: +SKIP
        >>> with tracker.parent_run("sepsis", "adult", params=options) as run:  # doctest: +SKIP
        ...     with run.fold("GSE65682", cohort="GSE65682") as fold:
        ...         fold.metrics({"auroc": 0.98})

    Args:
        options: Where MLflow is.
        store: The project's store.
    """

    def __init__(self, options: TrackingOptions, store: Path) -> None:
        self.options = options
        self._connection = Connection(options, store)
        self._registry = Registry(self._connection)

    @property
    def uri(self) -> str:
        """MLflow's tracking address; ``mlflow server --backend-store-uri`` takes a database's."""
        return self._connection.uri

    @property
    def artifacts(self) -> str | None:
        """Address below which new experiments keep artifacts; None where a server decides."""
        return self._connection.artifacts

    def prepare(self) -> None:
        """Set the database up now, or see that the server answers.

        Raises:
            StoreError: When it cannot be reached or used.
        """
        _ = self._connection.client

    @contextmanager
    def parent_run(
        self,
        study: str,
        stratum: str,
        params: Mapping[str, Any] | BaseModel | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        model: str = GENELLM,
    ) -> Iterator[TrackedRun]:
        """Open the run of one model on one stratum.

        Runs of this study that a killed process has left open are closed first.

        Args:
            study: Name of the study.
            stratum: Name of the stratum.
            params: Settings; nested ones get dotted names.
            tags: Words to search by, beside study, stratum and model: tokenizer, adapter, backbone.
            model: As in the predictions.

        Raises:
            StoreError: When MLflow cannot be reached.
        """
        experiment_id = self._experiment(study)
        close_abandoned(self._connection, experiment_id)
        own = {
            **(tags or {}),
            "study": study,
            "stratum": stratum,
            "model": model,
            "level": STRATUM_LEVEL,
        }
        name = f"{stratum}-{model}"
        with open_run(self._connection, experiment_id, name, own, params) as run:
            yield run

    def attach(self, run_id: str) -> TrackedRun:
        """Return a run that is there, to record more on it; its state is left as it is.

        Raises:
            StoreError: When there is none.
        """
        client = self._connection.client
        with self._connection.reaching(f"find the run {run_id}"):
            found = client.get_run(run_id)
        return TrackedRun(self._connection, run_id, found.info.experiment_id, dict(found.data.tags))

    def latest(self, study: str, stratum: str, model: str = GENELLM) -> TrackedRun | None:
        """Return the newest finished run of a model on a stratum, or None."""
        runs = self.runs(
            study,
            f"tags.stratum = '{stratum}' AND tags.model = '{model}' "
            "AND attributes.status = 'FINISHED'",
        )
        return None if runs.empty else self.attach(str(runs["run_id"].iloc[-1]))

    def runs(self, study: str, where: str = "", *, folds: bool = False) -> pd.DataFrame:
        """List the runs of a study, oldest first.

        Args:
            study: Name of the study.
            where: Further condition in MLflow's search language, ``tags.tokenizer = 'value'``.
            folds: Whether nested runs (folds) are listed too.

        Returns:
            One row a run as ``mlflow.search_runs`` gives it: ``run_id, experiment_id, name, status,
            artifact_uri, start_time, end_time`` (UTC) and a column for each of ``params.*``,
            ``metrics.*`` (the last value) and ``tags.*``; no row when the study has no run.

        Raises:
            StoreError: When MLflow cannot be reached or the condition is none.
        """
        client = self._connection.client
        own = "" if folds else f"tags.level = '{STRATUM_LEVEL}'"
        condition = " AND ".join(part for part in (own, where) if part)
        found: list[Run] = []
        with self._connection.reaching("list runs"):
            experiment = client.get_experiment_by_name(self._experiment_name(study))
            token: str | None = None
            while experiment is not None:
                page = client.search_runs(
                    [experiment.experiment_id],
                    condition,
                    max_results=_PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                found.extend(page)
                token = page.token
                if not token:
                    break
        rows = [_row(run) for run in found]
        names = sorted({name for row in rows for name in row} - set(_RUN_COLUMNS))
        table = pd.DataFrame(rows, columns=[*_RUN_COLUMNS, *names])
        for name in ("start_time", "end_time"):
            table[name] = pd.to_datetime(table[name], unit="ms", utc=True)
        return table

    def run_url(self, run_id: str) -> str:
        """Return the address of a run's page on MLflow's pages.

        Raises:
            StoreError: When there is no such run.
        """
        return self.attach(run_id).url

    def register(
        self,
        study: str,
        stratum: str,
        adapter_folder: Path,
        run: TrackedRun | str,
        metrics: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        promote: bool = False,
        reason: str = "",
        against: int | None = None,
        options: GeneLLMOptions | None = None,
    ) -> RegisteredAdapter:
        """Register an adapter under ``<study>-<stratum>``.

        The newest version bears the alias ``challenger``. It becomes ``champion`` when there is
        none yet or when ``promote`` says so; decision, reason and numbers stand on the version. The
        same adapter of the same run is registered once, so that a rerun after a kill goes on.

        Args:
            study: Name of the study.
            stratum: Name of the stratum.
            adapter_folder: As ``genellm.adapter.save_adapter`` wrote it; copied.
            run: The run that trained it, or its ``run_id``.
            metrics: Numbers that the decision rests on.
            tags: Further words for the version.
            promote: Whether it takes the champion's place.
            reason: Why, or why not; also the version's description.
            against: Version that ``promote`` was decided against, 0 for none: when another is
                champion by now, the new one stays challenger. None: whichever it is.
            options: Of the model, which the served one follows; the defaults when left out.

        Returns:
            The version.

        Raises:
            ModelError: When the folder holds no adapter, or the name belongs to another stratum.
            StoreError: When MLflow cannot be reached.
        """
        tracked = self.attach(run) if isinstance(run, str) else run
        return self._registry.register(
            study,
            stratum,
            adapter_folder,
            tracked,
            metrics or {},
            tags or {},
            promote,
            reason,
            against,
            options,
        )

    def kept(self, run_id: str, name: str, into: Path, largest: int) -> Path | None:
        """Fetch a file that a run keeps; see :func:`genellm_dagster.tracking.kept.kept_file`."""
        return kept_file(self._connection, run_id, name, into, largest)

    def registered(
        self, study: str, stratum: str, alias: str = CHAMPION
    ) -> RegisteredAdapter | None:
        """Return the adapter that bears an alias, or None when there is none."""
        return self._registry.find(study, stratum, alias)

    def champion(self, study: str, stratum: str, alias: str = CHAMPION) -> Path:
        """Return the folder of the adapter in use, for ``genellm.adapter.load_adapter``.

        Args:
            study: Name of the study.
            stratum: Name of the stratum.
            alias: ``champion``, or ``challenger`` for the newest.

        Returns:
            The artifact's own folder where it lies on this machine, else a copy below the store.
            Not to be written to.

        Raises:
            ModelError: When there is none, or its content is not what was registered.
            StoreError: When MLflow cannot be reached or the files are gone.
        """
        return self._registry.folder(study, stratum, alias)

    def _experiment_name(self, study: str) -> str:
        return f"{self.options.prefix}{study}"

    def _experiment(self, study: str) -> str:
        from mlflow.exceptions import MlflowException

        client, name = self._connection.client, self._experiment_name(study)
        with self._connection.reaching(f"open the experiment {name}"):
            found = client.get_experiment_by_name(name)
            if found is None:
                try:
                    return str(client.create_experiment(name, self._connection.artifacts))
                except MlflowException as error:
                    # Another process was faster.
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    found = client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise StoreError(
                f"The experiment {name} was deleted in MLflow; restore it there, or remove it for "
                "good with `mlflow gc`."
            )
        return str(found.experiment_id)


def _row(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.info.run_id,
        "experiment_id": run.info.experiment_id,
        "name": run.info.run_name,
        "status": run.info.status,
        "artifact_uri": run.info.artifact_uri,
        "start_time": run.info.start_time,
        "end_time": run.info.end_time,
        **{f"metrics.{key}": value for key, value in run.data.metrics.items()},
        **{f"params.{key}": value for key, value in run.data.params.items()},
        **{f"tags.{key}": value for key, value in run.data.tags.items()},
    }
