"""The command ``genellm tune``: search options on inner folds."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from genellm_dagster.terminal import (
    BackboneOption,
    JsonOption,
    StratumOption,
    StudyOption,
    print_table,
    read_settings,
    say,
    study_runner,
)


def tune(
    study: StudyOption = None,
    stratum: StratumOption = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Candidates of each search; as set when left out.")
    ] = None,
    backbone: BackboneOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search options of the model on inner folds; `genellm run` has to have been there before."""
    from genellm_dagster.errors import StudyError
    from genellm_dagster.workflows.search import TunedOptions

    settings, chosen = read_settings(study, None, backbone)
    if stratum is not None and stratum not in chosen.strata:
        raise StudyError(
            f"The study {chosen.name!r} has no stratum {stratum!r}; it has "
            f"{', '.join(chosen.strata)}."
        )
    if trials is not None:
        search = settings.search.model_copy(update={"trials": trials})
        settings = settings.with_changes(search=search)
    with study_runner(settings, chosen) as runner:
        found = [TunedOptions.model_validate(one) for one in runner.tune(stratum)]
    if as_json:
        say(json.dumps({one.stratum: one.model_dump(mode="json") for one in found}, indent=2))
        return
    for one in found:
        simulated = "SIMULATED " if one.simulated else ""
        print_table(one.table(), f"{simulated}{one.study} {one.stratum}: options searched")
    if not settings.model.tuned:
        say("To train with them, set GENELLM_MODEL__TUNED=true and run `genellm run`.")
