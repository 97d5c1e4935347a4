"""Groups operations into layers: one each, except operations that cannot be analyzed separately."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from edge_planning.graphs.operations import Operation, OperationGraph
from edge_planning.graphs.regions import merged

SHOWN = 3
"""Number of names and reasons in a warning, before the count of the others."""


@dataclass(frozen=True, slots=True)
class Group:
    """The operations of a layer in topological order."""

    members: tuple[Operation, ...]
    opaque: bool


def grouped(
    network: OperationGraph,
    operations: Sequence[Operation],
    constants: Container[str],
    misfits: Container[int],
) -> tuple[list[Group], list[str]]:
    """Returns the operations of each layer in topological order, and a warning for each opaque layer.

    An operation is opaque if it has an obstacle, or if its shapes and attributes do not fit it (`misfits`, by
    number). A tensor of unknown size cannot cross a cut, so its producer and its readers are one layer,
    together with all operations between them.
    """
    maker = {name: number for number, operation in enumerate(operations) for name in operation.outputs}
    readers: dict[str, list[int]] = {}
    for number, operation in enumerate(operations):
        for name in operation.reads():
            if name not in constants:
                readers.setdefault(name, []).append(number)
    together, reasons = _around_open_tensors(network, operations, readers)
    touched = {number for touching in together for number in touching}
    for number, operation in enumerate(operations):
        if operation.obstacle:
            reasons[number] = operation.obstacle
        elif number in misfits and number not in touched:
            reasons[number] = f"inputs or attributes do not fit {operation.operator}"
    opaque = touched | set(reasons)
    if not opaque:
        return [Group((operation,), opaque=False) for operation in operations], []
    edges = [
        (maker[name], number) for name, numbers in readers.items() if name in maker for number in numbers
    ]
    group_of = merged(len(operations), edges, together)
    inside: dict[int, list[int]] = {}
    for number, group in enumerate(group_of):
        inside.setdefault(group, []).append(number)
    groups = {
        group: Group(tuple(operations[n] for n in numbers), not opaque.isdisjoint(numbers))
        for group, numbers in inside.items()
    }
    sentences = [
        _sentence(groups[group], [reasons[n] for n in numbers if n in reasons])
        for group, numbers in inside.items()
        if groups[group].opaque
    ]
    return [groups[group] for group in _order(group_of, edges)], sentences


def _around_open_tensors(
    network: OperationGraph, operations: Sequence[Operation], readers: Mapping[str, list[int]]
) -> tuple[list[list[int]], dict[int, str]]:
    """Returns the operations that touch each tensor of unknown size, and a reason by the first of them.

    Only root causes are reasons, not sizes that are unknown because another one is.
    """
    maker = {name: number for number, operation in enumerate(operations) for name in operation.outputs}
    together = []
    reasons: dict[int, str] = {}
    for name in (*network.inputs, *maker):
        if network.type_of(name).known or not (name in readers or name in network.outputs):
            continue
        makers = [maker[name]] if name in maker else []
        if touching := [*makers, *readers.get(name, [])]:
            together.append(touching)
            reads = {source for number in makers for source in operations[number].reads()} & readers.keys()
            if all(network.type_of(source).known for source in reads):
                reasons.setdefault(touching[0], _openness(network, name))
    return together, reasons


def _order(group_of: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Returns the groups in topological order."""
    after: dict[int, set[int]] = {group: set() for group in group_of}
    for start, end in edges:
        if group_of[start] != group_of[end]:
            after[group_of[start]].add(group_of[end])
    waiting = dict.fromkeys(after, 0)
    for followers in after.values():
        for group in followers:
            waiting[group] += 1
    ready = sorted((group for group, count in waiting.items() if not count), reverse=True)
    found = []
    while ready:
        found.append(group := ready.pop())
        for follower in sorted(after[group], reverse=True):
            waiting[follower] -= 1
            if not waiting[follower]:
                ready.append(follower)
    return found


def _openness(network: OperationGraph, name: str) -> str:
    kind = network.type_of(name)
    if kind.shape is None:
        return f"the shape of {name} is unknown"
    if None in kind.shape:
        shape = ", ".join("?" if size is None else str(size) for size in kind.shape)
        return f"the shape of {name}, [{shape}], has a dimension without a bound"
    return f"the elements of {name} have no fixed width"


def _sentence(group: Group, reasons: Sequence[str]) -> str:
    names = [operation.name for operation in group.members]
    causes = list(dict.fromkeys(reasons))
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    are = "is a layer that cannot be cut" if len(names) == 1 else "form one layer that cannot be cut"
    more = f"; and {len(causes) - SHOWN} more reasons" if len(causes) > SHOWN else ""
    return f"{shown} {are}: {'; '.join(causes[:SHOWN])}{more}"
