"""The adapter that is put to use: trained on all samples of a stratum, kept, registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from genellm_dagster.evaluation.metrics import auroc
from genellm_dagster.genellm.adapter import ProfileRecipe, save_adapter
from genellm_dagster.genellm.cross_validation import fit_all
from genellm_dagster.genellm.session import Session
from genellm_dagster.settings import Settings
from genellm_dagster.studies.study import Study
from genellm_dagster.tracking.registry import RegisteredAdapter
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.folds import GENELLM
from genellm_dagster.workflows.profiles import token_profiles_of


def tracked_adapter(
    tracker: Tracker,
    study: Study,
    stratum: str,
    session: Session,
    samples: pd.DataFrame,
    tokens: Mapping[tuple[str, str], pd.DataFrame],
    learned: Mapping[str, Any],
    cross_validation: pd.DataFrame,
    settings: Settings,
    folder: Path,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train on all samples, write the adapter, register it.

    Args:
        tracker: MLflow.
        study: The study.
        stratum: The stratum.
        session: The backbone at work.
        samples: The stratum's samples.
        tokens: (stratum, cohort) to its token table.
        learned: What the profiles of all samples learned, JSON-like; kept with the adapter.
        cross_validation: Out-of-fold predictions, whose numbers stand beside the registered model.
        settings: All settings.
        folder: Where the adapter goes.
        progress: Called with steps done and in all.

    Returns:
        JSON-like facts: trainable, total, share, folder, registered_model, version, aliases, url.
    """
    adapter = fit_all(
        session.model,
        session.backbone,
        session.load(token_profiles_of(tokens, stratum, samples["gsm"])),
        samples,
        settings.model,
        tokenizer=session.tokenizer,
        profiles=ProfileRecipe(
            normalisation=settings.expression.normalisation.model_dump(mode="json"),
            learned=learned["normalisation"],
            harmonisation=learned["harmonisation"],
        ),
        progress=progress,
    )
    save_adapter(adapter, session.model, folder)
    own = cross_validation[cross_validation["model"] == GENELLM]
    numbers = {
        "out_of_fold_auroc": float(auroc(own["case"].to_numpy(), own["score"].to_numpy())),
        "out_of_fold_n": len(own),
        "out_of_fold_cases": int(own["case"].sum()),
    }
    run = tracker.latest(study.name, stratum)
    if run is None:
        with tracker.parent_run(study.name, stratum, params=settings.model) as run:
            pass
    promote, reason = _decision(tracker.registered(study.name, stratum), numbers)
    registered = tracker.register(
        study.name,
        stratum,
        folder,
        run,
        metrics=numbers,
        tags={"backbone": session.backbone.name, "simulated": study.simulated},
        promote=promote,
        reason=reason,
    )
    return {
        "trainable": adapter.card.trainable,
        "total": adapter.card.total,
        "share": adapter.card.share,
        "members": len(adapter.members),
        "genes": len(session.tokenizer["genes"]),
        "folder": str(folder),
        **numbers,
        "registered_model": registered.name,
        "version": str(registered.version),
        "aliases": ["champion", "challenger"] if registered.champion else ["challenger"],
        "run_id": run.run_id,
        "url": run.url,
    }


def _decision(
    champion: RegisteredAdapter | None, numbers: Mapping[str, float | int]
) -> tuple[bool, str]:
    """Say whether a new adapter takes the champion's place, and why."""
    new = float(numbers["out_of_fold_auroc"])
    if champion is None:
        return True, "the first adapter of this stratum"
    before = champion.tags.get("metric.out_of_fold_auroc")
    if before is None:
        return False, "the champion has no out-of-fold AUROC on record to compare with"
    verdict = "not lower than" if new >= float(before) else "lower than"
    return (
        new >= float(before),
        f"out-of-fold AUROC {new:.4f}, {verdict} the champion's {float(before):.4f}",
    )
