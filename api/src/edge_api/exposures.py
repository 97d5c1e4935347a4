"""How clients outside the cluster reach a service."""

from typing import Annotated, Literal

from pydantic import Field

from edge_api.objects import Part
from edge_api.rules import Rule

_PORTS_FIX = (
    "httpPort and grpcPort are ports of nodes: remove them, or write type: NodePort. The ports of a "
    "LoadBalancer are 8080 and 8081"
)
_PORTS = Rule(
    cel="self.type == 'NodePort' || (!has(self.httpPort) && !has(self.grpcPort))",
    message=_PORTS_FIX,
    sentence=f"'{_PORTS_FIX}'",
    check=lambda found: (
        _PORTS_FIX if found.type != "NodePort" and (found.http_port or found.grpc_port) else None
    ),
)
_SAME_FIX = "httpPort and grpcPort are the same port: write two different ones"
_DISTINCT = Rule(
    cel="!has(self.httpPort) || !has(self.grpcPort) || self.httpPort != self.grpcPort",
    message=_SAME_FIX,
    sentence=f"'{_SAME_FIX}'",
    check=lambda found: _SAME_FIX if found.http_port and found.http_port == found.grpc_port else None,
)
NodePort = Annotated[int, Field(strict=True, ge=1, le=65535)]


class Exposure(Part):
    """How clients outside the cluster reach the entry nodes."""

    type: Literal["NodePort", "LoadBalancer"] = Field(
        description="NodePort: at a port of each node's address, the same at all nodes. LoadBalancer: at the "
        "addresses that the cluster's load balancer gives. Both lead only to the runtime of the node that "
        "they reach, so a node without one refuses connections. Required."
    )
    http_port: NodePort | None = Field(
        default=None,
        description="Port of the nodes for HTTP, from 1 to 65535, in the cluster's range of node ports "
        "(30000 to 32767 by default). Default: Kubernetes chooses one.",
    )
    grpc_port: NodePort | None = Field(
        default=None,
        description="Port of the nodes for gRPC, as httpPort. Default: Kubernetes chooses one.",
    )


AnyExposure = Annotated[Exposure, _PORTS, _DISTINCT]
