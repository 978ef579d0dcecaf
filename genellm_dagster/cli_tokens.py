"""The commands ``genellm tokens``: what the model reads."""

from __future__ import annotations

from typing import Annotated

import typer

from genellm_dagster.terminal import StratumOption, StudyOption, read_settings, say

tokens_app = typer.Typer(no_args_is_help=True, help="Look at what the model reads.")


@tokens_app.command("show")
def show(
    gsm: Annotated[str, typer.Argument(help="A sample, GSM...")],
    study: StudyOption = None,
    stratum: StratumOption = None,
    fold: Annotated[
        str, typer.Option(help="Whose tokens, where folds have their own; all: the adapter's.")
    ] = "all",
    every: Annotated[
        bool, typer.Option("--every", help="Every token, not the ends alone.")
    ] = False,
) -> None:
    """Print a sample of a study as the model sees it: its tokens, in reading order."""
    from genellm_dagster.store import Store
    from genellm_dagster.workflows.shown_tokens import ROWS, tokens_of_sample

    settings, chosen = read_settings(study, None, None)
    store = Store(settings.store, chosen.name)
    say(tokens_of_sample(store, chosen, gsm, stratum, fold, None if every else ROWS))
