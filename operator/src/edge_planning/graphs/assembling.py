"""From a network as its file states it to a Graph: constants folded away, what is opaque merged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from edge_planning.graphs.flops import Shape, flops
from edge_planning.graphs.operations import Network, Operation
from edge_planning.graphs.regions import merged
from edge_planning.graphs.values import Graph, Layer, Tensor
from edge_planning.graphs.variables import variables

RANDOM = frozenset(
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]
)
MISFITS = (ValueError, LookupError, TypeError, ZeroDivisionError)


def assemble(network: Network) -> Graph:
    """The layers on the way to an output, in topological order, with what they cost.

    Operations on constants alone are no layers: their results are parameters of what reads them. A layer that
    cannot be looked into is opaque, merged with everything that cannot be told apart from it.
    """
    constants = _constants(network)
    needed = _needed(network, constants)
    costs, unruled = _costs(network, needed, constants)
    groups, warnings = _groups(network, needed, constants, costs)
    kept = set(network.outputs)
    readers: dict[str, set[int]] = {}
    for number, group in enumerate(groups):
        for operation in group.members:
            for tensor in operation.reads():
                readers.setdefault(tensor, set()).add(number)
    layers, names = [], set[str]()
    for number, group in enumerate(groups):
        made = [
            tensor
            for operation in group.members
            for tensor in operation.outputs
            if tensor in kept or readers.get(tensor, set()) - {number}
        ]
        layer = _layer(network, constants, group, made, costs, names)
        names.add(layer.name)
        layers.append(layer)
    layers += [
        Layer(f"constant:{name}", "constant", (), (name,), 0.0, size, size, 2 * size)
        for name in dict.fromkeys(network.outputs)
        if name in constants
        for size in [constants[name]]
    ]
    tensors = {
        name: _tensor(network, name)
        for name in (*network.inputs, *(name for layer in layers for name in layer.outputs))
    }
    return Graph(
        network.name,
        network.inputs,
        tuple(dict.fromkeys(network.outputs)),
        tuple(layers),
        tensors,
        (*network.warnings, *warnings, *unruled),
    )


@dataclass(frozen=True, slots=True)
class _Group:
    members: tuple[Operation, ...]
    opaque: bool


def _tensor(network: Network, name: str) -> Tensor:
    kind = network.type_of(name)
    shape = kind.counted_shape()
    return Tensor(name, shape, prod(shape), kind.size())


def _constants(network: Network) -> Mapping[str, int]:
    """Every tensor that does not depend on an input, with its bytes.

    The shape of a tensor is one, where it is known. Weights that are stored in fewer bits and widened
    (DequantizeLinear) count as they are stored.
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


def _needed(network: Network, constants: Mapping[str, int]) -> list[Operation]:
    """Operations that are not constant and lead to an output."""
    wanted = set(network.outputs)
    found = []
    for operation in reversed(network.operations):
        if any(name in wanted and name not in constants for name in operation.outputs):
            wanted.update(operation.reads())
            found.append(operation)
    return found[::-1]


def _costs(
    network: Network, operations: Sequence[Operation], constants: Mapping[str, int]
) -> tuple[dict[str, tuple[float, dict[str, float]] | None], list[str]]:
    """FLOPs and variables by the first output of an operation; None where its attributes do not fit it."""
    found: dict[str, tuple[float, dict[str, float]] | None] = {}
    unruled: dict[str, int] = {}
    for operation in operations:
        inputs = [_shape(network, name) if name else None for name in operation.inputs]
        outputs = [shape for name in operation.outputs if (shape := _shape(network, name)) is not None]
        found[operation.outputs[0]] = None
        if operation.obstacle or not outputs:
            continue
        try:
            count = flops(operation.operator, inputs, outputs, operation.attributes)
            if count is None:
                unruled[operation.operator] = unruled.get(operation.operator, 0) + 1
                count = float(sum(map(prod, outputs)))
            active = [
                shape
                for name in operation.reads()
                if name not in constants and (shape := _shape(network, name)) is not None
            ]
            found[operation.outputs[0]] = (
                count,
                variables(operation.operator, active, inputs, outputs, operation.attributes),
            )
        except MISFITS:
            continue
    return found, [
        f"{operator} ({count} of them): no rule for its FLOPs, one is counted for each element that it makes"
        for operator, count in unruled.items()
    ]


def _shape(network: Network, name: str) -> Shape | None:
    kind = network.type_of(name)
    return kind.counted_shape() if kind.known else None


def _groups(
    network: Network,
    operations: Sequence[Operation],
    constants: Mapping[str, int],
    costs: Mapping[str, object | None],
) -> tuple[list[_Group], list[str]]:
    """Operations as layers: each alone, or several as one that is opaque; a sentence for each of those."""
    maker = {name: number for number, operation in enumerate(operations) for name in operation.outputs}
    readers: dict[str, list[int]] = {}
    for number, operation in enumerate(operations):
        for name in operation.reads():
            if name not in constants:
                readers.setdefault(name, []).append(number)
    open_tensors = [
        name
        for name in (*network.inputs, *maker)
        if not network.type_of(name).known and (name in readers or name in network.outputs)
    ]
    reasons: dict[int, str] = {}
    together = []
    for name in open_tensors:
        touching = [maker[name]] if name in maker else []
        touching += readers.get(name, [])
        together.append(touching)
        if touching:
            reasons.setdefault(touching[0], _openness(network, name))
    for number, operation in enumerate(operations):
        if operation.obstacle:
            reasons[number] = operation.obstacle
        elif costs[operation.outputs[0]] is None and all(
            network.type_of(name).known for name in operation.outputs if name in readers
        ):
            reasons.setdefault(number, f"what is given to {operation.operator} does not fit it")
    opaque = {number for touching in together for number in touching} | set(reasons)
    if not opaque:
        return [_Group((operation,), False) for operation in operations], []
    edges = [
        (maker[name], number) for name, numbers in readers.items() if name in maker for number in numbers
    ]
    numbers = merged(len(operations), edges, [touching for touching in together if touching])
    members: dict[int, list[int]] = {}
    for number, group in enumerate(numbers):
        members.setdefault(group, []).append(number)
    groups = {
        group: _Group(tuple(operations[n] for n in inside), any(n in opaque for n in inside))
        for group, inside in members.items()
    }
    warnings = [
        _sentence(groups[group], [reasons[n] for n in inside if n in reasons])
        for group, inside in members.items()
        if groups[group].opaque
    ]
    return [groups[group] for group in _order(numbers, edges)], warnings


def _order(groups: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    """The groups in topological order, the earliest first member first among those that may come next."""
    after: dict[int, set[int]] = {group: set() for group in groups}
    for start, end in edges:
        if groups[start] != groups[end]:
            after[groups[start]].add(groups[end])
    waiting = dict.fromkeys(after, 0)
    for followers in after.values():
        for group in followers:
            waiting[group] += 1
    ready = sorted((group for group, count in waiting.items() if not count), reverse=True)
    found = []
    while ready:
        found.append(group := ready.pop())
        free = []
        for follower in after[group]:
            waiting[follower] -= 1
            if not waiting[follower]:
                free.append(follower)
        ready += sorted(free, reverse=True)
    return found


def _openness(network: Network, name: str) -> str:
    kind = network.type_of(name)
    if kind.shape is None:
        return f"the shape of {name} is not known"
    if None in kind.shape:
        shape = ", ".join("?" if size is None else str(size) for size in kind.shape)
        return f"the shape of {name} is open, [{shape}]: a dimension without a bound"
    return f"the elements of {name} have no fixed width"


def _sentence(group: _Group, reasons: Sequence[str]) -> str:
    names = [operation.name for operation in group.members]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    causes = list(dict.fromkeys(reasons))
    more = f"; and {len(causes) - 3} reasons more" if len(causes) > 3 else ""
    are = "is one layer that is not cut" if len(names) == 1 else "are taken as one layer that is not cut"
    return f"{shown} {are}: {'; '.join(causes[:3])}{more}"


def _layer(
    network: Network,
    constants: Mapping[str, int],
    group: _Group,
    made: Sequence[str],
    costs: Mapping[str, tuple[float, dict[str, float]] | None],
    taken: set[str],
) -> Layer:
    inner = {name for operation in group.members for name in operation.outputs}
    reads = dict.fromkeys(name for operation in group.members for name in operation.reads())
    inputs = tuple(name for name in reads if name not in inner and name not in constants)
    parameters = sum(constants[name] for name in reads if name in constants)
    parameters += sum(operation.inner_parameters for operation in group.members)
    found = [cost for operation in group.members if (cost := costs[operation.outputs[0]]) is not None]
    activations = sum(network.type_of(name).size() for name in made)
    # What an opaque layer passes inside is counted as held all at once: nothing says when it is freed.
    held = activations + sum(network.type_of(name).size() for name in inputs)
    held += sum(network.type_of(name).size() for name in inner - set(made)) if group.opaque else 0
    first = group.members[0]
    if group.opaque:
        measures = {
            "input": float(sum(prod(network.type_of(name).counted_shape()) for name in inputs)),
            "output": float(sum(prod(network.type_of(name).counted_shape()) for name in made)),
        }
    else:
        measures = found[0][1] if found else {}
    name = first.name if len(group.members) == 1 else f"{first.name}..{group.members[-1].name}"
    return Layer(
        name=name if name not in taken else f"{name}:{first.outputs[0]}",
        kind="opaque" if group.opaque else first.operator.lower(),
        inputs=inputs,
        outputs=tuple(made),
        flops=sum(cost for cost, _ in found),
        parameters=parameters,
        activations=activations,
        memory=parameters + held,
        variables=measures,
    )
