"""The job that runs what changed, down to the report: one op, each stage a run of its own."""

import dagster as dg

from genellm_dagster.defs.jobs import REFRESH
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.settings import Settings, study_as_it_is_now

PARENT_RUN = "genellm/parent_run"
"""Tag of the runs that a refresh starts: the id of its own run."""


def build_refresh_job(parts: StudyPartitions) -> dg.JobDefinition:
    """Build the job of a study."""

    @dg.op(
        name="run_what_changed",
        description="Holds the study's file, its cohorts' files at GEO and the settings against "
        "what was done before, and runs the stages that differ. Each is a run with the tag "
        f"{PARENT_RUN}.",
        out=dg.Out(dg.Nothing),
    )
    def run_what_changed(
        context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> None:
        from genellm_dagster.defs.build import build_definitions
        from genellm_dagster.defs.runs import StudyRunner

        # A cohort may have been approved since this code location was loaded.
        study = study_as_it_is_now(settings, parts.study)
        runner = StudyRunner(
            settings,
            study,
            build_definitions(settings, study),
            context.instance,
            context.log.info,
            tags={PARENT_RUN: context.run_id},
        )
        outcome = runner.refresh()
        for note in outcome.notes:
            context.log.warning(note)
        context.add_output_metadata(
            {
                "ran": dg.MetadataValue.md(
                    "\n".join(f"- {stage}" for stage in outcome.ran) or "nothing had changed"
                ),
                "stages": len(outcome.ran),
                "notes": "\n".join(outcome.notes) or "none",
                "report": dg.MetadataValue.path(str(runner.store.report)),
            }
        )

    @dg.job(
        name=REFRESH,
        description="Run what new cohorts, revised series and changed descriptions ask for, down "
        "to the report, and nothing else.",
        executor_def=dg.in_process_executor,
    )
    def refresh_study() -> None:
        run_what_changed()

    return refresh_study
