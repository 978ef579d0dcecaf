"""Options searched for each fold on its own training side, and for the adapter on all samples."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from genellm_dagster.errors import ModelError, StoreError
from genellm_dagster.evaluation.folds import Fold, Folds
from genellm_dagster.files import read_json, write_json
from genellm_dagster.genellm.cross_validation import FoldLike
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.search import (
    Found,
    TrainingSide,
    search_options,
    searched_options,
)
from genellm_dagster.genellm.search_options import with_values
from genellm_dagster.genellm.session import Session
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.studies.study import Study
from genellm_dagster.tracking.run import TrackedRun
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.profiles import ALL, token_profiles_of

logger = logging.getLogger(__name__)

TUNED = "tuned_options"
SEARCH = "genellm_search"
"""The model's name on the runs of a search, so that none is taken for a run of GeneLLM."""
_LEVEL = "search"

Progress = Callable[[int, int], None]


class TunedFold(BaseModel):
    """What the search of one fold gave.

    Attributes:
        options: Settings that change, dotted names below ``model``, to their values; none where
            nothing was better than the options as they are set.
        value: Their mean log loss on the inner folds, at equal prevalence; None without inner
            folds.
        default_value: That of the options as they are set; None likewise.
        trials: Candidates tried, those that were given up or refused included.
        given_up: Candidates that fell behind before the last inner fold.
        refused: Candidates that could not be trained.
        inner_folds: Number of inner folds.
        samples: Number of training samples.
        train_sha256: Of their names, sorted, one a line: whose options these are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: dict[str, Any]
    value: float | None
    default_value: float | None
    trials: int
    given_up: int
    refused: int
    inner_folds: int
    samples: int
    train_sha256: str


class TunedOptions(BaseModel):
    """What the asset keeps.

    Attributes:
        study: Name of the study.
        stratum: Name of the stratum.
        simulated: Whether the study is.
        searched_from: The options as they were set, of which the others differ.
        folds: Fold to what its search gave; ``all`` is the search on all samples.
        url: Page of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    stratum: str
    simulated: bool
    searched_from: dict[str, Any]
    folds: dict[str, TunedFold]
    url: str

    def table(self) -> pd.DataFrame:
        """Return one row a fold, for people."""
        return pd.DataFrame(
            [
                {
                    "fold": name,
                    "samples": fold.samples,
                    "inner folds": fold.inner_folds,
                    "trials": fold.trials,
                    "given up": fold.given_up,
                    "refused": fold.refused,
                    "log loss as set": _shown(fold.default_value),
                    "log loss": _shown(fold.value),
                    "options": ", ".join(f"{key} {_shown(v)}" for key, v in fold.options.items())
                    or "as set",
                }
                for name, fold in self.folds.items()
            ]
        )


def everyone(samples: pd.DataFrame) -> Fold:
    """Return the fold of the adapter that is put to use: it trains on all samples."""
    return Fold(name=ALL, train=tuple(samples["gsm"].astype(str)), test=())


def tracked_search(
    tracker: Tracker,
    study: Study,
    stratum: str,
    session_of: Callable[[FoldLike], Session],
    samples: pd.DataFrame,
    tokens: Mapping[tuple[str, str], pd.DataFrame],
    folds: Folds,
    settings: Settings,
    store: Store,
    progress: Callable[[str], Progress],
) -> TunedOptions:
    """Search options for each fold, and for the adapter, each search a nested run of MLflow.

    A fold's search reads its training samples alone: tokens, labels, persons. Where profiles are
    learned they are those learned on its training side, so that its inner test samples took part
    in their own profiles: inner losses are a little too good, of all candidates alike.

    Args:
        tracker: MLflow.
        study: The study.
        stratum: The stratum.
        session_of: Gives the backbone at work for a fold.
        samples: The stratum's samples: gsm, cohort, case.
        tokens: (stratum, cohort) to its token table.
        folds: The folds; they are proven before anything is fitted.
        settings: All settings.
        store: Where the trials are kept.
        progress: Gives the progress callback of a fold.

    Raises:
        ModelError: When the options as they are set cannot be trained.
        StoreError: When the trials cannot be kept, or another process searches this stratum.
    """
    folds.prove()
    table = samples.assign(gsm=samples["gsm"].astype(str)).set_index("gsm")
    trials_file = store.place(TUNED, f"{stratum}.trials.sqlite")
    found: dict[str, TunedFold] = {}
    tags = {"tokenizer": settings.tokenizer.kind, "simulated": study.simulated}
    with tracker.parent_run(
        study.name, stratum, params=settings.search, tags=tags, model=SEARCH
    ) as run:
        run.params({"searched_from": searched_options(settings.model)})
        for fold in (*folds, everyone(samples)):
            session = session_of(fold)
            side = _training_side(fold, session, table, tokens, stratum, folds.groups, store)
            with run.nested(fold.name, level=_LEVEL, tags={"fold": fold.name}) as nested:
                result = search_options(
                    side, settings.model, settings.search, trials_file, progress(fold.name)
                )
                found[fold.name] = _tuned(result, fold)
                _record(nested, result, found[fold.name])
        tuned = TunedOptions(
            study=study.name,
            stratum=stratum,
            simulated=study.simulated,
            searched_from=searched_options(settings.model),
            folds=found,
            url=run.url,
        )
        with TemporaryDirectory() as folder:
            file = Path(folder) / f"{TUNED}.json"
            write_json(file, tuned.model_dump(mode="json"))
            run.artifact(file)
    return tuned


def options_for(settings: Settings, store: Store, stratum: str, fold: FoldLike) -> GeneLLMOptions:
    """Return the options that a fold is trained with.

    Args:
        settings: All settings; ``model.tuned`` says whether a search decides.
        store: Where the result of the search lies.
        stratum: The stratum.
        fold: The fold; :func:`everyone` for the adapter that is put to use.

    Returns:
        The options as they are set, or with what the search of this very fold changed.

    Raises:
        StoreError: When there is no search, or it was made on other samples or options: options
            that were found on what is a test sample now would be no honest ones.
    """
    if not settings.model.tuned:
        return settings.model
    path = store.place(TUNED, f"{stratum}.json")
    again = f"run `genellm tune --stratum {stratum}`, or set model.tuned to false"
    if not path.exists():
        raise StoreError(f"There are no tuned options of {stratum} in {path}; {again}.")
    try:
        tuned = TunedOptions.model_validate(read_json(path))
        found = tuned.folds.get(fold.name)
        options = settings.model if found is None else with_values(settings.model, found.options)
    except (ValidationError, ModelError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise StoreError(f"The tuned options in {path} are damaged ({first}); {again}.") from error
    if found is None or found.train_sha256 != _names_sha256(fold.train):
        raise StoreError(
            f"The tuned options in {path} were searched on other training samples than those of "
            f"fold {fold.name}; {again}."
        )
    if tuned.searched_from != searched_options(settings.model):
        raise StoreError(
            f"The tuned options in {path} were searched from other options than those set now; "
            f"{again}."
        )
    return options


def _training_side(
    fold: FoldLike,
    session: Session,
    table: pd.DataFrame,
    tokens: Mapping[tuple[str, str], pd.DataFrame],
    stratum: str,
    persons: Mapping[str, int],
    store: Store,
) -> TrainingSide:
    train = [str(gsm) for gsm in fold.train]
    known = table.loc[train]

    def at_depth(head_layers: int) -> Session:
        if head_layers == session.options.prefix.head_layers:
            return session
        prefix = session.options.prefix.model_copy(update={"head_layers": head_layers})
        options = session.options.model_copy(update={"prefix": prefix})
        return Session(session.backbone, session.tokenizer, options, store.prefix_states)

    return TrainingSide(
        session_of=at_depth,
        profiles=token_profiles_of(tokens, stratum, pd.Series(train), fold.name),
        cases=known["case"].to_numpy(dtype=int),
        cohorts=known["cohort"].to_numpy(dtype=str),
        persons=np.array([persons[gsm] for gsm in train]),
    )


def _tuned(result: Found, fold: FoldLike) -> TunedFold:
    refused = sum(trial.refused is not None for trial in result.trials)
    whole = sum(trial.loss is not None for trial in result.trials)
    return TunedFold(
        options=result.changed,
        value=result.loss,
        default_value=result.default_loss,
        trials=len(result.trials),
        given_up=len(result.trials) - whole - refused,
        refused=refused,
        inner_folds=result.inner_folds,
        samples=len(list(fold.train)),
        train_sha256=_names_sha256(fold.train),
    )


def _record(run: TrackedRun, result: Found, tuned: TunedFold) -> None:
    """Put a search on record: its best candidate, how it was reached, and every trial."""
    run.params({"space": result.space, "best": tuned.options})
    numbers = tuned.model_dump(exclude={"options", "train_sha256"})
    run.metrics({name: number for name, number in numbers.items() if number is not None})
    if not result.trials:
        logger.info("There are too few persons for inner folds; the options stay as they are set.")
        return
    losses = [np.inf if trial.loss is None else trial.loss for trial in result.trials]
    run.curves({"best_value": np.minimum.accumulate(losses).tolist()})
    with TemporaryDirectory() as folder:
        file = Path(folder) / "trials.json"
        write_json(file, _trials(result))
        run.artifact(file)


def _trials(result: Found) -> list[dict[str, Any]]:
    return [
        {
            "trial": number,
            "options": trial.values,
            "value": trial.loss,
            "inner_folds": trial.losses,
            "refused": trial.refused,
        }
        for number, trial in enumerate(result.trials)
    ]


def _names_sha256(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(map(str, names))).encode()).hexdigest()


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else f"{value}"
