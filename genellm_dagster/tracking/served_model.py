"""What MLflow runs to serve a registered adapter; a copy of it lies in each version."""

from __future__ import annotations

from mlflow.models import set_model

from genellm_dagster.tracking.served import served_adapter

set_model(served_adapter())
