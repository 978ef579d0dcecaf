"""What is recorded of how each cohort's expression table was made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from genellm_dagster.errors import StoreError
from genellm_dagster.expression.scale import centring_marks
from genellm_dagster.files import read_json
from genellm_dagster.store import Store


def scales_of(store: Store, cohorts: Iterable[str]) -> dict[str, str]:
    """Return cohort to log2, linear, counts or centred, as its expression report records it.

    Args:
        store: Of the study.
        cohorts: Which cohorts.

    Raises:
        StoreError: When a cohort has no report, or it holds no scale.
    """
    return {name: str(_report(store, name)["scale"]["kind"]) for name in cohorts}


def table_marks(store: Store, cohorts: Iterable[str]) -> list[str]:
    """Say what results must be marked with because of how the expression tables were made.

    Args:
        store: Of the study.
        cohorts: Which cohorts.

    Raises:
        StoreError: When a cohort has no report, or it holds no scale.
    """
    cohorts = list(cohorts)
    found: dict[str, list[str]] = {}
    for name in cohorts:
        for mark in _report(store, name)["transductive"]:
            found.setdefault(str(mark), []).append(name)
    made = [f"{mark} ({', '.join(names)})" for mark, names in found.items()]
    return [*made, *centring_marks(scales_of(store, cohorts))]


def _report(store: Store, cohort: str) -> dict[str, Any]:
    path = store.place("gene_expression", f"{cohort}.json")
    report: dict[str, Any] = read_json(path)
    try:
        str(report["scale"]["kind"]), list(report["transductive"])
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{path} does not say how the table of {cohort} was made; materialize "
            "gene_expression again."
        ) from error
    return report
