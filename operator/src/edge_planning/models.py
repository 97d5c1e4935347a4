"""A model as planning sees it: exits by depth, and where the way to each exit can be cut."""

from dataclasses import dataclass
from itertools import pairwise

from edge_planning.errors import require
from edge_planning.graphs.values import Graph


@dataclass(frozen=True, slots=True)
class Cut:
    """A tensor at which the model can be cut; size in bytes for a batch of one."""

    tensor: str
    size: int

    def __post_init__(self) -> None:
        require(self.size > 0, f"cut {self.tensor}: size {self.size} bytes is not above 0")


@dataclass(frozen=True, slots=True)
class Exit:
    """An output at which inference may end.

    accuracy is a share between 0 and 1. cuts are ordered from the model's input, which is the first of them
    (a cut there runs everything remotely), to the deepest.
    """

    name: str
    output: str
    accuracy: float
    cuts: tuple[Cut, ...]

    def __post_init__(self) -> None:
        require(0 <= self.accuracy <= 1, f"exit {self.name}: accuracy {self.accuracy} is not between 0 and 1")
        require(bool(self.cuts), f"exit {self.name}: no cuts: at least the input is one")

    def segments(self) -> tuple[tuple[str, str], ...]:
        """The pieces of the way to this exit, as pairs of tensors from the input to the output."""
        return tuple(pairwise([*(cut.tensor for cut in self.cuts), self.output]))


@dataclass(frozen=True, slots=True)
class Model:
    """Exits ordered by depth; the last one is the full model. graph: its layers, where they are known."""

    name: str
    exits: tuple[Exit, ...]
    graph: Graph | None = None

    def __post_init__(self) -> None:
        names = [exit_.name for exit_ in self.exits]
        require(bool(names), f"model {self.name}: no exits")
        require(len(set(names)) == len(names), f"model {self.name}: two exits have the same name: {names}")
