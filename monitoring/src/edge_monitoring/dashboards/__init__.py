"""The dashboards, by uid. A dashboard is a function that returns its builder."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from edge_monitoring.dashboards.fleet import fleet
from edge_monitoring.dashboards.operator import operator
from edge_monitoring.dashboards.pool import pool
from edge_monitoring.dashboards.service import service
from edge_monitoring.dashboards.tenants import tenants

DASHBOARDS: Final[Mapping[str, Callable[[], Dashboard]]] = MappingProxyType(
    {
        "edge-fleet": fleet,
        "edge-service": service,
        "edge-tenants": tenants,
        "edge-pool": pool,
        "edge-operator": operator,
    }
)
