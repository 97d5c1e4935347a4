"""Merges layers that must stay together, so that the graph stays acyclic."""

from collections.abc import Iterable, Sequence


def merged(count: int, edges: Iterable[tuple[int, int]], together: Iterable[Sequence[int]]) -> list[int]:
    """Returns the group number of each of `count` nodes; the groups form an acyclic graph.

    Nodes on a path between two members join their group, since a path that leaves and re-enters a group would
    be a cycle. No other nodes join: a ring through each set makes it strongly connected, and the groups are
    the strongly connected components, the finest partition with an acyclic quotient. Groups are numbered by
    their first member.

    `edges`: Of an acyclic graph. `together`: Sets of nodes that share a group.
    """
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    rings = (pair for nodes in together for pair in zip(nodes, [*nodes[1:], nodes[0]], strict=True))
    for start, end in (*edges, *rings):
        after[start].append(end)
        before[end].append(start)
    # Kosaraju and Sharir: in reverse finishing order of a forward depth-first search, each backward search
    # finds one component (Cormen et al., Introduction to Algorithms, 20.5).
    root = [-1] * count
    for start in reversed(_left(after)):
        if root[start] < 0:
            root[start], waiting = start, [start]
            while waiting:
                for node in before[waiting.pop()]:
                    if root[node] < 0:
                        root[node] = start
                        waiting.append(node)
    first: dict[int, int] = {}
    return [first.setdefault(group, len(first)) for group in root]


def _left(after: Sequence[Sequence[int]]) -> list[int]:
    """Returns the nodes in the finishing order of a depth-first search."""
    found: list[int] = []
    seen = [False] * len(after)
    for start in range(len(after)):
        if seen[start]:
            continue
        seen[start], path = True, [(start, iter(after[start]))]
        while path:
            node, followers = path[-1]
            following = next((n for n in followers if not seen[n]), None)
            if following is None:
                found.append(node)
                path.pop()
            else:
                seen[following] = True
                path.append((following, iter(after[following])))
    return found
