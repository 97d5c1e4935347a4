"""Checks whether a cut can carry a codec: runs its slices at several batch sizes and compares the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_runtime.codecs.contracts import FP32, codec_of, is_encoded
from edge_runtime.errors import BadRequest
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing.graphs import Graph
from edge_runtime.tensors import Array, Tensor

_SIZES: Final = (1, 2, 3, 4)
# Relative to the range. The rounding of onnxruntime in a quantized model depends on what follows.
_CLOSE: Final = 0.05


def check_values(tensors: Sequence[Tensor], codec: str, values: Mapping[str, Array]) -> None:
    """BadRequest when a codec cannot carry what the samples give at a cut."""
    encoding = codec_of(codec)
    for tensor in tensors:
        if encoding is None or not encoding.encodes(tensor):
            continue
        found = values[tensor.name]
        if not np.isfinite(found).all():
            raise BadRequest(f"{tensor.name} has values that are not finite, which {codec} cannot carry")
        largest = float(np.abs(found).max(initial=0.0))
        if largest > encoding.largest:
            raise BadRequest(
                f"{tensor.name} has values up to {largest:g}, {codec} ends at {encoding.largest:g}"
            )


@dataclass(frozen=True, slots=True)
class CutSlices:
    """The loaded slices on both sides of a cut, with a codec and without.

    maker: computes the tensors of the cut that are not inputs of the model; None if there are none.
    """

    head: Session
    tail: Session
    maker: Session | None
    plain: Session

    def check(self, cut: Sequence[Tensor], codec: str, samples: Mapping[str, Array]) -> None:
        """Raises BadRequest if the results with the codec differ too much at any batch size.

        samples: of every input. The head may differ by at most a few steps, the tail by at most that or the
        error of the codec itself. A model whose batch is 1 runs with one item. Raises errors of sessions.
        """
        start = 0
        for size in _SIZES if all(t.has_batch for t in self.head.inputs) else (1,):
            rows = np.arange(start, start + size)
            start += size
            self._check({name: array[rows % len(array)] for name, array in samples.items()}, cut, codec, size)

    def _check(self, items: Mapping[str, Array], cut: Sequence[Tensor], codec: str, size: int) -> None:
        sent = run_named(self.head, items)
        before = {**items, **(run_named(self.maker, items) if self.maker is not None else {})}
        arrived = decoded(cut, codec, list(sent.values()))
        for tensor in cut:
            if is_encoded(tensor, codec):
                off = difference(arrived[tensor.name], before[tensor.name])
                if not off <= _CLOSE:
                    raise BadRequest(
                        f"at batch {size} {tensor.name} differs after the head by {off:.3g} of its range in "
                        f"{codec}"
                    )
        answers, wanted, exact = (
            run_named(self.tail, sent),
            run_named(self.plain, arrived),
            run_named(self.plain, before),
        )
        for output, answer in answers.items():
            off = difference(answer, wanted[output])
            if not off <= max(_CLOSE, difference(wanted[output], exact[output])):
                raise BadRequest(
                    f"at batch {size} {output} differs after the decoder of {codec} by {off:.3g} of its range"
                )


def run_named(session: Session, values: Mapping[str, Array]) -> dict[str, Array]:
    """A session's outputs by name; `values` can contain inputs of other sessions."""
    results = session.run({t.name: values[t.name] for t in session.inputs})
    return {t.name: result for t, result in zip(session.outputs, results, strict=True)}


def slice_session(
    graph: Graph, start: Sequence[str], end: Sequence[str], *, decode: str = FP32, encode: str = FP32
) -> Session:
    """A slice as in production."""
    data = graph.slice(start, end, decode=decode, encode=encode)
    return Session(data, *graph.contract(start, end, decode=decode, encode=encode))


def difference(found: Array, right: Array) -> float:
    """The largest difference relative to the range; infinite if the arrays cannot be compared."""
    if found.shape != right.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        same = (found == right) | (np.isnan(found) & np.isnan(right))
        apart = np.abs(np.where(same, 0.0, found.astype(np.float64) - right))
    if not apart.any():
        return 0.0
    return float(apart.max()) / max(float(np.ptp(right)), float(np.finfo(np.float32).tiny))


def decoded(cut: Sequence[Tensor], codec: str, wire: Sequence[Array]) -> dict[str, Array]:
    """Decodes with NumPy: returns the tensors of a cut by name, from those of `wire_tensors` in order."""
    found, rest, made = codec_of(codec), list(wire), dict[str, Array]()
    for tensor in cut:
        if found is None or not found.encodes(tensor):
            made[tensor.name] = rest.pop(0)
        else:
            count = len(list(found.wire(tensor, tensor.name)))
            made[tensor.name] = found.decoded(tensor, rest[:count])
            del rest[:count]
    return made
