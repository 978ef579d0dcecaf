"""Proposals: how a series could be read, inferred from its sample descriptions, with evidence.

Not here: reading GEO's files (``geo``), taking a proposal into a study (``studies.approval``).
"""

from genellm_dagster.studies.proposal.facts import SeriesFacts
from genellm_dagster.studies.proposal.model import Finding, Proposal, Unmatched
from genellm_dagster.studies.proposal.propose import propose_cohort

__all__ = ["Finding", "Proposal", "SeriesFacts", "Unmatched", "propose_cohort"]
