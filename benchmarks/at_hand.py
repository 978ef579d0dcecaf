"""Strata for the benchmarks: simulated with a known signal, or of a finished run's store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.evaluation.folds import Fold, Folds, make_folds
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.expression.symbols import approved_symbols
from genellm_dagster.files import read_parquet
from genellm_dagster.genellm.cross_validation import (
    CrossValidation,
    cross_validate,
    cross_validate_shuffled,
)
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.session import Session
from genellm_dagster.store import Store
from genellm_dagster.studies.loading import load_study
from genellm_dagster.tokenizers.protocol import TokenProfile
from genellm_dagster.workflows.profiles import ALL, COHORT, FOLD, GSM, profiles_of
from genellm_dagster.workflows.stratum import stratum_samples

ROOT = Path(__file__).resolve().parents[1]

# Of the simulated signal: a linear score at its optimum reaches an AUROC of about .95.
_PLANTED_SHARE = 0.1
_DISTANCE = 2.3
_FACTORS = 3


@dataclass(frozen=True)
class Stratum:
    """A stratum as the models see it.

    Attributes:
        name: Study and stratum; SIMULATED where nothing of it was measured.
        samples: gsm, cohort, subject, case, stratum.
        genes: The vocabulary.
        folds: The project's folds.
        table: Profiles, as the asset ``profiles`` keeps them.
    """

    name: str
    samples: pd.DataFrame
    genes: list[str]
    folds: Folds
    table: pd.DataFrame

    def profiles(self, fold: str = ALL) -> pd.DataFrame:
        """Return the profiles of a fold (samples x genes), those of all where it has no own."""
        return profiles_of(self.table, fold).loc[self.samples[GSM]]


def simulated(samples: int, genes: int, folds: int, seed: int = 0) -> Stratum:
    """Simulate one cohort: real symbols, a tenth of the genes shifted in cases.

    Genes share a few factors, as those of blood share its cells; half of the samples are cases.
    """
    random = np.random.default_rng(seed)
    symbols = approved_symbols()
    coding = sorted(symbols.loc[symbols["locus_group"] == "protein-coding gene", "symbol"])
    names = sorted(random.choice(coding, genes, replace=False).tolist())
    case = np.arange(samples) % 2
    planted = max(2, round(_PLANTED_SHARE * genes))
    shift = np.zeros(genes)
    shift[random.choice(genes, planted, replace=False)] = _DISTANCE / np.sqrt(planted)
    shift *= random.choice([-1, 1], genes)
    values = random.normal(size=(samples, _FACTORS)) @ random.normal(size=(_FACTORS, genes)) * 0.5
    values = values + random.normal(size=(samples, genes)) + (case[:, None] - 0.5) * shift
    values = values / values.std(axis=0)
    gsm = [f"GSM{number}" for number in range(samples)]
    rows = pd.DataFrame({GSM: gsm, COHORT: "GSE1", "subject": gsm, "case": case, "stratum": "all"})
    table = pd.DataFrame(values.astype(np.float32), columns=names)
    table.insert(0, FOLD, ALL)
    table.insert(1, GSM, gsm)
    table.insert(2, COHORT, "GSE1")
    made = make_folds(rows, None, EvaluationOptions(k_folds=folds))
    return Stratum(f"SIMULATED, seed {seed}", rows, names, made, table)


def of_store(study_file: Path, store: Path, stratum: str | None = None) -> list[Stratum]:
    """Read strata of a finished run: the samples, folds and profiles that it used.

    Args:
        study_file: The study.
        store: Where the run wrote to.
        stratum: Which; all that have profiles when not given.
    """
    study = load_study(study_file, data_dir=ROOT / "data")
    place = Store(store, study.name).place
    files = sorted(place("profiles").glob(f"{stratum or '*'}.parquet"))
    if not files:
        raise SystemExit(
            f"There are no profiles in {place('profiles')}; run `genellm run` on the study first."
        )
    sheets = {
        name: read_parquet(place("sample_sheet", f"{name}.parquet")) for name in study.cohorts
    }
    overlap = read_parquet(place("sample_overlap.parquet"))
    strata = []
    for file in files:
        cells = [place("qc_expression", file.stem, f"{name}.parquet") for name in study.cohorts]
        tables = {(file.stem, cell.stem): read_parquet(cell) for cell in cells if cell.exists()}
        data = stratum_samples(study, file.stem, sheets, tables)
        table = read_parquet(file)
        genes = [name for name in table.columns if name not in (FOLD, GSM, COHORT)]
        folds = make_folds(data.samples, overlap, EvaluationOptions())
        strata.append(Stratum(f"{study.name} {file.stem}", data.samples, genes, folds, table))
    return strata


def run_folds(
    stratum: Stratum,
    session_of: Callable[[Fold], Session],
    profiles_of_fold: Callable[[Fold], list[TokenProfile]],
    options: GeneLLMOptions,
    *,
    shuffled: bool = False,
    **how: Any,
) -> CrossValidation:
    """Cross-validate; folds of one session and the same profiles share their states.

    Args:
        stratum: Samples and folds.
        session_of: The backbone and the tokenizer of a fold.
        profiles_of_fold: Token profiles of a fold's both sides.
        options: All about the model.
        shuffled: Whether training labels are permuted within cohorts, once.
        how: As of :func:`genellm_dagster.genellm.cross_validation.cross_validate`.
    """
    what = (stratum.samples, stratum.folds, session_of, profiles_of_fold, lambda _: options)
    if shuffled:
        return cross_validate_shuffled(*what, 1, **how)[0]
    return cross_validate(*what, **how)
