"""An ONNX file with the exits that it lists, and the file with others."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import ModelProto, TensorProto, helper
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from edge_planning.declared_exits import EXITS_KEY, BadExitError, DeclaredExit, check_exits, parse_exits
from edge_runtime.errors import BadRequest, NotFound, StorageError
from edge_runtime.slicing.graphs import Graph
from edge_runtime.slicing.reading import parse, reads
from edge_runtime.tensors import Tensor

_LIMIT: Final = 2 << 30
"""Bytes of a message of protobuf."""
ELEMENTS: Final = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}


@dataclass(frozen=True, slots=True)
class ExitFile:
    """A model with its exits.

    Attributes:
        model: As the file has it, without external data.
        graph: The same prepared for cutting, with all data.
        exits: Those that the file lists, by depth; empty if it lists none.
    """

    path: Path
    model: ModelProto
    graph: Graph
    exits: tuple[DeclaredExit, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the full model: those of the last exit, else all that are computed."""
        return self.exits[-1].outputs if self.exits else self.graph.computed

    def operators_before(self, names: Sequence[str]) -> int:
        """Number of operators that compute these tensors."""
        wanted, count = set(names), 0
        for node in reversed(self.graph.model.graph.node):
            if not wanted.isdisjoint(node.output):
                wanted.update(reads(node))
                count += 1
        return count

    def has_external_data(self) -> bool:
        """Whether other files belong to this one."""
        return any(map(uses_external_data, self.model.graph.initializer))


def read(path: Path) -> ExitFile:
    """Reads a model file and its external data. Raises NotFound, NotOnnx, BadRequest and other errors of
    models.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file: name an .onnx file") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    model = parse(data)
    if any(map(uses_external_data, model.graph.initializer)):
        whole = ModelProto()
        whole.CopyFrom(model)
        try:
            load_external_data_for_model(whole, str(path.parent))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise NotFound(
                f"{path}: its external data cannot be read ({error}): put them beside it"
            ) from error
        if whole.ByteSize() >= _LIMIT:
            raise BadRequest(f"{path}: {whole.ByteSize()} bytes with its external data are more than 2 GiB")
        data = whole.SerializeToString()
    graph = Graph(data)
    stated = next((entry.value for entry in model.metadata_props if entry.key == EXITS_KEY), None)
    if stated is None:
        return ExitFile(path, model, graph, ())
    try:
        return ExitFile(path, model, graph, parse_exits(stated, graph.outputs))
    except BadExitError as error:
        raise BadRequest(f"{path}: metadata {EXITS_KEY}: {error}") from error


def new_name(wanted: str, taken: Sequence[str]) -> str:
    """A name for an exit like `wanted`, of the characters that names of exits have, and not taken."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", wanted)[:60].strip(".-") or "exit"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name


def with_output(model: ModelProto, tensor: Tensor) -> None:
    """Makes an inner tensor an output of a model."""
    if tensor.name in {value.name for value in model.graph.output}:
        return
    known = next((value for value in model.graph.value_info if value.name == tensor.name), None)
    shape = [batch_of(model) if d < 0 and not i else None if d < 0 else d for i, d in enumerate(tensor.shape)]
    value = known or helper.make_tensor_value_info(
        tensor.name, ELEMENTS[tensor.datatype], None if tensor.any_rank else shape
    )
    model.graph.output.append(value)


def batch_of(model: ModelProto) -> str | int:
    """The first dimension of the inputs: the name that the file gives to it, or its size."""
    for value in model.graph.input:
        first = next(iter(value.type.tensor_type.shape.dim), None)
        if first is not None and (first.dim_param or first.dim_value):
            return first.dim_param or first.dim_value
    return "N"


def documents(exits: Sequence[DeclaredExit]) -> list[dict[str, Any]]:
    """Exits in the form of a file's metadata and of `spec.model.exits`."""
    return [_document(each) for each in exits]


def _document(exit_: DeclaredExit) -> dict[str, Any]:
    names = {"output": exit_.outputs[0]} if len(exit_.outputs) == 1 else {"outputs": list(exit_.outputs)}
    accuracy = {} if exit_.accuracy is None else {"accuracy": exit_.accuracy}
    return {"name": exit_.name, **names, **accuracy, **({"responseNames": "Own"} if exit_.own_names else {})}


def with_exits(model: ModelProto, exits: Sequence[DeclaredExit]) -> None:
    """Lists these exits in the metadata of a model, in place of those that it lists.

    Raises BadRequest if they do not belong to the model, or not together.
    """
    stated = documents(exits)
    try:
        check_exits(stated, [value.name for value in model.graph.output])
    except BadExitError as error:
        raise BadRequest(str(error)) from error
    kept = [entry for entry in model.metadata_props if entry.key != EXITS_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=EXITS_KEY, value=json.dumps(stated))


def write(file: ExitFile, model: ModelProto, path: Path) -> None:
    """Writes a model at once, so that a failure leaves what is there. Raises BadRequest, StorageError."""
    if file.has_external_data() and path.parent.resolve() != file.path.parent.resolve():
        raise BadRequest(
            f"-o {path}: the external data of {file.path} are named relative to its folder: write to "
            f"{file.path.parent}"
        )
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as made:
            try:
                made.write(model.SerializeToString())
                made.flush()
                os.fchmod(made.fileno(), 0o644)
                Path(made.name).replace(path)
            except BaseException:
                Path(made.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StorageError(f"-o {path}: cannot be written: {error.strerror}") from error
