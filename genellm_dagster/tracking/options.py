"""What can be set about MLflow."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

_SERVERS = ("http", "https")
_DATABASES = ("sqlite", "postgresql", "mysql")


class PromotionOptions(BaseModel):
    """When a new adapter takes the champion's place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(
        default=0.05,
        gt=0,
        le=0.25,
        description="One-sided level at which the paired DeLong test, or the paired bootstrap of "
        "Brier score and calibration error, shows a new adapter worse; larger is stricter.",
    )
    calibration_margin: float = Field(
        default=0.005,
        ge=0,
        le=0.1,
        description="How much higher Brier score and calibration error may be and not count.",
    )
    min_per_class: int = Field(
        default=5,
        ge=2,
        description="Cases, and controls, that both adapters must have judged to be compared in "
        "pairs; with fewer, the numbers on record decide.",
    )


class TrackingOptions(BaseModel):
    """Where runs and adapters are recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str | None = Field(
        default=None,
        repr=False,
        description="MLflow's tracking address: http(s)://... of a server, or the address of a "
        "database such as postgresql://user@host/mlflow. None: sqlite in `mlflow/mlflow.db` of the "
        "store. Keep passwords out of it: a server reads MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN, PostgreSQL reads PGPASSWORD or "
        "PGPASSFILE.",
    )
    artifacts: str | None = Field(
        default=None,
        description="Address below which artifacts lie, s3://bucket/folder for instance. None: "
        "`mlflow/artifacts` of the store, or where a tracking server puts them. Holds for "
        "experiments that are made from then on.",
    )
    prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.-]*$",
        max_length=100,
        description="Put before the names of experiments and registered models, for a server that "
        "others use too.",
    )
    ui: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Address of MLflow's pages, for links. None: the tracking server itself, else "
        "http://127.0.0.1:5000.",
    )
    timeout_seconds: int = Field(
        default=10,
        ge=1,
        description="Longest wait for one answer of a server or database, s; MLflow knows one "
        "such limit a process, which MLFLOW_HTTP_REQUEST_TIMEOUT overrides.",
    )
    retries: int = Field(
        default=2,
        ge=0,
        le=10,
        description="How often a request that a server did not answer is sent again.",
    )
    lock_timeout_seconds: float = Field(
        default=120.0,
        gt=0,
        description="Longest wait, in s, for another process of this store that sets the database "
        "up or registers an adapter.",
    )

    promotion: PromotionOptions = Field(
        default=PromotionOptions(),
        description="When a new adapter takes the champion's place.",
    )

    @field_validator("uri")
    @classmethod
    def _known_scheme(cls, uri: str | None) -> str | None:
        if uri is None:
            return None
        scheme = urlsplit(uri).scheme.split("+")[0]
        if scheme not in (*_SERVERS, *_DATABASES):
            # The address itself is not repeated: it may hold a password.
            raise ValueError(
                f"the scheme {scheme!r} is none that runs can be kept in; give an address that "
                f"begins with one of {', '.join((*_SERVERS, *_DATABASES))}, or leave it out for "
                "sqlite in the store"
            )
        return uri
