"""The code location of the study that the settings name."""

from genellm_dagster.defs.build import build_definitions

defs = build_definitions()
