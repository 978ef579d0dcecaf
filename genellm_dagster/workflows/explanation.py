"""Attributions of a stratum's adapter, and the signature they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genellm_dagster.genellm.adapter import load_adapter
from genellm_dagster.genellm.prediction import require_fitting
from genellm_dagster.genellm.session import Session
from genellm_dagster.interpretation.attribution import attribute
from genellm_dagster.interpretation.sampling import draw_balanced
from genellm_dagster.interpretation.signature import SIGNATURE_COLUMNS, gene_signature
from genellm_dagster.settings import Settings
from genellm_dagster.workflows.profiles import token_profiles_of


@dataclass(frozen=True)
class Explained:
    """Why an adapter scores samples as it does.

    Attributes:
        values: SHAP values, gsm x genes, NaN absent.
        signature: From :func:`genellm_dagster.interpretation.signature.gene_signature`.
        completeness_error: Of the median sample; none where nothing was explained.
        note: Why there is nothing; empty when there is something.
    """

    values: pd.DataFrame
    signature: pd.DataFrame
    completeness_error: float | None
    note: str = ""


def explain_stratum(
    session: Session,
    adapter_folder: Path,
    samples: pd.DataFrame,
    tokens: Mapping[tuple[str, str], pd.DataFrame],
    settings: Settings,
    progress: Callable[[int, int], None],
) -> Explained:
    """Explain some samples of a stratum by its adapter.

    Args:
        session: The backbone at work.
        adapter_folder: The adapter.
        samples: The stratum's samples; those explained are drawn evenly over cohort and class.
        tokens: (stratum, cohort) to its token table.
        settings: All settings.
        progress: Called with runs of the model done and in all.
    """
    options = settings.interpretation
    adapter = load_adapter(adapter_folder)
    require_fitting(adapter.card, session.backbone, session.options.backbone.numbers)
    profiles = {
        one.gsm: one
        for one in token_profiles_of(tokens, str(samples["stratum"].iloc[0]), samples["gsm"])
    }
    if not any(profile.values.any() for profile in profiles.values()):
        genes = session.tokenizer["genes"]
        return Explained(
            pd.DataFrame(columns=genes, index=pd.Index([], name="gsm"), dtype=float),
            pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SIGNATURE_COLUMNS.items()}),
            None,
            f"The {session.tokenizer['kind']} tokenizer moves no token: what it tells is the order "
            "of the genes, which has no gradient to attribute scores by.",
        )
    explained = draw_balanced(samples, options.samples, options.seed, "explained")
    background = draw_balanced(samples, options.background, options.seed, "background")
    found = attribute(
        session.encoder,
        adapter.members,
        adapter.card.options,
        session.tokenizer["genes"],
        [profiles[gsm] for gsm in explained],
        [profiles[gsm] for gsm in background],
        options,
        progress,
    )
    signature = gene_signature(found.values, found.inputs, options, options.seed)
    return Explained(found.values, signature, found.median_completeness_error)
