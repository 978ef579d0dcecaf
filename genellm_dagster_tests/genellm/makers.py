"""Simulated profiles and the states of the tiny backbone for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.genellm.backbone import Backbone, load_text_tokenizer
from genellm_dagster.genellm.embedding import GeneEmbedding
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.prefix import PrefixEncoder
from genellm_dagster.genellm.session import Session
from genellm_dagster.genellm.states import CacheReport, PrefixStates, StateSet
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import TokenProfile, token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer

GENES = [
    "CD177", "MMP8", "ARG1", "S100A12", "OLFM4", "HLA-DPB1", "CD3E", "LEF1",
    "IL7R", "CYSTM1", "BATF", "PLAC8",
]  # fmt: skip
RAISED = 5


def simulated(
    cohorts: int, each: int, effect: float = 2.0, absent: bool = True, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Profiles and samples; the first genes are raised in cases, one gene is absent in a cohort."""
    random = np.random.default_rng(seed)
    cases = np.tile([0, 1], cohorts * each // 2 + 1)[: cohorts * each]
    number = np.repeat(np.arange(cohorts), each)
    values = random.normal(size=(cohorts * each, len(GENES)))
    values[:, :RAISED] += effect * cases[:, None]
    if absent:
        values[number == 0, -1] = np.nan
    gsm = [f"GSM{i}" for i in range(len(values))]
    samples = pd.DataFrame(
        {
            "gsm": gsm,
            "cohort": [f"GSE{n}" for n in number],
            "subject": gsm,
            "case": cases,
            "stratum": "adult",
            "age_years": 40.0,
        }
    )
    return pd.DataFrame(values.astype(np.float32), index=gsm, columns=GENES), samples


@dataclass(frozen=True)
class Setting:
    """A backbone with its model and what reads profiles for it."""

    backbone: Backbone
    model: Any
    embedding: GeneEmbedding
    tokenizer: ValueTokenizer

    @classmethod
    def of(cls, backbone: Backbone, model: Any) -> Setting:
        options = TokenizerOptions()
        text = load_text_tokenizer(backbone)
        embedding = GeneEmbedding(model, text, GENES, options.low_word, options.high_word)
        return cls(backbone, model, embedding, ValueTokenizer(GENES, options))

    def tokens(self, profiles: pd.DataFrame) -> list[TokenProfile]:
        return token_profiles(self.tokenizer.transform(profiles))

    def session(self, folder: Path, options: GeneLLMOptions | None = None) -> Session:
        options = options or GeneLLMOptions()
        return Session(self.backbone, self.tokenizer.describe(), options, folder)

    def encoder(self, head_layers: int = 1, batch_tokens: int = 256) -> PrefixEncoder:
        return PrefixEncoder(self.model, self.embedding, head_layers, batch_tokens)

    def cache(self, folder: Path, head_layers: int = 1) -> PrefixStates:
        return PrefixStates(folder, self.backbone, self.tokenizer.describe(), head_layers)

    def encode(
        self, folder: Path, profiles: Sequence[TokenProfile], head_layers: int = 1
    ) -> CacheReport:
        cache = self.cache(folder, head_layers)
        return cache.encode(profiles, lambda: self.encoder(head_layers))

    def states(self, folder: Path, profiles: pd.DataFrame, head_layers: int = 1) -> StateSet:
        tokens = self.tokens(profiles)
        self.encode(folder, tokens, head_layers)
        return self.cache(folder, head_layers).load(tokens)
