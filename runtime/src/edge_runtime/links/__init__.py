"""The link to a peer, measured."""

from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.links.sockets import Transfer

__all__ = ["LinkMonitor", "Transfer"]
