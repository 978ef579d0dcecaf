"""What a proposal says: the cohort, the evidence of every rule, and what stays open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from genellm_dagster.studies.cohort import Cohort


@dataclass(frozen=True)
class Finding:
    """One thing that was inferred, with what it rests on.

    Attributes:
        rule: What was inferred: ``label``, ``age``, ``default_stratum``, ``sex``, ``subject``,
            ``timepoint``, ``platform``, ``id_type``, ``values`` or ``overlaps``.
        field: The field of the samples it was read from, or the part of the series.
        pattern: The regular expression of the rule, "" when it has none.
        value: What the rule gives: the label, the unit, the stratum.
        n: Samples that it reads.
        examples: Some values as written.
        why: The reason in words.
        confidence: 0 to 1.
    """

    rule: str
    field: str
    pattern: str
    value: str
    n: int
    examples: tuple[str, ...]
    why: str
    confidence: float


@dataclass(frozen=True)
class Unmatched:
    """A sample that no label rule reads.

    Attributes:
        gsm: Its accession.
        title: Its title.
        what: What it says about itself, or why that was not enough.
    """

    gsm: str
    title: str
    what: str


@dataclass(frozen=True)
class Proposal:
    """A cohort as inferred; nothing in it is verified.

    Attributes:
        cohort: The description, ``verified: false``; always one that can be loaded again.
        evidence: One finding a rule or setting of ``cohort``, in its order.
        confidence: The smallest confidence among what decides a sample's use: its label and its
            age or stratum; 0 when one of these could not be inferred.
        labels: The label of every sample (index GSM), None where no rule reads it.
        label_confidence: The confidence of each of these labels, 0 where there is none.
        unmatched: The samples without a label.
        warnings: What a reader should look at, in sentences.
        abstained: What could not be inferred, name -> why.
    """

    cohort: Cohort
    evidence: tuple[Finding, ...]
    confidence: float
    labels: pd.Series
    label_confidence: pd.Series
    unmatched: tuple[Unmatched, ...]
    warnings: tuple[str, ...]
    abstained: Mapping[str, str]

    def to_yaml(self) -> str:
        """Write the cohort file as a person would, evidence and confidence beside each rule."""
        from genellm_dagster.studies.proposal.writing import proposal_yaml

        return proposal_yaml(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the samples' own rows, for JSON."""
        counts = self.labels.value_counts()
        return {
            "accession": self.cohort.accession,
            "platform": self.cohort.platform,
            "confidence": self.confidence,
            "labels": {str(label): int(n) for label, n in counts.items()},
            "evidence": [asdict(finding) for finding in self.evidence],
            "unmatched": [asdict(sample) for sample in self.unmatched],
            "warnings": list(self.warnings),
            "abstained": dict(self.abstained),
        }
