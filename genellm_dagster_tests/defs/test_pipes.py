"""Folds in processes that an asset starts: the same results, and their words in its log."""

import dagster as dg
import pytest
from threadpoolctl import threadpool_limits

from genellm_dagster.defs.pipes import launcher_in
from genellm_dagster.genellm.backbone import load_model, prepare_backbone
from genellm_dagster.genellm.cross_validation import CrossValidation
from genellm_dagster.genellm.launch.in_process import InProcessLauncher
from genellm_dagster.genellm.options import LaunchOptions
from genellm_dagster_tests.genellm.folds import OPTIONS, Given, by_cohort, require_same
from genellm_dagster_tests.genellm.makers import Setting, simulated


@pytest.fixture
def given(tmp_path) -> Given:
    backbone = prepare_backbone("tiny", tmp_path / "backbones")
    tiny = Setting.of(backbone, load_model(backbone))
    profiles, samples = simulated(cohorts=2, each=24)
    return Given(tiny.session(tmp_path / "states", OPTIONS), tiny.tokens(profiles), samples)


def test_processes_of_an_asset_tell_dagster_and_give_what_this_one_gives(given: Given):
    found: list[CrossValidation] = []

    @dg.asset
    def validated(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        launcher = launcher_in(context, LaunchOptions(kind="subprocess", processes=2))
        found.append(given.validate(launcher=launcher))
        return dg.MaterializeResult(metadata={"folds": len(found[0].fits)})

    with dg.DagsterInstance.ephemeral() as instance, threadpool_limits(1):
        run = dg.materialize([validated], instance=instance)
        logged = [entry.message for entry in instance.all_logs(run.run_id) if entry.level < 40]
        straight = given.validate(by_cohort(given.samples))
    require_same(found[0], straight)
    for fold in ("GSE0", "GSE1"):
        assert sum(f"fold {fold}: fitted and predicted in" in message for message in logged) == 1
    # Both were heard to begin and to end.
    assert not [message for message in logged if "did not receive" in message]


def test_other_launchers_are_the_same_in_an_asset():
    context = dg.build_asset_context()
    assert isinstance(launcher_in(context, LaunchOptions()), InProcessLauncher)
