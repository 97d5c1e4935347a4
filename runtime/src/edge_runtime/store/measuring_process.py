"""Measures codecs in a separate process, so that a model that crashes it does not crash the store."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Final

from edge_planning.declared_exits import DeclaredExit
from edge_runtime.codecs.contracts import check_opset, names
from edge_runtime.errors import BadRequest, EdgeError
from edge_runtime.inference.sessions import Session
from edge_runtime.model_metadata import MOST_TENSORS, worthwhile
from edge_runtime.slicing import Graph
from edge_runtime.store.accuracies.metric import AccuracyMetric, Outputs
from edge_runtime.store.accuracy_metrics import metric_named
from edge_runtime.store.codec_accuracies import Refusal, in_batches, measure_codecs
from edge_runtime.store.exit_confidences import exit_confidences
from edge_runtime.store.measured_models import stated_accuracy
from edge_runtime.store.validation_data import LEAST, ValidationData, read_validation, spread
from edge_runtime.tensors import Array
from edge_runtime.trials.child_server import ReportStage, serve

MODULE: Final = "edge_runtime.store.measuring_process"
_MOST_SAMPLES: Final = 1000
_TRIAL: Final = 16
_PASSES: Final = 20  # runs of the whole model that should fit into the budget
_DOUBT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure: digests of a model and of its validation data in a folder of blobs, and the metric.

    limit: maximum bytes of the unpacked data. budget: seconds after which no further cut is started.
    """

    blobs: str
    model: str
    validation: str
    exits: tuple[DeclaredExit, ...]
    limit: int
    budget: float
    metric: str

    def document(self) -> dict[str, Any]:
        """The order as JSON."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Order:
        """Reads its JSON document."""
        fields = {name: document[name] for name in cls.__dataclass_fields__}
        exits = tuple(
            DeclaredExit(**entry | {"outputs": tuple(entry["outputs"])}) for entry in document["exits"]
        )
        return cls(**fields | {"exits": exits})


@dataclass(frozen=True, slots=True)
class _Task:
    graph: Graph
    exits: tuple[DeclaredExit, ...]
    data: ValidationData
    budget: float


def main() -> None:
    """Executes one order from standard input."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    serve(answer, int(sys.argv[1]))


def answer(request: Mapping[str, Any], _: bytes, stage: ReportStage) -> dict[str, Any]:
    """The results, or the cause of failure: `reason` and `message`."""
    try:
        stage("reading the model")
        task = _read(Order.of(request))
        stage("measuring it")
        return {"found": _measure(task)}
    except EdgeError as error:
        return {"reason": error.reason, "message": str(error)}
    except MemoryError:  # the parent knows the limit
        raise
    except Exception as error:  # unexpected errors of a model
        return {
            "reason": BadRequest.__name__,
            "message": f"validation: the codecs cannot be measured: {error!r}",
        }


def _read(order: Order) -> _Task:
    def blob(digest: str) -> Path:
        return Path(order.blobs, digest.removeprefix("sha256:"))

    graph = Graph(blob(order.model), blob)
    validation = blob(order.validation).read_bytes()
    wanted = [graph.tensor(name) for name in graph.inputs]
    data = read_validation(validation, wanted, order.limit, metric_named(order.metric))
    return _Task(graph, order.exits, data, order.budget)


def _measure(task: _Task, clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    begun = clock()
    graph, exits = task.graph, {exit_.name: exit_.outputs for exit_ in task.exits}
    data, metric = task.data, task.data.metric
    chosen = spread(len(data), _affordable(task, clock))
    inputs = data.chosen(chosen)
    wholes = in_batches(_whole(task), inputs)
    answers = {name: [wholes[output] for output in outputs] for name, outputs in exits.items()}
    last = answers[task.exits[-1].name]
    labels = metric.reference(last) if data.labels is None else data.labels[chosen]
    for exit_ in task.exits:
        _check_form(exit_, answers[exit_.name], labels, metric)
    check_claims(task, last, labels)
    refused: list[Refusal] = []
    measured = measure_codecs(
        graph,
        exits,
        inputs,
        labels,
        metric=metric,
        cuts={
            e.name: [c.tensors for c in worthwhile(graph.cuts(e.outputs, MOST_TENSORS))] for e in task.exits
        },
        codecs=[codec for codec in names() if _possible(graph, codec)],
        enough=lambda: clock() - begun > task.budget,
        refused=refused.append,
    )
    return {
        "confidences": exit_confidences(answers, labels, metric),
        "metric": metric.name,
        "complete": True,
        "samples": len(labels),
        "measured": [found.document() for found in measured],
        "refused": [found.document() for found in refused],
    }


def _affordable(task: _Task, clock: Callable[[], float]) -> int:
    """Number of samples that the whole model can process several times within the budget; at least LEAST."""
    feeds = task.data.chosen(slice(_TRIAL))
    session = _whole(task)
    in_batches(session, feeds)
    begun = clock()
    in_batches(session, feeds)
    each = max(clock() - begun, 1e-9) / _TRIAL
    return int(min(_MOST_SAMPLES, max(LEAST, task.budget / _PASSES / each)))


def _check_form(exit_: DeclaredExit, outputs: Outputs, labels: Array, metric: AccuracyMetric) -> None:
    """Raises BadRequest if the outputs of an exit cannot be compared with the labels."""
    if not metric.takes(outputs, labels):
        found = " and ".join(f"{each.dtype} {list(each.shape)}" for each in outputs)
        shape = "" if labels.dtype.kind == "O" else f" with labels {labels.dtype} {list(labels.shape)}"
        raise BadRequest(
            f"validation: exit {exit_.name} gives {found}{shape}; metric {metric.name} is measured for "
            f"models that give {metric.outputs}"
        )


def check_claims(task: _Task, outputs: Outputs, labels: Array) -> None:
    """Raises BadRequest if the last exit is so much less accurate than declared that data must be wrong."""
    last, metric = task.exits[-1], task.data.metric
    found, stated = metric.accuracy(outputs, labels), stated_accuracy(last)
    doubt = max(_DOUBT, 3 * sqrt(stated * (1 - stated) / len(labels)))
    if found < stated - doubt:
        raise BadRequest(
            f"validation: exit {last.name} has {metric.name} {found:.3f} on {len(labels)} samples, but "
            f"declares {stated:g}: give inputs as the model takes them, and {metric.wanted}"
        )


def _possible(graph: Graph, codec: str) -> bool:
    """Whether the model's opset has the operators of a codec."""
    opset = next((entry.version for entry in graph.model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    try:
        check_opset(codec, opset)
    except BadRequest:
        return False
    return True


def _whole(task: _Task) -> Session:
    outputs = list(dict.fromkeys(name for exit_ in task.exits for name in exit_.outputs))
    start = task.graph.needed_inputs(outputs)
    return Session(task.graph.slice(start, outputs), *task.graph.contract(start, outputs))


if __name__ == "__main__":
    main()
