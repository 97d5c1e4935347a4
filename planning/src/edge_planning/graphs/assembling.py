"""Converts the operations of a file to a Graph: folds constants and merges opaque operations."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from edge_planning.graphs.flops import Attributes, Shape, Shapes, flops, ints
from edge_planning.graphs.groups import Group, grouped
from edge_planning.graphs.operations import Operation, OperationGraph
from edge_planning.graphs.values import Graph, Layer, Tensor

RANDOM = frozenset(
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]
)
CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Index of the weight among the inputs."""
MISFITS = (ValueError, LookupError, TypeError, ZeroDivisionError)


def assemble(network: OperationGraph) -> Graph:
    """Returns the layers that lead to an output, in topological order, with their costs.

    Operations that depend only on constants are not layers: their results are parameters of their readers.
    Operations that cannot be analyzed are merged into opaque layers.
    """
    constants = _constants(network)
    operations = _needed(network, constants)
    costs = _Costs({}, {})
    misfits = {n for n, operation in enumerate(operations) if not costs.add(network, operation, constants)}
    groups, sentences = grouped(network, operations, constants, misfits)
    layers = _layers(network, constants, groups, costs)
    for name in dict.fromkeys(network.outputs):
        if (size := constants.get(name)) is not None:
            layers.append(Layer(f"constant:{name}", "constant", (), (name,), 0.0, size, size, 2 * size))
    tensors = dict.fromkeys([*network.inputs, *(name for layer in layers for name in layer.outputs)])
    inner = (name for group in groups for each in group.members for name in each.outputs)
    return Graph(
        network.name,
        network.inputs,
        tuple(dict.fromkeys(network.outputs)),
        tuple(layers),
        {name: _tensor(network, name) for name in tensors},
        (*network.warnings, *sentences, *costs.sentences()),
        tuple(name for name in dict.fromkeys([*tensors, *inner]) if not network.type_of(name).known),
    )


def _tensor(network: OperationGraph, name: str) -> Tensor:
    kind = network.type_of(name)
    shape = kind.counted_shape()
    return Tensor(name, shape, prod(shape), kind.size(), name in network.crossing)


def _constants(network: OperationGraph) -> Mapping[str, int]:
    """Returns every tensor that does not depend on an input, with its bytes.

    A known shape of a tensor is a constant. Weights widened by DequantizeLinear count with their stored size.
    """
    found = {name: network.type_of(name).size() for name in network.constants}
    for operation in network.operations:
        measured = operation.operator in ("Shape", "Size") and network.type_of(operation.inputs[0]).known
        computed = operation.operator not in RANDOM and all(name in found for name in operation.reads())
        if operation.obstacle or not (measured or computed):
            continue
        for name in operation.outputs:
            found[name] = network.type_of(name).size()
        if operation.operator == "DequantizeLinear":
            found[operation.outputs[0]] = sum(found[name] for name in operation.reads())
    return found


def _needed(network: OperationGraph, constants: Container[str]) -> list[Operation]:
    """Returns the operations that are not constant and lead to an output."""
    wanted = set(network.outputs)
    found = []
    for operation in reversed(network.operations):
        if any(name in wanted and name not in constants for name in operation.outputs):
            wanted.update(operation.reads())
            found.append(operation)
    return found[::-1]


@dataclass(frozen=True, slots=True)
class _Costs:
    """FLOPs and variables by the first output of an operation, and counts of operators without a rule."""

    found: dict[str, tuple[float, dict[str, float]]]
    unruled: dict[str, int]

    def add(self, network: OperationGraph, operation: Operation, constants: Container[str]) -> bool:
        """Adds the cost of an operation; returns False if its shapes and attributes do not fit it."""
        outputs = [shape for name in operation.outputs if (shape := _shape(network, name)) is not None]
        if operation.obstacle or not outputs:
            return False
        inputs = [_shape(network, name) if name else None for name in operation.inputs]
        active = [
            shape
            for name in operation.reads()
            if name not in constants and (shape := _shape(network, name)) is not None
        ]
        try:
            count = flops(operation.operator, inputs, outputs, operation.attributes)
            measures = _variables(operation.operator, active, inputs, outputs[:1], operation.attributes)
        except MISFITS:
            return False
        if count is None:
            self.unruled[operation.operator] = self.unruled.get(operation.operator, 0) + 1
            count = float(sum(map(prod, outputs)))
        self.found[operation.outputs[0]] = (count, measures)
        return True

    def sentences(self) -> list[str]:
        return [
            f"{operator} ({count} of them): no rule for its FLOPs; counted as one per output element"
            for operator, count in self.unruled.items()
        ]


def _shape(network: OperationGraph, name: str) -> Shape | None:
    kind = network.type_of(name)
    return kind.counted_shape() if kind.known else None


def _layers(
    network: OperationGraph, constants: Mapping[str, int], groups: Sequence[Group], costs: _Costs
) -> list[Layer]:
    readers: dict[str, set[int]] = {}
    for number, group in enumerate(groups):
        for operation in group.members:
            for tensor in operation.reads():
                readers.setdefault(tensor, set()).add(number)
    kept, names = set(network.outputs), set[str]()
    layers = []
    for number, group in enumerate(groups):
        made = tuple(
            tensor
            for operation in group.members
            for tensor in operation.outputs
            if tensor in kept or readers.get(tensor, set()) - {number}
        )
        first = group.members[0]
        name = first.name if len(group.members) == 1 else f"{first.name}..{group.members[-1].name}"
        names.add(name := name if name not in names else f"{name}:{first.outputs[0]}")
        layers.append(_layer(network, constants, name, group, made, costs))
    return layers


def _layer(
    network: OperationGraph,
    constants: Mapping[str, int],
    name: str,
    group: Group,
    made: tuple[str, ...],
    costs: _Costs,
) -> Layer:
    inner = {tensor for operation in group.members for tensor in operation.outputs}
    reads = dict.fromkeys(tensor for operation in group.members for tensor in operation.reads())
    inputs = tuple(tensor for tensor in reads if tensor not in inner and tensor not in constants)
    parameters = sum(constants[tensor] for tensor in reads if tensor in constants)
    parameters += sum(operation.inner_parameters for operation in group.members)
    found = [costs.found[first] for o in group.members if (first := o.outputs[0]) in costs.found]
    # The inner tensors of an opaque layer count as alive at once: it is unknown when they are freed.
    held = {*inputs, *made, *(inner if group.opaque else ())}
    measures = found[0][1] if found and not group.opaque else _sizes(network, inputs, made)
    return Layer(
        name=name,
        kind="opaque" if group.opaque else group.members[0].operator.lower(),
        inputs=inputs,
        outputs=made,
        flops=sum(count for count, _ in found),
        parameters=parameters,
        activations=sum(network.type_of(tensor).size() for tensor in made),
        memory=parameters + sum(network.type_of(tensor).size() for tensor in held),
        variables=measures,
    )


def _sizes(network: OperationGraph, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, float]:
    return {
        key: float(sum(prod(network.type_of(name).counted_shape()) for name in names))
        for key, names in (("input", inputs), ("output", outputs))
    }


def _variables(
    operator: str, activations: Sequence[Shape], inputs: Shapes, outputs: Sequence[Shape], given: Attributes
) -> dict[str, float]:
    """Returns the variables of a layer's latency regression, as in Edgent (costs.variables).

    These are `input` and `output`, the elements of the activations that it reads and of its outputs. For
    convolutions, also input_maps and filter_work = (filter / stride)^2 x filters.

    `inputs`: Shapes of all inputs, including parameters. `given`: Attributes of the operator.
    """
    found = {"input": float(sum(map(prod, activations))), "output": float(sum(map(prod, outputs)))}
    if operator in CONVOLUTIONS:
        first, weight = inputs[0] or (), inputs[CONVOLUTIONS[operator]] or ()
        kernel = weight[2:]
        strides = ints(given, "strides", (1,) * len(kernel))
        found["input_maps"] = float(first[1])
        found["filter_work"] = prod(kernel) / prod(strides) * weight[0]
    return found
