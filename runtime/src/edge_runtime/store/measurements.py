"""Accuracies of codecs, measured once for a model and its validation data, and kept."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from edge_runtime.cards import MOST_TENSORS, Exit, read_exits, worthwhile
from edge_runtime.codecs.accuracies import Refusal, in_batches, measure_codecs
from edge_runtime.codecs.contracts import CODECS, FORM, FP32
from edge_runtime.codecs.nodes import check_opset
from edge_runtime.codecs.validations import LEAST, read_validation, spread
from edge_runtime.documents import Json
from edge_runtime.errors import BadRequest, EdgeError
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing import Graph
from edge_runtime.store.blobs import Blobs, check_digest
from edge_runtime.store.sources import fetch
from edge_runtime.tensors import Array
from edge_runtime.words import shown

BUDGET: Final = 120.0
"""Seconds after which no further cut is begun."""
_WAIT: Final = 2.0
_MOST_SAMPLES: Final = 1000
_TRIAL: Final = 16
_PASSES: Final = 20  # of the whole model that should fit into the budget
_DOUBT: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Task:
    graph: Graph
    exits: Sequence[Exit]
    inputs: Array
    labels: Array


class Measurements:
    """One measurement at a time; who asks meanwhile is told that it is not complete yet."""

    def __init__(
        self,
        blobs: Blobs,
        graph: Callable[[str], Graph],
        budget: float = BUDGET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """graph: gives a model by its digest."""
        self._blobs, self._graph, self._budget, self._clock = blobs, graph, budget, clock
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="measuring")
        self._running: dict[str, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def ask(self, request: Json) -> dict[str, Any]:
        """`{"complete", "samples", "measured": [...], "refused": [...]}` of
        `{"model", "exits"?, "validation"}`.

        validation: `{"storageUri", "digest"?}`. Begins to measure and waits a moment; where that is not
        enough `complete` is false and nothing is told yet. Raises ModelError, StorageError, BadRequest.
        """
        if not isinstance(request, dict) or not isinstance(request.get("validation"), dict):
            raise BadRequest("validation: missing; write {storageUri, digest?} of an .npz file")
        source = request["validation"]
        uri, digest = source.get("storageUri"), source.get("digest")
        if not isinstance(uri, str) or not uri:
            raise BadRequest(f"validation.storageUri: {shown(uri)} is not a string; write store://<path>")
        model = check_digest(request.get("model"), "model")
        wanted = None if digest is None else check_digest(digest, "validation.digest")
        stored = fetch(uri, wanted, self._blobs, "validation")
        asked = [model, stored.digest, request.get("exits"), FORM]
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        path = self._blobs.root / "codecs" / f"{key}.json"
        if path.is_file():
            known: dict[str, Any] = json.loads(path.read_bytes())
            return known
        with self._lock:
            running = self._running.get(key)
        if running is None:
            graph = self._graph(model)
            exits = read_exits(graph, request.get("exits"))
            data = self._blobs.read_blob(stored.digest)
            inputs, labels = read_validation(data, graph.tensor(graph.input), self._blobs.limit)
            running = self._begin(key, _Task(graph, exits, inputs, labels))
        try:
            found = running.result(_WAIT)
        except TimeoutError:
            return {"complete": False, "samples": 0, "measured": [], "refused": []}
        except EdgeError:
            raise
        except Exception as error:  # whatever a model does to onnxruntime
            raise BadRequest(f"validation: the codecs cannot be measured: {error!r}") from error
        self._blobs.put(json.dumps(found).encode(), path)
        return found

    def _begin(self, key: str, task: _Task) -> Future[dict[str, Any]]:
        with self._lock:
            if key not in self._running:
                self._running[key] = self._worker.submit(self._measure, task)
            return self._running[key]

    def _measure(self, task: _Task) -> dict[str, Any]:
        begun = self._clock()
        graph, exits = task.graph, {exit_.name: exit_.output for exit_ in task.exits}
        chosen = spread(len(task.labels), self._affordable(task))
        inputs, labels = task.inputs[chosen], task.labels[chosen]
        check_claims(task, inputs, labels)
        refused: list[Refusal] = []
        measured = measure_codecs(
            graph,
            exits,
            {graph.input: inputs},
            labels,
            cuts={
                e.name: [c.tensors for c in worthwhile(graph.cuts(e.output, MOST_TENSORS))]
                for e in task.exits
            },
            codecs=[codec for codec in CODECS if _possible(graph, codec)],
            enough=lambda: self._clock() - begun > self._budget,
            refused=refused.append,
        )
        return {
            "complete": True,
            "samples": len(labels),
            "measured": [found.document() for found in measured],
            "refused": [found.document() for found in refused],
        }

    def _affordable(self, task: _Task) -> int:
        """How many samples the whole model can take several times within the budget; no fewer than LEAST."""
        feeds = {task.graph.input: task.inputs[:_TRIAL]}
        session = _whole(task)
        session.run(feeds)
        begun = self._clock()
        session.run(feeds)
        each = max(self._clock() - begun, 1e-9) / _TRIAL
        return int(min(_MOST_SAMPLES, max(LEAST, self._budget / _PASSES / each)))


def check_claims(task: _Task, inputs: Array, labels: Array) -> None:
    """BadRequest when the model is so far from what is said of its last exit that the data must be wrong."""
    last = task.exits[-1]
    answers = in_batches(_whole(task), {task.graph.input: inputs})[last.output]
    if answers.ndim != 2:
        raise BadRequest(
            f"validation: exit {last.name} gives {list(answers.shape)}; accuracies of codecs are measured "
            f"for models that give one number for each class"
        )
    found = float((answers.argmax(1) == labels).mean())
    doubt = max(_DOUBT, 3 * sqrt(last.accuracy * (1 - last.accuracy) / len(labels)))
    if found < last.accuracy - doubt:
        raise BadRequest(
            f"validation: exit {last.name} gets {found:.3f} of {len(labels)} samples right and is said "
            f"to have {last.accuracy:g}; inputs must be as the model takes them, "
            f"labels the numbers of its classes"
        )


def _possible(graph: Graph, codec: str) -> bool:
    """Whether the model's opset has what a codec is made of."""
    opset = next((entry.version for entry in graph.model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    try:
        if codec != FP32:
            check_opset(codec, opset)
    except BadRequest:
        return False
    return True


def _whole(task: _Task) -> Session:
    outputs = [exit_.output for exit_ in task.exits]
    start = [task.graph.input]
    return Session(task.graph.slice(start, outputs), *task.graph.contract(start, outputs))
