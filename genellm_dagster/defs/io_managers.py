"""Asset values as files of the store: tables as Parquet, everything else that is kept as JSON.

The path is ``<store>/<study>/<asset>/<partition>``, cells as ``<stratum>/<cohort>``. Files are
written under a temporary name and renamed; tables are read with their checksums verified.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any, get_origin

import dagster as dg
import pandas as pd

from genellm_dagster.defs.partitions import COHORT, STRATUM
from genellm_dagster.errors import StoreError
from genellm_dagster.files import read_json, read_parquet, write_json, write_parquet


def asset_path(store: Path, key: dg.AssetKey, partition: str | None, suffix: str) -> Path:
    """Return the file of an asset's partition; cells lie as ``<stratum>/<cohort>``."""
    base = store.joinpath(*key.path)
    if partition is None:
        return base.with_name(base.name + suffix)
    if isinstance(partition, dg.MultiPartitionKey):
        dimensions = partition.keys_by_dimension
        return base / dimensions[STRATUM] / f"{dimensions[COHORT]}{suffix}"
    return base / f"{partition}{suffix}"


def _name_of(partition: str) -> str | tuple[str, str]:
    if isinstance(partition, dg.MultiPartitionKey):
        dimensions = partition.keys_by_dimension
        return dimensions[STRATUM], dimensions[COHORT]
    return partition


class _FileIOManager(dg.ConfigurableIOManager):
    """What the two have in common: where a value lies, and one or several partitions of it."""

    store: str
    cohorts: list[str]

    @property
    @abstractmethod
    def suffix(self) -> str:
        """Ending of the files."""

    @abstractmethod
    def write(self, path: Path, value: Any, provenance: dict[str, str]) -> dict[str, Any]:
        """Write a value; return metadata of what was written."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """Read a value."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write the value of the partition that was materialized."""
        if obj is None:
            return
        partition = context.partition_key if context.has_asset_partitions else None
        path = asset_path(Path(self.store), context.asset_key, partition, self.suffix)
        provenance = {"asset": context.asset_key.to_user_string(), "run": context.run_id}
        facts = self.write(path, obj, provenance)
        context.add_output_metadata({"path": dg.MetadataValue.path(str(path)), **facts})

    def load_input(self, context: dg.InputContext) -> Any:
        """Read one partition, or, for an input annotated as ``dict[...]``, all that are needed.

        In a dict, cohorts and strata are keyed by name, cells by (stratum, cohort). A cell or a
        stratum without a file is one without samples, or one that has not been run. Cohorts that
        the study does not name any more keep their partitions and are passed over.

        Raises:
            StoreError: When a file that must be there is not, or none is there at all.
        """
        store = Path(self.store)
        several = context.dagster_type.typing_type
        if get_origin(several) is not dict or not context.has_asset_partitions:
            partition = context.asset_partition_key if context.has_asset_partitions else None
            return self.read(asset_path(store, context.asset_key, partition, self.suffix))
        found: dict[Any, Any] = {}
        of_cohorts = isinstance(context.asset_partitions_def, dg.DynamicPartitionsDefinition)
        for partition in context.asset_partition_keys:
            name = _name_of(partition)
            path = asset_path(store, context.asset_key, partition, self.suffix)
            if of_cohorts:
                if name in self.cohorts:
                    found[name] = self.read(path)
            elif path.exists() and (isinstance(name, str) or name[1] in self.cohorts):
                found[name] = self.read(path)
        if not found:
            raise StoreError(
                f"Nothing of {context.asset_key.to_user_string()} is in {store}; materialize it "
                "first (`genellm run` does so)."
            )
        return found


class ParquetIOManager(_FileIOManager):
    """Tables as Parquet."""

    @property
    def suffix(self) -> str:
        """Ending of the files."""
        return ".parquet"

    def write(self, path: Path, value: pd.DataFrame, provenance: dict[str, str]) -> dict[str, Any]:
        """Write a table."""
        write_parquet(path, value, provenance)
        return {"rows": len(value), "columns": value.shape[1], "bytes": path.stat().st_size}

    def read(self, path: Path) -> pd.DataFrame:
        """Read a table."""
        return read_parquet(path)


class JsonIOManager(_FileIOManager):
    """Everything else that is kept, as JSON."""

    @property
    def suffix(self) -> str:
        """Ending of the files."""
        return ".json"

    def write(self, path: Path, value: Any, provenance: dict[str, str]) -> dict[str, Any]:
        """Write a JSON-like value."""
        write_json(path, value)
        return {"bytes": path.stat().st_size}

    def read(self, path: Path) -> Any:
        """Read a JSON value."""
        return read_json(path)
