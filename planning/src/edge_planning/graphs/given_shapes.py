"""Sizes of a model's open dimensions, from the shapes that a caller gives for its inputs."""

from collections.abc import Mapping, Sequence

from edge_planning.errors import BadValueError, require

Dimension = int | str
"""A fixed size, or the name of an open dimension."""


def sizes_of(
    model: str, inputs: Mapping[str, Sequence[Dimension]], shapes: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """Returns the size of each open dimension that the shapes give, by its name.

    inputs: the dimensions of each input. A first dimension that is open and given as 1 is left out: it is the
    batch.

    Raises:
        BadValueError: A shape belongs to no input, contradicts a fixed dimension or another shape, or has a
            size below 1.
    """
    found: dict[str, int] = {}
    said: dict[str, str] = {}
    for name, shape in shapes.items():
        where = f"model {model}: shapes[{name!r}]"
        known = inputs.get(name)
        if known is None:
            raise BadValueError(f"{where}: not an input: its inputs are {', '.join(inputs)}")
        require(
            len(shape) == len(known),
            f"{where}: {list(shape)} has {len(shape)} dimensions, but the input has {len(known)}: "
            f"{', '.join(map(str, known))}",
        )
        for axis, (size, dimension) in enumerate(zip(shape, known, strict=True)):
            here = f"{where}: dimension {axis} is {size}"
            require(size >= 1 or size == dimension, f"{here}, but must be >= 1")
            if isinstance(dimension, int):
                require(size == dimension, f"{here}, but the file fixes it to {dimension}")
            elif axis or size > 1:
                before = found.setdefault(dimension, size)
                require(
                    before == size,
                    f"{here}, but {said.get(dimension)} gives {dimension} as {before}: give one size",
                )
                said.setdefault(dimension, f"shapes[{name!r}]")
    return found


def refusal(model: str, name: str, dimensions: Sequence[Dimension], known: Mapping[str, int]) -> str:
    """Returns why the size of an input is unknown and what to pass; empty if only the batch is open.

    known: sizes of open dimensions by name.
    """
    left = [
        f"{axis} ({dimension})"
        for axis, dimension in enumerate(dimensions)
        if axis and isinstance(dimension, str) and dimension not in known
    ]
    if not left:
        return ""
    sizes = [
        "1" if isinstance(d, str) and not axis else _placeholder(d, known)
        for axis, d in enumerate(dimensions)
    ]
    return (
        f"model {model}: input {name} has symbolic dimension {', '.join(left)}, so its size is unknown: pass "
        f"shapes={{{name!r}: ({', '.join(sizes)})}} with the sizes to plan for"
    )


def _placeholder(dimension: Dimension, known: Mapping[str, int]) -> str:
    return str(known.get(dimension, dimension)) if isinstance(dimension, str) else str(dimension)
