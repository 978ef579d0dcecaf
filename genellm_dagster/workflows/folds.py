"""Cross-validation of GeneLLM and of its controls, each fit on record in MLflow."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from genellm_dagster.evaluation.folds import LEAVE_ONE_COHORT_OUT, Folds
from genellm_dagster.evaluation.metrics import auroc
from genellm_dagster.files import write_parquet
from genellm_dagster.genellm.cross_validation import (
    CrossValidation,
    FoldLike,
    cross_validate,
    cross_validate_shuffled,
)
from genellm_dagster.genellm.launch.protocol import Launcher
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.training import Fit
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.studies.study import Study
from genellm_dagster.tokenizers.kinds import learns
from genellm_dagster.tokenizers.protocol import TokenProfile
from genellm_dagster.tracking.lineage import Lineage
from genellm_dagster.tracking.run import TrackedRun
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.control_results import control_results
from genellm_dagster.workflows.profiles import token_profiles_of
from genellm_dagster.workflows.search import options_for
from genellm_dagster.workflows.sessions import (
    PRETRAINED,
    RANDOM,
    SHUFFLED_GENES,
    with_permuted_genes,
)
from genellm_dagster.workflows.tokenizers import Description, tokenizer_of

GENELLM = "genellm"
RANDOM_BACKBONE = "genellm_random_backbone"
SHUFFLED_LABELS = "genellm_shuffled_labels"
GENES_SHUFFLED = "genellm_shuffled_genes"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TrackedFolds:
    """What cross-validation gave.

    Attributes:
        predictions: Out-of-fold, of GeneLLM and its controls; of shuffled labels those of the first
            permutation.
        controls: What every permutation gave, and how the controls were made; JSON-safe.
        representations: Out-of-fold representations of GeneLLM, gsm x dimensions.
        losses: Fold to GeneLLM's mean training loss by epoch.
        url: Page of GeneLLM's run.
    """

    predictions: pd.DataFrame
    controls: dict[str, Any]
    representations: pd.DataFrame
    losses: dict[str, list[float]]
    url: str


def tracked_cross_validation(
    tracker: Tracker,
    study: Study,
    stratum: str,
    sessions: Mapping[str, Session],
    samples: pd.DataFrame,
    tokens: Mapping[tuple[str, str], pd.DataFrame],
    tokenizers: Mapping[str, Description],
    marks: Sequence[str],
    folds: Folds,
    settings: Settings,
    store: Store,
    progress: Callable[[str], Progress],
    launcher: Launcher,
    checkpoints: Path | None = None,
) -> TrackedFolds:
    """Cross-validate GeneLLM, and with controls on random weights, shuffled labels and gene names.

    Args:
        tracker: MLflow.
        study: The study.
        stratum: The stratum.
        sessions: The backbone at work, and those that controls need.
        samples: The stratum's samples.
        tokens: (stratum, cohort) to its token table.
        tokenizers: Set to the description of its tokenizer.
        marks: What the results must be marked with.
        folds: The folds; they are proven before anything is fitted.
        settings: All settings.
        store: Where the token tables lie, for the lineage, and the options that were searched.
        progress: Gives the progress callback of a model.
        launcher: Where folds are fitted.
        checkpoints: Folder from which folds that were begun before a kill go on; removed once all
            are done. None keeps nothing.
    """
    folds.prove()
    lineage = [
        Lineage.of_parquet(
            f"token_dataset/{stratum}/{cohort}",
            store.place("token_dataset", stratum, f"{cohort}.parquet"),
        )
        for cohort in samples["cohort"].unique()
    ]
    count = settings.controls.shuffled_labels
    # Shuffled labels stand behind GeneLLM, whose states they share.
    plans = {GENELLM: (PRETRAINED, 0)}
    if count:
        plans[SHUFFLED_LABELS] = (PRETRAINED, count)
    if RANDOM in sessions:
        plans[RANDOM_BACKBONE] = (RANDOM, 0)
    if SHUFFLED_GENES in sessions:
        plans[GENES_SHUFFLED] = (SHUFFLED_GENES, 0)
    profiles = _profiles_of(tokens, stratum, samples, settings)
    results: dict[str, CrossValidation] = {}
    shuffled: list[pd.DataFrame] = []
    urls = {}
    for name, (kind, shuffles) in plans.items():
        session = sessions[kind]
        tags = {
            "tokenizer": settings.tokenizer.kind,
            "normalisation": settings.expression.normalisation.method,
            "harmonisation": settings.expression.harmonisation.method,
            "transductive": "; ".join(marks) or "no",
            "adapter": settings.model.adapter.kind,
            "backbone": session.backbone.name,
            "simulated": study.simulated,
        }
        with tracker.parent_run(
            study.name, stratum, params=settings.model, tags=tags, model=name
        ) as run:
            run.params(
                {
                    "tokenizer": settings.tokenizer.model_dump(),
                    "backbone_sha256": session.backbone.sha256,
                }
            )
            run.datasets(lineage)
            what = (
                samples,
                folds,
                _on_own_tokens(session, tokenizers, kind, settings),
                profiles,
                lambda fold: options_for(settings, store, stratum, fold),
            )
            how: dict[str, Any] = {
                "model_name": name,
                "on_fold": _fold_recorder(run, folds),
                "launcher": launcher,
                "checkpoints": checkpoints,
                "progress": progress(name),
            }
            if shuffles:
                every = cross_validate_shuffled(*what, shuffles, **how)
                results[name], shuffled = every[0], [one.predictions for one in every]
            else:
                results[name] = cross_validate(*what, **how)
            run.metrics(_numbers(results[name].predictions))
            with TemporaryDirectory() as folder:
                file = Path(folder) / "predictions.parquet"
                write_parquet(file, results[name].predictions)
                run.artifact(file)
            urls[name] = run.url
    if checkpoints is not None and checkpoints.exists():
        shutil.rmtree(checkpoints)
    fits = results[GENELLM].fits
    return TrackedFolds(
        predictions=pd.concat([one.predictions for one in results.values()], ignore_index=True),
        controls=control_results(
            study.name,
            stratum,
            shuffled,
            folds,
            settings.evaluation,
            {"model": GENES_SHUFFLED, "seed": settings.model.training.seed}
            if GENES_SHUFFLED in results
            else None,
        ),
        representations=results[GENELLM].representations,
        losses={fold: fit.losses[0] for fold, fit in fits.items()},
        url=urls[GENELLM],
    )


def _on_own_tokens(
    session: Session, tokenizers: Mapping[str, Description], kind: str, settings: Settings
) -> Callable[[FoldLike], Session]:
    """Give each fold the backbone on its own tokenizer, its gene names permuted for the control."""

    def at_work(fold: FoldLike) -> Session:
        description = tokenizer_of(tokenizers, fold.name)
        if kind == SHUFFLED_GENES:
            description = with_permuted_genes(description, settings.model.training.seed)
        return session.with_tokenizer(description)

    return at_work


def _profiles_of(
    tokens: Mapping[tuple[str, str], pd.DataFrame],
    stratum: str,
    samples: pd.DataFrame,
    settings: Settings,
) -> Callable[[FoldLike], list[TokenProfile]]:
    """Give each fold its token profiles; all the same where no profile and no token is learned."""
    if not (settings.expression.learned_on_folds or learns(settings.tokenizer)):
        same = token_profiles_of(tokens, stratum, samples["gsm"])
        return lambda _: same
    return lambda fold: token_profiles_of(
        tokens, stratum, pd.Series([*fold.train, *fold.test]), fold.name
    )


def _fold_recorder(run: TrackedRun, folds: Folds) -> Callable[[FoldLike, Fit, pd.DataFrame], None]:
    def record(fold: FoldLike, fit: Fit, predictions: pd.DataFrame) -> None:
        cohort = fold.name if folds.kind == LEAVE_ONE_COHORT_OUT else None
        params = {
            "trainable": fit.trainable,
            "head_penalty": fit.penalty,
            "temperature": fit.temperature,
            "best_epochs": fit.best_epochs,
        }
        with run.fold(fold.name, cohort=cohort, params=params) as nested:
            nested.curves(
                {f"loss/member-{number}": curve for number, curve in enumerate(fit.losses)}
            )
            nested.metrics(_numbers(predictions))

    return record


def _numbers(predictions: pd.DataFrame) -> dict[str, float | None]:
    case = predictions["case"].to_numpy(dtype=int)
    score = predictions["score"].to_numpy(dtype=float)
    return {
        "n": float(len(case)),
        "cases": float(case.sum()),
        "auroc": float(auroc(case, score)) if 0 < case.sum() < len(case) else None,
        "brier": float(((score - case) ** 2).mean()),
        "uncertainty": float(predictions["uncertainty"].mean()),
    }
