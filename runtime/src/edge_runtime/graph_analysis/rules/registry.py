"""The table of operators: a rule derives what is known of an operator's outputs from its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge_runtime.graph_analysis.reading import Operator
from edge_runtime.graph_analysis.sizes import Unknowns, count
from edge_runtime.graph_analysis.values import Mixes, Value, common

Result = Value | Mixes


@dataclass(frozen=True, slots=True)
class Step:
    """An operator and what is known of its inputs."""

    operator: Operator
    inputs: Sequence[Value | None]
    unknowns: Unknowns

    @property
    def version(self) -> int:
        """Version of the operator's domain."""
        return self.operator.version

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int = 0) -> Value:
        """An input. Raises Mixes if it is not given."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise Mixes(f"has no input {index}")
        return found

    def given(self, start: int = 0) -> list[Value]:
        """The inputs from index `start` that are given."""
        return [v for v in self.inputs[start:] if v is not None]

    def commons(self, start: int = 0) -> None:
        """Raises Mixes if an input from index `start` depends on the request."""
        self.common(*range(start, len(self.inputs)))

    def common(self, *indices: int) -> None:
        """Raises Mixes if one of these inputs depends on the request."""
        for index in indices:
            common(self.inputs[index] if self.has(index) else None, f"input {index}")

    def single(self, *indices: int) -> None:
        """Raises Mixes unless each of these inputs is one number for all rows."""
        self.common(*indices)
        for index in indices:
            if self.has(index) and count(self.value(index).shape) != 1:
                raise Mixes(f"input {index} is not one number for all rows")

    def attribute(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """An attribute's value. Raises Mixes for one that was too long to be read."""
        attributes = self.operator.attributes
        if name not in attributes:
            return default
        if attributes[name] is None:
            raise Mixes(f"its attribute {name} is too long to be read")
        return attributes[name]

    def integers(self, name: str, index: int) -> list[int] | None:
        """Integers that early versions take as an attribute and later ones as an input; None if not given.

        Raises Mixes if they are not known.
        """
        found = self.attribute(name)
        if found is not None:
            return [int(i) for i in found] if isinstance(found, list | tuple) else [int(found)]
        if not self.has(index):
            return None
        known = self.value(index).integers
        if known is None:
            raise Mixes(f"its {name} are not known")
        return known

    def same_results(self, value: Value | None = None) -> Value:
        """A tensor with the shape and the rows of an input, by default the first."""
        value = self.value() if value is None else value
        return value.shaped(value.shape, value.axis)


Rule = Callable[[Step], Sequence[Result]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule.

    counting: whether it handles the number of rows as a number. exact: whether equal elements give bitwise
    equal results for any number of rows.
    """

    apply: Rule
    counting: bool
    exact: bool


TABLE: Final[dict[tuple[str, str], Entry]] = {}
MICROSOFT: Final = "com.microsoft"
CLASSICAL: Final = "ai.onnx.ml"


def rule(
    *kinds: str, domain: str = "", counting: bool = False, exact: bool = False
) -> Callable[[Rule], Rule]:
    """Registers a rule for operators."""

    def enter(apply: Rule) -> Rule:
        for kind in kinds:
            assert (domain, kind) not in TABLE, kind
            TABLE[domain, kind] = Entry(apply, counting, exact)
        return apply

    return enter


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from the front. Raises Mixes if it is out of range."""
    if not -rank <= axis < rank:
        raise Mixes(f"has no axis {axis}")
    return axis % rank if rank else 0


def apart(value: Value, axes: Sequence[int], what: str) -> None:
    """Raises Mixes if the rows are along one of these axes."""
    if value.axis is not None and value.axis in axes:
        raise Mixes(f"{what} along the rows")


def in_front(value: Value, what: str) -> None:
    """Raises Mixes unless the rows, if any, are along the first axis."""
    if value.axis not in (None, 0):
        raise Mixes(f"{what} along the rows")
