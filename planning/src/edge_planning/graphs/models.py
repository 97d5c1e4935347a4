"""A model for planning: its exits by depth, and the cuts before each exit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from edge_planning.errors import BadModelError, require
from edge_planning.graphs.values import Graph


@dataclass(frozen=True, slots=True, init=False)
class Cut:
    """Tensors that together separate the input from the rest.

    size: Bytes that cross for a batch of one: without outputs of the exit that nothing behind the cut reads.

    A cut of one tensor: `Cut("pool1", 4096)`.
    """

    tensors: tuple[str, ...]
    size: int

    def __init__(self, tensors: str | tuple[str, ...], size: int) -> None:
        object.__setattr__(self, "tensors", (tensors,) if isinstance(tensors, str) else tuple(tensors))
        object.__setattr__(self, "size", size)
        require(bool(self.tensors), "cut: no tensors: name at least one", BadModelError)
        require(
            len(set(self.tensors)) == len(self.tensors),
            f"cut {self.name}: a tensor is listed twice",
            BadModelError,
        )
        require(0 < size < float("inf"), f"cut {self.name}: size {size} bytes must be > 0", BadModelError)

    @property
    def name(self) -> str:
        """The tensors' names, joined by `+`."""
        return "+".join(self.tensors)


@dataclass(frozen=True, slots=True, init=False)
class Exit:
    """A set of outputs at which inference can end.

    An exit of one output: `Exit("final", "logits", 0.98, cuts)`.

    Attributes:
        accuracy: Share of correct results, 0 to 1.
        cuts: Ordered by depth. The first is the model's inputs (a cut there runs all layers remotely).
    """

    name: str
    outputs: tuple[str, ...]
    accuracy: float
    cuts: tuple[Cut, ...]

    def __init__(
        self, name: str, outputs: str | tuple[str, ...], accuracy: float, cuts: tuple[Cut, ...]
    ) -> None:
        for field_, value in (("name", name), ("accuracy", accuracy), ("cuts", cuts)):
            object.__setattr__(self, field_, value)
        object.__setattr__(self, "outputs", (outputs,) if isinstance(outputs, str) else tuple(outputs))
        require(bool(self.outputs), f"exit {self.name}: no outputs: name at least one", BadModelError)
        require(
            0 <= self.accuracy <= 1,
            f"exit {self.name}: accuracy {self.accuracy} must be between 0 and 1",
            BadModelError,
        )
        require(bool(self.cuts), f"exit {self.name}: no cuts: list at least the input", BadModelError)
        names = [cut.name for cut in self.cuts]
        require(
            len(set(names)) == len(names), f"exit {self.name}: a cut is listed twice: {names}", BadModelError
        )
        require(
            not any(set(self.outputs) <= set(cut.tensors) for cut in self.cuts),
            f"exit {self.name}: its output {self.end} cannot be one of its cuts",
            BadModelError,
        )

    @property
    def end(self) -> str:
        """The outputs' names, joined by `+`."""
        return "+".join(self.outputs)

    def segments(self) -> tuple[tuple[str, str], ...]:
        """Segments from the inputs to this exit, as pairs of names of cuts; the last ends at the outputs."""
        return tuple(pairwise([*(cut.name for cut in self.cuts), self.end]))


@dataclass(frozen=True, slots=True)
class Model:
    """A model as its exits.

    Attributes:
        exits: Ordered by depth; the last one is the full model. Depth is the last cut that an exit shares
            with the full model: a later exit must not leave the trunk before an earlier one.
        graph: Its layers, if known.
        memory: Bytes that a place needs to hold and run a segment (its parameters and largest activations),
            by names as in Exit.segments; 0 for a segment without an entry.
        input_copies: Tensors, besides the first cut of each exit, that are only copies of an input
            (graphs.input_copies).
        shapes: Shape of each input that the bytes are for, by name; empty if all shapes are fixed.
    """

    name: str
    exits: tuple[Exit, ...]
    graph: Graph | None = None
    memory: Mapping[tuple[str, str], float] = field(default_factory=dict, hash=False)
    input_copies: frozenset[str] = frozenset()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        names = [exit_.name for exit_ in self.exits]
        require(bool(names), f"model {self.name}: no exits", BadModelError)
        require(
            len(set(names)) == len(names),
            f"model {self.name}: two exits have the same name: {names}",
            BadModelError,
        )
        self._check_order()
        for (start, end), size in self.memory.items():
            require(
                size >= 0,
                f"model {self.name}: memory {size} bytes from {start} to {end} is negative",
                BadModelError,
            )

    def _check_order(self) -> None:
        trunk = {cut.name: place for place, cut in enumerate(self.exits[-1].cuts)}
        deepest, before = -1, ""
        for exit_ in self.exits:
            shared = [trunk[cut.name] for cut in exit_.cuts if cut.name in trunk]
            require(
                shared == sorted(shared),
                f"model {self.name}: the cuts of exit {exit_.name} are out of order: list them as the full "
                f"model does",
                BadModelError,
            )
            depth = shared[-1] if shared else -1
            require(
                depth >= deepest,
                f"model {self.name}: exits are out of order: {exit_.name} leaves before {before}, which is "
                f"listed earlier",
                BadModelError,
            )
            deepest, before = depth, exit_.name
