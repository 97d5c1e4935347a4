"""A model as a directed acyclic graph of layers that pass tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tensor:
    """An activation of a batch of one: shape without symbols, elements (count), size (bytes as computed).

    crosses: whether it can be sent from one place to another: not if its size is not known, or if it is one
    for a whole batch while other tensors have an item each.
    """

    name: str
    shape: tuple[int, ...]
    elements: int
    size: int
    crosses: bool = True


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation, or several that cannot be told apart.

    kind: the operator's type in lower case (`conv`, `gemm`, `relu`, `maxpool`, `lrn`, …; `opaque` for what
    cannot be looked into). inputs, outputs: names of activations (parameters are no inputs). flops: floating
    point operations, a multiply and an add being two. parameters: bytes of weights. activations: bytes of the
    outputs. memory: bytes that running it needs: parameters, inputs, outputs. variables: what a latency
    regression of its kind is made on (costs.regressions names them).
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flops: float
    parameters: int
    activations: int
    memory: int
    variables: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Graph:
    """Layers in topological order. inputs, outputs: tensors that come from outside and go there.

    tensors: every activation by name. warnings: what could not be understood and is treated as one layer that
    cannot be cut, a sentence each.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor] = field(hash=False)
    warnings: tuple[str, ...] = ()
