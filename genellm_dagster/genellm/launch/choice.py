"""The launcher that the settings name."""

from __future__ import annotations

from genellm_dagster.genellm.launch.in_process import InProcessLauncher
from genellm_dagster.genellm.launch.on_ray import RayLauncher
from genellm_dagster.genellm.launch.processes import SubprocessLauncher
from genellm_dagster.genellm.launch.protocol import Launcher
from genellm_dagster.genellm.launch.several_devices import AccelerateLauncher
from genellm_dagster.genellm.options import LaunchOptions


def launcher_of(options: LaunchOptions) -> Launcher:
    """Return the launcher that the options name.

    Args:
        options: Its kind, and how many processes.
    """
    match options.kind:
        case "in_process":
            return InProcessLauncher()
        case "subprocess":
            return SubprocessLauncher(options.processes)
        case "ray":
            return RayLauncher(options.processes)
        case "accelerate":
            return AccelerateLauncher(options.processes)
