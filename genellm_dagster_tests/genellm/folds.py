"""Folds of simulated cohorts, and what is needed to cross-validate them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from genellm_dagster.genellm.cross_validation import (
    CrossValidation,
    cross_validate,
    cross_validate_shuffled,
)
from genellm_dagster.genellm.options import GeneLLMOptions, TrainingOptions
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.training import Fit
from genellm_dagster.tokenizers.protocol import TokenProfile

OPTIONS = GeneLLMOptions(training=TrainingOptions(epochs=1, ensemble=2))
LONG = GeneLLMOptions(training=TrainingOptions(epochs=100_000, ensemble=1))


@dataclass(frozen=True)
class Fold:
    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


def by_cohort(samples: pd.DataFrame) -> list[Fold]:
    folds = []
    for cohort in sorted(samples["cohort"].unique()):
        here = samples["cohort"] == cohort
        folds.append(
            Fold(cohort, tuple(samples.loc[~here, "gsm"]), tuple(samples.loc[here, "gsm"]))
        )
    return folds


@dataclass(frozen=True)
class Given:
    """A session, and profiles and samples of three cohorts in which cases are easy to tell."""

    session: Session
    profiles: list[TokenProfile]
    samples: pd.DataFrame

    def validate(
        self,
        folds: list[Fold] | None = None,
        samples: pd.DataFrame | None = None,
        options: GeneLLMOptions = OPTIONS,
        **more,
    ) -> CrossValidation:
        samples = self.samples if samples is None else samples
        return cross_validate(
            samples,
            by_cohort(samples) if folds is None else folds,
            lambda _: self.session,
            lambda _: self.profiles,
            lambda _: options,
            **more,
        )

    def validate_shuffled(
        self, shuffles: int, options: GeneLLMOptions = OPTIONS, **more
    ) -> list[CrossValidation]:
        return cross_validate_shuffled(
            self.samples,
            by_cohort(self.samples),
            lambda _: self.session,
            lambda _: self.profiles,
            lambda _: options,
            shuffles,
            **more,
        )


def require_same(one: CrossValidation, other: CrossValidation) -> None:
    pd.testing.assert_frame_equal(one.predictions, other.predictions, check_exact=True)
    pd.testing.assert_frame_equal(one.representations, other.representations, check_exact=True)
    assert one.fits.keys() == other.fits.keys()
    for name, fit in one.fits.items():
        assert fit.losses == other.fits[name].losses
        assert _numbers(fit) == _numbers(other.fits[name])


def _numbers(fit: Fit) -> list[dict]:
    return [
        {
            name: {key: part.tolist() for key, part in value.items()}
            if isinstance(value, dict)
            else value.tolist()
            for name, value in vars(member).items()
        }
        for member in fit.members
    ]
