"""Which tables a run has read, as MLflow's dataset inputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from genellm_dagster.errors import StoreError
from genellm_dagster.files import sha256_of

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

# MLflow takes digests of at most 36 characters; 32 of SHA-256 are 128 bits.
_DIGEST_LENGTH = 32
# MLflow's own key for what a dataset was used for; its pages show it.
_ROLE = "mlflow.data.context"
# Wider tables are gene tables, whose columns would hide everything else.
_WIDEST_SCHEMA = 100


@dataclass(frozen=True)
class Lineage:
    """A table that a run has read.

    Attributes:
        name: As people know it, ``token_dataset/pediatric/GSE26378`` for instance.
        digest: Of its content; at most 36 characters.
        source: Address of the file.
        rows: Number of rows, when known.
        columns: Name and type of each column; empty when unknown or too many to be of use.
    """

    name: str
    digest: str
    source: str
    rows: int | None = None
    columns: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_parquet(cls, name: str, path: Path) -> Lineage:
        """Describe a Parquet file, its digest computed from its bytes.

        Raises:
            StoreError: When the file is missing or damaged.
        """
        try:
            table = pq.read_metadata(path)
            schema = table.schema.to_arrow_schema()
            digest = sha256_of(path)[:_DIGEST_LENGTH]
        except FileNotFoundError as error:
            raise StoreError(f"{path} is missing; materialize the asset that writes it.") from error
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete it and run again.") from error
        columns: tuple[tuple[str, str], ...] = ()
        if len(schema) <= _WIDEST_SCHEMA:
            columns = tuple((field.name, str(field.type)) for field in schema)
        return cls(name, digest, path.absolute().as_uri(), table.num_rows, columns)

    def as_input(self, role: str) -> DatasetInput:
        """Return it as MLflow takes it.

        Args:
            role: What the run used it for: training, validation, test.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        scheme = urlsplit(self.source).scheme
        schema = {"mlflow_colspec": [{"name": n, "type": kind} for n, kind in self.columns]}
        dataset = Dataset(
            name=self.name,
            digest=self.digest,
            source_type="local" if scheme in {"", "file"} else scheme,
            source=json.dumps({"uri": self.source}),
            schema=json.dumps(schema) if self.columns else None,
            profile=None if self.rows is None else json.dumps({"num_rows": self.rows}),
        )
        return DatasetInput(dataset, tags=[InputTag(_ROLE, role)])
