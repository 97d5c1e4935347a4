"""The reasons of the condition RuntimesUpdated."""

from typing import Final

from edge_api.reason_registry import NOTHING, RUNTIMES_UPDATED, WAIT, registered

RUNTIMES_CURRENT: Final = registered(
    "RuntimesCurrent",
    (RUNTIMES_UPDATED,),
    "The runtimes of all entry nodes have the installed version.",
    NOTHING,
)
RUNTIMES_ROLLING_OUT: Final = registered(
    "RuntimesRollingOut",
    (RUNTIMES_UPDATED,),
    "A new version of the runtimes goes from node to node. Each waits until services at the ones before have "
    "met their SLOs for a time.",
    WAIT,
)
_INSTALL = (
    "Read the logs of the runtimes, and install another version. To try the same one again, remove the "
    "annotation edge-intelligence.io/runtime-version from the Deployments of the namespace's runtimes."
)
RUNTIMES_FAIL: Final = registered(
    "RuntimesFail",
    (RUNTIMES_UPDATED,),
    "Requests ended with errors at a node with the new version of the runtime. The former version serves.",
    _INSTALL,
)
RUNTIMES_MISS_SLO: Final = registered(
    "RuntimesMissSLO",
    (RUNTIMES_UPDATED,),
    "A service missed its SLO more often than before, or lost its table, at a node with the new version of "
    "the runtime. The former version serves.",
    _INSTALL,
)
