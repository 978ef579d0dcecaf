"""Changes of a whole simulated study by one number: overlap, prevalence, effects, and so on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genellm_dagster.errors import SettingsError
from genellm_dagster.simulation.options import CohortPlan, SimulationOptions
from genellm_dagster.studies.yaml_files import read_yaml, study_error

EVERY = ""
"""The name that stands for every stratum or cohort without a value of its own."""


def read_options(file: Path, base: SimulationOptions) -> SimulationOptions:
    """Read a file of options; what it leaves out stays as in ``base``.

    Args:
        file: YAML, the names of :class:`SimulationOptions` and their values; ``strata`` and
            ``cohorts`` are replaced whole where they are given.
        base: The options to change.

    Raises:
        StudyError: When the file cannot be read or a value of it cannot be used.
    """
    document = read_yaml(file, "simulation")
    try:
        return SimulationOptions.model_validate({**_as_given(base), **document.data})
    except ValidationError as error:
        raise study_error(error, document, "simulation") from error


def changed(
    options: SimulationOptions,
    *,
    values: Mapping[str, Any],
    effect: Mapping[str, float],
    prevalence: Mapping[str, float],
    overlap: float | None = None,
    discordant: float | None = None,
    duplicates: int | None = None,
) -> SimulationOptions:
    """Return options with some things changed all over the study.

    Args:
        options: The study so far.
        values: Fields of the study itself, as they are.
        effect: Mean absolute effect of a planted gene, log2 units, by stratum; under ``EVERY``
            for those without a value of their own.
        prevalence: Share of cases among cases and controls by cohort, 0 to 1; ``EVERY`` as above.
            The number of both together stays.
        overlap: Share of the planted genes that the strata have in common, 0 to 1, of the stratum
            with the fewest.
        discordant: Share of these that move the other way in every second stratum, 0 to 1.
        duplicates: Arrays of the stratum's first series that each later series uses again.

    Raises:
        SettingsError: When a name is unknown or a value cannot be used.
    """
    _known(effect, list(options.strata), "stratum")
    _known(prevalence, [plan.accession for plan in options.cohorts], "cohort")
    new = {**_as_given(options), **values}
    new["strata"] = {
        name: {**truth.model_dump(), **_present(effect=_of(effect, name))}
        for name, truth in options.strata.items()
    }
    if overlap is not None:
        fewest = min(truth.planted_genes for truth in options.strata.values())
        new["shared_genes"] = round(_share(overlap, "overlap") * fewest)
    if discordant is not None:
        new["discordant_genes"] = round(_share(discordant, "discordant") * new["shared_genes"])
    seen: set[str] = set()
    plans = []
    for plan in options.cohorts:
        plans.append(
            _plan(plan, _of(prevalence, plan.accession), duplicates, plan.stratum not in seen)
        )
        seen.add(plan.stratum)
    new["cohorts"] = plans
    try:
        return SimulationOptions.model_validate(new)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "together"
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(
            f"The options of the simulation, {place}: cannot be used ({reason}); mend them."
        ) from error


def _plan(
    plan: CohortPlan, prevalence: float | None, duplicates: int | None, first: bool
) -> dict[str, Any]:
    new = plan.model_dump()
    if prevalence is not None:
        people = plan.cases + plan.controls
        cases = round(_share(prevalence, "prevalence") * people)
        # Only cases are measured again: no more of them than there are.
        again = min(plan.repeated, cases)
        new |= {"cases": cases, "controls": people - cases, "repeated": again}
        new["repeated_twice"] = min(plan.repeated_twice, again)
    if duplicates is not None and not first:
        new["duplicates"] = duplicates
    return new


def _as_given(options: SimulationOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in SimulationOptions.model_fields}


def _present(**values: float | None) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _of(values: Mapping[str, float], name: str) -> float | None:
    return values.get(name, values.get(EVERY))


def _known(values: Mapping[str, float], names: list[str], kind: str) -> None:
    for name in values:
        if name != EVERY and name not in names:
            raise SettingsError(
                f"The simulated study has no {kind} {name!r}; it has {', '.join(names)}."
            )


def _share(value: float, name: str) -> float:
    if not 0 <= value <= 1:
        raise SettingsError(f"The {name} {value:g} is no share; give a number from 0 to 1.")
    return value
