"""What reviews are decided on. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, NAMESPACES, TENANTS, Kind

READ: Final[tuple[Kind, ...]] = (INFERENCE_SERVICES, DEVICE_POOLS, TENANTS, NAMESPACES)
"""The kinds that are watched."""
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the installation allows.

    Attributes:
        shared_folders: Folders that file:// addresses may name.
        fetching: Whether Jobs fetch models with a Secret or from a volume.
    """

    shared_folders: tuple[str, ...] = ()
    fetching: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """The objects of the cluster, as a watch has them."""

    services: tuple[Object, ...] = ()
    pools: tuple[Object, ...] = ()
    tenants: tuple[Object, ...] = ()
    namespaces: tuple[Object, ...] = ()
    rules: Rules = field(default_factory=Rules)

    def namespace(self, name: str) -> Object:
        """Returns a namespace; one without labels if it is not known yet."""
        found = (each for each in self.namespaces if each["metadata"]["name"] == name)
        return next(found, {"metadata": {"name": name}})

    def pool_names(self) -> tuple[str, ...]:
        """Returns the names of the DevicePools, sorted."""
        return tuple(sorted(str(each["metadata"]["name"]) for each in self.pools))

    def ending_pools(self) -> frozenset[str]:
        """Returns the names of the DevicePools that are being deleted."""
        return frozenset(
            str(each["metadata"]["name"]) for each in self.pools if each["metadata"].get("deletionTimestamp")
        )


def named(body: Object) -> str:
    """Returns how a sentence names an object: `namespace/name`, or the name."""
    metadata = body["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def some(names: list[str]) -> str:
    """Returns the first three names, and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(sorted(names)[:3])}{more}"
