"""Lists the operators of a model in a separate process, which the model can crash."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edge_runtime.errors import BadRequest, BadTensor, EdgeError, ModelFailed
from edge_runtime.inference.operator_profiles import documents, operators_of
from edge_runtime.samples.flags import NOTHING
from edge_runtime.samples.making import Samples, make
from edge_runtime.slicing import Graph
from edge_runtime.trials.child_server import ReportStage, serve

MODULE: Final = "edge_runtime.store.operator_process"


@dataclass(frozen=True, slots=True)
class Order:
    """The operators to list: of a model in a folder of blobs, for each exit at each shape of the inputs.

    exits: outputs of each. ranges: upper limits of generated ids, by input.
    """

    blobs: str
    model: str
    exits: tuple[tuple[str, ...], ...]
    shapes: tuple[Mapping[str, tuple[int, ...]], ...]
    ranges: Mapping[str, int]

    def document(self) -> dict[str, Any]:
        """The order as JSON."""
        return asdict(self)


def main() -> None:
    """Executes one order from standard input."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    serve(answer, int(sys.argv[1]))


def answer(request: Mapping[str, Any], _: bytes, stage: ReportStage) -> dict[str, Any]:
    """`{"found": [...]}` by exit and shape, or the cause of failure: `reason` and `message`."""
    try:
        stage("reading the model")

        def blob(digest: str) -> Path:
            return Path(request["blobs"], digest.removeprefix("sha256:"))

        graph = Graph(blob(request["model"]), blob)
        stage("running it")
        return {"found": [_exit(graph, outputs, request) for outputs in request["exits"]]}
    except EdgeError as error:
        return {"reason": error.reason, "message": str(error)}
    except MemoryError:  # the parent knows the limit
        raise
    except Exception as error:  # unexpected errors of a model
        return {"reason": BadRequest.__name__, "message": f"operators: they cannot be listed: {error!r}"}


def _exit(graph: Graph, outputs: list[str], request: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    start = graph.needed_inputs(outputs)
    model, (inputs, _) = graph.slice(start, outputs), graph.contract(start, outputs)
    dimensions = {name: sizes for name, sizes in graph.dimensions.items() if name in start}
    made = [make(inputs, dimensions, NOTHING, ranges) for ranges in (request["ranges"], None)]
    found = []
    for shape in request["shapes"] or (None,):
        tries = [
            each if shape is None else each.at(shape, ranges)
            for each, ranges in zip(made, (request["ranges"], None), strict=True)
        ]
        found.append(_at(model, tries))
    return found


def _at(model: bytes, tries: list[Samples]) -> list[dict[str, Any]]:
    """The operators of a run on generated values, or on zeros if the model refuses them."""
    try:
        return documents(operators_of(model, tries[0].feeds[0]))
    except (BadTensor, ModelFailed):
        return documents(operators_of(model, tries[1].feeds[0]))


if __name__ == "__main__":
    main()
