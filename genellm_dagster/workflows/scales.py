"""What is recorded of how each cohort's expression table was made."""

from __future__ import annotations

from collections.abc import Iterable

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
    return {name: scale for name, (scale, _) in _recorded(store, cohorts).items()}


def table_marks(store: Store, cohorts: Iterable[str]) -> list[str]:
    """Say what results must be marked with because of how the expression tables were made.

    Args:
        store: Of the study.
        cohorts: Which cohorts.

    Raises:
        StoreError: When a cohort has no report, or it holds no scale.
    """
    recorded = _recorded(store, cohorts)
    found: dict[str, list[str]] = {}
    for name, (_, marks) in recorded.items():
        for mark in marks:
            found.setdefault(mark, []).append(name)
    made = [f"{mark} ({', '.join(names)})" for mark, names in found.items()]
    return [*made, *centring_marks({name: scale for name, (scale, _) in recorded.items()})]


def _recorded(store: Store, cohorts: Iterable[str]) -> dict[str, tuple[str, list[str]]]:
    """Return cohort to the scale and the transductive steps of its table."""
    found = {}
    for name in cohorts:
        path = store.place("gene_expression", f"{name}.json")
        report = read_json(path)
        try:
            steps = [str(step) for step in report["transductive"]]
            found[name] = str(report["scale"]["kind"]), steps
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"{path} does not say how the table of {name} was made; materialize "
                "gene_expression again."
            ) from error
    return found
