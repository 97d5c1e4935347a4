"""Producers and readers of each tensor of a graph, and the operators between two sets of tensors."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence

from onnx import ModelProto

from edge_runtime.slicing.reading import draws, reads


class Structure:
    """The operators of a graph by index in topological order, and the tensors between them.

    A tensor is live if it depends on an input or on a random draw; the others are constants, which every
    slice can contain.
    """

    def __init__(self, model: ModelProto, inputs: Sequence[str]) -> None:
        graph = model.graph
        self.inputs = tuple(inputs)
        self.outputs = [tuple(name for name in node.output if name) for node in graph.node]
        self.reads = [tuple(dict.fromkeys(reads(node))) for node in graph.node]
        self.maker = {name: i for i, names in enumerate(self.outputs) for name in names}
        self.draws = frozenset(i for i, node in enumerate(graph.node) if draws(model, node))
        self.live = set(inputs)
        for i, names in enumerate(self.reads):
            if i in self.draws or not self.live.isdisjoint(names):
                self.live.update(self.outputs[i])

    def before(self, outputs: Iterable[str]) -> list[int]:
        """The live operators that compute `outputs`, in order."""
        found: set[int] = set()
        todo = list(outputs)
        while todo:
            maker = self.maker.get(todo.pop())
            if maker is not None and maker not in found:
                found.add(maker)
                todo.extend(name for name in self.reads[maker] if name in self.live)
        return sorted(i for i in found if i in self.draws or not self.live.isdisjoint(self.reads[i]))

    def sources(self, names: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
        """The live tensors of `known` that others are computed from with none of `known` in between."""
        found: dict[str, None] = {}
        seen = set(names)
        todo = deque(seen)
        while todo:
            maker = self.maker.get(todo.popleft())
            for read in self.reads[maker] if maker is not None else ():
                if read in self.live and read not in seen:
                    seen.add(read)
                    if read in known:
                        found[read] = None
                    else:
                        todo.append(read)
        return tuple(found)

    def between(self, given: Collection[str], outputs: Iterable[str]) -> tuple[set[int], set[str]]:
        """Operators that compute `outputs` from `given` and constants, and the inputs that are missing."""
        found: set[int] = set()
        missing: set[str] = set()
        todo = [name for name in outputs if name not in given]
        while todo:
            name = todo.pop()
            maker = self.maker.get(name)
            if maker is None:
                if name in self.inputs:
                    missing.add(name)
            elif maker not in found:
                found.add(maker)
                todo.extend(read for read in self.reads[maker] if read not in given)
        return found, missing

    def way_around(self, given: Collection[str], outputs: Iterable[str]) -> list[str]:
        """Tensors from an input to one of `outputs` that bypass `given`; empty if there is no such path."""
        onward = {name: "" for name in outputs if name not in given}
        todo = deque(onward)
        while todo:
            name = todo.popleft()
            if name in self.inputs:
                path = [name]
                while onward[path[-1]]:
                    path.append(onward[path[-1]])
                return path
            maker = self.maker.get(name)
            for read in self.reads[maker] if maker is not None else ():
                if read in self.live and read not in given and read not in onward:
                    onward[read] = name
                    todo.append(read)
        return []

    def separators(self, outputs: Sequence[str], most: int) -> Iterator[tuple[str, ...]]:
        """Sets of tensors that separate the inputs from some outputs, in order; the inputs first.

        The tensors computed before an operator and needed at or after it are such a set. A single tensor
        separates exactly if it is such a set, so one sweep finds all of them. Sets with more than `most`
        tensors that are neither inputs nor outputs are left out; those pass beside the others.
        """
        operators = self.before(outputs)
        last_use = {name: position for position, i in enumerate(operators) for name in self.reads[i]}
        last_use |= dict.fromkeys(outputs, len(operators))
        passing = {*self.inputs, *outputs}
        opened = dict.fromkeys(name for name in self.inputs if name in last_use)
        if not operators:
            return
        for position, i in enumerate(operators):
            if opened and (position == 0 or len(opened.keys() - passing) <= most):
                yield tuple(opened)
            opened |= dict.fromkeys(name for name in self.outputs[i] if last_use.get(name, -1) > position)
            for name in self.reads[i]:
                if last_use.get(name) == position:
                    opened.pop(name, None)
