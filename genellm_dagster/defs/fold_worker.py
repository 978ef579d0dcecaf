"""A process that fits folds and tells Dagster of them; ``defs.pipes`` starts it."""

from dagster_pipes import open_dagster_pipes

from genellm_dagster.genellm.launch.worker import serve

if __name__ == "__main__":
    with open_dagster_pipes() as pipes:
        serve(log=pipes.log.info)
