"""A model as planning sees it: exits by depth, and where the way to each exit can be cut."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from edge_planning.errors import BadModelError, require
from edge_planning.graphs.values import Graph


@dataclass(frozen=True, slots=True, init=False)
class Cut:
    """Tensors that together separate the input from what is behind; size in bytes for a batch of one.

    Of one tensor: `Cut("pool1", 4096)`.
    """

    tensors: tuple[str, ...]
    size: int

    def __init__(self, tensors: str | tuple[str, ...], size: int) -> None:
        object.__setattr__(self, "tensors", (tensors,) if isinstance(tensors, str) else tuple(tensors))
        object.__setattr__(self, "size", size)
        require(bool(self.tensors), "cut: no tensors: at least one is cut", BadModelError)
        require(
            len(set(self.tensors)) == len(self.tensors),
            f"cut {self.name}: a tensor is named twice",
            BadModelError,
        )
        require(0 < size < float("inf"), f"cut {self.name}: size {size} bytes is not above 0", BadModelError)

    @property
    def name(self) -> str:
        """The tensors' names, joined by `+`."""
        return "+".join(self.tensors)


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
        require(
            0 <= self.accuracy <= 1,
            f"exit {self.name}: accuracy {self.accuracy} is not between 0 and 1",
            BadModelError,
        )
        require(bool(self.cuts), f"exit {self.name}: no cuts: at least the input is one", BadModelError)
        names = [cut.name for cut in self.cuts]
        require(
            len(set(names)) == len(names), f"exit {self.name}: a cut is named twice: {names}", BadModelError
        )
        outputs = [cut.name for cut in self.cuts if self.output in cut.tensors]
        require(
            not outputs,
            f"exit {self.name}: its output {self.output} is no place to cut before it",
            BadModelError,
        )

    def segments(self) -> tuple[tuple[str, str], ...]:
        """The pieces of the way to this exit, as pairs of cuts' names from the input to the output."""
        return tuple(pairwise([*(cut.name for cut in self.cuts), self.output]))


@dataclass(frozen=True, slots=True)
class Model:
    """Exits ordered by depth; the last one is the full model. graph: its layers, where they are known.

    Depth is the last cut that an exit shares with the full model: a later exit must not leave the trunk
    before an earlier one. memory: bytes that a place needs to hold and run a segment (its parameters and
    largest activations), by names as in Exit.segments; a segment without an entry needs none.
    """

    name: str
    exits: tuple[Exit, ...]
    graph: Graph | None = None
    memory: Mapping[tuple[str, str], float] = field(default_factory=dict, hash=False)

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
                f"model {self.name}: the cuts of exit {exit_.name} are out of order: those of the full model "
                f"come in another",
                BadModelError,
            )
            depth = shared[-1] if shared else -1
            require(
                depth >= deepest,
                f"model {self.name}: exits are out of order: {exit_.name} leaves before {before}, which is "
                f"listed first",
                BadModelError,
            )
            deepest, before = depth, exit_.name
