"""The adapter that is put to use: trained on all samples of a stratum, kept, registered."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from genellm_dagster.genellm.adapter import ProfileRecipe, save_adapter
from genellm_dagster.genellm.cross_validation import fit_all
from genellm_dagster.genellm.session import Session
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.studies.study import Study
from genellm_dagster.tracking.registry import RegisteredAdapter, content_hash
from genellm_dagster.tracking.run import TrackedRun
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.folds import GENELLM
from genellm_dagster.workflows.out_of_fold import (
    PREDICTIONS_SHA256,
    keep_predictions,
    numbers_on_record,
    out_of_fold,
)
from genellm_dagster.workflows.profiles import token_profiles_of
from genellm_dagster.workflows.promotion import SAME, Decision, decision
from genellm_dagster.workflows.search import everyone, options_for


def tracked_adapter(
    tracker: Tracker,
    study: Study,
    stratum: str,
    session: Session,
    samples: pd.DataFrame,
    persons: Mapping[str, int],
    tokens: Mapping[tuple[str, str], pd.DataFrame],
    learned: Mapping[str, Any],
    marks: Sequence[str],
    cross_validation: pd.DataFrame,
    settings: Settings,
    store: Store,
    progress: Callable[[int, int], None],
    checkpoints: Path | None = None,
) -> dict[str, Any]:
    """Train on all samples, write the adapter, register it.

    Args:
        tracker: MLflow.
        study: The study.
        stratum: The stratum.
        session: The backbone at work.
        samples: The stratum's samples.
        persons: gsm to person, as the folds have them.
        tokens: (stratum, cohort) to its token table.
        learned: What the profiles of all samples learned, JSON-like; kept with the adapter.
        marks: What the results must be marked with.
        cross_validation: Out-of-fold predictions, by which it is compared with the champion.
        settings: All settings.
        store: Where the adapter goes, and the options that were searched are.
        progress: Called with steps done and in all.
        checkpoints: Folder from which training that was begun before a kill goes on; removed once
            the adapter is written. None keeps nothing.

    Returns:
        JSON-like facts: trainable, total, share, folder, registered_model, version, aliases, url,
        and ``promotion``: the decision with its numbers.
    """
    own = out_of_fold(
        cross_validation[cross_validation["model"] == GENELLM],
        f"The out-of-fold predictions of {stratum}",
    )
    options = options_for(settings, store, stratum, everyone(samples))
    session = session.with_options(options)
    folder = store.place("adapter", stratum)
    adapter = fit_all(
        session.model,
        session.backbone,
        session.load(token_profiles_of(tokens, stratum, samples["gsm"])),
        samples,
        options,
        tokenizer=session.tokenizer,
        profiles=ProfileRecipe(
            normalisation=settings.expression.normalisation.model_dump(mode="json"),
            learned=learned["normalisation"],
            harmonisation=learned["harmonisation"],
        ),
        checkpoints=checkpoints,
        progress=progress,
    )
    save_adapter(adapter, session.model, folder)
    if checkpoints is not None and checkpoints.exists():
        shutil.rmtree(checkpoints)
    run = tracker.latest(study.name, stratum)
    if run is None:
        with tracker.parent_run(study.name, stratum, params=settings.model) as run:
            pass
    registered, promotion = judged_and_registered(
        tracker,
        study.name,
        stratum,
        folder,
        run,
        own,
        persons,
        settings,
        tags={
            "backbone": session.backbone.name,
            "simulated": study.simulated,
            "transductive": "; ".join(marks) or "no",
        },
    )
    return {
        "trainable": adapter.card.trainable,
        "total": adapter.card.total,
        "share": adapter.card.share,
        "temperature": adapter.card.temperature,
        "members": len(adapter.members),
        "genes": len(session.tokenizer["genes"]),
        "folder": str(folder),
        **numbers_on_record(own, settings.evaluation),
        "registered_model": registered.name,
        "version": str(registered.version),
        "aliases": ["champion", "challenger"] if registered.champion else ["challenger"],
        "promotion": promotion,
        "run_id": run.run_id,
        "url": run.url,
    }


def judged_and_registered(
    tracker: Tracker,
    study: str,
    stratum: str,
    folder: Path,
    run: TrackedRun,
    own: pd.DataFrame,
    persons: Mapping[str, int],
    settings: Settings,
    tags: Mapping[str, Any],
) -> tuple[RegisteredAdapter, dict[str, Any]]:
    """Register an adapter as challenger, and as champion where it is not shown worse.

    Args:
        tracker: MLflow.
        study: Name of the study.
        stratum: Name of the stratum.
        folder: The adapter's.
        run: The run that trained it.
        own: Its judged samples, as ``out_of_fold`` gives them.
        persons: gsm to person.
        settings: All settings.
        tags: Further words for the version; ``transductive`` is compared with the champion's.

    Returns:
        The version, and the decision with its numbers, JSON-like.
    """
    champion = tracker.registered(study, stratum)
    sha256 = content_hash(folder)
    if champion is not None and (champion.run_id, champion.sha256) == (run.run_id, sha256):
        found = Decision(True, SAME, "It is the champion itself.", champion.version)
    else:
        found = decision(
            tracker, champion, own, persons, settings.tracking.promotion, settings.evaluation
        )
    reason = found.reason
    if champion is not None:
        before, now = champion.tags.get("transductive", "not on record"), tags.get("transductive")
        if before != now:
            reason += f" What their scores saw of test cohorts differs: {now}; before, {before}."
    registered = tracker.register(
        study,
        stratum,
        folder,
        run,
        metrics={**numbers_on_record(own, settings.evaluation), "promotion": found.numbers},
        tags={
            **tags,
            PREDICTIONS_SHA256: keep_predictions(tracker, run, own),
            "decision_basis": found.basis,
        },
        promote=found.promote,
        reason=reason,
        against=found.against,
        options=settings.model,
    )
    # Another process may have crowned one meanwhile: what the registry has done is what is told.
    done = registered.champion == found.promote or found.basis == SAME
    return registered, {
        "decision": "champion" if registered.champion else "challenger",
        "reason": reason if done else registered.tags["decision_reason"],
        "basis": found.basis,
        "against": found.against or None,
        **found.numbers,
    }
