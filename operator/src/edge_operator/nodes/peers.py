"""How nodes reach each other: by TLS once both ends have said that they can. Pure.

The runtimes of an earlier version have no certificates. The two ends of a hop are replaced one after the
other, so an address with TLS is published only when both have reported `peerScheme: HTTPS`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from edge_api import Placement
from edge_api.names import PEER_SCHEME_LABEL
from edge_operator.nodes.runtimes import Runtime
from edge_operator.settings import Settings

PEER_SECRET: Final = "edge-runtime-tls"  # noqa: S105 - a name
"""Name of the Secret with the certificate of a namespace's runtimes."""
PEER_PORT: Final = 8443
PEER_GRPC_PORT: Final = 8444


@dataclass(frozen=True, slots=True)
class Peers:
    """Addresses of runtimes for other nodes. secured: nodes whose runtimes serve TLS for other nodes."""

    scheme: str = "http"
    domain: str = "cluster.local"
    port: int = 8080
    secured: Collection[str] = ()

    def url(self, runtime: Runtime, sender: str) -> str:
        """Returns the URL of a runtime for the runtime at the node `sender`."""
        secure = {runtime.node, sender} <= set(self.secured)
        scheme, port = ("https", PEER_PORT) if secure else (self.scheme, self.port)
        return f"{scheme}://{runtime.name}.{runtime.namespace}.svc.{self.domain}:{port}"

    def labels(self, node: str) -> dict[str, str]:
        """Returns the labels by which runtimes that forward requests know how to reach a node."""
        return {PEER_SCHEME_LABEL: "HTTPS"} if node in self.secured else {}


def peers(settings: Settings, published: Mapping[str, Placement]) -> Peers:
    """Returns the addresses for the tables of a service. published: its Placements by node."""
    reported = {
        node
        for node, placement in published.items()
        if placement.status is not None and placement.status.peer_scheme == "HTTPS"
    }
    secured = reported if settings.issues_certificates else ()
    return Peers(settings.runtime_scheme, settings.cluster_domain, secured=frozenset(secured))
