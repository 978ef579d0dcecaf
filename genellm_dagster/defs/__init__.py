"""Dagster alone: assets, partitions, checks, resources, jobs, sensors.

No computation lives here: an asset reads its inputs, calls one domain function, returns the result.
"""

import warnings

import dagster as dg

# Partition mappings of multi-dimensional partitions and dagster-pandas are marked beta, partitions
# of checks preview; the versions are pinned and the tests cover what is used of them.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
