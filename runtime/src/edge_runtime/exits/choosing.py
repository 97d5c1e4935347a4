"""At which tensors of a classifier heads are tried, and which of them are worth an exit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge_planning.errors import PlanningError
from edge_planning.graphs import Graph, layers_between
from edge_planning.graphs.onnx_reading import read_graph
from edge_runtime.errors import BadRequest, UnknownTensor
from edge_runtime.exits.files import ExitFile
from edge_runtime.exits.heads import pooled_axes
from edge_runtime.tensors import Tensor

CANDIDATES: Final = 12
"""Tensors at which heads are tried if none is named, spread over the work of the model."""
DEEPEST: Final = 0.9
"""Share of the model's work from which on an exit is not worth it."""
FLOATS: Final = ("FP16", "FP32", "FP64")


class Work:
    """Shares of the FLOPs of the full model up to a tensor; of its operators where FLOPs are unknown."""

    def __init__(self, file: ExitFile, output: str) -> None:
        self._file = file
        self._graph = _layers(file)
        self._flops = self._up_to(output)
        self._operators = file.operators_before([output])

    def _up_to(self, name: str) -> float:
        if self._graph is None:
            return 0.0
        try:
            return sum(layer.flops for layer in layers_between(self._graph, (), (name,)))
        except PlanningError:
            return 0.0

    def share(self, name: str) -> float:
        """From 0 to 1."""
        flops = self._up_to(name) if self._flops else 0.0
        return flops / self._flops if flops else self._file.operators_before([name]) / self._operators


def _layers(file: ExitFile) -> Graph | None:
    try:
        return read_graph(file.model, name=file.path.name)
    except PlanningError:  # its work is then counted in operators
        return None


def trainable(file: ExitFile, name: str) -> Tensor:
    """The tensor of this name. Raises UnknownTensor, or BadRequest if no head can read it."""
    try:
        tensor = file.graph.tensor(name)
    except UnknownTensor as error:
        raise UnknownTensor(f"--at: {error}") from error
    if not _has_features(file, tensor):
        raise BadRequest(
            f"--at: {name} is {tensor.datatype} {list(tensor.shape)}: name an inner tensor of floating-point "
            "numbers whose first dimension is the batch and whose number of channels is fixed"
        )
    return tensor


def _has_features(file: ExitFile, tensor: Tensor) -> bool:
    shape = tensor.shape
    if tensor.datatype not in FLOATS or tensor.any_rank or len(shape) < 2 or tensor.name in file.graph.inputs:
        return False
    pooled = pooled_axes(file.graph.model, tensor)
    channels = [axis for axis in range(1, len(shape)) if axis not in pooled]
    return (tensor.has_batch or shape[0] == 1) and all(shape[axis] > 0 for axis in channels)


def candidates(file: ExitFile, work: Work, output: Tensor) -> list[Tensor]:
    """Up to CANDIDATES tensors at which the model can be cut, nearest to equal steps of its work."""
    cuts = [cut.tensors[0] for cut in file.graph.cuts([output.name]) if len(cut.tensors) == 1]
    known = [file.graph.tensor(name) for name in cuts if name not in file.graph.inputs]
    shares = {each.name: work.share(each.name) for each in known if _has_features(file, each)}
    usable = [each for each in known if 0 < shares.get(each.name, 0) < DEEPEST]
    if not usable:
        raise BadRequest(
            f"{file.path}: no tensor with features lies between its input and {DEEPEST:.0%} of its work: "
            "name tensors by --at"
        )
    if len(usable) <= CANDIDATES:
        return usable
    chosen: list[Tensor] = []
    for number in range(CANDIDATES):
        target = DEEPEST * (number + 1) / (CANDIDATES + 1)
        left = [each for each in usable if each not in chosen]
        chosen.append(min(left, key=lambda each: abs(shares[each.name] - target)))
    return chosen


def left_out(tried: Sequence[tuple[str, float, float]], most: int) -> dict[str, str]:
    """Returns why candidates are left out, by tensor. tried: tensor, share of work and accuracy, by work.

    At most `most` are kept: each more accurate than all cheaper ones, nearest to equal steps of the work.
    """
    why: dict[str, str] = {}
    kept: list[tuple[str, float]] = []
    best = 0.0
    for name, share, accuracy in tried:
        if accuracy > best:
            kept.append((name, share))
            best = accuracy
        else:
            why[name] = "not more accurate than a cheaper one"
    chosen: list[str] = []
    for number in range(min(most, len(kept))):
        target = (number + 1) / (most + 1)
        left = [(abs(share - target), name) for name, share in kept if name not in chosen]
        chosen.append(min(left)[1])
    return why | {name: "--most is reached" for name, _ in kept if name not in chosen}
