"""Every step from values to profiles as a function of one table, so that all can be asked alike.

A new step is one line of ``STEPS``; the properties are in ``test_properties.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.fold_profiles import (
    FoldProfiles,
    profiles_of_fold,
    profiles_of_new_cohort,
)
from genellm_dagster.expression.harmonisation import Harmonisation, fit_harmonisation
from genellm_dagster.expression.learned_normalisation import (
    LearnedNormalisation,
    fit_normalisation,
)
from genellm_dagster.expression.normalisation import (
    quantile,
    rank_normal,
    reference_quantiles,
    to_reference,
    within_sample_z,
)
from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
)
from genellm_dagster.expression.profiles import build_profiles
from genellm_dagster.expression.qc import quality_control
from genellm_dagster.expression.qc_options import QcOptions
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster_tests.expression.tables import cohort, factor_table, gene_names, sheet_of

Tables = dict[str, pd.DataFrame]
Function = Callable[[pd.DataFrame], pd.DataFrame]

GENES = gene_names(12)
VOCABULARY = [GENES[place] for place in (0, 7, 3, 9, 2, 5, 11, 4)]
NORMALISATIONS = ("rank_normal", "within_sample_z", "quantile", "reference_quantiles", "gene_z")
HARMONISATIONS = ("none", "combat", "coconut")
LARGE, TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)
HOSTILE = (0.0, -0.0, TINY, -TINY, 1.2e-38, 1e-20, 1e20, 1e38, -1e38, LARGE, -LARGE)

plain = st.one_of(
    st.integers(-2, 8).map(float),  # Few, so that there are ties.
    st.floats(-8, 20, width=32),
)
hostile = st.one_of(st.sampled_from(HOSTILE), plain)
# What no step has a reason to refuse.
strange = st.one_of(st.sampled_from([one for one in HOSTILE if abs(one) < 1e30]), plain)


@st.composite
def tables(
    draw: st.DrawFn, values: st.SearchStrategy = plain, gaps: bool = True, least: int = 2
) -> pd.DataFrame:
    """Genes x samples, float32, without order; the first of GENES has no gap."""
    genes = [GENES[0], *draw(st.lists(st.sampled_from(GENES[1:]), min_size=1, unique=True))]
    columns = draw(st.lists(st.integers(100, 999), min_size=least, max_size=5, unique=True))
    cell = st.one_of(values, values, st.just(np.nan)) if gaps else values
    rows = [
        draw(st.lists(values if row == 0 else cell, min_size=len(columns), max_size=len(columns)))
        for row in range(len(genes))
    ]
    order = draw(st.permutations(range(len(genes))))
    table = pd.DataFrame(
        np.array(rows, dtype=np.float32),
        index=pd.Index(genes, name="gene"),
        columns=[f"GSM{number}" for number in columns],
    )
    return table.iloc[order]


@lru_cache
def training() -> Tables:
    """Two cohorts to learn from, the second of other level and spread; a gap, a quiet gene."""
    first, second = factor_table(12, 8, 1, 1000), 1 + 1.3 * factor_table(12, 9, 2, 2000)
    second.iloc[5, 2] = np.nan
    for table in (first, second):
        table.loc[VOCABULARY[2]] = 8 + 0.01 * table.loc[VOCABULARY[2]]
    return {"GSE1": first, "GSE2": second}


def trained() -> list[str]:
    """The training samples."""
    return [gsm for table in training().values() for gsm in table.columns]


def controls() -> list[str]:
    """Half of each training cohort."""
    return [gsm for table in training().values() for gsm in table.columns[::2]]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        function: genes x samples to genes x samples.
        alone: No other sample takes part.
        stable: A second application changes nothing.
        keeps: A value of ``genes`` that is there stays there.
        genes: Of what it speaks.
        domain: Brings any values to such as the step is made for.
    """

    function: Function
    alone: bool = True
    stable: bool = False
    keeps: bool = True
    genes: tuple[str, ...] = tuple(GENES)
    domain: Function = lambda table: table

    def __call__(self, table: pd.DataFrame) -> pd.DataFrame:
        """Apply it; a gene or a sample that is left out or was never there is absent: missing."""
        return self.function(table).reindex(index=list(self.genes), columns=table.columns)


def _built(table: pd.DataFrame, scale: str, collapse: str = "median") -> pd.DataFrame:
    options = ExpressionOptions(collapse=collapse)
    return build_expression(table, None, cohort(scale=scale), "array", options).table


def _built_of_probes(table: pd.DataFrame, collapse: str) -> pd.DataFrame:
    return _built(pd.concat([table, table + 1, 0.5 * table]), "log2", collapse)


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    try:
        return quality_control(table, sheet_of(table), QcOptions(max_sample_missing=1)).table
    except ExpressionError:
        # Nobody is left, which a few samples of few values soon come to.
        return table.iloc[:0, :0]


@lru_cache
def _learned(options: NormalisationOptions) -> LearnedNormalisation | None:
    return fit_normalisation(training(), VOCABULARY, options)


@lru_cache
def _known(options: HarmonisationOptions) -> Harmonisation:
    return fit_harmonisation(training(), options, controls())


@lru_cache
def _trained(
    normalisation: NormalisationOptions, harmonisation: HarmonisationOptions
) -> FoldProfiles:
    return profiles_of_fold(
        training(),
        VOCABULARY,
        trained(),
        normalisation=normalisation,
        harmonisation=harmonisation,
        controls=controls(),
    )


def _profiles(table: pd.DataFrame, method: str, scope: str) -> pd.DataFrame:
    options = NormalisationOptions(method=method, scope=scope, reference_size=21)
    return build_profiles(table, VOCABULARY, options, _learned(options)).T


def _tokens(table: pd.DataFrame) -> pd.DataFrame:
    """The values of tokens where a token is, back as genes x samples."""
    tokenizer = ValueTokenizer(VOCABULARY, TokenizerOptions())
    tokens = token_profiles(tokenizer.transform(build_profiles(table, VOCABULARY)))
    found = pd.DataFrame(np.nan, index=VOCABULARY, columns=table.columns, dtype=np.float32)
    for gsm, token in zip(table.columns, tokens, strict=True):
        found.loc[[VOCABULARY[gene] for gene in token.genes], gsm] = token.values
    return found


def _harmonised(table: pd.DataFrame, method: str, name: str) -> pd.DataFrame:
    found = _known(HarmonisationOptions(method=method, min_controls=2))
    if name not in found.trained_on:
        found = found.with_cohort(name, table, list(table.columns))
    return found.apply(name, table)


def _of_fold(table: pd.DataFrame, normalisation: str, harmonisation: str) -> pd.DataFrame:
    fold = profiles_of_fold(
        {**training(), "GSE3": table},
        VOCABULARY,
        trained(),
        list(table.columns),
        normalisation=NormalisationOptions(method=normalisation),
        harmonisation=HarmonisationOptions(method=harmonisation, min_controls=2),
        controls=[*controls(), *table.columns],
    )
    return fold.profiles.loc[table.columns].T


def _of_new_cohort(table: pd.DataFrame, normalisation: str, harmonisation: str) -> pd.DataFrame:
    how = NormalisationOptions(method=normalisation)
    kept = _trained(how, HarmonisationOptions(method=harmonisation, min_controls=2))
    return profiles_of_new_cohort(
        "GSE3", table, VOCABULARY, how, kept.learned, kept.harmonisation, list(table.columns)
    ).profiles.T


def _positive(table: pd.DataFrame) -> pd.DataFrame:
    # Where no value of a sample is positive there is no logarithm, which is told in test_scale.
    return table.abs() + np.float32(1)


_REFERENCE = reference_quantiles(training()["GSE1"], 21)
_ONE_PROBE = {"stable": True}
_CHOSEN = {"genes": tuple(VOCABULARY)}

STEPS: dict[str, Step] = {
    "build, log2": Step(partial(_built, scale="log2"), **_ONE_PROBE),
    "build, centred": Step(partial(_built, scale="centred"), **_ONE_PROBE),
    "build, linear": Step(partial(_built, scale="linear"), domain=_positive),
    "build, counts": Step(partial(_built, scale="counts"), domain=_positive),
    "collapse by median": Step(partial(_built_of_probes, collapse="median")),
    "collapse by mean": Step(partial(_built_of_probes, collapse="mean")),
    "collapse by highest mean": Step(
        partial(_built_of_probes, collapse="highest_mean"), alone=False
    ),
    "collapse by highest variance": Step(
        partial(_built_of_probes, collapse="highest_variance"), alone=False
    ),
    "qc": Step(_judged, alone=False, keeps=False),
    "rank_normal": Step(rank_normal, stable=True),
    "within_sample_z": Step(within_sample_z, stable=True),
    "quantile": Step(quantile, alone=False),
    "to a reference": Step(partial(to_reference, reference=_REFERENCE), stable=True),
    **{
        f"profiles, {method} of the {scope}": Step(
            partial(_profiles, method=method, scope=scope), alone=method != "quantile", **_CHOSEN
        )
        for method in NORMALISATIONS
        for scope in ("table", "vocabulary")
    },
    "tokens": Step(_tokens, **_CHOSEN),
    "no harmonisation": Step(partial(_harmonised, method="none", name="GSE1"), stable=True),
    "combat, known cohort": Step(partial(_harmonised, method="combat", name="GSE2")),
    "coconut, known cohort": Step(partial(_harmonised, method="coconut", name="GSE2")),
    "combat, new cohort": Step(partial(_harmonised, method="combat", name="GSE3"), alone=False),
    "coconut, new cohort": Step(partial(_harmonised, method="coconut", name="GSE3"), alone=False),
    **{
        f"{where}, {normalisation}, {harmonisation}": Step(
            partial(function, normalisation=normalisation, harmonisation=harmonisation),
            alone=harmonisation == "none",
            **_CHOSEN,
        )
        for where, function in (("fold", _of_fold), ("new cohort", _of_new_cohort))
        for normalisation, harmonisation in (
            ("rank_normal", "combat"),
            ("gene_z", "coconut"),
            ("reference_quantiles", "none"),
        )
    },
}
