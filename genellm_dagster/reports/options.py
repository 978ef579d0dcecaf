"""How much the report shows, and how."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ReportOptions(BaseModel):
    """Settings of the study report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top_genes: int = Field(
        default=15,
        description="Genes of a signature shown in the figure, per stratum; more are unreadable.",
        ge=3,
        le=50,
    )
    table_genes: int = Field(
        default=50,
        description="Genes of a signature listed in the table, per stratum.",
        ge=3,
        le=2000,
    )
    calibration_bins: int = Field(
        default=8,
        description="Groups of equal size, by predicted score, in the calibration plot.",
        ge=2,
        le=50,
    )
    calibration_bin_samples: int = Field(
        default=15,
        description="Fewest samples in a calibration group; with fewer samples there are fewer "
        "groups, because a share of a handful of people says nothing.",
        ge=1,
    )
    hover_points: int = Field(
        default=1500,
        description="Most points of a map that name their sample under the pointer (about 150 "
        "bytes each); a larger map is drawn as a picture without names, to stay light.",
        ge=0,
    )
    map_dpi: int = Field(
        default=160,
        description="Resolution, in dots per inch, of a map drawn as a picture.",
        ge=50,
        le=600,
    )
    calibrated_within: float = Field(
        default=0.1,
        description="Expected calibration error up to which scores are called usable as "
        "probabilities in the report's words (share, 0 to 1).",
        gt=0,
        le=1,
    )
    significance: float = Field(
        default=0.05,
        description="Corrected P value below which the report's words call two models, or two "
        "strata, different.",
        gt=0,
        lt=1,
    )
