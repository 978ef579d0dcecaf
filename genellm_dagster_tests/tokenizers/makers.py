"""Profiles and tokenizers that several tests use."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genellm_dagster.tokenizers.kinds import fit_tokenizer
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import Tokenizer

GENES = ["IL6", "CD177", "MMP8", "ARG1", "HLA-DPB1"]
KINDS = {
    "value": TokenizerOptions(),
    "rank": TokenizerOptions(kind="rank"),
    "bins": TokenizerOptions(kind="bins", bin_count=4),
    "bins of a gene": TokenizerOptions(kind="bins", bin_count=4, bin_edges="gene"),
}


def profiles(values: object, genes: list[str] | None = None) -> pd.DataFrame:
    """Name samples and genes."""
    table = np.asarray(values, dtype=np.float32)
    names = [f"GSM{number}" for number in range(len(table))]
    return pd.DataFrame(table, index=names, columns=genes or GENES)


def fitted(kind: str, training: pd.DataFrame) -> Tokenizer:
    """Fit the tokenizer of one of ``KINDS``."""
    return fit_tokenizer(list(training.columns), KINDS[kind], training)


@st.composite
def some_profiles(draw: st.DrawFn, samples: int = 6) -> pd.DataFrame:
    """Profiles with ties, huge and tiny values and absent genes; every sample has the last gene."""
    numbers = st.one_of(
        st.sampled_from([-1.5, -0.0, 0.0, 0.25, 2.0, 1e-45, -1e-30, 1e38, -1e38]),
        st.floats(-4, 4, width=32),
    )
    values = draw(arrays(np.float32, (samples, len(GENES)), elements=numbers))
    absent = draw(arrays(bool, (samples, len(GENES) - 1)))
    values[:, :-1][absent] = np.nan
    return profiles(values)
