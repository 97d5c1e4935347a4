"""Accuracy of a cut model with each codec, measured on labeled samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, Final

import numpy as np

from edge_runtime.codecs.contracts import FP32, is_encoded, names, wire_bytes
from edge_runtime.errors import BadRequest, EdgeError
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing.graphs import Graph
from edge_runtime.store.accuracies.metric import AccuracyMetric, ragged
from edge_runtime.store.accuracy_metrics import METRICS
from edge_runtime.store.codec_checks import CutSlices, check_values, run_named, slice_session
from edge_runtime.tensors import Array, Tensor

BATCH: Final = 8
"""Samples in a batch: larger batches take more memory and are hardly faster."""
HELD: Final = 32 << 20
"""Bytes of activations at a cut that are kept for all codecs; above, each codec computes them again."""


@dataclass(frozen=True, slots=True)
class CodecAccuracy:
    """An exit's result with the model cut and one codec on the hop.

    cut: its tensors. bytes: what crosses for one item. accuracy: by the metric. agreement: with
    the whole model in fp32, by the metric. error: the greatest difference of an output from the whole
    model's, as a share of that output's range; NaN for texts, and if the number of results differs.
    """

    exit: str
    cut: tuple[str, ...]
    codec: str
    bytes: int
    accuracy: float
    agreement: float
    error: float

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "exit": self.exit,
            "cut": list(self.cut),
            "codec": self.codec,
            "bytes": self.bytes,
            "accuracy": self.accuracy,
            "agreement": self.agreement,
            "error": None if isnan(self.error) else self.error,
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """A codec that a cut cannot carry, and why."""

    cut: tuple[str, ...]
    codec: str
    why: str

    def document(self) -> dict[str, Any]:
        """The refusal as JSON."""
        return {"cut": list(self.cut), "codec": self.codec, "why": self.why}


def measure_codecs(
    graph: Graph,
    exits: Mapping[str, str | Sequence[str]],
    samples: Mapping[str, Array],
    labels: Array,
    *,
    metric: AccuracyMetric = METRICS[0],
    cuts: Mapping[str, Sequence[Sequence[str]]] | None = None,
    codecs: Sequence[str] | None = None,
    enough: Callable[[], bool] = lambda: False,
    refused: Callable[[Refusal], object] = lambda _: None,
) -> tuple[CodecAccuracy, ...]:
    """Measures the accuracy of every exit, cut and codec on labeled samples.

    exits: output or outputs by name of the exit. samples: every input of the graph, [N, ...]. labels: [N,
    ...], of the metric. cuts: by exit; all cuts of one tensor when None. codecs: all when None. The model
    runs in slices as they are served: head, encoder, decoder with tail. The cuts at which the fewest
    bytes cross come first, and none is begun once `enough` returns True. A codec that a cut cannot carry is
    left out there, and `refused` is called; one that changes no tensor of a cut is left out without a call.
    Raises BadRequest when samples and labels do not fit, and what the whole model raises.
    """
    _check(graph, samples, labels)
    ends = {name: (found,) if isinstance(found, str) else tuple(found) for name, found in exits.items()}
    outputs = _outputs(ends)
    wholes = in_batches(slice_session(graph, graph.needed_inputs(outputs), outputs), samples)
    chosen = cuts or {name: [c.tensors for c in graph.cuts(end)] for name, end in ends.items()}
    by_cut: dict[tuple[str, ...], list[str]] = {}
    for name, listed in chosen.items():
        for cut in listed:
            by_cut.setdefault(tuple(cut), []).append(name)
    found: list[CodecAccuracy] = []
    for cut in sorted(by_cut, key=lambda tensors: sum(graph.tensor(name).item_bytes() for name in tensors)):
        if enough():
            break
        named = {name: ends[name] for name in by_cut[cut]}
        found += _Cut(graph, cut, named, samples, labels, metric, wholes).measured(codecs or names(), refused)
    order = list(exits)
    return tuple(sorted(found, key=lambda m: order.index(m.exit)))


@dataclass(frozen=True, slots=True)
class _Cut:
    graph: Graph
    tensors: tuple[str, ...]
    exits: Mapping[str, tuple[str, ...]]
    samples: Mapping[str, Array]
    labels: Array
    metric: AccuracyMetric
    wholes: Mapping[str, Array]

    def measured(
        self, codecs: Sequence[str], refused: Callable[[Refusal], object]
    ) -> Iterator[CodecAccuracy]:
        """Measures each cut; an error of one cut does not affect the others."""
        graph, cut = self.graph, self.tensors
        tensors = [graph.tensor(name) for name in self._crossing]
        codecs = [c for c in codecs if c == FP32 or any(is_encoded(tensor, c) for tensor in tensors)]
        made = [name for name in cut if name not in self.samples]
        try:
            maker = slice_session(graph, graph.needed_inputs(made), made) if made else None
            plain = slice_session(graph, cut, _outputs(self.exits))
            batches = self._held(maker)
        except (EdgeError, ValueError, MemoryError) as error:
            for codec in codecs:
                refused(Refusal(cut, codec, _why(error)))
            return
        for codec in codecs:
            try:
                answers = self._answers(codec, maker, plain, batches)
            except (EdgeError, ValueError, MemoryError) as error:
                refused(Refusal(cut, codec, _why(error)))
            else:
                yield from self._compared(codec, answers)

    @property
    def _crossing(self) -> tuple[str, ...]:
        """The tensors that cross: an output that nothing behind the cut reads stays where it is computed."""
        return self.graph.crossing(self.tensors, _outputs(self.exits))

    def _held(self, maker: Session | None) -> Callable[[], Iterable[Mapping[str, Array]]]:
        """A function that returns the cut's values batch by batch, for any number of samples."""
        names = maker.outputs if maker is not None else ()
        if len(self.labels) * sum(self.graph.tensor(t.name).item_bytes() for t in names) > HELD:
            return lambda: self._batches(maker)
        held = list(self._batches(maker))
        return lambda: held

    def _batches(self, maker: Session | None) -> Iterator[Mapping[str, Array]]:
        for feeds in _portions(self.samples, BATCH if maker is None or _batches(maker) else 1):
            yield feeds if maker is None else {**feeds, **run_named(maker, feeds)}

    def _answers(
        self,
        codec: str,
        maker: Session | None,
        plain: Session,
        batches: Callable[[], Iterable[Mapping[str, Array]]],
    ) -> Mapping[str, Array]:
        """The exits' outputs with this codec on the hop. Raises BadRequest if the cut cannot carry it."""
        graph, cut = self.graph, self._crossing
        tensors = [graph.tensor(name) for name in cut]
        if codec == FP32:
            return _joined(plain, (in_batches(plain, values) for values in batches()))
        encoder = slice_session(graph, cut, cut, encode=codec)
        early = [name for name in _outputs(self.exits) if name in self.tensors]
        late = [name for name in _outputs(self.exits) if name not in early]
        tail = slice_session(graph, cut, late, decode=codec)

        def sent() -> Iterator[Mapping[str, Array]]:
            for values in batches():
                check_values(tensors, codec, values)
                yield in_batches(tail, in_batches(encoder, values))

        answers = _joined(tail, sent())
        if early:  # computed before the cut: they stay there, without the codec
            computed = _joined(plain, (in_batches(plain, values) for values in batches()))
            answers |= {name: computed[name] for name in early}
        head = slice_session(graph, graph.needed_inputs(cut), cut, encode=codec)
        rest = slice_session(graph, cut, late)
        CutSlices(head, tail, maker, rest).check(tensors, codec, self.samples)
        return answers

    def _compared(self, codec: str, answers: Mapping[str, Array]) -> Iterator[CodecAccuracy]:
        sent = wire_bytes([self.graph.tensor(name) for name in self._crossing], codec)
        for name, outputs in self.exits.items():
            found, whole = [answers[each] for each in outputs], [self.wholes[each] for each in outputs]
            accuracy = (
                self.metric.accuracy(found, self.labels) if self.metric.takes(found, self.labels) else 0.0
            )
            yield CodecAccuracy(
                name,
                self.tensors,
                codec,
                sent,
                accuracy,
                self.metric.agreement(found, whole),
                _error(found, whole),
            )


def _outputs(exits: Mapping[str, Sequence[str]]) -> list[str]:
    """The outputs of all exits, each once."""
    return list(dict.fromkeys(name for outputs in exits.values() for name in outputs))


def _error(found: Sequence[Array], whole: Sequence[Array]) -> float:
    """The greatest difference as a share of the output's range; NaN if they are not comparable numbers."""
    errors = []
    for mine, other in zip(found, whole, strict=True):
        if mine.shape != other.shape or mine.dtype.kind not in "fiu":
            return nan
        apart = np.abs(mine.astype(np.float64) - other).max(initial=0.0)
        errors.append(float(apart / max(np.ptp(other.astype(np.float64)), np.finfo(np.float32).tiny)))
    return max(errors)


def in_batches(session: Session, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """A session's outputs by name for any number of samples; one by one unless it keeps rows separate."""
    given = {t.name: feeds[t.name] for t in session.inputs}
    size = BATCH if _batches(session) else 1
    return _joined(session, (run_named(session, portion) for portion in _portions(given, size)))


def _batches(session: Session) -> bool:
    """Whether several samples can be run together."""
    return not session.proven.alone and all(t.has_batch for t in session.inputs)


def _portions(feeds: Mapping[str, Array], size: int) -> Iterator[dict[str, Array]]:
    count = len(next(iter(feeds.values())))
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in feeds.items()}


def _joined(session: Session, parts: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """The outputs of all samples; rows that differ in their shape as an object array [N]."""
    listed = list(parts)
    return {t.name: _stacked([_with_rows(t, part[t.name]) for part in listed]) for t in session.outputs}


def _with_rows(tensor: Tensor, array: Array) -> Array:
    """An output whose first dimension is not the batch is the row of the one sample that was run."""
    return array if tensor.has_batch or tensor.shape[:1] == (1,) else array[None]


def _stacked(parts: Sequence[Array]) -> Array:
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    return ragged([row for part in parts for row in part])


def _why(error: Exception) -> str:
    return f"not enough memory: {error}" if isinstance(error, MemoryError) else str(error)


def _check(graph: Graph, samples: Mapping[str, Array], labels: Array) -> None:
    if set(samples) != set(graph.inputs):
        raise BadRequest(f"samples: given for {sorted(samples)}, but the model's inputs are {graph.inputs}")
    for name, values in samples.items():
        tensor = graph.tensor(name)
        if not len(labels) or len(values) != len(labels) or not tensor.fits(_one_of(tensor, values)):
            raise BadRequest(
                f"samples: {name} is {list(values.shape)} for {len(labels)} labels: the model takes {tensor}"
            )
        if tensor.shape[:1] not in ((-1,), (1,)):
            raise BadRequest(
                f"samples: input {name} has a batch of {tensor.shape[0] if tensor.shape else 0}: export the "
                "model with an open one, or of 1"
            )


def _one_of(tensor: Tensor, values: Array) -> tuple[int, ...]:
    """The shape of what a run takes of the samples: one row for a model whose batch is 1."""
    return (1, *values.shape[1:]) if tensor.shape[:1] == (1,) else values.shape
