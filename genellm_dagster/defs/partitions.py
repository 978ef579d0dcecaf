"""Partitions of a study: cohorts, which may grow, and strata, which are the study's."""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from genellm_dagster.studies.study import Study

COHORT = "cohort"
STRATUM = "stratum"


@dataclass(frozen=True)
class StudyPartitions:
    """The partitions definitions of one study.

    Attributes:
        study: The study.
        cohort: Dynamic: one key a cohort.
        stratum: Static: one key a stratum.
        cell: Cohort by stratum; only cells that hold samples are ever requested.
    """

    study: Study
    cohort: dg.DynamicPartitionsDefinition
    stratum: dg.StaticPartitionsDefinition
    cell: dg.MultiPartitionsDefinition

    @classmethod
    def of(cls, study: Study) -> "StudyPartitions":
        """Build the definitions of a study.

        The cohort set carries the study's name, so that studies that share one Dagster instance do
        not mix.
        """
        cohort = dg.DynamicPartitionsDefinition(name=f"{study.name}_cohort")
        stratum = dg.StaticPartitionsDefinition(list(study.strata))
        cell = dg.MultiPartitionsDefinition({COHORT: cohort, STRATUM: stratum})
        return cls(study, cohort, stratum, cell)

    def key(self, asset: str) -> dg.AssetKey:
        """Return the key of one of the study's assets."""
        return dg.AssetKey([self.study.name, asset])

    def of_cell(self, name: str, dimension: str) -> dg.AssetIn:
        """An input of a cell asset that is partitioned by one of its dimensions."""
        return dg.AssetIn(
            key=self.key(name),
            partition_mapping=dg.MultiToSingleDimensionPartitionMapping(dimension),
        )

    def cells_of_stratum(self, name: str) -> dg.AssetIn:
        """An input of a stratum asset: all cells of that stratum."""
        return self.of_cell(name, STRATUM)

    def every(self, name: str) -> dg.AssetIn:
        """An input: all partitions of an asset."""
        return dg.AssetIn(key=self.key(name), partition_mapping=dg.AllPartitionMapping())

    def same(self, name: str) -> dg.AssetIn:
        """An input with the partition of the asset itself, or without partitions."""
        return dg.AssetIn(key=self.key(name))


def cell_key(cohort: str, stratum: str) -> dg.MultiPartitionKey:
    """Return the partition key of a cell; Dagster sorts its dimensions by name, not as written."""
    return dg.MultiPartitionKey({COHORT: cohort, STRATUM: stratum})


def cell_of(context: dg.AssetExecutionContext) -> tuple[str, str]:
    """Return cohort and stratum of the cell being materialized."""
    key = context.partition_key
    if not isinstance(key, dg.MultiPartitionKey):
        raise dg.DagsterInvariantViolationError(f"{key!r} is no cell of cohort and stratum.")
    dimensions: Mapping[str, str] = key.keys_by_dimension
    return dimensions[COHORT], dimensions[STRATUM]
