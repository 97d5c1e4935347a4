"""The topological order of a file's nodes, or the error that prevents one."""

from collections import deque
from collections.abc import Iterable, Sequence

from edge_planning.errors import BadValueError, require


def ordered(
    graph: str,
    outside: Iterable[str],
    nodes: Sequence[str],
    reads: Sequence[Sequence[str]],
    makes: Sequence[Sequence[str]],
    outputs: Iterable[str],
) -> list[int]:
    """Returns the node numbers in topological order; the given order if it is topological.

    `outside`: Tensors that no node produces. `nodes`: Names, for messages. `reads`, `makes`: Tensors of each
    node.

    Raises:
        BadValueError: A tensor has two producers, or is read without one, or the nodes form a cycle.
    """
    maker: dict[str, int] = {}
    known = set(outside)
    for number, made in enumerate(makes):
        for tensor in made:
            require(
                tensor not in maker and tensor not in known,
                f"model {graph}: invalid: {nodes[number]} produces {tensor}, which already exists",
            )
            maker[tensor] = number
    for number, read in enumerate(reads):
        for tensor in read:
            require(
                tensor in maker or tensor in known,
                f"model {graph}: invalid: {nodes[number]} reads {tensor}, which no node produces",
            )
    for tensor in outputs:
        require(
            tensor in maker or tensor in known,
            f"model {graph}: invalid: no node produces its output {tensor}",
        )
    before = [{maker[tensor] for tensor in read if tensor in maker} for read in reads]
    if all(number > max(sources, default=-1) for number, sources in enumerate(before)):
        return list(range(len(nodes)))
    after: list[list[int]] = [[] for _ in nodes]
    for number, sources in enumerate(before):
        for source in sources:
            after[source].append(number)
    missing = [len(sources) for sources in before]
    ready = deque(number for number, count in enumerate(missing) if not count)
    found = []
    while ready:
        found.append(number := ready.popleft())
        for follower in after[number]:
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)
    if len(found) < len(nodes):
        ring = _ring(before, set(range(len(nodes))) - set(found))
        raise BadValueError(f"model {graph}: invalid: cyclic: {' -> '.join(nodes[n] for n in ring)}")
    return found


def _ring(before: Sequence[set[int]], left: set[int]) -> list[int]:
    """Returns a cycle among nodes that each depend on another of them."""
    path = [min(left)]
    while True:
        source = min(before[path[-1]] & left)
        if source in path:
            return [source, *reversed(path[path.index(source) :])]
        path.append(source)
