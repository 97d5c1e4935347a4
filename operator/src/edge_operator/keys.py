"""The names by which services, namespaces, pools, tails and slices are known in the operator."""

from typing import NamedTuple

from edge_api.placements import UNENCODED


class ServiceKey(NamedTuple):
    """An InferenceService."""

    namespace: str
    name: str


class NamespaceKey(NamedTuple):
    """A namespace, which has one runtime at each of its entry nodes."""

    namespace: str


class TailKey(NamedTuple):
    """A model at the HTTP address of a Triton server, with its scheme."""

    address: str
    name: str


class SliceKey(NamedTuple):
    """A subgraph between two sets of tensors, with the codecs in which they are received and sent.

    kept: further outputs, which are not sent.
    """

    model: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    decode: str = UNENCODED
    encode: str = UNENCODED
    kept: tuple[str, ...] = ()
