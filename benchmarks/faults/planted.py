"""The faults by name. Each is planted when its context is entered, and over when it is left."""

from __future__ import annotations

from typing import Final

from benchmarks.faults import contents, control_plane, links, revisions, servers, tenants
from benchmarks.faults.runs import Fault

FAULTS: Final[dict[str, Fault]] = (
    links.FAULTS | servers.FAULTS | control_plane.FAULTS | contents.FAULTS | revisions.FAULTS | tenants.FAULTS
)
FIXED: Final = (
    "link cut",
    "Triton killed",
    "model store gone",
    "etcd restarted",
    "operator killed",
    "node disk full",
)
"""The faults that `make test` plants, once each."""


def listed() -> str:
    """Returns the names of all faults with what happens, a line each."""
    width = max(map(len, FAULTS))
    return "\n".join(f"{name:<{width}}  {fault.words}" for name, fault in FAULTS.items())
