"""Folds in processes of their own, whose messages Dagster hears through Pipes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from genellm_dagster.genellm.options import LaunchOptions

if TYPE_CHECKING:
    from genellm_dagster.genellm.launch.protocol import Launcher

_WORKER = "genellm_dagster.defs.fold_worker"


def launcher_in(context: dg.AssetExecutionContext, options: LaunchOptions) -> "Launcher":
    """Return the launcher that the options name, as an asset uses it.

    Args:
        context: Of the asset; its log gets what the processes of ``subprocess`` say.
        options: Its kind, and how many processes.
    """
    from genellm_dagster.genellm.launch.choice import launcher_of
    from genellm_dagster.genellm.launch.processes import SubprocessLauncher

    if options.kind != "subprocess":
        return launcher_of(options)

    # Not PipesSubprocessClient: that one waits for its process to end, and so has one at a time,
    # without progress.
    @contextmanager
    def session() -> Iterator[Mapping[str, str]]:
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as opened:
            yield opened.get_bootstrap_env_vars()

    return SubprocessLauncher(options.processes, module=_WORKER, around=session)
