"""How callers of the model store say who they are."""

from typing import Final

AUDIENCE: Final = "edge-model-store"
"""Audience of the ServiceAccount tokens that callers show."""
NAMESPACE_HEADER: Final = "x-edge-namespace"
"""Header with the namespace for which the operator acts."""
