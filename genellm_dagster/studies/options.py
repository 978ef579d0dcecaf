"""Settings of discovery: how often GEO is searched, and what happens with what is found."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DiscoveryOptions(BaseModel):
    """How often GEO is searched for series, and how far a find goes by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval_hours: float = Field(
        default=6.0,
        ge=0,
        description="Hours between two searches by the sensor geo_discovery; the first comes one "
        "interval after the interface was first started. 0: never by itself.",
    )
    overlap_days: int = Field(
        default=30,
        ge=0,
        description="Days before the last search that the next one asks for again: series are "
        "indexed some time after their date of publication.",
    )
    full_search_days: float = Field(
        default=7.0,
        ge=0,
        description="Days after which the whole search is asked again, whatever the dates: it "
        "finds series that were revised, renamed or withdrawn. 0: each time.",
    )
    proposals_per_search: int = Field(
        default=10,
        ge=0,
        description="Found series for which a search proposes cohort files by itself, newest "
        "first; the others follow in the next searches. 0: none.",
    )
    refresh: bool = Field(
        default=True,
        description="Whether the sensor study_refresh runs what new cohorts and revised series "
        "ask for. It begins once the study has a report.",
    )
