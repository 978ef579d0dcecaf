"""An adapter put to use: expression in, scores out, each sample as if it came alone."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError
from genellm_dagster.expression.fold_profiles import profiles_of_new_cohort
from genellm_dagster.expression.harmonisation import harmonisation_from_json
from genellm_dagster.expression.learned_normalisation import normalisation_from_json
from genellm_dagster.expression.profile_options import NormalisationOptions
from genellm_dagster.genellm.adapter import Adapter
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.prediction import predict, require_fitting
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.states import PrefixStates, StateSet
from genellm_dagster.tokenizers.kinds import tokenizer_from_description
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles

SCORE_COLUMNS = ("gsm", "score", "uncertainty", "probability", "coverage")


@dataclass(frozen=True)
class Scores:
    """What an adapter says of samples.

    Attributes:
        table: One row a scored sample: gsm, score (calibrated, at equal prevalence), uncertainty,
            probability (at the prevalence that was asked for), coverage (share of the model's genes
            that the sample has).
        refused: Samples that are not scored, and the share of the model's genes that each has.
        marks: Steps in which other samples, or labels, took part.
    """

    table: pd.DataFrame
    refused: dict[str, float]
    marks: list[str]


class Scorer:
    """An adapter with its backbone, ready for new samples; threads may share it.

    Args:
        adapter: The adapter.
        backbone: Its backbone.
        options: Device, number type, batches, and the coverage asked for.
        states_folder: Where prefix states are kept, and those of training samples are found; None:
            nowhere, they go with each call.

    Raises:
        ModelError: When the backbone, or its number type, is not the adapter's own.
    """

    def __init__(
        self,
        adapter: Adapter,
        backbone: Backbone,
        options: GeneLLMOptions,
        states_folder: Path | None = None,
    ) -> None:
        card = adapter.card
        require_fitting(card, backbone, options.backbone.numbers)
        self.adapter = adapter
        self.backbone = backbone
        self.genes: list[str] = list(card.tokenizer["genes"])
        self.min_coverage = options.min_gene_coverage
        # Each profile runs alone, here and in the head layers, and gives the same in any company:
        # in batches scores on SmolLM2 differed by up to 1.5e-5.
        prefix = {"head_layers": card.head_layers, "batch_tokens": 1}
        self.options = options.model_copy(
            update={"prefix": options.prefix.model_copy(update=prefix)}
        )
        self._folder = states_folder
        self._lock = threading.Lock()
        self._session = Session(
            backbone, card.tokenizer, self.options, states_folder or Path(tempfile.gettempdir())
        )

    def load(self) -> None:
        """Load the weights now rather than with the first samples."""
        _ = self._session.encoder

    def coverage(self, expression: pd.DataFrame) -> pd.Series:
        """Return the share of the model's genes that each sample has a value of."""
        known = expression.reindex(self.genes).notna()
        return known.sum(axis=0) / len(self.genes)

    def score(
        self,
        name: str,
        expression: pd.DataFrame,
        controls: Collection[str] = (),
        prevalence: float = 0.5,
    ) -> Scores:
        """Score samples; those with too few of the model's genes are refused, the others are not.

        Args:
            name: Of the cohort, or of the table that the samples are from.
            expression: genes x samples, log2, approved symbols.
            controls: Samples that are controls; read by COCONUT alone.
            prevalence: Share of cases among those whom the samples come from.

        Raises:
            ExpressionError: When the profiles cannot be made.
        """
        coverage = self.coverage(expression)
        enough = coverage >= self.min_coverage
        refused = {str(gsm): float(share) for gsm, share in coverage[~enough].items()}
        kept = expression.loc[:, enough.to_numpy()]
        if kept.shape[1] == 0:
            return Scores(pd.DataFrame(columns=list(SCORE_COLUMNS)), refused, [])
        recipe = self.adapter.card.profiles
        harmonisation = recipe.harmonisation
        made = profiles_of_new_cohort(
            name,
            kept,
            self.genes,
            NormalisationOptions.model_validate(recipe.normalisation),
            normalisation_from_json(recipe.learned),
            None if harmonisation is None else harmonisation_from_json(harmonisation),
            controls,
        )
        tokenizer = tokenizer_from_description(self.adapter.card.tokenizer)
        profiles = token_profiles(tokenizer.transform(made.profiles))
        table = pd.concat([self._said(alike) for alike in _alike(profiles)])
        table = table.loc[[profile.gsm for profile in profiles]].rename_axis(index="gsm")
        table = table.assign(
            probability=at_prevalence(table["score"].to_numpy(), prevalence),
            coverage=coverage[table.index],
        )
        return Scores(table.reset_index()[list(SCORE_COLUMNS)], refused, made.marks)

    def _said(self, profiles: list[TokenProfile]) -> pd.DataFrame:
        """Return what is said of profiles of one length, which need no padding."""
        # Scoring puts the adapter's layers into the one model and takes them out again.
        with self._lock:
            said = predict(
                self._session.model,
                self._states(profiles),
                np.arange(len(profiles)),
                self.adapter.members,
                self.adapter.card.head_layers,
                self.adapter.card.options,
                batch=1,
                temperature=self.adapter.card.temperature,
            )
        found = {name: getattr(said, name) for name in ("score", "uncertainty")}
        return pd.DataFrame(found, index=[profile.gsm for profile in profiles])

    def _states(self, profiles: list[TokenProfile]) -> StateSet:
        if self._folder is not None:
            return self._session.load(profiles)
        # Rounded as kept states are, so that a table gets the scores of its cohort.
        card = self.adapter.card
        with tempfile.TemporaryDirectory(prefix="genellm-states-") as folder:
            states = PrefixStates(Path(folder), self.backbone, card.tokenizer, card.head_layers)
            states.encode(profiles, lambda: self._session.encoder)
            return states.load(profiles)


def at_prevalence(score: np.ndarray, prevalence: float) -> np.ndarray:
    """Return the probability of being a case among people of whom a given share are cases.

    By Bayes' rule: odds at equal prevalence, times the odds of the prevalence.

    Args:
        score: Probability at equal prevalence, 0..1.
        prevalence: Share of cases, above 0 and below 1.

    Raises:
        ModelError: When the prevalence is not between 0 and 1.
    """
    if not 0 < prevalence < 1:
        raise ModelError(f"A prevalence of {prevalence} is none; give one above 0 and below 1.")
    case, control = score * prevalence, (1.0 - score) * (1.0 - prevalence)
    return case / (case + control)


def _alike(profiles: list[TokenProfile]) -> list[list[TokenProfile]]:
    """Put profiles together that have as many tokens."""
    groups: dict[int, list[TokenProfile]] = {}
    for profile in profiles:
        groups.setdefault(len(profile), []).append(profile)
    return list(groups.values())
