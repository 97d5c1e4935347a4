"""Trains exits of a classifier: small heads on inner tensors of a backbone that stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import sqrt
from typing import Any, Final

import numpy as np
from onnx import ModelProto

from edge_planning.declared_exits import FINAL, DeclaredExit
from edge_planning.text_tables import text_table
from edge_runtime.errors import BadRequest
from edge_runtime.exits.choosing import FLOATS, Work, candidates, left_out, trainable
from edge_runtime.exits.files import ExitFile, new_name, with_exits
from edge_runtime.exits.heads import Head, append, features, pooled_axes, trained
from edge_runtime.exits.samples import Samples
from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import Array, Tensor

_BATCH: Final = 32
_SUM_ERROR: Final = 1e-3

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainedExit:
    """An exit, or a tensor at which a head was tried.

    name: that of the exit, empty if it was left out for `why`. work: its share of the full model's work.
    accuracy: on the held-out samples; None for an exit of the file that gives something else than classes.
    """

    name: str
    tensor: str
    work: float
    accuracy: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """A model with trained exits, and all that were tried, by depth; the last is the full model."""

    model: ModelProto
    exits: tuple[TrainedExit, ...]
    samples: int
    held_out: int

    def document(self) -> dict[str, Any]:
        """The results as JSON."""
        return {
            "samples": self.samples,
            "heldOut": self.held_out,
            "exits": [
                {
                    "exit": each.name or None,
                    "tensor": each.tensor,
                    "work": round(each.work, 4),
                    "accuracy": each.accuracy,
                    **({"leftOut": each.why} if each.why else {}),
                }
                for each in self.exits
            ],
        }

    def table(self) -> str:
        """The results for people; the error is that of the held-out samples at 95 %."""
        rows = [("exit", "at", "share of work", "accuracy", "")]
        for each in self.exits:
            accuracy = "" if each.accuracy is None else _with_error(each.accuracy, self.held_out)
            rows.append((each.name or "-", each.tensor, f"{each.work:.0%}", accuracy, each.why))
        table = text_table(rows, right=(2, 3), ruled=True)
        return f"{table}\n{self.samples - self.held_out} samples trained, {self.held_out} held out"


def classifier_output(file: ExitFile) -> Tensor:
    """The output of a model whose exits can be trained. Raises BadRequest for others than classifiers."""
    if len(file.graph.inputs) != 1:
        raise BadRequest(
            f"{file.path}: has the inputs {', '.join(file.graph.inputs)}: heads are trained for models with "
            "one input"
        )
    names = file.outputs
    if len(names) != 1:
        raise BadRequest(
            f"{file.path}: gives {', '.join(names)}: name the one with the class scores by edge-runtime "
            "exits add --output NAME --accuracy A first, or export the model with it alone"
        )
    tensor = file.graph.tensor(names[0])
    if len(tensor.shape) != 2 or tensor.shape[1] < 2 or tensor.datatype not in FLOATS:
        raise BadRequest(
            f"{file.path}: gives {tensor.name} {tensor.datatype} {list(tensor.shape)}: heads are trained for "
            "classifiers, which give floating-point numbers [batch, classes]"
        )
    return tensor


def train(
    file: ExitFile, samples: Samples, *, at: Sequence[str] = (), most: int = 3, seed: int = 0, report: Report
) -> Training:
    """Trains a head at each tensor, and adds those exits to the model.

    at: the tensors, whose heads are all kept. Without any, heads are tried at up to CANDIDATES cuts, and at
    most `most` are kept: each more accurate than all cheaper ones, and spread over the model's work. Exits
    that the file lists are kept, with their accuracies on the held-out samples.

    Raises BadRequest, UnknownTensor, and errors of sessions.
    """
    output = classifier_output(file)
    work = Work(file, output.name)
    tensors = [trainable(file, name) for name in dict.fromkeys(at)] if at else candidates(file, work, output)
    tensors.sort(key=lambda tensor: work.share(tensor.name))
    axes = {tensor.name: pooled_axes(file.graph.model, tensor) for tensor in tensors}
    known = [each.outputs[0] for each in file.exits if _alike(file, each, output)]
    results = list(dict.fromkeys([*known, output.name]))
    found = _computed(file, samples, axes, results, report)
    held, labels = samples.held_out, samples.labels
    heads: dict[str, Head] = {}
    accuracies = {name: _right(found[name][held], labels[held]) for name in results}
    for number, tensor in enumerate(tensors, start=1):
        name = tensor.name
        report(f"training head {number} of {len(tensors)} at {name}")
        head = trained(name, axes[name], found[name][~held], labels[~held], output.shape[1], seed)
        heads[name], accuracies[name] = head, _right(head.scores(found[name][held]), labels[held])
    tried = [(name, work.share(name), accuracies[name]) for name in heads]
    why = {} if at else left_out(tried, most)
    model = ModelProto()
    model.CopyFrom(file.model)
    last = file.exits[-1] if file.exits else DeclaredExit(FINAL, (output.name,))
    exits = [
        replace(each, accuracy=accuracies.get(each.outputs[0], each.accuracy)) for each in file.exits[:-1]
    ]
    rows = [
        TrainedExit(e.name, e.outputs[0], work.share(e.outputs[0]), accuracies.get(e.outputs[0]))
        for e in exits
    ]
    softmax, taken = _probabilities(found[output.name]), [last.name, *(each.name for each in exits)]
    for name, share, accuracy in tried:
        if name in why:
            rows.append(TrainedExit("", name, share, accuracy, why[name]))
            continue
        made = _with_head(model, heads[name], file.graph.tensor(name), output, taken, softmax=softmax)
        taken.append(made.name)
        exits.append(replace(made, accuracy=accuracy))
        rows.append(TrainedExit(made.name, name, share, accuracy))
    rows.sort(key=lambda each: each.work)
    order = [each.name for each in rows]
    exits.sort(key=lambda each: order.index(each.name))
    with_exits(model, [*exits, replace(last, accuracy=accuracies[output.name])])
    rows.append(TrainedExit(last.name, output.name, 1.0, accuracies[output.name]))
    return Training(model, tuple(rows), len(labels), int(held.sum()))


def _with_head(
    model: ModelProto, head: Head, source: Tensor, output: Tensor, taken: Sequence[str], *, softmax: bool
) -> DeclaredExit:
    """Appends a head to a model and returns its exit, with a name that is not taken."""
    numbers = (f"exit{number}" for number in count(1))
    name = next(each for each in numbers if each not in taken)
    names = {value for node in model.graph.node for value in node.output}
    result = new_name(f"{name}_{'probabilities' if softmax else 'logits'}", list(names))
    append(model, head, source, replace(output, name=result), softmax=softmax)
    return DeclaredExit(name, (result,))


def _with_error(accuracy: float, samples: int) -> str:
    """An accuracy with its error at 95 %."""
    return f"{accuracy:.3f} ± {1.96 * sqrt(accuracy * (1 - accuracy) / samples):.3f}"


def _alike(file: ExitFile, exit_: DeclaredExit, output: Tensor) -> bool:
    """Whether an exit gives scores of the same classes."""
    if len(exit_.outputs) != 1:
        return False
    tensor = file.graph.tensor(exit_.outputs[0])
    return tensor.datatype in FLOATS and tensor.shape[1:] == output.shape[1:]


def _computed(
    file: ExitFile,
    samples: Samples,
    axes: Mapping[str, tuple[int, ...]],
    results: Sequence[str],
    report: Report,
) -> dict[str, Array]:
    """Features of the tensors in `axes`, and the values of `results`, of all samples."""
    graph = file.graph
    wanted = [*axes, *(name for name in results if name not in axes)]
    start = graph.needed_inputs(wanted)
    session = Session(graph.slice(start, wanted), *graph.contract(start, wanted))
    batched = not session.proven.alone and session.inputs[0].has_batch
    parts: dict[str, list[Array]] = {name: [] for name in wanted}
    done = 0
    for portion in _portions(samples.inputs, _BATCH if batched else 1):
        outputs = session.run({session.inputs[0].name: portion})
        for tensor, array in zip(session.outputs, outputs, strict=True):
            parts[tensor.name].append(features(array, axes[tensor.name]) if tensor.name in axes else array)
        before, done, of = done, done + len(portion), len(samples.inputs)
        if 10 * before // of < 10 * done // of:
            report(f"features of {done} of {of} samples")
    return {name: np.concatenate(each) for name, each in parts.items()}


def _portions(inputs: Array, size: int) -> Iterator[Array]:
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size]


def _right(scores: Array, labels: Array) -> float:
    return round(float((scores.argmax(1) == labels).mean()), 4)


def _probabilities(scores: Array) -> bool:
    return bool((scores >= 0).all() and np.abs(scores.sum(axis=1) - 1).max() < _SUM_ERROR)
