"""A process that fits folds together with others, each on a device of its own."""

from __future__ import annotations

from genellm_dagster.genellm.launch.worker import serve
from genellm_dagster.genellm.team import join

if __name__ == "__main__":
    serve(before=join)
