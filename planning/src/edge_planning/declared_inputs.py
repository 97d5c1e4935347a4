"""The shapes of inputs that a manifest or the metadata of a file states, and which sizes are unknown."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from reprlib import repr as brief
from typing import TypeGuard

from edge_planning.errors import BadModelError
from edge_planning.request_shapes import RequestShape, Shape

INPUTS_KEY = "edge.inputs"
"""Key in a file's metadata; the value is a JSON list of {"name", "shape" | "maxShape" and "typicalShape"}."""

Dimension = int | str
"""A fixed size, or the name of an open dimension: the file's, or a unique one."""
Dimensions = Mapping[str, Sequence[Dimension]]
"""The dimensions of each input of a file."""


class BadInputError(BadModelError):
    """An entry of the list, or the list itself, is invalid; attributes as of BadExitError."""

    def __init__(self, path: str, value: object, problem: str, fix: str) -> None:
        super().__init__(f"inputs{path}: {brief(value)} {problem}: {fix}")
        self.path, self.value, self.problem, self.fix = path, value, problem, fix


@dataclass(frozen=True, slots=True)
class DeclaredInput:
    """The shapes of an input: of a usual request, and of the largest one."""

    name: str
    typical: Shape
    largest: Shape


@dataclass(frozen=True, slots=True)
class UnknownSize:
    """An open dimension of an input whose size nothing states; symbol: its name."""

    input: str
    dimension: int
    symbol: str


@dataclass(frozen=True, slots=True)
class StatedShapes:
    """The shapes of requests as far as they are stated.

    Attributes:
        typical, largest: None if a size is unknown.
        unknown: Open dimensions without a size. The first one of an input is the batch and none of them.
    """

    typical: RequestShape | None
    largest: RequestShape | None
    unknown: tuple[UnknownSize, ...] = ()


def parse_inputs(
    text: str, inputs: Dimensions, datatypes: Mapping[str, str] | None = None
) -> tuple[DeclaredInput, ...]:
    """Returns the inputs in the text of a file's metadata; see check_inputs.

    Raises:
        BadInputError: The text is not JSON, or check_inputs refuses it.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError("", text, f"is not JSON ({error})", f"write {INPUTS_KEY} as a list") from error
    return check_inputs(entries, inputs, datatypes)


def check_inputs(
    entries: object, inputs: Dimensions, datatypes: Mapping[str, str] | None = None
) -> tuple[DeclaredInput, ...]:
    """Returns the inputs of a list, in its order.

    inputs, datatypes: of the file, by input; without datatypes, those of the list are not checked.

    Raises:
        BadInputError: An entry is invalid or contradicts the file, or two have the same name.
    """
    if not isinstance(entries, list | tuple):
        raise BadInputError("", entries, "is not a list of inputs", "write [{name, shape}, …]")
    found: dict[str, DeclaredInput] = {}
    for number, entry in enumerate(entries):
        declared = _input(f"[{number}]", entry, inputs, datatypes)
        if declared.name in found:
            raise BadInputError(f"[{number}].name", declared.name, "is listed twice", "list each input once")
        found[declared.name] = declared
    return tuple(found.values())


def stated_shapes(inputs: Dimensions, declared: Iterable[DeclaredInput]) -> StatedShapes:
    """Returns the shapes of requests for a batch of one.

    A size that one input states holds for every dimension of the same name.
    """
    stated = {each.name: each for each in declared}
    typical, largest = dict[str, int](), dict[str, int]()
    for name, each in stated.items():
        for dimension, small, large in zip(inputs[name], each.typical, each.largest, strict=True):
            if isinstance(dimension, str):
                typical.setdefault(dimension, small)
                largest.setdefault(dimension, large)
    unknown = tuple(
        UnknownSize(name, axis, dimension)
        for name, dimensions in inputs.items()
        if name not in stated
        for axis, dimension in enumerate(dimensions)
        if axis and isinstance(dimension, str) and dimension not in largest
    )
    if unknown:
        return StatedShapes(None, None, unknown)
    return StatedShapes(
        RequestShape.of({name: _sized(each, typical) for name, each in inputs.items()}),
        RequestShape.of({name: _sized(each, largest) for name, each in inputs.items()}),
    )


def what_to_write(inputs: Dimensions, unknown: Iterable[UnknownSize]) -> str:
    """Returns the entries to write for inputs with unknown sizes, as YAML in one line."""
    entries = (
        f"{{name: {name}, shape: [{', '.join(starmap(_placeholder, enumerate(inputs[name])))}]}}"
        for name in dict.fromkeys(each.input for each in unknown)
    )
    return f"inputs: [{', '.join(entries)}]"


def _placeholder(axis: int, dimension: Dimension) -> str:
    if isinstance(dimension, int):
        return str(dimension)
    return f"<{dimension}>" if axis else "1"


def _sized(dimensions: Sequence[Dimension], sizes: Mapping[str, int]) -> Shape:
    return tuple(d if isinstance(d, int) else sizes.get(d, 1) for d in dimensions)


def _input(
    path: str, entry: object, inputs: Dimensions, datatypes: Mapping[str, str] | None
) -> DeclaredInput:
    if not isinstance(entry, Mapping):
        raise BadInputError(path, entry, "is not an input", "write {name, shape}")
    name, datatype = entry.get("name"), entry.get("datatype")
    if not isinstance(name, str) or name not in inputs:
        raise BadInputError(
            f"{path}.name", name, "is not an input of the graph", f"its inputs are {', '.join(inputs)}"
        )
    if datatype is not None and datatypes is not None and datatype != datatypes.get(name):
        raise BadInputError(
            f"{path}.datatype", datatype, f"is not that of {name}", f"write {datatypes.get(name)}"
        )
    one, most, typical = (entry.get(key) for key in ("shape", "maxShape", "typicalShape"))
    if (one is None) == (most is None) or (one is not None and typical is not None):
        raise BadInputError(
            path, dict(entry), "does not state one shape", "write shape, or maxShape with typicalShape"
        )
    field = "shape" if most is None else "maxShape"
    largest = _shape(f"{path}.{field}", one if most is None else most, inputs[name])
    if typical is None:
        return DeclaredInput(name, largest, largest)
    small = _shape(f"{path}.typicalShape", typical, inputs[name])
    if any(size > limit for size, limit in zip(small, largest, strict=True)):
        raise BadInputError(
            f"{path}.typicalShape", list(small), f"exceeds maxShape {list(largest)}", "lower the larger sizes"
        )
    return DeclaredInput(name, small, largest)


def _shape(path: str, value: object, dimensions: Sequence[Dimension]) -> Shape:
    if not _is_shape(value):
        raise BadInputError(path, value, "is not a shape", "write a list of sizes such as [1, 3, 640, 640]")
    if len(value) != len(dimensions):
        shown = ", ".join(map(str, dimensions))
        raise BadInputError(
            path,
            list(value),
            f"has {len(value)} dimensions, but the input has {len(dimensions)}",
            f"write a size for each of [{shown}]",
        )
    for axis, (size, dimension) in enumerate(zip(value, dimensions, strict=True)):
        if isinstance(dimension, int) and size != dimension:
            raise BadInputError(
                f"{path}[{axis}]", size, f"is fixed to {dimension} by the file", f"write {dimension}"
            )
    return tuple(value)


def _is_shape(value: object) -> TypeGuard[Sequence[int]]:
    return isinstance(value, list | tuple) and all(type(size) is int and size >= 0 for size in value)
