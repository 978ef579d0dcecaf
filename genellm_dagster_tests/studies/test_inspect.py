"""The fields are listed as rules name them, with their most common values."""

from __future__ import annotations

from genellm_dagster.studies.cohort import LabelRule
from genellm_dagster.studies.inspect import inspect_samples
from genellm_dagster_tests.studies.makers import samples_of


def test_fields_values_and_counts_are_listed() -> None:
    samples = samples_of(5, state=["sepsis", "healthy", "sepsis", "NA", None])
    table = inspect_samples(samples).set_index("field")
    row = table.loc["characteristics: state"]
    assert (row["n_samples"], row["n_values"]) == (3, 2)
    assert row["examples"] == "sepsis (2), healthy (1)"
    assert table.loc["description", "examples"] == ""
    for field in table.index:
        LabelRule(field=field, pattern="x", value="sepsis")


def test_many_and_long_values_are_shortened() -> None:
    samples = samples_of(9, note=[f"{i}" + "x" * 500 for i in range(9)])
    examples = inspect_samples(samples).set_index("field").loc["characteristics: note", "examples"]
    assert examples.endswith("… 3 more") and len(examples) < 500
