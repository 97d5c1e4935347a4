"""All checks of `ei doctor`, in the order in which they are reported."""

from typing import Final

from edge_cli.doctor import (
    admission,
    installation,
    kubernetes,
    monitoring,
    node_caches,
    pools,
    services,
    triton,
)
from edge_cli.doctor.findings import Check

CHECKS: Final[tuple[Check, ...]] = (
    *kubernetes.CHECKS,
    *installation.CHECKS,
    *admission.CHECKS,
    *node_caches.CHECKS,
    *triton.CHECKS,
    *pools.CHECKS,
    *services.CHECKS,
    *monitoring.CHECKS,
)
CATEGORIES: Final = tuple(dict.fromkeys(check.category for check in CHECKS))
