"""Accuracy of a cut model with each codec, measured on labeled samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edge_runtime.codecs.contracts import FP32, is_encoded, names, wire_bytes
from edge_runtime.errors import BadRequest, EdgeError
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing.graphs import Graph
from edge_runtime.store.accuracy_metrics import metric_of
from edge_runtime.store.codec_checks import CutSlices, check_values, run_named, slice_session
from edge_runtime.tensors import Array

BATCH: Final = 8
"""Samples in a batch: larger batches take more memory and are hardly faster."""
HELD: Final = 32 << 20
"""Bytes of activations at a cut that are kept for all codecs; above, each codec computes them again."""


@dataclass(frozen=True, slots=True)
class CodecAccuracy:
    """An exit's result with the model cut and one codec on the hop.

    cut: the tensors that cross. bytes: what crosses for one item. accuracy: the share of samples that are
    right by the metric of the labels. agreement: the share answered as by the whole model in fp32. error: the
    greatest difference of an output from the whole model's, as a share of that output's range.
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
            "error": self.error,
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
    exits: Mapping[str, str],
    samples: Mapping[str, Array],
    labels: Array,
    *,
    cuts: Mapping[str, Sequence[Sequence[str]]] | None = None,
    codecs: Sequence[str] | None = None,
    enough: Callable[[], bool] = lambda: False,
    refused: Callable[[Refusal], object] = lambda _: None,
) -> tuple[CodecAccuracy, ...]:
    """Measures the accuracy of every exit, cut and codec on labeled samples.

    exits: outputs by name of the exit. samples: every input of the graph, [N, ...]. labels: [N, ...], of one
    of the accuracy metrics. cuts: by exit; all cuts of one tensor when None. codecs: all when None. The
    model runs in slices as they are served: head, encoder, decoder with tail. The cuts at which the fewest
    bytes cross come first, and none is begun once `enough` returns True. A codec that a cut cannot carry is
    left out there, and `refused` is called; one that changes no tensor of a cut is left out without a call.
    Raises BadRequest when samples and labels do not fit, and what the whole model raises.
    """
    _check(graph, samples, labels)
    outputs = list(exits.values())
    wholes = in_batches(slice_session(graph, graph.needed_inputs(outputs), outputs), samples)
    chosen = cuts or {name: [c.tensors for c in graph.cuts([output])] for name, output in exits.items()}
    by_cut: dict[tuple[str, ...], list[str]] = {}
    for name, listed in chosen.items():
        for cut in listed:
            by_cut.setdefault(tuple(cut), []).append(name)
    found: list[CodecAccuracy] = []
    for cut in sorted(by_cut, key=lambda tensors: sum(graph.tensor(name).item_bytes() for name in tensors)):
        if enough():
            break
        named = {name: exits[name] for name in by_cut[cut]}
        found += _Cut(graph, cut, named, samples, labels, wholes).measured(codecs or names(), refused)
    order = list(exits)
    return tuple(sorted(found, key=lambda m: order.index(m.exit)))


@dataclass(frozen=True, slots=True)
class _Cut:
    graph: Graph
    tensors: tuple[str, ...]
    exits: Mapping[str, str]
    samples: Mapping[str, Array]
    labels: Array
    wholes: Mapping[str, Array]

    def measured(
        self, codecs: Sequence[str], refused: Callable[[Refusal], object]
    ) -> Iterator[CodecAccuracy]:
        """Measures each cut; an error of one cut does not affect the others."""
        graph, cut = self.graph, self.tensors
        tensors = [graph.tensor(name) for name in cut]
        codecs = [c for c in codecs if c == FP32 or any(is_encoded(tensor, c) for tensor in tensors)]
        made = [name for name in cut if name not in self.samples]
        try:
            maker = slice_session(graph, graph.needed_inputs(made), made) if made else None
            plain = slice_session(graph, cut, list(self.exits.values()))
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

    def _held(self, maker: Session | None) -> Callable[[], Iterable[Mapping[str, Array]]]:
        """A function that returns the cut's values batch by batch, for any number of samples."""
        names = maker.outputs if maker is not None else ()
        if len(self.labels) * sum(self.graph.tensor(t.name).item_bytes() for t in names) > HELD:
            return lambda: self._batches(maker)
        held = list(self._batches(maker))
        return lambda: held

    def _batches(self, maker: Session | None) -> Iterator[Mapping[str, Array]]:
        for feeds in _portions(self.samples, 1 if maker is not None and maker.proven.alone else BATCH):
            yield feeds if maker is None else {**feeds, **run_named(maker, feeds)}

    def _answers(
        self,
        codec: str,
        maker: Session | None,
        plain: Session,
        batches: Callable[[], Iterable[Mapping[str, Array]]],
    ) -> Mapping[str, Array]:
        """The exits' outputs with this codec on the hop. Raises BadRequest if the cut cannot carry it."""
        graph, cut = self.graph, self.tensors
        tensors = [graph.tensor(name) for name in cut]
        if codec == FP32:
            return _joined(plain, (in_batches(plain, values) for values in batches()))
        encoder = slice_session(graph, cut, cut, encode=codec)
        tail = slice_session(graph, cut, list(self.exits.values()), decode=codec)

        def sent() -> Iterator[Mapping[str, Array]]:
            for values in batches():
                check_values(tensors, codec, values)
                yield in_batches(tail, in_batches(encoder, values))

        answers = _joined(tail, sent())
        head = slice_session(graph, graph.needed_inputs(cut), cut, encode=codec)
        CutSlices(head, tail, maker, plain).check(tensors, codec, self.samples)
        return answers

    def _compared(self, codec: str, answers: Mapping[str, Array]) -> Iterator[CodecAccuracy]:
        sent = wire_bytes([self.graph.tensor(name) for name in self.tensors], codec)
        for name, output in self.exits.items():
            whole = self.wholes[output]
            yield _compared(
                name, self.tensors, codec, size=sent, answers=answers[output], whole=whole, labels=self.labels
            )


def _compared(
    name: str, cut: tuple[str, ...], codec: str, *, size: int, answers: Array, whole: Array, labels: Array
) -> CodecAccuracy:
    metric = metric_of(labels, len(answers))
    return CodecAccuracy(
        name,
        cut,
        codec,
        size,
        metric.right(answers, labels),
        metric.alike(answers, whole),
        float(np.abs(answers - whole).max() / max(np.ptp(whole), np.finfo(np.float32).tiny)),
    )


def in_batches(session: Session, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """A session's outputs by name for any number of samples; one by one unless it keeps rows separate."""
    given = {t.name: feeds[t.name] for t in session.inputs}
    size = 1 if session.proven.alone else BATCH
    return _joined(session, (run_named(session, portion) for portion in _portions(given, size)))


def _portions(feeds: Mapping[str, Array], size: int) -> Iterator[dict[str, Array]]:
    count = len(next(iter(feeds.values())))
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in feeds.items()}


def _joined(session: Session, parts: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    listed = list(parts)
    return {t.name: np.concatenate([part[t.name] for part in listed]) for t in session.outputs}


def _why(error: Exception) -> str:
    return f"not enough memory: {error}" if isinstance(error, MemoryError) else str(error)


def _check(graph: Graph, samples: Mapping[str, Array], labels: Array) -> None:
    if set(samples) != set(graph.inputs):
        raise BadRequest(f"samples: given for {sorted(samples)}, but the model's inputs are {graph.inputs}")
    for name, values in samples.items():
        tensor = graph.tensor(name)
        if not len(labels) or len(values) != len(labels) or not tensor.fits(values.shape):
            raise BadRequest(
                f"samples: {name} is {list(values.shape)} for {len(labels)} labels: the model takes {tensor}"
            )
        if tensor.shape[:1] != (-1,):
            raise BadRequest(f"samples: input {name} has a fixed batch: export the model with an open one")
