"""What a report is made of: plain tables and dictionaries, nothing that computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from genellm_dagster.studies.study import Study


@dataclass(frozen=True)
class Attributed:
    """Why the model scores some samples of a stratum as it does.

    Attributes:
        values: Attributions (logit), gsm x genes; NaN absent.
        inputs: What was explained, in the same shape.
        samples: ``gsm, cohort, case, logit, base``, one row an explained sample.
        facts: How exact they are and what they agree with, as the asset ``gene_attributions``
            writes it.
    """

    values: pd.DataFrame
    inputs: pd.DataFrame
    samples: pd.DataFrame
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class ReportContent:
    """Everything the study report shows.

    Whatever could not be computed is left out (a missing key, an empty table): the report then
    says that it is missing. Nothing may be filled with zeros or NaN instead.

    Attributes:
        study: The study as described in its file.
        generated_at: When, as text; shown as it is.
        software: Name to version, or any other provenance (git revision, seed, command).
        sheets: Cohort to its sample sheet (one row per sample, ``used``, ``why_not``).
        left_out: Cells of cohort and stratum that did not enter: ``cohort, stratum, n, cases,
            reason``.
        qc: (stratum, cohort) to the QC summary as ``expression.qc`` gives it; whatever plain
            facts it holds are shown, and ``samples_left_out`` (``gsm, reasons``) are counted among
            the samples that were not used.
        reports: Stratum to the evaluation's JSON, as ``evaluation.report.evaluate`` gives it.
        predictions: Stratum to the predictions of all models: ``gsm, cohort, stratum, subject,
            case, fold, model, score, uncertainty``.
        embeddings: Stratum to the map: ``gsm, x, y, cohort, case, label``.
        signatures: Stratum to genes: ``gene, mean_abs, mean_signed, stability, rank``.
        age_comparison: The JSON that ``evaluation.heterogeneity.compare_strata`` gives.
        comparison: One row per stratum and model; with paired P values against GeneLLM if there.
        model: Facts on the model: ``backbone, hash, licence, trainable, total, share, tokenizer,
            normalisation, transductive (list), head_layers``; further keys are shown as they are.
        refusals: Stratum to model to the reason why it gave no scores.
        simulated: Whether the data are simulated; then every figure says so.
        batch: Stratum to its samples before and after each step that brings cohorts together, as
            ``expression.batch_view.BatchView.as_json`` gives it.
        marks: Stratum to the steps that its numbers must be marked with, wherever they stand:
            steps that used other samples of a test cohort, or its labels.
        controls: Stratum to what controls gave beside their predictions: ``shuffled_labels`` (every
            permutation, as ``workflows.control_results`` gives it) and ``batch`` (as
            ``workflows.confounders.batch_results`` does).
        data_docs: Where the pages of the data checks (Data Docs) lie, as text; it is shown, not
            linked, because this file must stand alone.
        attributions: Stratum to the attributions behind its signature, where they were kept.
    """

    study: Study
    generated_at: str
    software: Mapping[str, Any]
    sheets: Mapping[str, pd.DataFrame]
    left_out: Sequence[Mapping[str, Any]]
    qc: Mapping[tuple[str, str], Mapping[str, Any]]
    reports: Mapping[str, Mapping[str, Any]]
    predictions: Mapping[str, pd.DataFrame]
    embeddings: Mapping[str, pd.DataFrame]
    signatures: Mapping[str, pd.DataFrame]
    age_comparison: Mapping[str, Any]
    comparison: pd.DataFrame
    model: Mapping[str, Any]
    refusals: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    simulated: bool = False
    batch: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    marks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    controls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data_docs: str = ""
    attributions: Mapping[str, Attributed] = field(default_factory=dict)

    @property
    def strata(self) -> list[str]:
        """The strata that were measured, in the study's order."""
        known = [name for name in self.study.strata if name in self.reports]
        return known + [name for name in self.reports if name not in known]
