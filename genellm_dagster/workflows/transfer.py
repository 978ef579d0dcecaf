"""Training in one stratum, or one cohort, and scoring the others: what the transfer rests on.

Baselines are trained anew, on genes of the strata's vocabularies that every cohort measures.
GeneLLM is not: each stratum's adapter, trained on all of its samples, scores people of the other
strata on its own genes, as it would score any new cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd
from pydantic import BaseModel

from genellm_dagster.baselines.options import BaselineOptions
from genellm_dagster.baselines.run import PREDICTION_COLUMNS, baseline_predictions
from genellm_dagster.baselines.signatures import load_signatures
from genellm_dagster.errors import EvaluationError, ExpressionError
from genellm_dagster.evaluation.age.transfer import COHORT, LEVEL, STRATUM, TESTED, TRAINED
from genellm_dagster.evaluation.folds import (
    Fold,
    Folds,
    leave_one_stratum_out,
    repeated_grouped_folds,
    train_on_one,
)
from genellm_dagster.expression.fold_profiles import profiles_of_fold
from genellm_dagster.genellm.adapter import load_adapter
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.scoring import Scorer
from genellm_dagster.interpretation.sampling import draw_balanced
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.workflows.folds import GENELLM
from genellm_dagster.workflows.stratum import StratumSamples

COLUMNS = [LEVEL, TRAINED, TESTED, *PREDICTION_COLUMNS]
LOGISTIC = "logistic_regression"
ALL_OTHERS = "all other strata"
_NUMBERS = {"case": "int64", "score": "float64", "uncertainty": "float64"}

Progress = Callable[[int, int], None]


@dataclass
class Transfer:
    """Predictions across strata and cohorts, as they come together.

    Attributes:
        tables: Predictions with the columns :data:`COLUMNS`.
        missing: Pairs without predictions: level, trained_on, tested_on, model, reason.
        about: What the predictions rest on, JSON-safe.
    """

    tables: list[pd.DataFrame] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """All predictions below one another."""
        if not self.tables:
            # Of the same types as one with rows.
            return pd.DataFrame(
                {name: pd.Series(dtype=_NUMBERS.get(name, "object")) for name in COLUMNS}
            )
        return pd.concat(self.tables, ignore_index=True)[COLUMNS]

    def add(self, level: str, trained: str, tested: pd.Series, found: pd.DataFrame) -> None:
        """Add predictions of people of several parts; ``tested`` gives the part of each gsm."""
        parts = found["gsm"].map(tested)
        told = pd.DataFrame({LEVEL: level, TRAINED: trained, TESTED: parts}, index=found.index)
        self.tables.append(pd.concat([told, found], axis=1))

    def lack(self, level: str, trained: str, tested: str, model: str, reason: str) -> None:
        """Say why a pair has no predictions."""
        entry = {LEVEL: level, TRAINED: trained, TESTED: tested, "model": model, "reason": reason}
        self.missing.append(entry)


@dataclass(frozen=True)
class _Together:
    """All strata as one set of samples on common genes.

    ``stratum_of`` and ``part_of`` give the stratum, and stratum and cohort, of each gsm.
    """

    samples: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    genes: list[str]
    expression: pd.DataFrame
    overlap: pd.DataFrame | None
    settings: Settings
    scales: Mapping[str, str]

    @property
    def stratum_of(self) -> pd.Series:
        return self.samples.set_index("gsm")["stratum"].astype(str)

    @property
    def part_of(self) -> pd.Series:
        rows = self.samples.set_index("gsm")
        return rows["stratum"].astype(str) + "/" + rows["cohort"].astype(str)

    @cached_property
    def profiles(self) -> pd.DataFrame:
        """Profiles of everybody, for where nothing is learned for them."""
        return self.made(self.samples["gsm"], ())

    def made(self, train: Iterable[str], test: Iterable[str]) -> pd.DataFrame:
        """Profiles on the common genes; what is learned for them is learned on ``train``."""
        expression = self.settings.expression
        return profiles_of_fold(
            self.tables,
            self.genes,
            train,
            test,
            normalisation=expression.normalisation,
            harmonisation=expression.harmonisation,
            controls=self.samples.loc[self.samples["case"] == 0, "gsm"].tolist(),
        ).profiles


def transfer_between(
    data: Mapping[str, StratumSamples],
    vocabularies: Mapping[str, list[str]],
    overlap: pd.DataFrame | None,
    scales: Mapping[str, str],
    settings: Settings,
    scorers: Callable[[str], Scorer],
    progress: Progress | None = None,
) -> Transfer:
    """Train in each stratum and each cohort, and score the people of the others.

    Args:
        data: Stratum to its samples after quality control.
        vocabularies: Stratum to its genes.
        overlap: Pairs of samples that are one person or one array.
        scales: Cohort to the recorded scale of its values.
        settings: All settings.
        scorers: Gives the adapter of a stratum, ready to score; called once a stratum, and not at
            all where ``transfer_samples`` is 0.
        progress: Called with parts done and in all.

    Returns:
        Predictions, and for what is missing the reason.
    """
    report = progress or (lambda done, total: None)
    found = Transfer()
    genes = _common(vocabularies, data)
    found.about = {
        "genes": len(genes),
        "note": "Baselines are trained on those genes of the strata's vocabularies that every "
        "cohort measures, on every sample of the part; people of the other parts who overlap with "
        "it are not tested. "
        "GeneLLM is the adapter of the stratum, on its own genes, tried on "
        f"{settings.evaluation.age.transfer_samples} samples of the others at most, drawn evenly "
        "over cohort and class. What stands on its own stratum is out of fold, on its own "
        "vocabulary.",
    }
    if not data:
        return found
    together = _together(data, genes, overlap, settings, scales)
    several = together.samples["stratum"].nunique() > 1
    parts = sorted(together.part_of.unique())
    steps = 2 + len(data)
    enough = len(genes) >= settings.evaluation.age.min_common_genes
    why = (
        f"{len(genes)} genes of the vocabularies are measured in every cohort, fewer than "
        f"{settings.evaluation.age.min_common_genes}"
    )
    if several and enough:
        _strata(found, together)
    elif several:
        for one in data:
            for other in data:
                if one != other:
                    found.lack(STRATUM, one, other, LOGISTIC, why)
    report(1, steps)
    if len(parts) > 1 and enough:
        _cohorts(found, together, parts)
    report(2, steps)
    if several and settings.evaluation.age.transfer_samples:
        folds = train_on_one(together.samples, overlap, together.samples["stratum"], STRATUM)
        folds.prove()
        for number, fold in enumerate(folds, start=1):
            _adapter(found, data, together, fold, scorers(fold.name))
            report(2 + number, steps)
    report(steps, steps)
    return found


def scorer_of_stratum(
    settings: Settings, store: Store, backbone: dict[str, Any], stratum: str
) -> Scorer:
    """Return the adapter of a stratum, ready to score."""
    return Scorer(
        load_adapter(store.place("adapter", stratum)),
        Backbone.model_validate(backbone),
        settings.model,
        store.prefix_states,
    )


def _common(vocabularies: Mapping[str, list[str]], data: Mapping[str, StratumSamples]) -> list[str]:
    """Genes of any stratum's vocabulary that every cohort of every stratum has a value of."""
    wanted = dict.fromkeys(gene for name in data for gene in vocabularies[name])
    measured = [
        set(table.index[table.notna().any(axis=1)])
        for part in data.values()
        for table in part.tables.values()
    ]
    return [gene for gene in wanted if all(gene in one for one in measured)]


def _together(
    data: Mapping[str, StratumSamples],
    genes: list[str],
    overlap: pd.DataFrame | None,
    settings: Settings,
    scales: Mapping[str, str],
) -> _Together:
    tables: dict[str, list[pd.DataFrame]] = {}
    for part in data.values():
        for cohort, table in part.tables.items():
            tables.setdefault(cohort, []).append(table)
    # A cohort of all ages has a table in each stratum.
    joined = {name: pd.concat(parts, axis=1) for name, parts in tables.items()}
    samples = pd.concat([part.samples for part in data.values()], ignore_index=True)
    known = load_signatures(settings.baselines.signatures_folder)
    wanted = sorted({*genes, *(gene for one in known.values() for gene in one.genes)})
    expression = pd.concat([table.reindex(wanted).T for table in joined.values()])
    return _Together(
        samples, joined, genes, expression.loc[samples["gsm"]], overlap, settings, scales
    )


def _strata(found: Transfer, together: _Together) -> None:
    """Every baseline, trained in one stratum, and in all but one where there are three or more."""
    folds = train_on_one(together.samples, together.overlap, together.samples["stratum"], STRATUM)
    predictions, refusals = _predict(together, folds, together.settings.baselines)
    found.about["refusals"] = refusals
    for fold in folds:
        rows = predictions.loc[predictions["fold"] == fold.name]
        found.add(STRATUM, fold.name, together.stratum_of, rows)
    found.about["dropped"] = {fold.name: len(fold.dropped) for fold in folds}
    if len(folds) > 2:
        others = leave_one_stratum_out(together.samples, together.overlap)
        predictions, _ = _predict(together, others, together.settings.baselines)
        found.add(STRATUM, ALL_OTHERS, together.stratum_of, predictions)


def _cohorts(found: Transfer, together: _Together, parts: list[str]) -> None:
    """Logistic regression, trained in one cohort; on itself by repeated grouped k-fold."""
    options = only_logistic(together.settings.baselines)
    part_of = together.part_of
    here = together.samples["gsm"].map(part_of)
    folds = train_on_one(together.samples, together.overlap, here, COHORT)
    predictions, _ = _predict(together, folds, options)
    for fold in folds:
        rows = predictions.loc[predictions["fold"] == fold.name]
        found.add(COHORT, fold.name, part_of, rows)
    for part in parts:
        own = together.samples.loc[(here == part).to_numpy()]
        try:
            rows = _at_home(together, own, options)
        except EvaluationError as error:
            found.lack(COHORT, part, part, LOGISTIC, str(error))
            continue
        found.add(COHORT, part, part_of, rows)


def _at_home(together: _Together, own: pd.DataFrame, options: BaselineOptions) -> pd.DataFrame:
    """Out-of-fold scores within one cohort, averaged over the repetitions."""
    evaluation = together.settings.evaluation
    repeats = [
        _predict(together, folds, options)[0]
        for folds in repeated_grouped_folds(
            own, together.overlap, evaluation, evaluation.age.transfer_repeats
        )
    ]
    every = pd.concat(repeats).groupby(["gsm", "model"])[["score", "uncertainty"]].mean()
    first = repeats[0].drop(columns=["score", "uncertainty"])
    return first.merge(every.reset_index(), on=["gsm", "model"])[PREDICTION_COLUMNS]


def _predict(
    together: _Together, folds: Folds, options: BaselineOptions
) -> tuple[pd.DataFrame, dict[str, str]]:
    folds.prove()
    used = [fold for fold in folds if fold.test]
    learned = together.settings.expression.learned_on_folds
    profiles = {fold.name: together.made(fold.train, fold.test) for fold in used} if learned else {}
    result = baseline_predictions(
        lambda name: profiles.get(name, together.profiles),
        together.expression,
        together.samples,
        used,
        options,
        together.settings.evaluation.seed,
        scales=together.scales,
    )
    return result.predictions, result.refusals


def _adapter(
    found: Transfer,
    data: Mapping[str, StratumSamples],
    together: _Together,
    fold: Fold,
    scorer: Scorer,
) -> None:
    """Score some people of every other stratum with the adapter of one."""
    age, seed = together.settings.evaluation.age, together.settings.evaluation.seed
    for tested, part in data.items():
        if tested == fold.name:
            continue
        people = part.samples.loc[part.samples["gsm"].isin(fold.test)]
        if people.empty:
            why = "every person there is also in the training stratum"
            found.lack(STRATUM, fold.name, tested, GENELLM, why)
            continue
        drawn = draw_balanced(people, age.transfer_samples, seed, "transfer")
        tables: list[pd.DataFrame] = []
        refused: dict[str, float] = {}
        for cohort, rows in people.loc[people["gsm"].isin(drawn)].groupby("cohort", sort=False):
            controls = rows.loc[rows["case"] == 0, "gsm"].tolist()
            table = part.tables[str(cohort)][rows["gsm"].tolist()]
            try:
                scores = scorer.score(str(cohort), table, controls)
            except ExpressionError as error:
                found.about.setdefault("not_scored", {})[f"{fold.name} on {cohort}"] = str(error)
                continue
            refused |= scores.refused
            if len(scores.table):
                tables.append(rows.merge(scores.table, on="gsm"))
        if refused:
            found.about.setdefault("refused_by_adapter", {})[f"{fold.name} on {tested}"] = len(
                refused
            )
        if not tables:
            share = max(refused.values(), default=0.0)
            found.lack(
                STRATUM, fold.name, tested, GENELLM,
                f"no sample could be scored (at most {share:.0%} of the adapter's genes)",
            )  # fmt: skip
            continue
        scored = pd.concat(tables, ignore_index=True)
        scored = scored.assign(fold=fold.name, model=GENELLM, case=scored["case"].astype(int))
        found.add(STRATUM, fold.name, together.stratum_of, scored[PREDICTION_COLUMNS])


def only_logistic(options: BaselineOptions) -> BaselineOptions:
    """Return the options with logistic regression alone, for what is fitted many times."""
    others = {
        name: None
        for name in type(options).model_fields
        if name != LOGISTIC and isinstance(getattr(options, name), BaseModel)
    }
    return options.model_copy(update={**others, "signatures": ()})
