"""Edgent's model: an AlexNet with five exits for CIFAR-10.

From the source: the model, the data, and five exits of 12, 16, 19, 20 and 22 layers, of which the last is the
full model (Li, Zhou, Chen, MECOMM 2018). The 22 layers are those of BranchyNet's AlexNet for CIFAR-10
(Teerapittayanon et al., ICPR 2016: conv relu pool lrn, conv relu pool lrn, conv relu, conv relu, conv relu
pool, fc relu dropout, fc relu dropout, fc), on which Edgent builds. The source does not state the following,
so they are assumptions:

- The widths. Default (WIDE): AlexNet's own (Krizhevsky et al., NIPS 2012) with 5x5 filters of stride 1 in the
  first layer, since an image has 32x32 pixels. With them the device alone takes more than 2 s, as published.
  NARROW: BranchyNet's.
- The layers of the branches and where they leave the trunk: chosen to match the published numbers of layers.
- The accuracies. The last one is close to that of BranchyNet's AlexNet (78.38 %).
- FRAMING, inferred from the two published edge-only latencies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from edge_planning.graphs.models import Cut, Exit, Model
from edge_planning.graphs.values import Graph, Layer, Tensor

ACCURACIES = (0.68, 0.74, 0.76, 0.77, 0.78)
WIRE_BYTES = (2.317 - 0.123) / (1 / 50e3 - 1 / 1e6) / 8
"""Edge-only takes 2.317 s at 50 kbit/s and 0.123 s at 1 Mbit/s, so 14,434 bytes cross the link and the server
takes 7.5 ms."""
FRAMING = WIRE_BYTES / (3 * 32 * 32 * 4)
"""Bytes on the wire per byte of a tensor, from the image of 12,288 bytes."""
CLASSES = 10


@dataclass(frozen=True, slots=True)
class Widths:
    """Filters of the five convolutions, outputs of the two hidden layers, and both for a branch."""

    filters: tuple[int, int, int, int, int]
    hidden: tuple[int, int]
    branch_filters: int
    branch_hidden: int


WIDE = Widths((96, 256, 384, 384, 256), (4096, 4096), 64, 256)
NARROW = Widths((32, 64, 96, 96, 64), (256, 128), 32, 128)

BRANCHES: dict[str, tuple[str, str]] = {
    "exit1": ("lrn1", "conv relu pool lrn fc relu dropout fc"),
    "exit2": ("lrn2", "conv relu pool lrn fc relu dropout fc"),
    "exit3": ("relu3", "conv relu conv relu pool fc relu dropout fc"),
    "exit4": ("relu4", "conv relu pool lrn fc relu dropout fc"),
}
"""Where each branch leaves the trunk, and its layers: 4 + 8, 8 + 8, 10 + 9 and 12 + 8 layers."""


def alexnet(widths: Widths = WIDE, framing: float = FRAMING) -> Model:
    """Returns the model with its graph; each exit can be cut at every tensor before it.

    The size of a cut is the bytes on the link: the tensor in fp32 times `framing` (1: without overhead).
    """
    net = _Net()
    _trunk(net, widths)
    trunk = tuple(net.tensors)
    ways = {"exit5": trunk}
    for name, (tap, layers) in BRANCHES.items():
        way = _branch(net, name, tap, layers, widths)
        ways[name] = (*trunk[: trunk.index(tap) + 1], *way)
    exits = tuple(
        Exit(
            name,
            ways[name][-1],
            accuracy,
            tuple(Cut(tensor, round(net.tensors[tensor].size * framing)) for tensor in ways[name][:-1]),
        )
        for name, accuracy in zip(sorted(ways), ACCURACIES, strict=True)
    )
    graph = Graph(
        "alexnet",
        ("image",),
        tuple(name for exit_ in exits for name in exit_.outputs),
        tuple(net.layers),
        dict(net.tensors),
    )
    return Model("alexnet", exits, graph)


@dataclass(slots=True)
class _Net:
    """A graph under construction; each layer produces the tensor of its own name."""

    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=lambda: {"image": _tensor("image", (1, 3, 32, 32))})

    def add(self, name: str, kind: str, source: str, width: int = 0, kernel: int = 3) -> str:
        """Adds a layer after the tensor `source`; width: filters or outputs; kernel: filter side."""
        before = self.tensors[source]
        after = _tensor(name, _shape(kind, before.shape, width))
        inputs = {"conv": before.shape[1] * kernel**2, "gemm": before.elements}.get(kind, 0)
        parameters = 4 * (inputs + 1) * width if inputs else 0
        variables: dict[str, float] = {"input": before.elements, "output": after.elements}
        if kind == "conv":
            variables |= {"input_maps": before.shape[1], "filter_work": kernel**2 * width}
        self.tensors[name] = after
        self.layers.append(
            Layer(
                name=name,
                kind=kind,
                inputs=(source,),
                outputs=(name,),
                flops=_flops(kind, inputs, before, after),
                parameters=parameters,
                activations=after.size,
                memory=parameters + before.size + after.size,
                variables=variables,
            )
        )
        return name


def _trunk(net: _Net, widths: Widths) -> None:
    tensor = "image"
    for number, (filters, kernel) in enumerate(zip(widths.filters, (5, 5, 3, 3, 3), strict=True), 1):
        tensor = net.add(f"conv{number}", "conv", tensor, filters, kernel)
        tensor = net.add(f"relu{number}", "relu", tensor)
        if number in {1, 2, 5}:
            tensor = net.add(f"pool{number}", "maxpool", tensor)
        if number in {1, 2}:
            tensor = net.add(f"lrn{number}", "lrn", tensor)
    for number, outputs in enumerate(widths.hidden, 6):
        tensor = net.add(f"fc{number}", "gemm", tensor, outputs)
        tensor = net.add(f"relu{number}", "relu", tensor)
        tensor = net.add(f"dropout{number}", "dropout", tensor)
    net.add("exit5/logits", "gemm", tensor, CLASSES)


def _branch(net: _Net, exit_name: str, tap: str, layers: str, widths: Widths) -> Sequence[str]:
    kinds = {"fc": "gemm", "pool": "maxpool"}
    names = layers.split()
    way = [tap]
    for position, layer in enumerate(names, 1):
        last = position == len(names)
        width = {"conv": widths.branch_filters, "fc": CLASSES if last else widths.branch_hidden}.get(layer, 0)
        name = f"{exit_name}/logits" if last else f"{exit_name}/{layer}{position}"
        way.append(net.add(name, kinds.get(layer, layer), way[-1], width))
    return way[1:]


def _tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor(name, shape, prod(shape), prod(shape) * 4)


def _shape(kind: str, before: tuple[int, ...], width: int) -> tuple[int, ...]:
    match kind:
        case "conv":
            return (1, width, *before[2:])
        case "maxpool":
            return (*before[:2], before[2] // 2, before[3] // 2)
        case "gemm":
            return (1, width)
        case _:
            return before


def _flops(kind: str, inputs: int, before: Tensor, after: Tensor) -> float:
    """Returns operations: 2 per weight and output, 9 comparisons per pooled pixel, otherwise 1 per element.

    Local response normalization over 5 maps takes about 13 per element (squares, sums, a power).
    """
    if inputs:
        return 2.0 * inputs * after.elements
    return {"maxpool": 9.0 * after.elements, "lrn": 13.0 * after.elements, "dropout": 0.0}.get(
        kind, float(before.elements)
    )
