"""A model as a directed acyclic graph of layers connected by tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tensor:
    """An activation for a batch of one: concrete shape, number of elements, size in bytes as computed.

    Attributes:
        crosses: Whether it can be sent between places. False if its size is unknown, or if it has no batch
            dimension while other tensors do.
    """

    name: str
    shape: tuple[int, ...]
    elements: int
    size: int
    crosses: bool = True


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation, or several that cannot be analyzed separately.

    Attributes:
        kind: The operator's type in lower case (`conv`, `gemm`, `relu`, `maxpool`, `lrn`, …), or `opaque`.
        inputs, outputs: Names of activations; parameters are not inputs.
        flops: Floating-point operations; a multiply and an add count as two.
        parameters: Bytes of weights.
        activations: Bytes of the outputs.
        memory: Bytes required to run it: parameters, inputs, outputs.
        variables: Independent variables of the latency regression of its kind (see costs.variables).
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
    """Layers in topological order.

    Attributes:
        inputs, outputs: Names of the tensors that enter and leave the graph.
        tensors: Every activation by name.
        warnings: One sentence per part that could not be analyzed and is one layer that cannot be cut.
        unsized: Activations of unknown size; each unknown dimension counts as 1 in FLOPs and bytes.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor] = field(hash=False)
    warnings: tuple[str, ...] = ()
    unsized: tuple[str, ...] = ()
