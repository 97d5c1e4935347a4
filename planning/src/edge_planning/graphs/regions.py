"""Merging layers that must stay together, so that the graph stays acyclic."""

from collections.abc import Iterable, Sequence


def merged(count: int, edges: Iterable[tuple[int, int]], together: Iterable[Sequence[int]]) -> list[int]:
    """A group's number for each of `count` nodes; the groups form an acyclic graph.

    edges: of an acyclic graph. together: nodes that share a group. What lies on a path between two members
    joins them (a group that a path leaves and enters again would be a cycle), and nothing else does: a ring
    through each set makes it strongly connected, and the groups are the strongly connected components, the
    finest partition with an acyclic quotient. Groups are numbered by their first member.
    """
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    rings = (pair for nodes in together for pair in zip(nodes, [*nodes[1:], nodes[0]], strict=True))
    for start, end in (*edges, *rings):
        after[start].append(end)
        before[end].append(start)
    # Kosaraju and Sharir: in the reverse of the order in which a walk forwards leaves the nodes, each walk
    # backwards finds one component (Cormen et al., Introduction to Algorithms, 20.5).
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
    """The nodes in the order in which a depth-first walk leaves them."""
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
