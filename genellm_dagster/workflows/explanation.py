"""Attributions of a stratum's adapter, the signature they make, and how far to trust them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from genellm_dagster.baselines.classical import Training
from genellm_dagster.baselines.kinds import classifiers
from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation.signature_overlap import gene_strength, overlap_test
from genellm_dagster.files import read_json
from genellm_dagster.genellm.adapter import load_adapter
from genellm_dagster.genellm.prediction import require_fitting
from genellm_dagster.genellm.session import Session
from genellm_dagster.interpretation.additive import Additive, additive_attributions
from genellm_dagster.interpretation.agreement import own_agreement, rank_agreement
from genellm_dagster.interpretation.attribution import Attributions, attribute, token_values
from genellm_dagster.interpretation.planted import planted_overlap, planted_recovery
from genellm_dagster.interpretation.sampling import draw_balanced
from genellm_dagster.interpretation.signature import (
    SIGNATURE_COLUMNS,
    Everyone,
    by_separation,
    gene_signature,
)
from genellm_dagster.settings import Settings
from genellm_dagster.simulation.study import TRUTH_FILE
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.profiles import token_profiles_of

LOGISTIC = "logistic_regression"
SAMPLE_COLUMNS = ("gsm", "cohort", "case", "logit", "base", "completeness_error", "gradients")


@dataclass(frozen=True)
class Explained:
    """Why an adapter scores samples as it does.

    Attributes:
        values: SHAP values, gsm x genes, NaN absent.
        inputs: Token values that were explained, in the same shape.
        samples: One row an explained sample: ``SAMPLE_COLUMNS``.
        signature: From :func:`genellm_dagster.interpretation.signature.gene_signature`.
        logistic_signature: The same of logistic regression; empty where there is none.
        facts: JSON-safe: how exact the values are, and how far they agree with other ways.
    """

    values: pd.DataFrame
    inputs: pd.DataFrame
    samples: pd.DataFrame
    signature: pd.DataFrame
    logistic_signature: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """Why there is nothing; empty when there is something."""
        return str(self.facts["note"])


def explain_stratum(
    session: Session,
    adapter_folder: Path,
    samples: pd.DataFrame,
    tokens: Mapping[tuple[str, str], pd.DataFrame],
    profiles: pd.DataFrame,
    settings: Settings,
    progress: Callable[[int, int], None],
    planted: list[str] | None = None,
) -> Explained:
    """Explain some samples of a stratum by its adapter, and by logistic regression as a check.

    Both are trained on all samples of the stratum, those explained among them: this says what a
    model uses, not how well it does.

    Args:
        session: The backbone at work.
        adapter_folder: The adapter.
        samples: The stratum's samples; those explained are drawn evenly over cohort and class.
        tokens: (stratum, cohort) to its token table.
        profiles: gsm x genes of the vocabulary, what the adapter that is put to use was trained on.
        settings: All settings.
        progress: Called with runs of the model done and planned.
        planted: Genes that a simulation planted in this stratum; none for a real one.
    """
    options = settings.interpretation
    adapter = load_adapter(adapter_folder)
    require_fitting(adapter.card, session.backbone, session.options.backbone.numbers)
    stratum = str(samples["stratum"].iloc[0])
    of_sample = {one.gsm: one for one in token_profiles_of(tokens, stratum, samples["gsm"])}
    genes = session.tokenizer["genes"]
    if not any(profile.values.any() for profile in of_sample.values()):
        return _nothing(
            stratum,
            genes,
            f"The {session.tokenizer['kind']} tokenizer moves no token: what it tells is the order "
            "of the genes, which has no gradient to attribute scores by.",
        )
    explained = draw_balanced(samples, options.samples, options.seed, "explained")
    background = draw_balanced(samples, options.background, options.seed, "background")
    found = attribute(
        session.encoder,
        adapter.members,
        adapter.card.options,
        genes,
        [of_sample[gsm] for gsm in explained],
        [of_sample[gsm] for gsm in background],
        options,
        progress,
    )
    everyone = Everyone(
        token_values([of_sample[gsm] for gsm in samples["gsm"]], genes),
        samples["cohort"].to_numpy(dtype=object),
        samples["case"].to_numpy(dtype=np.int_),
    )
    signature = gene_signature(found.values, found.inputs, everyone, options, options.seed)
    rows = _rows(found, samples)
    facts = {
        "stratum": stratum,
        "note": "",
        **_counts(rows, background, genes),
        "completeness_error": _errors(found.completeness_error, options.completeness),
        "gradients": {
            "mean": float(found.gradients.mean()),
            "most": int(found.gradients.max()),
        },
        "agreement": own_agreement(found, options),
    }
    facts[LOGISTIC], logistic_signature = _logistic(samples, profiles, found, background, settings)
    if planted is not None:
        facts["planted"] = {
            model: {
                "by_size": planted_recovery(list(found_by["gene"]), planted),
                "by_separation": planted_recovery(by_separation(found_by), planted),
            }
            for model, found_by in (("genellm", signature), (LOGISTIC, logistic_signature))
            if len(found_by)
        }
    return Explained(found.values, found.inputs, rows, signature, logistic_signature, facts)


def planted_genes(study: Study, stratum: str) -> list[str] | None:
    """Return the genes that a simulation planted in a stratum.

    Args:
        study: The study; its truth lies beside the folder that stands for GEO.
        stratum: Which stratum.

    Returns:
        Their symbols; none for a real study, or where the truth was not kept.
    """
    root = urlsplit(study.geo_root or "")
    if not study.simulated or not root.path or root.scheme not in ("", "file"):
        return None
    # A study file names the folder, or its address.
    folder = Path(unquote(root.path) if root.scheme else root.path)
    truth = folder.parent / TRUTH_FILE
    if not truth.is_file():
        return None
    strata = read_json(truth)["strata"]
    return [one["gene"] for one in strata[stratum]["planted"]] if stratum in strata else None


def planted_in_common(
    study: Study, signatures: Mapping[str, pd.DataFrame]
) -> dict[str, list[dict[str, Any]]] | None:
    """Say whether the signatures of strata overlap where their planted genes do.

    Args:
        study: The study.
        signatures: Stratum to its signature.

    Returns:
        What :func:`genellm_dagster.interpretation.planted.planted_overlap` gives, with genes ranked
        ``by_size`` of their attributions and ``by_separation`` of cases and controls; none for a
        real study, for one stratum, or where the truth was not kept.
    """
    planted = {stratum: planted_genes(study, stratum) for stratum in signatures}
    known = {stratum: genes for stratum, genes in planted.items() if genes is not None}
    if len(known) < max(2, len(signatures)):
        return None
    return {
        "by_size": planted_overlap(signatures, known, by="mean_abs"),
        "by_separation": planted_overlap(signatures, known, by="separation"),
    }


def _logistic(
    samples: pd.DataFrame,
    profiles: pd.DataFrame,
    found: Attributions,
    background: list[str],
    settings: Settings,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Explain the same samples by logistic regression: the facts, and its signature."""
    kind = classifiers(settings.baselines).get(LOGISTIC)
    if kind is None:
        return {"note": "Logistic regression is switched off in the settings."}, _no_signature()
    options = settings.interpretation
    training = Training(
        profiles.loc[samples["gsm"]].to_numpy(dtype=np.float64),
        samples["case"].to_numpy(dtype=np.int_),
        samples["cohort"].to_numpy(dtype=object),
        samples["subject"].to_numpy(dtype=object),
    )
    fitted = kind.fit(training, settings.baselines, options.seed)
    inputs = profiles.loc[found.values.index, list(found.values.columns)].astype(np.float64)
    others = profiles.loc[background, list(found.values.columns)].astype(np.float64)
    try:
        exact = additive_attributions(fitted.predict, inputs, others)
    except EvaluationError as error:
        return {"note": str(error)}, _no_signature()
    everyone = Everyone(
        profiles.loc[samples["gsm"]].astype(np.float64), training.cohorts, training.case
    )
    signature = gene_signature(exact.values, inputs, everyone, options, options.seed)
    own, other = (one.to_numpy(dtype=np.float64) for one in (found.values, exact.values))
    return {
        "note": "",
        "completeness_error": _relative(exact),
        "rank_correlation": rank_agreement(own, other, options, LOGISTIC),
        "top": overlap_test(
            gene_strength(found.values).dropna(),
            gene_strength(exact.values).dropna(),
            options.top_genes,
        ),
        "values_correlation": _correlation(own, other),
    }, signature


def _relative(exact: Additive) -> dict[str, float]:
    size = float((exact.logit - exact.base).abs().median())
    return {"worst": float(exact.missed.max()) / size if size > 0 else 0.0}


def _correlation(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Pearson's correlation of two models' attributions, sample by sample."""
    both = np.isfinite(first) & np.isfinite(second)
    each = [
        float(np.corrcoef(one[known], other[known])[0, 1])
        for one, other, known in zip(first, second, both, strict=True)
        if known.sum() > 1 and np.ptp(one[known]) > 0 and np.ptp(other[known]) > 0
    ]
    if not each:
        return {"median": None, "n": 0, "reason": "no sample has two genes that differ"}
    return {
        "median": float(np.median(each)),
        "lowest": float(min(each)),
        "highest": float(max(each)),
        "n": len(each),
    }


def _errors(error: pd.Series, tolerance: float) -> dict[str, Any]:
    return {
        "median": float(error.median()),
        "p95": float(error.quantile(0.95)),
        "worst": float(error.max()),
        "tolerance": tolerance,
        "beyond_tolerance": int((error > tolerance).sum()),
    }


def _counts(rows: pd.DataFrame, background: list[str], genes: list[str]) -> dict[str, int]:
    return {
        "n": len(rows),
        "cases": int(rows["case"].sum()),
        "background": len(background),
        "genes": len(genes),
    }


def _rows(found: Attributions, samples: pd.DataFrame) -> pd.DataFrame:
    told = pd.concat(
        [found.logit, found.base, found.completeness_error, found.gradients], axis=1
    ).reset_index(names="gsm")
    known = samples[["gsm", "cohort", "case"]]
    return known.merge(told, on="gsm", how="right", validate="one_to_one")[list(SAMPLE_COLUMNS)]


def _no_signature() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SIGNATURE_COLUMNS.items()})


def _nothing(stratum: str, genes: list[str], note: str) -> Explained:
    values = pd.DataFrame(columns=genes, index=pd.Index([], name="gsm"), dtype=float)
    rows = pd.DataFrame({name: pd.Series(dtype=float) for name in SAMPLE_COLUMNS})
    facts = {"stratum": stratum, "note": note, **_counts(rows, [], genes)}
    return Explained(values, values.copy(), rows, _no_signature(), _no_signature(), facts)
