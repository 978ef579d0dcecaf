"""What the report calls models, strata and labels, and which part each model plays."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Role = Literal["language model", "classical", "single gene", "published score", "control"]

LANGUAGE_MODEL = "genellm"
_ROLES: tuple[Role, ...] = (
    "language model",
    "classical",
    "single gene",
    "published score",
    "control",
)
ROLE_WORDS: Mapping[str, str] = {
    "language model": "The model of this report",
    "classical": "Classical classifier",
    "single gene": "Chosen on training folds",
    "published score": "Published score",
    "control": "Control of the method",
}
_CONTROL = re.compile(r"shuffl|random_backbone|permut|cohort_only|composition|scrambl")
_CLASSICAL = re.compile(
    r"logistic|elastic|ridge|lasso|boost|gbm|xgb|tree|forest|svm|svc|pca|tabpfn"
)
_NAMES: Mapping[str, str] = {
    "genellm": "GeneLLM",
    "genellm_random_backbone": "GeneLLM, random backbone",
    "random_backbone": "GeneLLM, random backbone",
    "genellm_shuffled_labels": "GeneLLM, shuffled labels",
    "shuffled_labels": "GeneLLM, shuffled labels",
    "genellm_shuffled_genes": "GeneLLM, shuffled gene names",
    "logistic_regression": "Logistic regression",
    "elastic_net": "Elastic-net logistic regression",
    "linear_svm": "Linear SVM",
    "pca_logistic": "Logistic regression on components",
    "random_forest": "Random forest",
    "gradient_boosting": "Gradient-boosted trees",
    "composition_only": "Blood cells only",
    "cohort_only": "Cohort resemblance only",
    "best_single_gene": "Best single gene",
    "single_gene": "Best single gene",
    "sepsis_metascore": "Sepsis MetaScore",
    "septicyte_lab": "SeptiCyte LAB",
    "faim3_plac8": "FAIM3:PLAC8",
    "snip": "sNIP",
    "herberg": "FAM89A − IFI44L (Herberg)",
    "bacterial_viral_7": "Bacterial/viral, 7 genes",
    "mortality_12": "Mortality, 12 genes",
    "sepstratifier_7": "SepstratifieR, 7 genes",
}
# States of the samples, in the words of a sentence: "the variance of ...".
_STATES: Mapping[str, str] = {
    "log2": "log2 values",
    "rank_normal": "ranks within the sample",
    "within_sample_z": "z within the sample",
    "quantile": "quantile-normalised values",
    "reference_quantiles": "values on reference quantiles",
    "gene_z": "z against training genes",
    "combat": "values after ComBat",
    "coconut": "values after COCONUT",
}
_FACTORS: Mapping[str, str] = {"case": "label", "residual": "not explained"}


def role_of(model: str) -> Role:
    """Say which part a model plays, from its name."""
    name = model.lower()
    if name == LANGUAGE_MODEL:
        return "language model"
    if _CONTROL.search(name):
        return "control"
    if "single_gene" in name:
        return "single gene"
    return "classical" if _CLASSICAL.search(name) else "published score"


def model_name(model: str) -> str:
    """Give the model's name as a reader sees it."""
    return _NAMES.get(model.lower(), spoken(model))


def in_order(models: Iterable[str], auroc: Mapping[str, float | None]) -> list[str]:
    """Order models by the part they play, and within it by AUROC, best first."""

    def place(model: str) -> tuple[int, float, str]:
        value = auroc.get(model)
        return (_ROLES.index(role_of(model)), -(value if value is not None else -1.0), model)

    return sorted(models, key=place)


def spoken(name: str) -> str:
    """Give an identifier as words: ``septic_shock`` -> ``septic shock``."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:] if words.islower() and "_" in name else words


def state_words(state: str) -> str:
    """Give a state of the samples as words within a sentence: ``values after ComBat``."""
    return _STATES.get(state, label_words(state))


def factor_words(factor: str) -> str:
    """Give what may explain variance as words within a sentence: ``case`` -> ``label``."""
    return _FACTORS.get(factor, label_words(factor))


def label_words(label: str) -> str:
    """Give a label as words within a sentence."""
    return label.replace("_", " ")


def stratum_name(stratum: str) -> str:
    """Give a stratum's name as a heading sees it."""
    words = stratum.replace("_", " ")
    return words[:1].upper() + words[1:]


def age_words(stratum: Any) -> str:
    """Say a stratum's ages: ``under 18 years``, ``18 years and older``.

    Args:
        stratum: Anything with ``min_age`` (included) and ``max_age`` (not included), in years.
    """
    low, high = float(stratum.min_age), float(stratum.max_age)
    if low <= 0 and math.isinf(high):
        return "all ages"
    if low <= 0:
        return f"under {high:g} years"
    if math.isinf(high):
        return f"{low:g} years and older"
    return f"{low:g} to under {high:g} years"
