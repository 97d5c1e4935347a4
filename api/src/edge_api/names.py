"""Names that the operator gives to objects and that runtimes look up. Pure.

Names of objects differ wherever their arguments do: one that would be too long, or could be mistaken for a
shortened one, ends in a hash.
"""

import hashlib
import re
from typing import Final

SERVICE_LABEL: Final = "edge-intelligence.io/service"
"""On a Placement: `label_value` of the InferenceService's name."""
NODE_LABEL: Final = "edge-intelligence.io/node"
"""On a Placement: `label_value` of the entry node's name."""
ISOLATION_LABEL: Final = "edge-intelligence.io/isolation"
"""On a Placement and on a runtime's pods: the isolation of the services."""
PEER_SCHEME_LABEL: Final = "edge-intelligence.io/peer-scheme"
"""On a Placement: HTTPS if the runtime at its node serves TLS on ports for other nodes."""

_LABEL, _NAME, _HASH = 63, 253, 10
_SHORTENED = re.compile(rf"-[0-9a-f]{{{_HASH}}}$")
_RUNTIME: Final = "edge-runtime-"


def label_value(text: str) -> str:
    """Returns `text` as a label value: unchanged if it fits, else truncated with a hash."""
    if len(text) <= _LABEL:
        return text
    return f"{text[: _LABEL - _HASH - 1].rstrip('-_.')}-{_hash(text)}"


def placement_name(service: str, node: str) -> str:
    """Returns the name of the Placement of a service at an entry node, at most 253 characters.

    service: a DNS label without dots: the first dot of the name separates it from the node. Names of more
    than 242 characters are shortened to exactly 253.
    """
    name = f"{service}.{node}"
    kept = _NAME - _HASH - 1
    if len(name) <= kept:
        return name
    head = name[:kept]
    return f"{head[:-1]}{'-' if head[-1] == '.' else head[-1]}-{_hash(name)}"


def runtime_service_name(node: str) -> str:
    """Returns the name of the Service of a namespace's shared runtime at an entry node: one DNS label."""
    name = f"{_RUNTIME}{node}"
    if len(name) <= _LABEL and "." not in name and not _SHORTENED.search(name):
        return name
    head = name.replace(".", "-")[: _LABEL - _HASH - 1].rstrip("-")
    return f"{head}-{_hash(node)}"


def dedicated_service_name(service: str, node: str) -> str:
    """Returns the name of the Service of a service's own runtime at a node: one DNS label with a hash."""
    head = f"{_RUNTIME}{service}-{node}".replace(".", "-")[: _LABEL - _HASH - 1].rstrip("-")
    return f"{head}-{_hash(f'{service}/{node}')}"


def is_runtime_account(name: str) -> bool:
    """Whether a ServiceAccount is that of runtimes: `edge-runtime`, `edge-runtime-…` or `…-runtime`.

    The last ones are of earlier versions.
    """
    return name.startswith(_RUNTIME) or name.endswith("-runtime")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH]
