"""The links to Triton servers that Placements tell of. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from edge_api import Placement
from edge_api.devicepools import TritonServer
from edge_operator.pool import server_links
from edge_operator.pool.pooled import LinkKey
from edge_operator.pool.server_links import Link


def published_links(
    servers: Iterable[TritonServer],
    placements: Mapping[str, Placement],
    others: Mapping[str, Sequence[Placement]],
) -> dict[LinkKey, Link]:
    """Returns the links from the nodes of Placements to Triton servers, as far as Placements tell.

    placements: of the service, by node. others: of any service, by node.
    """
    names = [server.name for server in servers]
    if len(names) == 1:
        return {
            LinkKey(node, names[0]): server_links.published_link(each) for node, each in placements.items()
        }
    return {
        LinkKey(node, name): server_links.link_to(name, placements.get(node), others.get(node, ()))
        for node in {**placements, **others}
        for name in names
    }
