"""Who views, and which rights of viewers the API server reviews. Values."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from edge_operator.names import GROUP


class Identity(NamedTuple):
    """A user as a TokenReview returns it."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Right(NamedTuple):
    """A verb on a resource. namespace: empty for all of them, and for resources of the cluster."""

    resource: str
    namespace: str = ""
    group: str = GROUP
    verb: str = "list"


NAMESPACED: Final = ("inferenceservices", "placements", "modelprofiles")
"""Who may list all of these in a namespace sees it: views and explanations are made from them."""
POOLS: Final = (Right("devicepools"), Right("nodes", group=""))
"""Who may list these sees all nodes of pools, and what all services together use of them."""
TENANTS: Final = (Right("tenants"),)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a viewer may see.

    Attributes:
        user: Name of the viewer.
        namespaces: Those whose objects the viewer may list.
        pools: Whether the viewer may list pools and nodes.
        tenants: Whether the viewer may list Tenants.
    """

    user: str
    namespaces: frozenset[str]
    pools: bool = False
    tenants: bool = False

    def sees(self, namespace: str) -> bool:
        """Whether objects of a namespace are shown."""
        return namespace in self.namespaces
