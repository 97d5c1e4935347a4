"""Adds an exit to a file, or changes one that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from onnx import ModelProto

from edge_planning.declared_exits import FINAL, DeclaredExit
from edge_runtime.errors import BadRequest, UnknownTensor
from edge_runtime.exits.files import ExitFile, new_name, with_exits, with_output
from edge_runtime.tensors import Tensor


def with_exit(
    file: ExitFile,
    outputs: Sequence[str],
    accuracy: float,
    *,
    name: str | None = None,
    final_accuracy: float | None = None,
    own_names: bool = False,
) -> tuple[ModelProto, tuple[DeclaredExit, ...]]:
    """Returns the model with one more exit, and all its exits by depth. An exit of the same name is replaced.

    outputs: of the exit; inner tensors become outputs of the model. final_accuracy: of the full model, which
    a file without exits needs beside an earlier exit. own_names: whether the outputs answer under their own
    names and may differ in type from those of the last exit. Raises BadRequest or UnknownTensor with the
    flag, its value and the fix.
    """
    for flag, value in (("--accuracy", accuracy), ("--final-accuracy", final_accuracy)):
        if value is not None and not (isfinite(value) and 0 <= value <= 1):
            raise BadRequest(f"{flag}: {value:g} is not between 0 and 1: write a share such as 0.93")
    tensors = [_computed(file, output) for output in outputs]
    last = file.outputs
    whole = tuple(outputs) == last
    added = DeclaredExit(name or _name(file, outputs, whole=whole), tuple(outputs), accuracy, own_names)
    exits = [each for each in file.exits if each.name != added.name]
    if not exits and not whole:
        if final_accuracy is None:
            raise BadRequest(
                f"--final-accuracy: missing: {file.path} lists no exit for the full model "
                f"({', '.join(last)}), and several exits are compared by accuracy: give the full model's"
            )
        exits = [DeclaredExit(new_name(FINAL, [added.name]), last, final_accuracy)]
    elif final_accuracy is not None:
        exits = [*exits[:-1], replace(exits[-1], accuracy=final_accuracy)] if exits else exits
    exits = sorted([*exits, added], key=lambda each: file.operators_before(each.outputs))
    _check_alike(file, exits)
    model = ModelProto()
    model.CopyFrom(file.model)
    for tensor in tensors:
        with_output(model, tensor)
    with_exits(model, exits)
    return model, tuple(exits)


def _computed(file: ExitFile, output: str) -> Tensor:
    """The tensor of an output. Raises UnknownTensor if the graph does not compute it from an input."""
    try:
        tensor = file.graph.tensor(output)
    except UnknownTensor as error:
        raise UnknownTensor(f"--output: {error}") from error
    if output in file.graph.inputs:
        raise UnknownTensor(
            f'--output: "{output}" is an input of {file.path}: name a tensor that it computes'
        )
    return tensor


def _name(file: ExitFile, outputs: Sequence[str], *, whole: bool) -> str:
    taken = [each.name for each in file.exits if each.outputs != tuple(outputs)]
    same = next((each.name for each in file.exits if each.outputs == tuple(outputs)), None)
    return same or new_name(FINAL if whole else outputs[0], taken)


def _check_alike(file: ExitFile, exits: Sequence[DeclaredExit]) -> None:
    """Raises BadRequest for an exit in whose place the last one cannot be given to a client."""
    last = exits[-1]
    for exit_ in exits[:-1]:
        if exit_.own_names or len(exit_.outputs) != len(last.outputs):  # the latter is refused by its list
            continue
        for mine, its in zip(exit_.outputs, last.outputs, strict=True):
            found, wanted = file.graph.tensor(mine), file.graph.tensor(its)
            if (found.datatype, len(found.shape)) != (wanted.datatype, len(wanted.shape)) or any(
                a != b for a, b in zip(found.shape, wanted.shape, strict=True) if a > 0 and b > 0
            ):
                raise BadRequest(
                    f"--output: {mine} is {found.datatype} {list(found.shape)}, but the full model gives "
                    f"{its} {wanted.datatype} {list(wanted.shape)}, in whose place it answers: name a tensor "
                    "of that form, train one by edge-runtime exits train, or set --own-names"
                )
