"""The table of operators: each has a rule that says what its outputs are, given what its inputs are."""

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
    """An operator and what its inputs are known to be."""

    operator: Operator
    inputs: Sequence[Value | None]
    unknowns: Unknowns

    @property
    def version(self) -> int:
        """Of the operator's domain."""
        return self.operator.version

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int = 0) -> Value:
        """An input; Mixes where there is none."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise Mixes(f"it has no input {index}")
        return found

    def given(self, start: int = 0) -> list[Value]:
        """The inputs that are given, from one on."""
        return [v for v in self.inputs[start:] if v is not None]

    def commons(self, start: int = 0) -> None:
        """Mixes where one of the inputs from one on depends on the request."""
        self.common(*range(start, len(self.inputs)))

    def common(self, *indices: int) -> None:
        """Mixes where one of these inputs depends on the request."""
        for index in indices:
            common(self.inputs[index] if self.has(index) else None, f"input {index}")

    def single(self, *indices: int) -> None:
        """Mixes where one of these inputs is not one number for all rows."""
        self.common(*indices)
        for index in indices:
            if self.has(index) and count(self.value(index).shape) != 1:
                raise Mixes(f"input {index} is not one number for all rows")

    def attribute(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """An attribute's value; Mixes for one that was too long to be looked at."""
        attributes = self.operator.attributes
        if name not in attributes:
            return default
        if attributes[name] is None:
            raise Mixes(f"its attribute {name} is not looked at")
        return attributes[name]

    def integers(self, name: str, index: int) -> list[int] | None:
        """Numbers that early versions have as an attribute and later ones as an input; None where not given.

        Mixes where they are not known.
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
        """A tensor of the shape and the rows of an input, by default the first."""
        value = self.value() if value is None else value
        return value.shaped(value.shape, value.axis)


Rule = Callable[[Step], Sequence[Result]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule.

    counting: it can handle the number of rows as a number. exact: the operator makes the same of the same
    elements, bit by bit, however many rows there are.
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
    """Enters a rule for operators."""

    def enter(apply: Rule) -> Rule:
        for kind in kinds:
            assert (domain, kind) not in TABLE, kind
            TABLE[domain, kind] = Entry(apply, counting, exact)
        return apply

    return enter


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front; Mixes where there is none."""
    if not -rank <= axis < rank:
        raise Mixes(f"it has no axis {axis}")
    return axis % rank if rank else 0


def apart(value: Value, axes: Sequence[int], what: str) -> None:
    """Mixes when the rows are along one of these axes."""
    if value.axis is not None and value.axis in axes:
        raise Mixes(f"{what} along the rows")


def in_front(value: Value, what: str) -> None:
    """Mixes unless the rows, if any, are along the first axis."""
    if value.axis not in (None, 0):
        raise Mixes(f"{what} along the rows")
