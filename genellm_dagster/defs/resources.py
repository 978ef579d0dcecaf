"""Resources: where GEO is, where the store is, where runs are tracked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from genellm_dagster.geo.client import GeoClient
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.tracking.tracker import Tracker


class StoreResource(dg.ConfigurableResource):
    """The folder that runs write to."""

    folder: str
    study: str

    @property
    def of_study(self) -> Store:
        """The store as the domain takes it."""
        return Store(Path(self.folder), self.study)

    def place(self, asset: str, *parts: str) -> Path:
        """Return a path of an asset of the study, for what is no table and no JSON value."""
        return self.of_study.place(asset, *parts)


@dataclass(frozen=True)
class GeoResource:
    """GEO, or a mirror with its layout.

    No configurable resource: the interface shows what those hold, and an address may carry a
    password.

    Attributes:
        root: The address.
    """

    root: str = field(repr=False)

    @contextmanager
    def client(self, settings: Settings) -> Iterator[GeoClient]:
        """Open a client on the root; keys and limits come from the settings, not run config."""
        with GeoClient(self.root, settings.geo) as client:
            yield client


class TrackingResource(dg.ConfigurableResource):
    """MLflow."""

    store: str

    def tracker(self, settings: Settings) -> Tracker:
        """Return the tracker of the store, or of the server that the settings name."""
        return Tracker(settings.tracking, Path(self.store))
