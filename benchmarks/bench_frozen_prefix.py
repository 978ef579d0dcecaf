"""What keeping the prefix states is worth: folds with them against folds that run every layer.

Uses the prepared SmolLM2 of the store. Prints seconds and ratios measured in one run.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from genellm_dagster.evaluation.folds import make_folds
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.expression.symbols import approved_symbols
from genellm_dagster.genellm.backbone import prepare_backbone
from genellm_dagster.genellm.cross_validation import cross_validate
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.session import Session
from genellm_dagster.settings import load_settings
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer

SAMPLES, GENES, FOLDS = 100, 64, 5


def main() -> None:
    """Measure and print."""
    settings = load_settings()
    symbols = approved_symbols()
    genes = sorted(symbols.loc[symbols["locus_group"] == "protein-coding gene", "symbol"])[:GENES]
    random = np.random.default_rng(0)
    gsm = [f"GSM{number}" for number in range(SAMPLES)]
    values = random.normal(size=(SAMPLES, GENES)).astype(np.float32)
    samples = pd.DataFrame(
        {"gsm": gsm, "cohort": "GSE1", "subject": gsm, "case": (values[:, 0] > 0).astype(int),
         "stratum": "all", "age_years": 1.0}
    )  # fmt: skip
    tokenizer = ValueTokenizer(genes, settings.tokenizer)
    profiles = token_profiles(tokenizer.transform(pd.DataFrame(values, gsm, genes)))
    overlap = pd.DataFrame(
        columns=["gsm_a", "cohort_a", "gsm_b", "cohort_b", "reason", "similarity"]
    )
    folds = make_folds(samples, overlap, EvaluationOptions(k_folds=FOLDS))
    backbone = prepare_backbone("smollm2", settings.store / "backbones")
    options = GeneLLMOptions()
    with tempfile.TemporaryDirectory() as folder:
        session = Session(backbone, tokenizer.describe(), options, Path(folder))
        _ = session.encoder
        start = time.perf_counter()
        report = session.encode(profiles)
        encoding = time.perf_counter() - start
        states = session.load(profiles)
        start = time.perf_counter()
        cross_validate(
            session.model, backbone, lambda _: states, samples, folds, options, ensemble=1
        )
        fitting = time.perf_counter() - start
    epochs = options.training.epochs
    # Without kept states every epoch of every fold runs the prefix on its training samples again.
    again = encoding * epochs * (FOLDS - 1)
    print(f"prefix of {report.tokens} tokens, once: {encoding:.1f} s")
    print(f"{FOLDS} folds of {epochs} epochs on kept states: {fitting:.1f} s")
    each = fitting / FOLDS
    print(f"each fold over the first with its encoding: {each / (encoding + each):.2f}")
    longer = (again + fitting) / (encoding + fitting)
    print(
        f"running the prefix in every epoch instead would take {longer:.0f} times as long "
        "(encoding time x passes)"
    )


if __name__ == "__main__":
    main()
