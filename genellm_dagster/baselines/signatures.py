"""Published scores as data: reading them, and scoring samples or refusing with a reason.

Formulas are on log2 expression, not normalised. A score that lacks a gene, or whose formula cannot
take the scale of a cohort, refuses (:class:`Refused`); it never returns NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genellm_dagster.errors import EvaluationError

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "data" / "signatures"
_MAX_FILE_BYTES = 200_000
_CENTRED_BELOW_ZERO_SHARE = 0.2
"""Where no scale is recorded, a table with more than this share of values below zero passes for
centred, not for log2 intensities."""
_CENTRED = "centred"


@dataclass(frozen=True)
class Refused:
    """A score that was not given, and why."""

    reason: str


class _Formula(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GeometricMeanDifference(_Formula):
    """GM(up) - down_weight x GM(down), geometric means of the log2 values themselves."""

    kind: Literal["geometric_mean_difference"]
    up: tuple[str, ...] = Field(min_length=1)
    down: tuple[str, ...] = ()
    down_weight: Fraction = Field(Fraction(1), gt=0)

    @property
    def genes(self) -> tuple[str, ...]:
        """All genes of the formula."""
        return self.up + self.down


class Linear(_Formula):
    """Weighted sum of log2 values."""

    kind: Literal["linear"]
    weights: dict[str, float] = Field(min_length=1)

    @property
    def genes(self) -> tuple[str, ...]:
        """All genes of the formula."""
        return tuple(self.weights)


class Ratio(_Formula):
    """Weighted sum of log2 values over another weighted sum, which must be above zero."""

    kind: Literal["ratio"]
    numerator: dict[str, float] = Field(min_length=1)
    denominator: dict[str, float] = Field(min_length=1)

    @property
    def genes(self) -> tuple[str, ...]:
        """All genes of the formula."""
        return tuple(dict.fromkeys([*self.numerator, *self.denominator]))


class GeneList(_Formula):
    """Genes of a published predictor that has no closed formula; it always refuses to score."""

    kind: Literal["gene_list"]
    genes: tuple[str, ...] = Field(min_length=1)
    why_no_score: str


class Signature(BaseModel):
    """One published score: its formula, which side means a case, and where it comes from.

    ``direction`` is ``high`` or ``low`` (the side that means a case), or ``training`` when no
    source says it and the side must be chosen on training folds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    question: str
    formula: Annotated[
        GeometricMeanDifference | Linear | Ratio | GeneList, Field(discriminator="kind")
    ]
    direction: Literal["high", "low", "training"]
    aliases: dict[str, str] = {}
    source: str
    address: str | None = None
    developed_on: tuple[str, ...] = ()
    developed_on_unverified: tuple[str, ...] = ()
    notes: str = ""

    @property
    def genes(self) -> tuple[str, ...]:
        """Approved symbols of all genes of the formula."""
        return self.formula.genes


def load_signatures(folder: Path | None = None) -> dict[str, Signature]:
    """Read every signature file of a folder.

    Args:
        folder: Folder of ``*.yaml`` files; none means the project's ``data/signatures``.

    Returns:
        Signatures by name, in the order of their file names.

    Raises:
        EvaluationError: When the folder is missing or empty, or a file cannot be read.
    """
    return dict(_load((folder or DEFAULT_FOLDER).resolve()))


@cache
def _load(folder: Path) -> tuple[tuple[str, Signature], ...]:
    files = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    if not files:
        raise EvaluationError(
            f"{folder} holds no signature file (*.yaml); "
            "point signatures_folder at a folder that does."
        )
    found: dict[str, Signature] = {}
    for file in files:
        signature = read_signature(file)
        if signature.name in found:
            raise EvaluationError(
                f"{file} gives the name {signature.name!r} a second time; rename one of the two."
            )
        found[signature.name] = signature
    return tuple(found.items())


def read_signature(file: Path) -> Signature:
    """Read one signature file.

    Raises:
        EvaluationError: When it is no readable YAML or does not describe a signature.
    """
    try:
        size = file.stat().st_size
        text = file.read_text(encoding="utf-8") if size <= _MAX_FILE_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{file} cannot be read ({error}); mend or remove it.") from error
    if size > _MAX_FILE_BYTES:
        raise EvaluationError(
            f"{file} has {size} bytes, too many for a signature; mend or remove it."
        )
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise EvaluationError(
                f"{file} uses YAML aliases, which no signature needs; write it out."
            )
        return Signature.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise EvaluationError(f"{file} is no readable YAML{place}; mend that place.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise EvaluationError(f"{file}: {place}: {first['msg']}; mend that field.") from error


def developed_on(folder: Path | None = None) -> dict[str, list[str]]:
    """Series each score was developed on, to be said beside its numbers there.

    Args:
        folder: Folder of signature files; none means the project's own, and nothing where the
            project's data are not installed.

    Returns:
        Name of the score to accessions; one that is only remembered is marked ``[unverified]``.
    """
    if folder is None and not DEFAULT_FOLDER.is_dir():
        return {}
    return {
        name: [
            *signature.developed_on,
            *(f"{series} [unverified]" for series in signature.developed_on_unverified),
        ]
        for name, signature in load_signatures(folder).items()
    }


def score_signature(
    signature: Signature,
    expression: pd.DataFrame,
    cohorts: pd.Series,
    *,
    missing_genes_allowed: int = 0,
    scales: Mapping[str, str] | None = None,
) -> pd.Series | Refused:
    """Score every sample, or refuse with a reason.

    Values that are centred have lost each gene's own level. Geometric means and ratios need it. A
    weighted sum of them is the published one less a constant of the cohort: fine within one cohort
    or where all are centred, but not beside cohorts that are not, whose scores it would be pooled,
    squashed and compared with.

    Args:
        signature: The published score.
        expression: Samples x genes, log2, NaN where a gene is absent; index gsm.
        cohorts: The cohort of each sample, on the same index.
        missing_genes_allowed: Genes a geometric mean may lack; other formulas need all.
        scales: Cohort to the kind of scale that its expression report records. Without it, centred
            values under a geometric mean or ratio are known only by those at or below zero.

    Returns:
        The raw score of every sample in the formula's own units and sign (float64), or a
        :class:`Refused` that names what is missing and in which cohorts.
    """
    formula = signature.formula
    if isinstance(formula, GeneList):
        return Refused(f"{signature.title} cannot be computed: {formula.why_no_score.strip()}.")
    values = expression.reindex(columns=list(signature.genes)).astype(np.float64)
    cohort_names = cohorts.reindex(values.index).astype(str)
    allowed = missing_genes_allowed if isinstance(formula, GeometricMeanDifference) else 0
    missing = _missing_genes(values, cohort_names)
    if any(len(genes) > allowed for genes in missing.values()):
        return Refused(_missing_reason(signature, missing, allowed))
    centred = _centred_reason(signature, cohort_names, scales or {})
    if centred is not None:
        return Refused(centred)
    if isinstance(formula, GeometricMeanDifference):
        return _geometric(signature, formula, values, cohort_names, known=scales is not None)
    if isinstance(formula, Linear):
        return _weighted(values, formula.weights)
    bottom = _weighted(values, formula.denominator)
    bad = _cohorts_where(bottom <= 0, cohort_names)
    if bad:
        return Refused(
            f"{signature.title} divides by {' + '.join(formula.denominator)}, which is not above "
            f"zero in {bad}; the ratio needs log2 intensities that are not centred."
        )
    return _weighted(values, formula.numerator) / bottom


def _centred_reason(
    signature: Signature, cohorts: pd.Series, scales: Mapping[str, str]
) -> str | None:
    names = sorted(set(cohorts))
    centred = [name for name in names if scales.get(name) == _CENTRED]
    if not centred:
        return None
    said = f"{', '.join(centred)} {'are' if len(centred) > 1 else 'is'} recorded as centred"
    remedy = "if that is a wrong guess, set scale in the cohort file"
    if not isinstance(signature.formula, Linear):
        what = "geometric means" if signature.formula.kind != "ratio" else "a ratio"
        return f"{signature.title} needs {what} of log2 intensities, but {said}; {remedy}."
    if len(centred) < len(names):
        return (
            f"{signature.title} would stand on a level of its own where values are centred, beside "
            f"cohorts that are not: {said}; leave it out, or {remedy}."
        )
    return None


def _weighted(values: pd.DataFrame, weights: dict[str, float]) -> pd.Series:
    return values[list(weights)].mul(pd.Series(weights)).sum(axis=1, skipna=False)


def _geometric(
    signature: Signature,
    formula: GeometricMeanDifference,
    values: pd.DataFrame,
    cohorts: pd.Series,
    known: bool,
) -> pd.Series | Refused:
    not_positive = (values <= 0).any(axis=1)
    if not_positive.any():
        looks_centred = (values < 0).to_numpy().mean() > _CENTRED_BELOW_ZERO_SHARE
        kind = "centred values" if looks_centred and not known else "values at or below zero"
        return Refused(
            f"{signature.title} needs geometric means, which {kind} do not have "
            f"({_cohorts_where(not_positive, cohorts)})."
        )
    sides = [list(formula.up), *([list(formula.down)] if formula.down else [])]
    for side in sides:
        empty = values[side].isna().all(axis=1)
        if empty.any():
            return Refused(
                f"{signature.title} has none of {', '.join(side)} in "
                f"{_cohorts_where(empty, cohorts)}."
            )
    logs = pd.DataFrame(np.log(values.to_numpy()), index=values.index, columns=values.columns)
    score = np.exp(logs[sides[0]].mean(axis=1))
    if formula.down:
        score = score - float(formula.down_weight) * np.exp(logs[sides[1]].mean(axis=1))
    return score


def _missing_genes(values: pd.DataFrame, cohorts: pd.Series) -> dict[str, tuple[str, ...]]:
    """Genes that some sample of a cohort lacks, for the cohorts that lack any."""
    lacking = values.isna().groupby(cohorts.to_numpy(), sort=True).any()
    rows = {
        str(cohort): tuple(gene for gene in values.columns if row[gene])
        for cohort, row in lacking.iterrows()
    }
    return {cohort: genes for cohort, genes in rows.items() if genes}


def _missing_reason(signature: Signature, missing: dict[str, tuple[str, ...]], allowed: int) -> str:
    by_genes: dict[tuple[str, ...], list[str]] = {}
    for cohort, genes in missing.items():
        if len(genes) > allowed:
            by_genes.setdefault(genes, []).append(cohort)
    parts = [
        f"{', '.join(cohorts)} {'lack' if len(cohorts) > 1 else 'lacks'} {', '.join(genes)}"
        for genes, cohorts in by_genes.items()
    ]
    return f"{signature.title} needs genes that were not measured: {'; '.join(parts)}."


def _cohorts_where(mask: pd.Series, cohorts: pd.Series) -> str:
    counts = cohorts[mask.to_numpy()].value_counts().sort_index()
    return _join(f"{count} samples of {cohort}" for cohort, count in counts.items())


def _join(parts: Iterable[str]) -> str:
    return ", ".join(parts)
